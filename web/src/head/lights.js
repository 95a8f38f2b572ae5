// The lights of jambatalk/render/lighting.py: three soft lights and that of the room, fixed to the camera.
import { Vector3 } from "three";
import { lights, room } from "../generated/materials.json";

const light = ({ towards, colour }) => ({ towards: new Vector3(...towards).normalize(), colour: new Vector3(...colour) });

export const KEY = light(lights.key);
export const FILL = light(lights.fill);
export const RIM = light(lights.rim);
export const ABOVE = new Vector3(...room.above);
export const BELOW = new Vector3(...room.below);
