/** @typedef {"light" | "dark"} Shade */

const KEY = "bargein.theme";

/** Light or dark: as the system says, until somebody presses the button. */
export class Theme {
  #press;
  /** @type {Set<() => void>} */
  #changed = new Set();
  #system = matchMedia("(prefers-color-scheme: dark)");

  /** @param {HTMLButtonElement} press */
  constructor(press) {
    this.#press = press;
    press.addEventListener("click", () => this.#choose(this.now === "dark" ? "light" : "dark"));
    this.#system.addEventListener("change", () => this.#tell());
    this.#apply(this.#chosen);
  }

  /** @returns {Shade} */
  get now() {
    return this.#chosen ?? (this.#system.matches ? "dark" : "light");
  }

  /** @param {() => void} listener */
  onChange(listener) {
    this.#changed.add(listener);
  }

  /** @returns {Shade | null} */
  get #chosen() {
    const kept = localStorage.getItem(KEY);
    return kept === "light" || kept === "dark" ? kept : null;
  }

  /** @param {Shade} theme */
  #choose(theme) {
    localStorage.setItem(KEY, theme);
    this.#apply(theme);
    this.#tell();
  }

  /** @param {Shade | null} theme */
  #apply(theme) {
    if (theme) document.documentElement.dataset["theme"] = theme;
    this.#name();
  }

  #name() {
    const label = this.now === "dark" ? "Use the light theme" : "Use the dark theme";
    this.#press.setAttribute("aria-label", label);
    this.#press.title = label;
  }

  #tell() {
    this.#name();
    for (const listener of this.#changed) listener();
  }
}
