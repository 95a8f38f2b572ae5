// Single keys, where nothing else wants them.
const WRITES = "input:not([type=checkbox]):not([type=range]), textarea, select";

/** acts: key -> function. allowed: whether they count now. */
export function listenToKeys(acts, allowed) {
  addEventListener("keydown", (event) => {
    const { key, target } = event;
    if (event.ctrlKey || event.metaKey || event.altKey || event.repeat || event.defaultPrevented) return;
    if (target.closest?.(WRITES) || document.querySelector("dialog[open]")) return;
    // A focused control keeps its own space bar.
    if (key === " " && target.closest?.("button, input, a")) return;
    const act = acts[key] ?? acts[key.toLowerCase()];
    if (!act || !allowed()) return;
    event.preventDefault();
    act();
  });
}
