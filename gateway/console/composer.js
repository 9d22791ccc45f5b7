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
    this.#field.value = "";
    this.#fit();
    const taken = await this.can.say(text);
    // Whoever went on typing keeps what is there now.
    if (!taken && !this.#field.value) {
      this.#field.value = text;
      this.#fit();
    }
  }

  #fit() {
    this.#field.style.setProperty("height", "auto");
    const height = Math.min(TALLEST_PX, this.#field.scrollHeight);
    this.#field.style.setProperty("height", `${height}px`);
    this.#send.disabled = this.#field.value.trim() === "";
  }
}
