// Runs beside the sound card: hands on 20 ms of 16-bit sound at a time, with how loud it is.
class Capture extends AudioWorkletProcessor {
  constructor() {
    super();
    this.piece = new Int16Array(Math.round(0.02 * sampleRate));
    this.filled = 0;
    this.power = 0;
  }

  process(inputs) {
    const input = inputs[0][0];
    if (!input) return true; // the microphone is not connected yet
    for (let i = 0; i < input.length; i++) {
      const sample = Math.max(-1, Math.min(1, input[i]));
      this.power += sample * sample;
      this.piece[this.filled++] = Math.round(sample * 32767);
      if (this.filled === this.piece.length) {
        const level = Math.sqrt(this.power / this.piece.length);
        this.port.postMessage({ samples: this.piece, level }, [this.piece.buffer]);
        this.piece = new Int16Array(Math.round(0.02 * sampleRate));
        this.filled = 0;
        this.power = 0;
      }
    }
    return true;
  }
}

registerProcessor("capture", Capture);
