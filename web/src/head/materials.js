// How each material answers light, from jambatalk/render/materials.py by way of tools/page_data.py.
import { materials } from "../generated/materials.json";

const PORES = { skin: 1, lips: 0.5 }; // strength of the fine grain, which only the page draws

/** The material of a name; what is not in the table looks like skin. */
export function materialOf(name) {
  const known = name in materials ? name : "skin";
  return { ...materials[known], pores: PORES[known] ?? 0 };
}
