// The calm behind the head: a glow that falls off into the corners, drawn in the picture so that recordings have it too.
import { BufferAttribute, BufferGeometry, Mesh, ShaderMaterial, Vector2, Vector3 } from "three";
import { TONEMAP } from "./tonemap.glsl.js";

const linear = (srgb) => new Vector3(...srgb.map((c) => (c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4)));
const COLOURS = {
  light: { glow: linear([0.925, 0.925, 0.915]), corner: linear([0.745, 0.76, 0.775]) },
  dark: { glow: linear([0.315, 0.345, 0.375]), corner: linear([0.068, 0.078, 0.092]) },
};

export class Backdrop {
  constructor() {
    const geometry = new BufferGeometry();
    geometry.setAttribute("position", new BufferAttribute(new Float32Array([-1, -1, 0, 3, -1, 0, -1, 3, 0]), 3));
    this.uniforms = { glow: { value: new Vector3() }, corner: { value: new Vector3() }, size: { value: new Vector2(1, 1) }, middle: { value: 0.42 } };
    const material = new ShaderMaterial({
      uniforms: this.uniforms,
      depthTest: false,
      depthWrite: false,
      vertexShader: "void main() { gl_Position = vec4(position.xy, 1.0, 1.0); }",
      fragmentShader: /* glsl */ `
        ${TONEMAP}
        uniform vec3 glow, corner;
        uniform vec2 size;
        uniform float middle;
        void main() {
          vec2 p = (gl_FragCoord.xy - size * vec2(0.5, 1.0 - middle)) / max(size.x, size.y);
          float fall = smoothstep(0.0, 1.0, length(p * vec2(1.05, 1.0)) / 0.78);
          // Mixed by ratio, not by sum: equal steps to the eye.
          gl_FragColor = vec4(toPixel(glow * pow(corner / glow, vec3(fall))), 1.0);
        }`,
    });
    this.mesh = new Mesh(geometry, material);
    this.mesh.frustumCulled = false;
    this.mesh.renderOrder = -1;
  }

  /** theme: "light" or "dark". */
  paint(theme) {
    this.uniforms.glow.value.copy(COLOURS[theme].glow);
    this.uniforms.corner.value.copy(COLOURS[theme].corner);
  }
}
