/** @import {ActionView} from "/sdk/protocol.js" */
/** @import {Scene} from "./scene.js" */

import { button, part, show } from "./dom.js";
import { ActionCard } from "./action_card.js";
import { count } from "./format.js";

const TICK_MS = 1000;
const WAITS = new Set(["proposed", "in_doubt"]);

/**
 * @typedef {object} Decisions What can be done with an action.
 * @property {(action: ActionView, args: Record<string, any> | undefined) => Promise<void>} confirm
 * @property {(action: ActionView) => Promise<void>} reject
 * @property {(action: ActionView) => Promise<void>} revert
 */

/** The cards of all actions, and the line that says that some wait for somebody. */
export class Proposals {
  /** @type {Map<string, ActionCard>} */
  #cards = new Map();
  #line = part("waiting", HTMLElement);
  #review = button("", () => this.review(), { class: "review" });
  /** @type {ReturnType<typeof setInterval> | undefined} */
  #ticking;
  #waiting = 0;

  /** @param {Decisions} can */
  constructor(can) {
    this.can = can;
    this.#line.append(this.#review);
  }

  clear() {
    for (const card of this.#cards.values()) card.root.remove();
    this.#cards.clear();
    this.#count(0);
  }

  /**
   * @param {Scene} scene
   * @param {(turnId: string) => HTMLElement | undefined} placeOf Where the card of a turn's action goes.
   */
  draw({ view, mode, chronicle }, placeOf) {
    const { actions } = view.actions;
    const known = new Set(actions.map((action) => action.action_id));
    for (const [id, card] of this.#cards) {
      // A replay that was turned back has not proposed it yet.
      if (!known.has(id)) {
        card.root.remove();
        this.#cards.delete(id);
      }
    }
    for (const action of actions) {
      const place = placeOf(action.turn_id);
      if (!place) continue;
      let card = this.#cards.get(action.action_id);
      if (!card) this.#cards.set(action.action_id, (card = new ActionCard(action, this.can)));
      if (card.root.parentElement !== place) place.append(card.root);
      const edited = chronicle.row(action.turn_id)?.edited.has(action.action_id) ?? false;
      card.draw(action, mode, edited);
    }
    const waiting = actions.filter(({ state }) => WAITS.has(state)).length;
    this.#count(mode === "replay" ? 0 : waiting);
  }

  /** Go to the first action that waits. */
  review() {
    const first = [...this.#cards.values()].find((card) => card.waits);
    first?.root.scrollIntoView({ block: "center" });
    first?.focus();
  }

  /** @param {number} waiting */
  #count(waiting) {
    if (waiting !== this.#waiting && this.#review.firstChild) {
      const verb = waiting === 1 ? "waits" : "wait";
      this.#review.firstChild.textContent = `${count(waiting, "action")} ${verb} for a decision`;
    }
    this.#waiting = waiting;
    show(this.#line, waiting > 0);
    if (waiting === 0) {
      clearInterval(this.#ticking);
      this.#ticking = undefined;
    } else this.#ticking ??= setInterval(() => this.#tick(), TICK_MS);
  }

  #tick() {
    for (const card of this.#cards.values()) card.tick();
  }
}
