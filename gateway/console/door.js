/** @import {Credentials} from "./credentials.js" */

import { part, say } from "./dom.js";

/** Asks for a token, where the server wants one. */
export class Door {
  #dialog = part("door", HTMLDialogElement);
  #form = part("door-form", HTMLFormElement);
  #field = part("door-token", HTMLInputElement);
  #why = part("door-why", HTMLElement);

  /**
   * @param {Credentials} credentials
   * @param {() => void} changed Called when there is another token, or none any more.
   */
  constructor(credentials, changed) {
    this.#form.addEventListener("submit", (event) => {
      event.preventDefault();
      const token = this.#field.value.trim();
      if (!token) return;
      credentials.keep(token);
      this.#field.value = "";
      this.#dialog.close();
      changed();
    });
    part("door-close", HTMLButtonElement).addEventListener("click", () => this.#dialog.close());
    part("door-forget", HTMLButtonElement).addEventListener("click", () => {
      credentials.forget();
      this.#field.value = "";
      this.#dialog.close();
      changed();
    });
  }

  /** @param {string} why What the server said. */
  ask(why) {
    say(this.#why, why);
    if (this.#dialog.open) return;
    this.#dialog.showModal();
    this.#field.focus();
  }
}
