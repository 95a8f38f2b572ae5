// Choices that outlive the page. Never the token.
const KEY = "jambatalk";

export const DEFAULTS = {
  identity: "default", style: "", theme: "system", life: true, blinks: 1, gaze: 1, head: 1, breath: 1, brows: 1,
  echoCancellation: true, noiseSuppression: false, hearMyself: false, curves: true, voice: "",
};

export function loadChoices() {
  try {
    const kept = JSON.parse(localStorage.getItem(KEY) ?? "{}");
    // Only what is known, and of the kind it should be.
    const fitting = Object.entries(kept).filter(([name, value]) => typeof value === typeof DEFAULTS[name]);
    return { ...DEFAULTS, ...Object.fromEntries(fitting) };
  } catch {
    return { ...DEFAULTS };
  }
}

export function keepChoices(choices) {
  try {
    localStorage.setItem(KEY, JSON.stringify(choices));
  } catch {
    // A private window may refuse: the choices then last as long as the page.
  }
}
