// When a live frame is shown: as soon as can be kept up without stutter. Sound passes at a steady pace, messages do not; the
// face follows the sound's own clock by the look-ahead, one frame to interpolate to, and what messages took lately.
const WINDOW = 3; // seconds over which the sound's clock is looked at
const SPARE = 0.012; // seconds kept in hand beyond the slowest frames

export class Pace {
  constructor(lookAhead, frame) {
    this.fixed = lookAhead + frame;
    this.beyond = 0.03;
    this.offsets = []; // [page's clock, page's clock - media time]: the smallest is that of a piece that came at once
    this.offset = null;
    this.before = null;
  }

  /** Seconds by which the face follows the sound. */
  get delay() {
    return this.fixed + this.beyond + SPARE;
  }

  soundSent(end, now) {
    this.offsets.push([now, now - end]);
    while (now - this.offsets[0][0] > WINDOW) this.offsets.shift();
  }

  /** slow: seconds beyond the look-ahead that all but few frames stayed under. */
  frameReceived(slow) {
    if (slow === null) return;
    // Room is made quickly and given back slowly: a stutter is seen, a few milliseconds are not.
    this.beyond += (slow - this.beyond) * (slow > this.beyond ? 0.1 : 0.004);
  }

  /** Media time to show at a moment of the page's clock. */
  now(now) {
    if (!this.offsets.length) return 0;
    const offset = Math.min(...this.offsets.map(([, one]) => one));
    const seconds = this.before === null ? 1 : now - this.before;
    this.before = now;
    this.offset = this.offset === null ? offset : this.offset + (offset - this.offset) * Math.min(1, 2 * seconds);
    this.followed = this.followed === undefined ? this.delay : this.followed + (this.delay - this.followed) * Math.min(1, 3 * seconds);
    return now - this.offset - this.followed;
  }
}
