// The sheet of choices: fills it, keeps it, tells of changes.
import { keepChoices } from "./store.js";

const nice = (name) => name.charAt(0).toUpperCase() + name.slice(1).replaceAll("_", " ");

export class Settings {
  constructor(choices, changed) {
    this.choices = choices;
    this.sheet = document.getElementById("settings");
    this.form = document.getElementById("settings-form");
    this.opener = document.getElementById("settings-open");
    this.opener.onclick = () => this.toggle();
    document.getElementById("settings-close").onclick = () => this.toggle(false);
    this.sheet.addEventListener("keydown", (event) => event.key === "Escape" && this.toggle(false));
    this.form.addEventListener("submit", (event) => event.preventDefault());
    this.form.addEventListener("input", ({ target }) => {
      if (!(target.name in choices)) return;
      choices[target.name] = target.type === "checkbox" ? target.checked : target.type === "range" ? Number(target.value) : target.value;
      keepChoices(choices);
      this.#mirror();
      changed(target.name);
    });
    this.#mirror();
  }

  /** What the server offers, from /v1/info. */
  offer({ identities, styles, version, weights_sha256, look_ahead_ms }) {
    this.#options("identity", identities, this.choices);
    if (styles.length > 1) {
      this.#options("style", ["", ...styles], this.choices);
      document.getElementById("style-row").hidden = false;
    } else this.choices.style = "";
    const about = [`jambatalk ${version}`, `look-ahead ${look_ahead_ms} ms`];
    if (weights_sha256) about.push(`weights ${weights_sha256.slice(0, 12)}`);
    document.getElementById("about").textContent = about.join(", ");
    this.#mirror();
  }

  /** A character is shown, whose name the list of faces then has; another face can be chosen as before. */
  offerCharacter(name) {
    const list = this.form.elements.identity, shown = [...list.options].find((option) => option.disabled);
    if (shown) shown.remove();
    const option = new Option(name, "", true, true);
    option.disabled = true;
    list.append(option);
  }

  #options(name, values, choices) {
    if (!values.includes(choices[name])) choices[name] = values[0];
    this.form.elements[name].replaceChildren(...values.map((value) => new Option(value === "" ? "The server's own" : nice(value), value)));
  }

  #mirror() {
    for (const field of this.form.elements) {
      if (!(field.name in this.choices)) continue;
      if (field.type === "checkbox") field.checked = this.choices[field.name];
      else field.value = this.choices[field.name];
      if (field.type === "range") field.disabled = !this.choices.life;
    }
  }

  toggle(open = this.sheet.hidden) {
    this.sheet.hidden = !open;
    this.opener.setAttribute("aria-expanded", String(open));
    if (open) this.form.elements.identity.focus();
    else this.opener.focus();
  }
}
