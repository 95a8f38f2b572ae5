// What the head wears at a moment: the take's frame, or rest with signs of life, and soft ways from one to the other.
import { Idle } from "./idle.js";

const CROSSING = 0.25; // seconds from a take to rest and back

export class Actor {
  constructor() {
    this.idle = new Idle();
    this.share = 0; // 0 rest .. 1 the take
    this.map = null;
    this.spoken = null;
    this.pose = [0, 0, 0];
    this.weights = null;
  }

  /** Clothe the head. take: what plays, or null. life: strengths or null. Gives what was shown, or null with no take. */
  play(head, take, life, seconds, calm) {
    if (this.weights?.length !== head.count) this.weights = new Float32Array(head.count);
    const time = take?.now() ?? null;
    const talking = time !== null && take.track && !take.over;
    if (talking) {
      if (this.map?.names !== take.track.names || this.map.head !== head) {
        this.map = { names: take.track.names, head, places: take.track.names.map((name) => head.shape(name)) };
        this.spoken = new Float32Array(take.track.names.length);
      }
      this.taken = take.track.at(time, this.spoken);
    }
    const step = seconds / CROSSING;
    this.share = Math.min(Math.max(this.share + (talking ? 2 * step : -step), 0), 1);
    const share = this.share * this.share * (3 - 2 * this.share);

    this.weights.fill(0);
    const pose = [0, 0, 0];
    if (this.map?.head === head && share > 0) {
      this.map.places.forEach((place, k) => place !== undefined && (this.weights[place] += share * this.spoken[k]));
      (this.taken ?? []).forEach((angle, axis) => (pose[axis] += share * angle));
    }
    // Where the take brings no life of its own (spoken text), the waiting face's goes on.
    const rest = take?.kind === "spoken" ? 1 : 1 - share;
    const waiting = life && !calm ? this.idle.step(seconds, life) : null;
    if (waiting && rest > 0) {
      for (const [name, weight] of Object.entries(waiting.shapes)) {
        const place = head.shape(name);
        if (place !== undefined) this.weights[place] = Math.min(this.weights[place] + rest * weight, 1);
      }
      waiting.pose.forEach((angle, axis) => (pose[axis] += rest * angle));
    }
    const gap = head.wear(this.weights, pose);
    return talking ? { time, gap, share, pose } : null;
  }
}
