/** @import {Session} from "/sdk/session.js" */

import { made } from "./dom.js";

const OUTCOMES = /** @type {Record<string, string>} */ ({
  committed: "Done",
  rejected: "Not done",
  expired: "Not done: nobody said yes in time",
  failed: "It could not be done",
  in_doubt: "Nobody knows whether it happened",
});
const SETTLED_SHOWN = 1;

/** What waits for a yes, and what became of the last one. */
export class Proposals {
  #box;
  #session;
  #shown = "";

  /**
   * @param {HTMLElement} box
   * @param {Session} session
   */
  constructor(box, session) {
    this.#box = box;
    this.#session = session;
  }

  show() {
    const { actions } = this.#session.view.actions;
    const open = actions.filter(({ state }) => state === "proposed");
    const settled = open.length ? [] : actions.filter(({ state }) => OUTCOMES[state]).slice(-SETTLED_SHOWN);
    const key = JSON.stringify([open, settled]);
    if (key === this.#shown) return;
    this.#shown = key;
    this.#box.replaceChildren(
      ...open.map(({ summary, confirmation_id: id }) => this.#proposal(summary, id)),
      ...settled.map(({ summary, state, result }) =>
        made("p", "settled", `${OUTCOMES[state]}: ${typeof result === "string" ? result : summary}.`),
      ),
    );
  }

  /** @param {string} summary @param {string} id */
  #proposal(summary, id) {
    const yes = made("button", "control primary", "Yes");
    const no = made("button", "control", "No");
    const refused = made("span", "refused");
    const asked = (/** @type {Promise<unknown>} */ answer) => {
      yes.disabled = no.disabled = true;
      answer.catch((error) => {
        refused.textContent = error.message;
        yes.disabled = no.disabled = false;
      });
    };
    yes.onclick = () => asked(this.#session.confirm(id));
    no.onclick = () => asked(this.#session.reject(id));
    return made("div", "proposal", made("span", "", `${summary}?`), made("span", "push"), yes, no, refused);
  }
}
