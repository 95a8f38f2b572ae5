// A source of text in the browser's own voice: the server makes the motion, the voice tells where it is, word by word.
import { Track } from "../live/track.js";

const PATIENCE = 0.5; // seconds that a word may take beyond twice its usual time

export const hasVoice = () => "speechSynthesis" in window && typeof SpeechSynthesisUtterance === "function";

export class SpeechSynthSource {
  kind = "spoken";

  /** api: see live/api.js. style, life: as in a start message. */
  constructor(api, text, choices, on) {
    Object.assign(this, { api, text, choices, on });
    this.place = 0; // media time
    this.rate = 1; // of the motion, to go as fast as the voice does
    this.behind = 0; // seconds to catch up with, in small steps
    this.word = -1; // the last one that the voice reported
  }

  async begin() {
    const { fps, names, weights, words, seconds } = await this.api.post("/v1/speak", { text: this.text });
    if (this.over) return; // stopped while the server was still answering
    this.words = words;
    this.seconds = seconds;
    this.track = new Track(names, fps, Infinity);
    weights.forEach((row, index) => this.track.add({ index, time: index / fps, weights: Float32Array.from(row), pose: null }));
    const said = new SpeechSynthesisUtterance(this.text);
    const voice = speechSynthesis.getVoices().find((one) => one.voiceURI === this.choices.voice);
    if (voice) {
      said.voice = voice;
      said.lang = voice.lang;
    } else said.lang = "en-US";
    said.onstart = () => {
      this.before = performance.now() / 1000;
      this.started = this.before;
    };
    said.onboundary = (event) => event.name !== "sentence" && this.#at(event.charIndex);
    said.onend = () => this.#close();
    said.onerror = (event) => {
      if (event.error === "canceled" || event.error === "interrupted") this.#close();
      else this.on.failed(this, new Error("The browser's voice could not speak this."));
    };
    speechSynthesis.cancel(); // what an earlier page left
    this.said = said; // kept: some browsers lose the events of an utterance that nothing holds
    speechSynthesis.speak(said);
  }

  #at(char) {
    const place = this.words.findLastIndex((one) => one.char <= char);
    if (place < 0 || this.before === undefined) return;
    const word = this.words[place];
    this.now();
    const now = this.before;
    this.word = place;
    this.reported = now;
    this.behind = word.start - this.place;
    // The voice's pace from the words so far, once there is enough of it.
    const spent = now - this.started;
    if (spent > 0.8 && word.start > 0.5) this.rate = Math.min(Math.max(word.start / spent, 0.5), 2);
  }

  now() {
    if (this.before === undefined) return null;
    const now = performance.now() / 1000;
    const passed = now - this.before;
    this.before = now;
    const step = this.behind * Math.min(1, 10 * passed);
    this.behind -= step;
    this.place = Math.min(Math.max(this.place + this.rate * passed + step, 0), this.#limit(now));
    return this.place;
  }

  /** A voice that reports its words has not begun the next one: the mouth waits for it, unless the voice has fallen silent about it. */
  #limit(now) {
    const next = this.words[this.word + 1];
    if (this.word < 0 || !next) return this.seconds;
    const usual = (next.start - this.words[this.word].start) / this.rate;
    return now - this.reported < 2 * usual + PATIENCE ? Math.max(next.start, this.place) : this.seconds;
  }

  get soundTime() {
    return this.place;
  }

  level() {
    return 0; // the browser does not let its voice be heard by pages
  }

  stop() {
    this.cancel();
  }

  cancel() {
    speechSynthesis.cancel();
    this.#close();
  }

  #close() {
    if (this.over) return;
    this.over = true;
    this.on.over(this);
  }
}
