import { part } from "./dom.js";

const NAMES = /** @type {const} */ (["sessions", "talk", "timeline"]);

/** Where there is no room for all panels, which of them is shown. */
export class Panels {
  #tabs = NAMES.map((name) => ({ name, tab: part(`panel-${name}`, HTMLButtonElement) }));
  #changed;

  /** @param {() => void} changed */
  constructor(changed) {
    this.#changed = changed;
    for (const { name, tab } of this.#tabs) tab.addEventListener("click", () => this.open(name));
  }

  /** @param {typeof NAMES[number]} name */
  open(name) {
    document.body.dataset["panel"] = name;
    for (const each of this.#tabs) each.tab.setAttribute("aria-pressed", String(each.name === name));
    this.#changed();
  }
}
