// The studio of jambatalk/render/lighting.py: three soft lights and the light of the room, fixed to the camera.
import { Vector3 } from "three";

const light = (towards, colour) => ({ towards: new Vector3(...towards).normalize(), colour: new Vector3(...colour) });

export const KEY = light([-0.62, 0.58, 0.7], [1.05, 0.96, 0.86]);
export const FILL = light([0.8, 0.06, 0.62], [0.17, 0.195, 0.24]);
export const RIM = light([0.78, 0.42, -0.62], [0.8, 0.92, 1.15]);
export const ABOVE = new Vector3(0.22, 0.245, 0.285);
export const BELOW = new Vector3(0.125, 0.1, 0.09);
