// What the head shows at a moment: the source's frame, or a resting face, and soft ways from one to the other.
import { Idle } from "./idle.js";

const CROSSING = 0.25; // seconds from a source to rest and back

export class MotionMixer {
  constructor() {
    this.idle = new Idle();
    this.share = 0; // 0 rest .. 1 the source
    this.map = null;
    this.frame = null;
    this.pose = [0, 0, 0];
    this.weights = null;
  }

  /** Move the head. source: what plays, or null. life: strengths or null. Gives what was shown, or null with no source. */
  apply(head, source, life, seconds, calm) {
    if (this.weights?.length !== head.count) this.weights = new Float32Array(head.count);
    const time = source?.now() ?? null;
    const talking = time !== null && source.track && !source.over;
    if (talking) {
      if (this.map?.names !== source.track.names || this.map.head !== head) {
        this.map = { names: source.track.names, head, places: source.track.names.map((name) => head.shape(name)) };
        this.frame = new Float32Array(source.track.names.length);
      }
      this.framePose = source.track.at(time, this.frame);
    }
    const step = seconds / CROSSING;
    this.share = Math.min(Math.max(this.share + (talking ? 2 * step : -step), 0), 1);
    const share = this.share * this.share * (3 - 2 * this.share);

    this.weights.fill(0);
    const pose = [0, 0, 0];
    if (this.map?.head === head && share > 0) {
      this.map.places.forEach((place, k) => place !== undefined && (this.weights[place] += share * this.frame[k]));
      (this.framePose ?? []).forEach((angle, axis) => (pose[axis] += share * angle));
    }
    // Where the source has no idle motion of its own (spoken text), the resting face's goes on.
    const rest = source?.kind === "spoken" ? 1 : 1 - share;
    const idle = life && !calm ? this.idle.step(seconds, life) : null;
    if (idle && rest > 0) {
      for (const [name, weight] of Object.entries(idle.shapes)) {
        const place = head.shape(name);
        if (place !== undefined) this.weights[place] = Math.min(this.weights[place] + rest * weight, 1);
      }
      idle.pose.forEach((angle, axis) => (pose[axis] += rest * angle));
    }
    const gap = head.pose(this.weights, pose);
    return talking ? { time, gap, share, pose } : null;
  }
}
