// The material of the head: a port of jambatalk/render/shading.py, one shader for all surfaces, told apart by uniforms.
import { DoubleSide, FrontSide, ShaderMaterial, Vector3 } from "three";
import { mouth } from "../generated/materials.json";
import { TONEMAP } from "./tonemap.glsl.js";
import { ABOVE, BELOW, FILL, KEY, RIM } from "./lights.js";
import { materialOf } from "./materials.js";

/** Uniforms that all materials share; the viewer sets them once a picture. */
export const shared = {
  opening: { value: 0 }, // 0 lips closed .. 1 open to the light
  lipPlane: { value: 0 }, // z of the foremost lip, metres, before the head turns
  shadowMap: { value: null },
  toShadow: { value: null }, // world -> shadow map
  shadowTexel: { value: 1 / 1024 },
  keyWorld: { value: new Vector3() },
};

const glsl = (number) => number.toFixed(6);

const VERTEX = /* glsl */ `
#include <common>
#include <skinning_pars_vertex>
attribute vec3 rest; // where a vertex of the neutral face is: what is painted on the skin stays there
attribute vec4 shade; // baked: room's light at rest, the same with the mouth open, behind the lips, what the lids leave an eye
varying vec3 vNormal, vView, vWorld, vRest, vColour;
varying float vAmbient, vDirect;
uniform float opening, lipPlane, inside;

void main() {
  #include <beginnormal_vertex>
  #include <skinbase_vertex>
  #include <skinnormal_vertex>
  #include <begin_vertex>
  float z = transformed.z;
  #include <skinning_vertex>
  vec4 world = modelMatrix * vec4(transformed, 1.0);
  vec4 view = viewMatrix * world;
  gl_Position = projectionMatrix * view;
  vNormal = normalMatrix * objectNormal;
  vView = -view.xyz;
  vWorld = world.xyz;
  vRest = rest;
  vColour = color.rgb;
  vAmbient = mix(shade.x, shade.y, opening);
  vDirect = 1.0;
  if (shade.z > 0.5) {
    // Light falls off behind the lips, less so the wider they open (jambatalk/render/occlusion.py).
    float depth = max(lipPlane - ${glsl(mouth.lipThickness)} - z, 0.0);
    vDirect = mix(${glsl(mouth.deepest)}, 1.0, exp(-depth / mix(${glsl(mouth.reachClosed)}, ${glsl(mouth.reachOpen)}, opening)));
    vAmbient = max(vAmbient, 0.45);
  }
  if (shade.w < 0.999) {
    vAmbient = shade.w;
    vDirect = 0.40 + 0.60 * shade.w;
  }
}
`;

