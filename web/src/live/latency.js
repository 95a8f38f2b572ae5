// What a frame costs beyond its fixed look-ahead: from the moment its last sound left the page to the moment it came.
export class Latency {
  /** lookAhead: seconds. */
  constructor(lookAhead) {
    this.lookAhead = lookAhead;
    this.sent = []; // [media time of the sound's end, seconds of the page's clock], in order
    this.latest = []; // the latest measurements, seconds
    this.arrivals = [];
  }

  soundSent(end, now) {
    this.sent.push([end, now]);
    if (this.sent.length > 2000) this.sent.splice(0, 1000);
  }

  frameReceived(time, now) {
    this.arrivals.push(now);
    if (this.arrivals.length > 120) this.arrivals.shift();
    const needed = this.sent.find(([end]) => end >= time + this.lookAhead - 1e-6);
    if (!needed) return; // due at the end: it waited for no sound
    this.latest.push(Math.max(now - needed[1], 0));
    if (this.latest.length > 100) this.latest.shift();
  }

  /** A quantile (0..1) of the latest measurements in seconds, or null. */
  quantile(share) {
    if (!this.latest.length) return null;
    const sorted = this.latest.toSorted((a, b) => a - b);
    return sorted[Math.min(Math.floor(share * sorted.length), sorted.length - 1)];
  }

  /** Frames that came a second over the last two. */
  rate(now) {
    const recent = this.arrivals.filter((at) => now - at < 2);
    return recent.length > 1 ? (recent.length - 1) / Math.max(recent.at(-1) - recent[0], 0.2) : 0;
  }
}
