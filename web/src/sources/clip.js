// A source from a sound file: sent as fast as the server takes it, played on the AudioContext's clock, which the face follows.
import { Latency } from "../live/latency.js";
import { openStream } from "../live/stream.js";
import { Track } from "../live/track.js";
import { levels, mono } from "../sound/decode.js";
import { audibleNow, output } from "../sound/output.js";

const AHEAD = 0.4; // seconds of frames before the sound starts, or goes on after waiting
const PIECE = 0.25; // seconds of sound a message
const MOST_WAITING = 1 << 19; // bytes in this browser's own buffer

export class ClipSource {
  kind = "clip";

  /** sound: AudioBuffer. earlier: a finished source of the same sound to play again, without the server. */
  constructor(address, start, sound, on, earlier = null) {
    Object.assign(this, { address, start, sound, on, earlier });
    this.samples = mono(sound);
    this.levels = levels(this.samples, sound.sampleRate);
    this.stalled = false;
  }

  async begin() {
    const { context, tap } = await output();
    Object.assign(this, { context, tap });
    if (this.earlier) {
      Object.assign(this, { track: this.earlier.track, latency: this.earlier.latency, complete: true });
      this.#play();
      return;
    }
    const rate = this.sound.sampleRate;
    this.stream = await openStream(this.address, { ...this.start, rate, encoding: "pcm_f32le" }, {
      frame: (frame) => this.#receive(frame),
      ended: () => this.#complete(),
      failed: (error) => this.on.failed(this, error),
    });
    if (this.over) {
      this.stream.close(); // stopped while the server was still answering
      return;
    }
    const { names, fps, look_ahead_ms } = this.stream.ready;
    this.track = new Track(names, fps, Infinity);
    this.latency = new Latency(look_ahead_ms / 1000);
    this.#send(rate);
  }

  async #send(rate) {
    const step = Math.round(PIECE * rate);
    for (let at = 0; at < this.samples.length; at += step) {
      while (this.stream.waiting > MOST_WAITING) await new Promise((go) => setTimeout(go, 10));
      if (this.stream.closed) return;
      this.stream.send(this.samples.slice(at, at + step));
    }
    this.stream.end();
  }

  #receive(frame) {
    this.track.add(frame);
    this.latency.arrivals.push(performance.now() / 1000);
    if (this.latency.arrivals.length > 400) this.latency.arrivals.shift();
    if (!this.node && !this.over && frame.time >= AHEAD) this.#play();
  }

  #complete() {
    this.complete = true;
    this.stream.close();
    if (!this.node && !this.over) this.#play();
  }

  #play() {
    this.node = this.context.createBufferSource();
    this.node.buffer = this.sound;
    this.node.connect(this.context.destination);
    this.node.connect(this.tap);
    this.started = this.context.currentTime + 0.05;
    this.node.start(this.started);
  }

  /** Media time to show now: of the sound at the ear. */
  now() {
    if (!this.node) return null;
    const time = audibleNow(this.context) - this.started;
    // Where the server falls behind, the sound waits for the face.
    if (!this.complete && !this.stalled && time > this.track.end - 0.1) {
      this.stalled = true;
      this.context.suspend();
    } else if (this.stalled && (this.complete || this.track.end - time > AHEAD)) {
      this.stalled = false;
      this.context.resume();
    }
    if (time > this.sound.duration + 0.3) this.#close();
    return Math.max(time, 0);
  }

  get soundTime() {
    return this.node ? this.context.currentTime - this.started : 0;
  }

  level(time) {
    return this.levels[Math.floor(time / 0.02)] ?? 0;
  }

  stop() {
    this.cancel();
  }

  cancel() {
    if (this.node) {
      this.node.stop();
      this.node.disconnect();
    }
    if (this.stalled) this.context.resume();
    this.#close();
  }

  #close() {
    if (this.over) return;
    this.over = true;
    this.stream?.close();
    this.on.over(this);
  }
}
