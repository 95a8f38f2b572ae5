// The frames of one source in order, and the face between two of them.
const KEPT = 180; // seconds

export class Track {
  /** names: what the weights are called. fps: frames a second. kept: seconds of frames to keep. */
  constructor(names, fps, kept = KEPT) {
    this.names = names;
    this.fps = fps;
    this.kept = kept;
    this.frames = [];
  }

  add(frame) {
    this.frames.push(frame);
    // Cut now and then rather than at every frame.
    if (frame.time - this.frames[0].time > this.kept + 10) {
      const from = this.frames.findIndex((one) => frame.time - one.time <= this.kept);
      this.frames.splice(0, from);
    }
  }

  /** Media time of the newest frame in seconds, -1 with none. */
  get end() {
    return this.frames.length ? this.frames.at(-1).time : -1;
  }

  /** Weights and pose at a media time: a straight line between the frames around it, the outermost beyond them. */
  at(time, weights) {
    const frames = this.frames;
    if (!frames.length) return null;
    let low = 0, high = frames.length - 1;
    while (high - low > 1) {
      const middle = (low + high) >> 1;
      if (frames[middle].time <= time) low = middle;
      else high = middle;
    }
    const a = frames[low], b = frames[high];
    const part = b.time > a.time ? Math.min(Math.max((time - a.time) / (b.time - a.time), 0), 1) : 0;
    for (let k = 0; k < weights.length; k++) weights[k] = a.weights[k] + part * (b.weights[k] - a.weights[k]);
    return a.pose && b.pose ? a.pose.map((angle, axis) => angle + part * (b.pose[axis] - angle)) : null;
  }
}
