import { button, el, part } from "./dom.js";

const LASTS_MS = 10_000;
const MOST = 3;

/** Short notes on what did not work; each goes by itself, or when it is closed. */
export class Notices {
  #root = part("notices", HTMLElement);

  /** @param {string} text */
  tell(text) {
    const note = el("div", { class: "notice" }, el("p", { text }));
    const close = () => {
      clearTimeout(timer);
      note.remove();
    };
    const timer = setTimeout(close, LASTS_MS);
    note.append(button("Dismiss", close, { class: "bare", icon: "close", bare: true }));
    this.#root.append(note);
    while (this.#root.childElementCount > MOST) this.#root.firstElementChild?.remove();
  }
}
