// Looking around the head: drag, pinch, wheel or arrow keys, within limits, with a soft start and stop.
const YAW = 1.15, UP = 0.5, DOWN = 0.35; // radians
const NEAREST = 0.42, FARTHEST = 1.25; // times the framing's distance
const clamp = (value, low, high) => Math.min(Math.max(value, low), high);

export class Orbit {
  constructor(element) {
    this.wanted = { yaw: 0, pitch: 0, zoom: 1 };
    this.yaw = this.pitch = 0;
    this.zoom = 1;
    const fingers = new Map();
    let apart = 0;
    element.addEventListener("pointerdown", (event) => {
      fingers.set(event.pointerId, event);
      element.setPointerCapture(event.pointerId);
      apart = 0;
    });
    element.addEventListener("pointermove", (event) => {
      const before = fingers.get(event.pointerId);
      if (!before) return;
      fingers.set(event.pointerId, event);
      if (fingers.size === 1) this.turn(-(event.clientX - before.clientX) * 0.006, (event.clientY - before.clientY) * 0.005);
      if (fingers.size === 2) {
        const [a, b] = [...fingers.values()];
        const now = Math.hypot(a.clientX - b.clientX, a.clientY - b.clientY);
        if (apart) this.approach(apart / now);
        apart = now;
      }
    });
    for (const end of ["pointerup", "pointercancel", "lostpointercapture"]) {
      element.addEventListener(end, (event) => {
        fingers.delete(event.pointerId);
        apart = 0;
      });
    }
    element.addEventListener("wheel", (event) => {
      event.preventDefault();
      this.approach(Math.exp(clamp(event.deltaY, -80, 80) * 0.0016));
    }, { passive: false });
    element.addEventListener("dblclick", () => this.reset());
    element.addEventListener("keydown", (event) => {
      const act = {
        ArrowLeft: () => this.turn(-0.12, 0), ArrowRight: () => this.turn(0.12, 0), ArrowUp: () => this.turn(0, 0.09),
        ArrowDown: () => this.turn(0, -0.09), "+": () => this.approach(0.9), "=": () => this.approach(0.9),
        "-": () => this.approach(1.1), Home: () => this.reset(),
      }[event.key];
      if (!act || event.ctrlKey || event.metaKey || event.altKey) return;
      event.preventDefault();
      act();
    });
  }

  turn(yaw, pitch) {
    this.wanted.yaw = clamp(this.wanted.yaw + yaw, -YAW, YAW);
    this.wanted.pitch = clamp(this.wanted.pitch + pitch, -DOWN, UP);
  }

  approach(factor) {
    this.wanted.zoom = clamp(this.wanted.zoom * factor, NEAREST, FARTHEST);
  }

  reset() {
    this.wanted = { yaw: 0, pitch: 0, zoom: 1 };
  }

  /** seconds since the last picture; calm: jump instead of gliding. */
  glide(seconds, calm) {
    const part = calm ? 1 : 1 - Math.exp(-12 * seconds);
    this.yaw += (this.wanted.yaw - this.yaw) * part;
    this.pitch += (this.wanted.pitch - this.pitch) * part;
    this.zoom += (this.wanted.zoom - this.zoom) * part;
  }
}
