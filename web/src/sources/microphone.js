// A source from the microphone: sound goes out as it comes, the face follows a steady time behind.
import captureUrl from "../sound/capture.worklet.js?url";
import { openStream } from "../live/stream.js";
import { Latency } from "../live/latency.js";
import { Track } from "../live/track.js";
import { output } from "../sound/output.js";
import { Pace } from "./pace.js";

const WORDS = {
  NotAllowedError: "The microphone is not allowed. Allow it for this page in the browser's address bar, then try again.",
  NotFoundError: "No microphone was found. Plug one in, or play the sample or a file.",
  NotReadableError: "The microphone is there but cannot be read: another program may be using it.",
};
const INSECURE = "Browsers give the microphone only to https pages and to localhost. Open this page that way, or play a file.";

async function listen(choices) {
  if (!navigator.mediaDevices?.getUserMedia) throw new Error(INSECURE);
  try {
    return await navigator.mediaDevices.getUserMedia({
      audio: {
        channelCount: 1, echoCancellation: choices.echoCancellation, noiseSuppression: choices.noiseSuppression,
        autoGainControl: choices.noiseSuppression,
      },
    });
  } catch (error) {
    throw new Error(WORDS[error.name] ?? `The microphone could not be opened (${error.name}).`, { cause: error });
  }
}

export class MicSource {
  kind = "microphone";

  /** choices: {echoCancellation, noiseSuppression, hearMyself}. */
  constructor(address, start, choices, on) {
    Object.assign(this, { address, start, choices, on });
    this.levels = []; // of every 20 ms sent
    this.sent = 0; // seconds
    this.stopping = false;
  }

  async begin() {
    this.media = await listen(this.choices);
    const { context, tap } = await output();
    this.context = context;
    await context.audioWorklet.addModule(captureUrl);
    this.stream = await openStream(this.address, { ...this.start, rate: context.sampleRate, encoding: "pcm_s16le" }, {
      frame: (frame) => this.#receive(frame),
      ended: () => (this.ended = true),
      failed: (error) => this.on.failed(this, error),
    }).catch((error) => {
      this.#release();
      throw error;
    });
    if (this.over) {
      // Stopped while the server was still answering.
      this.#release();
      this.stream.close();
      return;
    }
    const { names, fps, look_ahead_ms } = this.stream.ready;
    this.track = new Track(names, fps);
    this.latency = new Latency(look_ahead_ms / 1000);
    this.pace = new Pace(look_ahead_ms / 1000, 1 / fps);
    this.node = context.createMediaStreamSource(this.media);
    this.capture = new AudioWorkletNode(context, "capture", { numberOfOutputs: 0, channelCount: 1, channelCountMode: "explicit" });
    this.capture.port.onmessage = ({ data }) => this.#sendSound(data);
    // Delayed as the face is, for a recording and for whoever wants to hear themselves.
    this.delay = context.createDelay(2);
    this.delay.delayTime.value = this.pace.delay;
    this.delay.connect(tap);
    if (this.choices.hearMyself) this.delay.connect(context.destination);
    this.node.connect(this.delay);
    this.node.connect(this.capture);
    this.media.getAudioTracks()[0].onended = () => {
      if (!this.stopping) this.on.failed(this, new Error("The microphone went away."));
    };
  }

  #sendSound({ samples, level }) {
    if (this.stopping) return;
    this.stream.send(samples);
    const now = performance.now() / 1000;
    this.sent += samples.length / this.context.sampleRate;
    this.levels.push(level);
    this.latency.soundSent(this.sent, now);
    this.pace.soundSent(this.sent, now);
  }

  #receive(frame) {
    const now = performance.now() / 1000;
    this.track.add(frame);
    this.latency.frameReceived(frame.time, now);
    this.pace.frameReceived(this.latency.quantile(0.95));
    if (Math.abs(this.delay.delayTime.value - this.pace.delay) > 0.02) {
      this.delay.delayTime.setTargetAtTime(this.pace.delay, this.context.currentTime, 0.1);
    }
  }

  /** Media time to show now, or null before there is any. */
  now() {
    if (!this.pace || this.track.end < 0) return null;
    const time = this.pace.now(performance.now() / 1000);
    if (this.stopping && (this.ended || this.stream.closed) && time > this.track.end) this.#close();
    return time;
  }

  /** Media time of the sound that has left the page. */
  get soundTime() {
    return this.sent;
  }

  level(time) {
    return this.levels[Math.min(Math.floor(time / 0.02), this.levels.length - 1)] ?? 0;
  }

  /** End of speech: the frames that are due are still shown. */
  stop() {
    if (this.stopping) return;
    this.stopping = true;
    this.#release();
    this.stream?.end();
    if (!this.track || this.track.end < 0) this.#close();
  }

  /** Stop now. */
  cancel() {
    this.stopping = true;
    this.#release();
    this.#close();
  }

  #release() {
    for (const track of this.media?.getTracks() ?? []) track.stop();
    this.node?.disconnect();
    this.delay?.disconnect();
    this.capture?.port.close();
  }

  #close() {
    if (this.over) return;
    this.over = true;
    this.stream?.close();
    this.on.over(this);
  }
}
