// Runs one peer over clips and writes its visemes over time: node run.mjs PEER CLIPS.json OUT
//
// CLIPS.json is written by compare.py: {"rate", "profiles", "clips": [{"id", "sha", "sound", "text"}]},
// sounds are mono float32. OUT/ID.json gets names, rate (rows a second), weights and the seconds of
// CPU. A clip whose file is there with the same sha is not run again.

import { existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { join } from "node:path";
import { pathToFileURL } from "node:url";

import { installBrowser, play } from "./web_audio.mjs";

const DISPLAY_RATE = 60; // rows a second of what runs in a browser's animation loop
const CUE_RATE = 100;
const RHUBARB_SHAPES = [..."ABCDEFGHX"];

const require = createRequire(import.meta.url);
const inPackages = (path) => new URL(`./node_modules/${path}`, import.meta.url);
const versionOf = (name) => JSON.parse(readFileSync(inPackages(`${name}/package.json`))).version;

const round = (value) => Math.round(value * 1e4) / 1e4;

/** wLipSync: the worklet and node of the package; moves a face by weights times volume. */
async function wlipsync(profile, rate) {
  installBrowser(rate);
  const { WLipSyncAudioNode } = await import("wlipsync");
  await import(inPackages("wlipsync/dist/audio-processor.js"));
  const module = await WebAssembly.compile(readFileSync(inPackages("wlipsync/dist/wlipsync.wasm")));
  const names = [...new Set(profile.mfccs.map((entry) => entry.name))];
  return {
    names,
    rate: DISPLAY_RATE,
    version: versionOf("wlipsync"),
    async run({ samples }) {
      const node = new WLipSyncAudioNode({}, profile, module);
      // The processor gets ready behind a promise.
      while (node.processor.inputBufferIndex < 0) await new Promise(setImmediate);
      node.processor.inputBuffer.fill(0); // all instances have one memory
      const rows = [];
      play(samples, DISPLAY_RATE, (block) => node.feed(block), () => {
        rows.push(names.map((name) => node.weights[name] * node.volume));
      });
      return rows;
    },
  };
}

async function wawa(rate) {
  installBrowser(rate);
  const { Lipsync, VISEMES } = require("wawa-lipsync");
  const names = Object.values(VISEMES);
  return {
    names,
    rate: DISPLAY_RATE,
    version: versionOf("wawa-lipsync"),
    async run({ samples }) {
      globalThis.currentTime = 0;
      const lipsync = new Lipsync();
      const rows = [];
      play(samples, DISPLAY_RATE, (block) => lipsync.analyser.feed(block), () => {
        lipsync.processAudio();
        rows.push(names.map((name) => Number(name === lipsync.viseme)));
      });
      return rows;
    },
  };
}

async function headaudio(rate) {
  installBrowser(rate);
  globalThis.fetch = async (url) => {
    const bytes = readFileSync(new URL(url));
    const buffer = bytes.buffer.slice(bytes.byteOffset, bytes.byteOffset + bytes.byteLength);
    return { ok: true, arrayBuffer: async () => buffer };
  };
  const folder = "@met4citizen/headaudio";
  await import(inPackages(`${folder}/modules/headworklet.mjs`));
  const { HeadAudio } = await import(inPackages(`${folder}/modules/headaudio.mjs`));
  const names = new HeadAudio({}).visemeNames;
  return {
    names,
    rate: DISPLAY_RATE,
    version: versionOf(folder),
    async run({ samples }) {
      const node = new HeadAudio({});
      await node.loadModel(inPackages(`${folder}/dist/model-en-mixed.bin`));
      const current = Object.fromEntries(names.map((name) => [name, 0]));
      node.onvalue = (name, value) => (current[name] = value);
      const rows = [];
      play(samples, DISPLAY_RATE, (block) => node.feed(block), (seconds) => {
        node.update(seconds * 1000);
        rows.push(names.map((name) => current[name]));
      });
      return rows;
    },
  };
}

/** Rhubarb: takes whole files of 16 kHz, gives cues; the text is given or not. */
async function rhubarb(withText) {
  const { Rhubarb } = await import("rhubarb-lip-sync-wasm");
  return {
    names: RHUBARB_SHAPES,
    rate: CUE_RATE,
    version: versionOf("rhubarb-lip-sync-wasm"),
    async run({ samples, text }) {
      const pcm = Buffer.alloc(samples.length * 2);
      samples.forEach((sample, i) => {
        const value = Math.round(Math.max(-1, Math.min(1, sample)) * 32767);
        pcm.writeInt16LE(value, i * 2);
      });
      const { mouthCues } = await Rhubarb.getLipSync(pcm, withText ? { dialogText: text } : {});
      const rows = [];
      for (let n = 0; n < (samples.length / 16000) * CUE_RATE; n++) {
        const time = n / CUE_RATE;
        const cue = mouthCues.findLast((cue) => cue.start <= time) ?? { value: "X" };
        rows.push(RHUBARB_SHAPES.map((shape) => Number(shape === cue.value)));
      }
      return rows;
    },
  };
}

const PEERS = {
  "wlipsync-vowels": (job) => wlipsync(job.profiles.vowels, job.rate),
  "wlipsync-calibrated": (job) => wlipsync(job.profiles.calibrated, job.rate),
  wawa: (job) => wawa(job.rate),
  headaudio: (job) => headaudio(job.rate),
  rhubarb: () => rhubarb(false),
  "rhubarb-text": () => rhubarb(true),
};

async function main([name, jobPath, out]) {
  if (!(name in PEERS) || !jobPath || !out) {
    console.error(`usage: node run.mjs PEER CLIPS.json OUT; peers: ${Object.keys(PEERS).join(", ")}`);
    process.exit(2);
  }
  const job = JSON.parse(readFileSync(jobPath, "utf-8"));
  mkdirSync(out, { recursive: true });
  const clips = job.clips.filter(({ id, sha }) => {
    const path = join(out, `${id}.json`);
    return !existsSync(path) || JSON.parse(readFileSync(path, "utf-8")).sha !== sha;
  });
  if (!clips.length) return;
  const peer = await PEERS[name](job);
  for (const { id, sha, sound, text } of clips) {
    const bytes = readFileSync(sound);
    const samples = new Float32Array(bytes.buffer.slice(bytes.byteOffset, bytes.byteOffset + bytes.length));
    const before = process.cpuUsage();
    const weights = await peer.run({ samples, text });
    const { user, system } = process.cpuUsage(before);
    const found = { sha, version: peer.version, names: peer.names, rate: peer.rate };
    found.cpu_seconds = (user + system) / 1e6;
    found.sound_seconds = samples.length / job.rate;
    found.weights = weights.map((row) => row.map(round));
    writeFileSync(join(out, `${id}.json`), JSON.stringify(found));
  }
}

await main(process.argv.slice(2));
