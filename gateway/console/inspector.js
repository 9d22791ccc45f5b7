/** @import {TimelineEvent} from "/sdk/protocol.js" */
/** @import {Scene} from "./scene.js" */

import { button, el, part, say, show } from "./dom.js";
import { clock } from "./format.js";

const TOKEN = /("(?:[^"\\]|\\.)*")(\s*:)?|(-?\d+(?:\.\d+)?(?:[eE][+-]?\d+)?)|(true|false|null)/g;
const LONGEST = 200_000;

/**
 * @typedef {object} Inspecting
 * @property {(seq: number | null) => void} choose
 * @property {(seq: number) => string} linkTo
 */

/** One event, as it was sent. */
export class Inspector {
  #root = part("inspector", HTMLElement);
  #title = part("inspector-title", HTMLElement);
  #when = part("inspector-when", HTMLElement);
  #json = part("inspector-json", HTMLElement);
  #parent;
  #copied = part("inspector-copied", HTMLElement);
  /** @type {TimelineEvent | null} */
  #event = null;

  /** @param {Inspecting} can */
  constructor(can) {
    const step = (/** @type {number} */ by) => {
      if (this.#event) can.choose(this.#event.seq + by);
    };
    this.#parent = button("Cause", () => can.choose(this.#parentSeq), { class: "quiet" });
    part("inspector-tools", HTMLElement).append(
      button("Previous event", () => step(-1), { class: "bare", icon: "up", bare: true }),
      button("Next event", () => step(1), { class: "bare", icon: "down", bare: true }),
      this.#parent,
      button("Copy JSON", () => this.#copy(JSON.stringify(this.#event, null, 2)), { class: "quiet" }),
      button("Copy link", () => this.#copy(can.linkTo(this.#event?.seq ?? 0)), { class: "quiet" }),
      button("Close", () => can.choose(null), { class: "bare", icon: "close", bare: true }),
    );
  }

  get #parentSeq() {
    return Number(/^evt_(\d+)$/.exec(this.#event?.parent_event_id ?? "")?.[1] ?? 0);
  }

  /**
   * @param {Scene | null} scene
   * @param {number | null} seq
   */
  draw(scene, seq) {
    const event = (seq !== null && scene?.chronicle.event(seq)) || null;
    show(this.#root, event !== null);
    if (event === this.#event) return;
    this.#event = event;
    if (!event) return;
    say(this.#title, event.type);
    say(this.#when, `#${event.seq} · ${clock(event.ts)}${event.turn_id ? ` · ${event.turn_id}` : ""}`);
    say(this.#copied, "");
    show(this.#parent, this.#parentSeq > 0);
    this.#parent.title = `Caused by event ${this.#parentSeq}`;
    this.#json.replaceChildren(...coloured(JSON.stringify(event, null, 2).slice(0, LONGEST)));
    this.#json.scrollTop = 0;
  }

  /** @param {string} text */
  async #copy(text) {
    try {
      await navigator.clipboard.writeText(text);
      say(this.#copied, "Copied");
    } catch {
      say(this.#copied, "The browser did not allow it");
    }
  }
}

/** Split JSON into text and coloured pieces of text. @param {string} json @returns {(Node | string)[]} */
function coloured(json) {
  /** @type {(Node | string)[]} */
  const pieces = [];
  let from = 0;
  for (const found of json.matchAll(TOKEN)) {
    const [whole, text, colon, number] = found;
    if (found.index > from) pieces.push(json.slice(from, found.index));
    const kind = text ? (colon ? "json-key" : "json-text") : number ? "json-number" : "json-word";
    pieces.push(el("span", { class: kind, text: text ?? whole }), colon ?? "");
    from = found.index + whole.length;
  }
  pieces.push(json.slice(from));
  return pieces;
}
