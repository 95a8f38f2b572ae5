// The part of the Web Audio API that browser lip-sync programs need, for sound that lies in memory.
//
// Sound goes through in blocks of 128 samples as in a browser, messages between an AudioWorkletNode
// and its processor arrive at once, and the clocks (currentTime, performance.now) are those of the
// sound, so that results do not depend on how fast this machine is.

const BLOCK = 128;
const MIN_DECIBELS = -100; // the defaults of AnalyserNode (Web Audio API, 1.8)
const MAX_DECIBELS = -30;
const TIME_SMOOTHING = 0.8;

const processors = new Map();
let pending = null; // the port of the processor that is being made

/** Makes a program that was written for a browser find what it expects. */
export function installBrowser(rate) {
  globalThis.window = globalThis;
  globalThis.sampleRate = rate;
  globalThis.currentTime = 0;
  performance.now = () => globalThis.currentTime * 1000;
  globalThis.registerProcessor = (name, kind) => processors.set(name, kind);
  globalThis.AudioWorkletProcessor = class {
    constructor() {
      this.port = pending;
    }
  };
  globalThis.AudioWorkletNode = WorkletNode;
  globalThis.AudioContext = Context;
}

function linkedPorts() {
  const ports = [{ onmessage: null }, { onmessage: null }];
  for (const n of [0, 1]) {
    ports[n].postMessage = (data) => ports[1 - n].onmessage?.({ data });
  }
  return ports;
}

class WorkletNode {
  constructor(context, name, options = {}) {
    const kind = processors.get(name);
    const [near, far] = linkedPorts();
    this.port = near;
    this.parameters = new Map();
    for (const { name: key, defaultValue } of kind.parameterDescriptors ?? []) {
      this.parameters.set(key, { value: options.parameterData?.[key] ?? defaultValue });
    }
    pending = far;
    this.processor = new kind(options);
  }

  /** Passes one block to the processor. */
  feed(block) {
    const values = {};
    for (const [key, { value }] of this.parameters) values[key] = Float32Array.of(value);
    this.processor.process([[block]], [], values);
  }
}

/** An AnalyserNode: Blackman window, smoothing over calls, decibels as bytes. */
class Analyser {
  fftSize = 2048;
  smoothed = null;

  constructor() {
    this.recent = new Float32Array(32768);
    this.at = 0;
  }

  get frequencyBinCount() {
    return this.fftSize / 2;
  }

  connect() {}

  feed(block) {
    for (const sample of block) this.recent[this.at++ % this.recent.length] = sample;
  }

  getByteFrequencyData(bytes) {
    const n = this.fftSize;
    const real = new Float64Array(n);
    const imaginary = new Float64Array(n);
    for (let i = 0; i < n; i++) {
      const turn = (2 * Math.PI * i) / n;
      const window = 0.42 - 0.5 * Math.cos(turn) + 0.08 * Math.cos(2 * turn);
      const at = this.at - n + i;
      real[i] = at < 0 ? 0 : this.recent[at % this.recent.length] * window;
    }
    fourier(real, imaginary);
    this.smoothed ??= new Float64Array(n / 2);
    for (let k = 0; k < n / 2; k++) {
      const size = Math.hypot(real[k], imaginary[k]) / n;
      this.smoothed[k] = TIME_SMOOTHING * this.smoothed[k] + (1 - TIME_SMOOTHING) * size;
      const decibels = 20 * Math.log10(this.smoothed[k]);
      const byte = (255 / (MAX_DECIBELS - MIN_DECIBELS)) * (decibels - MIN_DECIBELS);
      bytes[k] = Math.max(0, Math.min(255, Math.floor(byte)));
    }
  }
}

/** Radix-2 transform in place. */
function fourier(real, imaginary) {
  const n = real.length;
  for (let i = 1, j = 0; i < n; i++) {
    let bit = n >> 1;
    for (; j & bit; bit >>= 1) j ^= bit;
    j ^= bit;
    if (i < j) {
      [real[i], real[j]] = [real[j], real[i]];
      [imaginary[i], imaginary[j]] = [imaginary[j], imaginary[i]];
    }
  }
  for (let size = 2; size <= n; size <<= 1) {
    const half = size >> 1;
    for (let k = 0; k < half; k++) {
      const angle = (-2 * Math.PI * k) / size;
      const c = Math.cos(angle);
      const s = Math.sin(angle);
      for (let i = k; i < n; i += size) {
        const j = i + half;
        const re = real[j] * c - imaginary[j] * s;
        const im = real[j] * s + imaginary[j] * c;
        real[j] = real[i] - re;
        imaginary[j] = imaginary[i] - im;
        real[i] += re;
        imaginary[i] += im;
      }
    }
  }
}

class Context {
  constructor() {
    this.sampleRate = globalThis.sampleRate;
    this.destination = {};
  }

  get currentTime() {
    return globalThis.currentTime;
  }

  resume() {}

  createAnalyser() {
    return new Analyser();
  }

  createMediaElementSource() {
    return { connect() {} };
  }
}

/**
 * Plays sound into a node and calls the animation loop as a display does.
 *
 * @param {Float32Array} samples
 * @param {number} displayRate Calls of `draw` a second.
 * @param {(block: Float32Array) => void} feed
 * @param {(seconds: number) => void} draw Gets the seconds since its last call.
 */
export function play(samples, displayRate, feed, draw) {
  const rate = globalThis.sampleRate;
  const frames = Math.ceil((samples.length / rate) * displayRate);
  const block = new Float32Array(BLOCK);
  let drawn = 0;
  for (let at = 0; drawn < frames; at += BLOCK) {
    // A display's frame shows what was played until then.
    while (drawn < frames && drawn / displayRate <= at / rate) {
      globalThis.currentTime = drawn / displayRate;
      draw(1 / displayRate);
      drawn += 1;
    }
    globalThis.currentTime = at / rate;
    block.fill(0);
    block.set(samples.subarray(at, at + BLOCK));
    feed(block);
  }
}
