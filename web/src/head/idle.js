// A face that waits: blinks, small looks, a breath. Only while nothing is said; in a take the server's own life layers do this.
const eased = (x) => x * x * (3 - 2 * x);
const between = (low, high) => low + (high - low) * Math.random();

export class Idle {
  constructor() {
    this.time = 0;
    this.blinkAt = 1.5;
    this.lookAt = 2;
    this.look = [0, 0];
    this.from = [0, 0];
    this.since = 10;
  }

  /** seconds since the last picture; life: strengths. Gives {shapes: {name: weight}, pose: [pitch, yaw, roll]}. */
  step(seconds, life) {
    this.time += seconds;
    this.since += seconds;
    const t = this.time;
    let lid = 0;
    if (life.blinks > 0 && t > this.blinkAt) {
      const s = t - this.blinkAt;
      lid = s < 0.08 ? eased(s / 0.08) : s < 0.11 ? 1 : s < 0.27 ? 1 - eased((s - 0.11) / 0.16) : 0;
      if (s > 0.3) this.blinkAt = t + between(2.2, 6) / life.blinks;
    }
    if (t > this.lookAt) {
      this.from = this.look;
      const away = Math.random() < 0.4;
      this.look = away ? [between(-0.34, 0.34), between(-0.12, 0.16)] : [between(-0.05, 0.05), between(-0.04, 0.04)];
      this.since = 0;
      this.lookAt = t + (away ? between(0.7, 1.6) : between(1.4, 3.6));
    }
    const part = eased(Math.min(this.since / 0.05, 1));
    const [x, y] = [0, 1].map((i) => life.gaze * (this.from[i] + part * (this.look[i] - this.from[i])));
    // Slow waves of lengths that do not divide each other never quite repeat.
    const sway = (a, b) => 0.6 * Math.sin(t * a) + 0.4 * Math.sin(t * b + 1.3);
    const breath = Math.sin((t * 2 * Math.PI) / 4.1);
    const plus = (v) => Math.max(v, 0);
    return {
      shapes: {
        eyeBlinkLeft: lid, eyeBlinkRight: lid,
        eyeLookOutLeft: plus(x), eyeLookInRight: plus(x), eyeLookInLeft: plus(-x), eyeLookOutRight: plus(-x),
        eyeLookUpLeft: plus(y), eyeLookUpRight: plus(y), eyeLookDownLeft: plus(-y), eyeLookDownRight: plus(-y),
        browInnerUp: 0.02 * life.breath * (1 + breath),
      },
      pose: [
        life.head * 0.014 * sway(0.61, 0.23) - life.breath * 0.004 * breath,
        life.head * 0.022 * sway(0.43, 0.17) + 0.1 * x, life.head * 0.008 * sway(0.37, 0.29),
      ],
    };
  }
}
