// A face at rest: blinks, gaze, head motion and breath as jambatalk/idle moves them in silence, with the same numbers and the
// same chances. Only while nobody speaks: during speech the server's own frames hold this motion already.
import constants from "../generated/idle.json";
import { CounterRNG, draw, streamKey } from "./rng.js";

const TICK = 0.01; // seconds
const { blinks: BLINKS, gaze: GAZE, head: HEAD, breath: BREATH, eyes: EYES } = constants;
const degrees = (radians) => (radians * 180) / Math.PI;
const clip = (value) => Math.min(Math.max(value, -1), 1);

/** 0..1 -> 0..1, at rest at both ends. */
function minimumJerk(x) {
  if (x <= 0) return 0;
  if (x >= 1) return 1;
  return x * x * x * (10 + x * (6 * x - 15));
}

class Blinks {
  constructor(seed) {
    this.rng = new CounterRNG(seed, 0);
    this.wait = this.rng.uniform(0.3, 1) * BLINKS.median;
    this.start = -10;
    [this.close] = BLINKS.close;
    [this.open] = BLINKS.open;
    this.twice = false;
  }

  tick(time, strength) {
    if (time < this.start + this.close + BLINKS.closed + this.open) return;
    this.wait -= TICK * strength;
    if (this.wait > 0) return;
    this.start = time;
    this.close = this.rng.uniform(...BLINKS.close);
    this.open = this.rng.uniform(...BLINKS.open);
    this.twice = !this.twice && this.rng.uniform() < BLINKS.double;
    const pair = this.rng.uniform(0.05, 0.25) * strength;
    const interval = this.rng.logNormal(BLINKS.median, BLINKS.spread);
    this.wait = this.twice ? pair : interval;
  }

  /** How far the lids are closed, 0..1. */
  at(time) {
    const x = time - this.start;
    return x <= this.close ? minimumJerk(x / this.close) : 1 - minimumJerk((x - this.close - BLINKS.closed) / this.open);
  }
}

class Gaze {
  constructor(seed) {
    this.rng = new CounterRNG(seed, 1);
    this.from = [0, 0];
    this.to = [0, 0];
    this.start = -1;
    this.lasts = 0.021;
    this.until = this.rng.uniform(0.3, 1);
  }

  tick(time) {
    if (time < this.start + this.lasts || time < this.until) return;
    const [side, down, up] = GAZE.spot;
    this.from = this.to;
    this.to = [this.rng.uniform(-side, side), this.rng.uniform(-down, up)];
    this.start = time;
    this.lasts = 0.021 + 0.0022 * Math.hypot(this.to[0] - this.from[0], this.to[1] - this.from[1]);
    this.until = time + Math.min(this.rng.logNormal(...GAZE.fixation), 4);
  }

  /** Degrees to the face's own left and up. */
  at(time, strength) {
    const share = minimumJerk((time - this.start) / this.lasts);
    return [0, 1].map((i) => strength * (this.from[i] + share * (this.to[i] - this.from[i])));
  }
}

class Head {
  constructor(seed) {
    this.keys = [0, 1, 2].map((axis) => streamKey(seed, 3 + axis));
    this.points = [null, null, null]; // of the spline around the present, [index, values]
  }

  /** Pitch, yaw and roll in radians. */
  at(time, strength) {
    return [0, 1, 2].map((axis) => strength * HEAD.calm * HEAD.drift[axis] * this.#drift(axis, time));
  }

  // -1..1: uniform cubic B-spline through seeded values.
  #drift(axis, time) {
    const position = time / HEAD.step[axis];
    const index = Math.trunc(position);
    if (this.points[axis]?.[0] !== index) {
      this.points[axis] = [index, [0, 1, 2, 3].map((k) => 2 * draw(this.keys[axis], index + k) - 1)];
    }
    const [a, b, c, d] = this.points[axis][1];
    const x = position - index, y = 1 - x;
    return (y ** 3 * a + (3 * x ** 3 - 6 * x ** 2 + 4) * b + (3 * y ** 3 - 6 * y ** 2 + 4) * c + x ** 3 * d) / 6;
  }
}

