import { part, show } from "./dom.js";

const TALLEST_PX = 200;

/**
 * @typedef {object} Speaking What the field for words can do.
 * @property {(text: string) => Promise<boolean>} say Whether the words were taken.
 * @property {() => void} stop
 */

/** The field for words: Enter says them, Esc stops the answer. */
export class Composer {
  #form = part("composer", HTMLFormElement);
  #field = part("words", HTMLTextAreaElement);
  #send = part("send", HTMLButtonElement);
  #stop = part("stop", HTMLButtonElement);
  #hint = part("composer-hint", HTMLElement);
  #answering = false;
  #said = 0;
  /** @type {{number: number, text: string}[]} Words that came back, as they stand in the field. */
  #back = [];
  /** Counts how often all words were thrown away. */
  #cleared = 0;

  /** @param {Speaking} can */
  constructor(can) {
    this.can = can;
    this.#form.addEventListener("submit", (event) => {
      event.preventDefault();
      void this.#say();
    });
    this.#field.addEventListener("keydown", (event) => {
      if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
      event.preventDefault();
      void this.#say();
    });
    this.#field.addEventListener("input", () => this.#fit());
    this.#stop.addEventListener("click", () => {
      can.stop();
      this.focus();
    });
    document.addEventListener("keydown", (event) => {
      const elsewhere = document.querySelector("dialog[open]") !== null;
      if (event.key === "Escape" && this.#answering && !elsewhere) can.stop();
    });
    this.#fit();
  }

  /** Throw away what is written, and what may still come back. */
  clear() {
    this.#cleared++;
    this.#back = [];
    this.#field.value = "";
    this.#fit();
  }

  focus() {
    this.#field.focus();
  }

  /**
   * @param {boolean} open Whether anything can be said here.
   * @param {boolean} answering
   */
  draw(open, answering) {
    show(this.#form, open);
    if (answering === this.#answering) return;
    this.#answering = answering;
    show(this.#stop, answering);
    this.#hint.textContent = answering
      ? "Enter interrupts with your words · Esc stops"
      : "Enter sends · Shift+Enter for a new line";
  }

  async #say() {
    const text = this.#field.value.trim();
    if (!text) return;
    const cleared = this.#cleared;
    const number = ++this.#said;
    this.#field.value = "";
    this.#back = [];
    this.#fit();
    const taken = await this.can.say(text);
    if (!taken && cleared === this.#cleared) this.#putBack(number, text);
  }

  /**
   * Put words that were not taken before what is written now, in the order in which they were said.
   *
   * @param {number} number
   * @param {string} text
   */
  #putBack(number, text) {
    const { value, selectionEnd } = this.#field;
    const before = this.#back.map((words) => words.text).join("\n");
    const there = value.startsWith(before);
    // Words that somebody has changed since are like any that are written now.
    if (!there) this.#back = [];
    const rest = there ? value.slice(before.length).replace(/^\n/, "") : value;
    this.#back = [...this.#back, { number, text }].sort((a, b) => a.number - b.number);
    const words = this.#back.map((back) => back.text);
    this.#field.value = [...words, ...(rest ? [rest] : [])].join("\n");
    const caret = this.#field.value.length - (value.length - selectionEnd);
    this.#field.setSelectionRange(caret, caret);
    this.#fit();
  }

  #fit() {
    this.#field.style.setProperty("height", "auto");
    const height = Math.min(TALLEST_PX, this.#field.scrollHeight);
    this.#field.style.setProperty("height", `${height}px`);
    this.#send.disabled = this.#field.value.trim() === "";
  }
}