const FRAGMENT = /* glsl */ `
#include <common>
${TONEMAP}
varying vec3 vNormal, vView, vWorld, vRest, vColour;
varying float vAmbient, vDirect;
uniform vec3 wrap, above, below;
uniform vec3 towards[3], colours[3];
uniform float sheen, sharpness, glint, glintSharpness, catchlight, edge, rim, bright, pores;
uniform highp sampler2D shadowMap;
uniform mat4 toShadow;
uniform float shadowTexel;
uniform vec3 keyWorld;

float lobe(float cosine, float power) { return exp(max(power * (cosine - 1.0), -20.0)); }

float hash(vec3 p) {
  p = fract(p * 0.3183099 + 0.1);
  p *= 17.0;
  return fract(p.x * p.y * p.z * (p.x + p.y + p.z));
}
float grain(vec3 p) {
  vec3 i = floor(p), f = fract(p);
  f = f * f * (3.0 - 2.0 * f);
  return mix(
    mix(mix(hash(i), hash(i + vec3(1, 0, 0)), f.x), mix(hash(i + vec3(0, 1, 0)), hash(i + vec3(1, 1, 0)), f.x), f.y),
    mix(mix(hash(i + vec3(0, 0, 1)), hash(i + vec3(1, 0, 1)), f.x), mix(hash(i + vec3(0, 1, 1)), hash(i + vec3(1, 1, 1)), f.x), f.y),
    f.z) - 0.5;
}

// The share of the key light that arrives: 16 places around, each softly open or not.
float keyReach(vec3 worldNormal) {
  float facing = dot(worldNormal, keyWorld);
  if (facing <= -0.35) return 0.0;
  // Asked a little off the surface, more where it turns away, so that it does not shade itself.
  vec3 lifted = vWorld + worldNormal * (0.0014 + 0.0030 * (1.0 - clamp(facing, 0.0, 1.0)));
  vec4 place = toShadow * vec4(lifted, 1.0);
  vec3 at = place.xyz;
  if (any(lessThan(at.xy, vec2(0.01))) || any(greaterThan(at.xy, vec2(0.99)))) return 1.0;
  float turn = 6.2832 * fract(52.9829189 * fract(dot(gl_FragCoord.xy, vec2(0.06711056, 0.00583715))));
  float open = 0.0;
  for (int i = 0; i < 16; i++) {
    float angle = 2.39996 * float(i) + turn;
    vec2 offset = sqrt((float(i) + 0.5) / 16.0) * vec2(cos(angle), sin(angle));
    float blocker = texture2D(shadowMap, at.xy + 2.8 * shadowTexel * offset).r;
    open += clamp(1.0 - (at.z - blocker) * SHADOW_FADE, 0.0, 1.0);
  }
  return open / 16.0;
}

void main() {
  vec3 n = normalize(vNormal);
  #ifdef DOUBLE_SIDED
  if (!gl_FrontFacing) n = -n;
  #endif
  vec3 v = normalize(vView);
  vec3 base = vColour;
  float gloss = 1.0;
  if (pores > 0.0) {
    // The mesh has 2 to 5 mm between its vertices: a fine grain, fixed to the skin, keeps close views from looking like wax.
    float near = clamp(0.55 / length(vView), 0.0, 1.0);
    vec3 p = vRest * 1500.0;
    float a = grain(p), b = grain(p + 31.7), c = grain(p - 17.3);
    n = normalize(n + 0.11 * pores * near * vec3(a, b, c));
    float patches = grain(vRest * 95.0) + 0.6 * grain(vRest * 260.0);
    base *= 1.0 + pores * vec3(0.045, 0.075, 0.075) * patches;
    gloss = 1.0 + 0.5 * pores * grain(vRest * 420.0);
  }
  vec3 worldNormal = normalize((vec4(n, 0.0) * viewMatrix).xyz);
  float reachKey = max(keyReach(worldNormal), bright);
  float direct = vDirect;
  float ambient = vAmbient * direct;
  float graze = 1.0 - max(dot(n, v), 0.0);
  graze *= graze; graze *= graze;
  // Light that bounces in a fold of skin comes out warmer.
  float warm = 1.0 - ambient;
  vec3 lit = ambient * (1.0 + vec3(0.30, 0.04, 0.0) * warm) * mix(below, above, 0.5 + 0.5 * n.y);
  vec3 shine = vec3(0.0);
  for (int i = 0; i < 3; i++) {
    float cosine = dot(n, towards[i]);
    float reach = direct;
    float red = direct;
    if (i == 0) {
      reach *= reachKey;
      // Light scattered under the skin fills a shadow's edge with red first.
      red = reach + (sqrt(reach) - reach) * 0.6 * (1.0 / (1.0 + wrap.b) - 1.0 / (1.0 + wrap.r));
    } else if (i == 1) {
      reach *= 0.35 + 0.65 * ambient;
      red = reach;
    } else {
      reach *= ambient * rim;
      red = reach;
    }
    lit += colours[i] * vec3(red, reach, reach) * max((cosine + wrap) / (1.0 + wrap), 0.0);
    if (cosine > 0.0) {
      // A lamp above the lids would leave the eye without a light: its reflection is drawn nearer the pupil.
      vec3 h = normalize(towards[i] + (1.0 + 1.3 * catchlight) * v);
      float aligned = dot(n, h);
      float shining = sheen * lobe(aligned, sharpness) + glint * gloss * lobe(aligned, glintSharpness);
      shining *= mix(reach, 1.0, catchlight) * (1.0 + 4.0 * edge * graze) * min(4.0 * cosine, 1.0);
      shine += shining * colours[i];
    }
  }
  gl_FragColor = vec4(toPixel(base * lit + shine), 1.0);
}
`;

/** The material of a surface by its name. shadowRange: metres from the nearest to the farthest that the shadow map tells apart. */
export function surfaceMaterial(name, shadowRange) {
  const material = materialOf(name);
  const value = (v) => ({ value: v });
  const numbers = ["sheen", "sharpness", "glint", "glintSharpness", "catchlight", "edge", "rim", "inside", "bright", "pores"];
  return new ShaderMaterial({
    name,
    vertexShader: VERTEX,
    fragmentShader: FRAGMENT,
    vertexColors: true,
    side: material.twoSided ? DoubleSide : FrontSide,
    defines: { SHADOW_FADE: (shadowRange / 0.004).toFixed(2) },
    uniforms: {
      ...shared,
      wrap: value(new Vector3(...material.wrap)),
      above: value(ABOVE),
      below: value(BELOW),
      towards: value([KEY.towards, FILL.towards, RIM.towards]),
      colours: value([KEY.colour, FILL.colour, RIM.colour]),
      ...Object.fromEntries(numbers.map((key) => [key, value(material[key])])),
    },
  });
}
