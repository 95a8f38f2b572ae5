// From linear light to the bytes of a picture (jambatalk/render/lighting.py): straight, then an exponential roll-off; dithered.
import { shoulder } from "../generated/materials.json";

export const TONEMAP = /* glsl */ `
vec3 tonemap(vec3 light) {
  const float shoulder = ${shoulder.toFixed(4)};
  vec3 rolled = shoulder + (1.0 - shoulder) * (1.0 - exp(-(light - shoulder) / (1.0 - shoulder)));
  vec3 curve = mix(light, rolled, step(shoulder, light));
  return mix(12.92 * curve, 1.055 * pow(max(curve, 1e-5), vec3(1.0 / 2.4)) - 0.055, step(0.0031308, curve));
}
vec3 toPixel(vec3 light) {
  // Interleaved gradient noise (Jimenez 2014) hides the steps of a dim gradient.
  float noise = fract(52.9829189 * fract(dot(gl_FragCoord.xy, vec2(0.06711056, 0.00583715))));
  return tonemap(max(light, 0.0)) + (noise - 0.5) / 255.0;
}
`;
