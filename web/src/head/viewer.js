// The picture: head, lights, backdrop and camera on one canvas.
import { PerspectiveCamera, Scene, Vector3, WebGLRenderer } from "three";
import { Backdrop } from "./backdrop.js";
import { Orbit } from "./orbit.js";
import { Shadow } from "./shadow.js";
import { surfaceMaterial } from "./surface.js";

const FIELD = 18; // degrees, the lens of our videos

export class Viewer {
  constructor(canvas) {
    this.canvas = canvas;
    this.renderer = new WebGLRenderer({ canvas, antialias: true, powerPreference: "high-performance", alpha: false });
    this.scene = new Scene();
    this.camera = new PerspectiveCamera(FIELD, 1, 0.05, 5);
    this.orbit = new Orbit(canvas);
    this.backdrop = new Backdrop();
    this.scene.add(this.backdrop.mesh);
    this.head = null;
    this.shadow = null;
    this.margins = { top: 0, bottom: 0 };
    this.fitted = "";
    this.sharpest = 2; // pixels of the picture for one of the page, at most
  }

  /** Draw another head. */
  show(head) {
    if (this.head) {
      this.scene.remove(this.head.root);
      this.head.dispose();
    }
    if (!head.lit) {
      const ball = head.mesh.geometry.boundingSphere;
      this.shadow ??= new Shadow(new Vector3(), 0.3);
      this.shadow.centre.copy(ball.center);
      head.mesh.material = head.materialNames.map((name) => surfaceMaterial(name, this.shadow.range));
    }
    this.head = head;
    this.scene.add(head.root);
  }

  /** Pixels at the canvas's top and bottom that controls cover: the head keeps out of there. */
  keepFree(top, bottom) {
    this.margins = { top, bottom };
    this.fitted = "";
  }

  #fit() {
    const width = this.canvas.clientWidth, height = this.canvas.clientHeight;
    const ratio = Math.min(window.devicePixelRatio || 1, this.sharpest);
    const now = [width, height, ratio, this.margins.top, this.margins.bottom].join();
    if (now === this.fitted || !width || !height) return;
    this.fitted = now;
    this.renderer.setPixelRatio(ratio);
    this.renderer.setSize(width, height, false);
    this.camera.aspect = width / height;
    this.backdrop.uniforms.size.value.set(width * ratio, height * ratio);
  }

  // A portrait: the whole head and a little shoulder in what the controls leave free, in any shape of window.
  #aim() {
    const { top, chin, centre, width: wide, unit } = this.head.anatomy;
    const width = this.canvas.clientWidth, height = this.canvas.clientHeight;
    const free = Math.max(height - this.margins.top - this.margins.bottom, 0.3 * height);
    const above = top + 0.2 * unit, under = chin - 0.22 * unit;
    // Metres per pixel: limited by the free height, or by the width.
    const scale = Math.max((above - under) / free, (1.2 * wide) / width);
    const middle = 0.5 * (above + under);
    const distance = (0.5 * height * scale) / Math.tan((0.5 * FIELD * Math.PI) / 180);
    const shift = 0.5 * (this.margins.bottom - this.margins.top); // pixels: the free part's middle above the canvas's
    this.camera.setViewOffset(width, height, 0, shift, width, height);
    this.backdrop.uniforms.middle.value = 0.5 - shift / height;
    const { yaw, pitch, zoom } = this.orbit;
    // Nearer, the mouth and eyes stay in the middle rather than the crown.
    const near = Math.min(Math.max((1 - zoom) / 0.58, 0), 1);
    const target = new Vector3(centre[0], middle + near * (centre[1] - middle), centre[2]);
    const away = distance * zoom, tilt = pitch + 0.035;
    this.camera.position.set(
      target.x + away * Math.sin(yaw) * Math.cos(tilt), target.y + away * Math.sin(tilt), target.z + away * Math.cos(yaw) * Math.cos(tilt),
    );
    this.camera.lookAt(target);
    this.camera.updateMatrixWorld();
  }

  draw(seconds, calm) {
    this.#fit();
    if (!this.head) {
      this.renderer.render(this.scene, this.camera);
      return;
    }
    this.orbit.glide(seconds, calm);
    this.#aim();
    // A character has lights and materials of its own.
    if (!this.head.lit) {
      this.backdrop.mesh.visible = false;
      this.shadow.draw(this.renderer, this.scene, this.head.mesh, this.camera);
      this.backdrop.mesh.visible = true;
    }
    this.renderer.render(this.scene, this.camera);
  }
}