class Breath {
  constructor(seed) {
    this.rng = new CounterRNG(seed, 6);
    this.inward = false;
    this.start = 0;
    this.lasts = this.rng.uniform(0.3, 1) * BREATH.out;
    this.origin = this.air = this.before = 0.5;
    this.rate = 0;
  }

  tick(time) {
    const share = (time - this.start) / this.lasts;
    const goal = this.origin + ((this.inward ? 1 : 0) - this.origin) * minimumJerk(share);
    if (share >= 1) {
      this.inward = !this.inward;
      this.start = time;
      this.lasts = this.rng.logNormal(this.inward ? BREATH.in : BREATH.out, BREATH.spread);
      this.origin = goal;
    }
    this.before = this.air;
    this.rate += TICK * ((goal - this.air) / (BREATH.soft * BREATH.soft) - (2 * this.rate) / BREATH.soft);
    this.air += TICK * this.rate;
  }

  /** The air in the lungs, 0..1. share: how far between the last tick and the next. */
  at(share, strength) {
    return strength * (this.before + share * (this.air - this.before));
  }
}

export class Idle {
  constructor(seed = constants.seed) {
    this.blinks = new Blinks(seed);
    this.gaze = new Gaze(seed);
    this.head = new Head(seed);
    this.breath = new Breath(seed);
    this.time = 0;
    this.ticks = 0;
  }

  /** The next picture. seconds: since the last one. */
  step(seconds, strengths) {
    return this.at(this.time + seconds, strengths);
  }

  /**
   * The face at a time, not before the last one. strengths: {blinks, gaze, head, breath}, 0 none, 1 natural.
   * Gives {shapes: {name: weight}, pose: [pitch, yaw, roll] in radians}.
   */
  at(time, strengths) {
    this.time = time;
    const position = time / TICK;
    while (this.ticks + 1 <= position + 1e-6) {
      this.ticks += 1;
      const now = this.ticks / 100;
      if (strengths.blinks > 0) this.blinks.tick(now, strengths.blinks);
      if (strengths.gaze > 0) this.gaze.tick(now);
      if (strengths.breath > 0) this.breath.tick(now);
    }
    const air = strengths.breath > 0 ? this.breath.at(Math.min(Math.max(position - this.ticks, 0), 1), strengths.breath) : 0;
    const pose = this.head.at(time, strengths.head);
    pose[0] -= BREATH.lift * air;
    const closed = strengths.blinks > 0 ? this.blinks.at(time) : 0;
    const shapes = { eyeBlinkLeft: closed, eyeBlinkRight: closed, browInnerUp: BREATH.brow * air };
    if (strengths.gaze > 0) this.#look(shapes, this.gaze.at(time, strengths.gaze), pose, closed, Math.min(strengths.gaze, 1));
    return { shapes, pose };
  }

  // The eyes turn against the head, so that the viewer stays looked at; the lids go along with the height.
  #look(shapes, [left, up], [pitch, yaw], closed, against) {
    const x = clip((left - against * degrees(yaw)) / EYES.sideward);
    const degreesUp = up + against * degrees(pitch);
    const y = clip(degreesUp / (degreesUp > 0 ? EYES.upward : EYES.downward));
    shapes.eyeLookOutLeft = shapes.eyeLookInRight = Math.max(x, 0);
    shapes.eyeLookInLeft = shapes.eyeLookOutRight = Math.max(-x, 0);
    shapes.eyeLookUpLeft = shapes.eyeLookUpRight = Math.max(y, 0);
    shapes.eyeLookDownLeft = shapes.eyeLookDownRight = Math.max(-y, 0);
    const lid = Math.max(closed, EYES.lidDown * Math.max(-y, 0));
    shapes.eyeBlinkLeft = shapes.eyeBlinkRight = lid;
    shapes.eyeWideLeft = shapes.eyeWideRight = EYES.lidUp * Math.max(y, 0) * (1 - closed);
  }
}
