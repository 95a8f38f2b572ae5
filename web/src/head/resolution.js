// Movement matters more than sharpness: a device that cannot draw the picture often enough draws fewer pixels.
const SLOW = 0.036; // seconds between two pictures
const PATIENCE = 45; // slow pictures on end before something is done

export class Resolution {
  constructor() {
    this.slow = 0;
  }

  /** seconds since the last picture, pixels of the picture for one of the page -> the same from now on. */
  after(seconds, sharpest) {
    this.slow = seconds > SLOW ? this.slow + 1 : Math.max(this.slow - 2, 0);
    if (this.slow < PATIENCE) return sharpest;
    this.slow = 0;
    return Math.max(Math.min(sharpest, window.devicePixelRatio || 1) * 0.75, 0.5);
  }
}
