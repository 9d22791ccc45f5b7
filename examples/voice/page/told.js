/** @import {Session} from "/sdk/session.js" */

import { made } from "./dom.js";

const MOST_KEPT = 20;

/** Tells those who do not see the page what is finished: answers as heard, and what waits for a yes. */
export class Told {
  /** @type {Set<string>} */
  #told = new Set();
  #log;
  #session;

  /**
   * @param {HTMLElement} log
   * @param {Session} session What is finished already is not told.
   */
  constructor(log, session) {
    this.#log = log;
    this.#session = session;
    for (const { id } of this.#answers()) this.#told.add(id);
  }

  show() {
    for (const { id, text } of this.#answers()) this.#tell(id, text);
    for (const { state, summary, confirmation_id: id } of this.#session.view.actions.actions)
      if (state === "proposed") this.#tell(id, `This waits for your yes or no: ${summary}.`);
  }

  #answers() {
    return this.#session.view.transcript.turns
      .filter(({ status }) => status !== "open" && status !== "queued")
      .map(({ turn_id: id, assistant: text }) => ({ id, text }));
  }

  /** @param {string} id @param {string} text */
  #tell(id, text) {
    if (this.#told.has(id)) return;
    this.#told.add(id);
    if (text) this.#log.append(made("p", "", text));
    while (this.#log.childElementCount > MOST_KEPT) this.#log.firstElementChild?.remove();
  }
}
