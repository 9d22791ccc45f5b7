/** @import {Exchange} from "/sdk/protocol.js" */
/** @import {CardActions} from "./turn_card.js" */
/** @import {Scene} from "./scene.js" */
/** @import {Proposals} from "./proposals.js" */

import { arrange, button, el, part, show } from "./dom.js";
import { TurnCard } from "./turn_card.js";

const MOST_CARDS = 60;
const NEAR_END_PX = 48;

/** The conversation: a card per turn, the latest ones first to be there. */
export class Talk {
  #scroller = part("talk-scroller", HTMLElement);
  #turns = part("turns", HTMLElement);
  #empty = part("talk-empty", HTMLElement);
  #pending = part("pending", HTMLElement);
  #earlier = button("Show earlier turns", () => this.#showMore(), { class: "button earlier" });
  /** @type {Map<string, {root: HTMLElement, draw: (exchange: Exchange) => void, card: TurnCard}>} */
  #cards = new Map();
  #most = MOST_CARDS;
  #atEnd = true;
  #version = "";
  /** @type {Scene | null} */
  #scene = null;
  #restarts = 0;

  /**
   * @param {CardActions} can
   * @param {Proposals} proposals
   * @param {() => void} changed Called when something else is to be drawn.
   */
  constructor(can, proposals, changed) {
    this.can = can;
    this.proposals = proposals;
    this.changed = changed;
    part("earlier", HTMLElement).append(this.#earlier);
    show(this.#earlier, false);
    this.#scroller.addEventListener("scroll", () => {
      const { scrollTop, clientHeight, scrollHeight } = this.#scroller;
      const atEnd = scrollTop + clientHeight >= scrollHeight - NEAR_END_PX;
      if (atEnd && !this.#atEnd) changed(); // what is shown now was not before
      this.#atEnd = atEnd;
    });
    const sizes = new ResizeObserver(() => this.#follow());
    sizes.observe(this.#scroller);
    sizes.observe(this.#turns);
  }

  /** Another scene begins. */
  clear() {
    this.#most = MOST_CARDS;
    this.#atEnd = true;
    this.#version = "";
    this.#pending.replaceChildren();
  }

  /** @param {Scene | null} scene */
  draw(scene) {
    const restarts = scene?.chronicle.restarts ?? 0;
    // A card only adds: one that has seen more than has happened now can't be used again.
    if (scene !== this.#scene || restarts !== this.#restarts) {
      for (const { root } of this.#cards.values()) root.remove();
      this.#cards.clear();
      this.proposals.clear();
      this.#scene = scene;
      this.#restarts = restarts;
    }
    const turns = scene?.view.transcript.turns ?? [];
    show(this.#empty, turns.length === 0 && this.#pending.childElementCount === 0);
    show(this.#earlier, turns.length > this.#most);
    const version = `${scene?.view.version} ${scene?.chronicle.version} ${this.#most}`;
    if (!scene || version === this.#version) return;
    this.#version = version;
    arrange(
      this.#turns,
      turns.slice(-this.#most),
      this.#cards,
      (exchange) => exchange.turn_id,
      (exchange) => {
        const card = new TurnCard(exchange.turn_id, this.can);
        const draw = (/** @type {Exchange} */ one) =>
          card.draw(one, this.#scene?.chronicle.row(one.turn_id), /** @type {Scene} */ (this.#scene));
        return { root: card.root, draw, card };
      },
    );
    this.proposals.draw(scene, (turnId) => this.#cards.get(turnId)?.card.actions);
    this.#follow();
  }

  /**
   * How much of a turn's answer is before somebody's eyes; null where its end is out of sight.
   *
   * @param {string} turnId
   */
  shown(turnId) {
    const inSight = document.visibilityState === "visible" && this.#scroller.clientHeight > 0;
    return inSight && this.#atEnd ? (this.#cards.get(turnId)?.card.shown ?? null) : null;
  }

  /**
   * Show words that are on their way.
   *
   * @param {string} text
   * @returns {() => void} Takes them away again.
   */
  sending(text) {
    const words = el("p", { class: "words waits", text });
    this.#pending.append(words);
    this.toEnd();
    this.changed();
    return () => {
      words.remove();
      this.changed();
    };
  }

  /** Scroll to the latest words. */
  toEnd() {
    this.#atEnd = true;
    this.#follow();
  }

  /** @param {string} turnId */
  reveal(turnId) {
    this.#cards.get(turnId)?.root.scrollIntoView({ block: "center" });
  }

  #follow() {
    if (this.#atEnd) this.#scroller.scrollTop = this.#scroller.scrollHeight;
  }

  #showMore() {
    const before = this.#scroller.scrollHeight - this.#scroller.scrollTop;
    this.#most += MOST_CARDS;
    this.#atEnd = false;
    this.draw(this.#scene);
    this.#scroller.scrollTop = this.#scroller.scrollHeight - before;
  }
}
