// How each material answers light: the numbers of jambatalk/render/materials.py, so that the page shows the face the videos show.
const BASE = {
  wrap: [0, 0, 0], // how far light creeps past the terminator, per colour: light scattered under skin tints a shadow's edge
  sheen: 0, sharpness: 16, // the broad highlight
  glint: 0, glintSharpness: 200, // a second, tight one: wetness
  catchlight: 0, // how much of the highlights survives shade
  edge: 1, // how much brighter they grow at grazing angles
  rim: 1, // how much of the light from behind it takes
  inside: 0, // 1 behind the lips
  bright: 0, // how much of the key light a shadow leaves
  pores: 0, // strength of the fine grain
  twoSided: false,
};

const look = (values) => ({ ...BASE, ...values });
const behind = (values) => look({ rim: 0, inside: 1, ...values });
const SKIN = look({ wrap: [0.25, 0.16, 0.13], sheen: 0.085, sharpness: 12, glint: 0.07, glintSharpness: 55, edge: 1.6, pores: 1 });

const LOOKS = {
  skin: SKIN,
  lips: look({ wrap: [0.3, 0.16, 0.12], sheen: 0.1, sharpness: 18, glint: 0.16, glintSharpness: 70, edge: 1.2, pores: 0.5 }),
  eye: look({ wrap: [0.2, 0.16, 0.14], sheen: 0.015, sharpness: 30, glint: 2, glintSharpness: 1300, catchlight: 0.85, rim: 0.2 }),
  teeth: behind({ wrap: [0.25, 0.2, 0.16], sheen: 0.1, sharpness: 30, glint: 0.3, glintSharpness: 160, bright: 0.6 }),
  gums: behind({ wrap: [0.3, 0.12, 0.1], sheen: 0.08, glint: 0.2, glintSharpness: 110, bright: 0.35, twoSided: true }),
  tongue: behind({ wrap: [0.38, 0.16, 0.12], sheen: 0.1, sharpness: 14, glint: 0.12, glintSharpness: 60, bright: 0.5 }),
  mouth: behind({ wrap: [0.3, 0.12, 0.1], sheen: 0.03, glint: 0.05, glintSharpness: 60, twoSided: true }),
  lash: look({ wrap: [0.2, 0.2, 0.2], rim: 0.2, twoSided: true }),
  brow: look({ wrap: [0.25, 0.22, 0.2], sheen: 0.01, sharpness: 10, rim: 0.5, twoSided: true }),
  hair: look({ wrap: [0.25, 0.22, 0.2], sheen: 0.03, sharpness: 12, rim: 0.9, twoSided: true }),
  cloth: look({ wrap: [0.22, 0.22, 0.22], rim: 0.8, twoSided: true }),
};

/** The look of a material by its name; what is not in the table looks like skin. */
export const lookOf = (name) => LOOKS[name] ?? SKIN;

/** Thin things at the eye would stripe the cheek with shadow. */
export const castsShadow = (name) => name !== "lash" && name !== "brow";
