// What the shapes of a character mean, whatever its tools call them: the table of face/dialects.py.
import table from "../generated/characters.json";

const WORDS = /[A-Z]+(?![a-z])|[A-Z]?[a-z]+|\d+|\P{ASCII}+/gu;
const SIDES = { l: "left", r: "right" };

/** The words of a spelling: AK_09_EyeBlink_L -> ak, 09, eye, blink, left. */
export function wordsOf(name) {
  const words = (name.replace(/\.\d{3}$/, "").match(WORDS) ?? []).map((word) => word.toLowerCase());
  if (words.length > 1 && words.at(-1) in SIDES) words[words.length - 1] = SIDES[words.at(-1)];
  return words;
}

/** An ARKit name or a key of the recipes; null for a name that says nothing. */
export function meaningOf(name) {
  const words = wordsOf(name);
  for (let start = 0; start < words.length; start++) {
    const text = words.slice(start).join("");
    if (Object.hasOwn(table.spellings, text) && (start === 0 || text.length >= table.shortestSuffix)) return table.spellings[text];
  }
  return null;
}

/** Name -> meaning of the names that are known; a shape of both sides gives way to one for each. */
export function meaningsOf(names) {
  const found = new Map(names.map((name) => [name, meaningOf(name)]).filter(([, meaning]) => meaning !== null));
  const there = new Set(found.values());
  for (const [name, meaning] of found) {
    if (table.bothSides[meaning]?.every((side) => there.has(side))) found.delete(name);
  }
  return found;
}

/** (arkit names, meanings) rows: what each meaning at 1 is in ARKit's weights. */
export function recipeMatrix(meanings) {
  return table.names.map((name) => meanings.map((meaning) => (table.recipes[meaning] ?? { [meaning]: 1 })[name] ?? 0));
}
