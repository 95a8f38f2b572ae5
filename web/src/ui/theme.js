// Light, dark, or as the system has it.
const system = matchMedia("(prefers-color-scheme: light)");

/** choices.theme -> "light" or "dark", set on the page. */
export function applyTheme(choices) {
  const theme = choices.theme === "system" ? (system.matches ? "light" : "dark") : choices.theme;
  document.documentElement.dataset.theme = theme;
  return theme;
}

export const whenSystemChanges = (act) => system.addEventListener("change", act);
