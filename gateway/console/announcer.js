/** @import {Scene} from "./scene.js" */

import { el, part } from "./dom.js";

const SENTENCES = /^[^]*(?:[.!?…](?=\s)|\n)/;
const MOST_LINES = 20;
const TO_COME = new Set(["queued", "open"]);

/** Reads the answer out to screen readers, by sentences: a token at a time nobody could follow. */
export class Announcer {
  #region = part("announcer", HTMLElement);
  /** @type {Scene | null} */
  #scene = null;
  /** @type {string | null} */
  #turnId = null;
  #said = 0;
  #over = true;

  /** @param {Scene | null} scene */
  draw(scene) {
    const turn = scene?.view.transcript.turns.at(-1);
    if (!turn || !scene || scene.mode === "replay") return;
    if (scene !== this.#scene || turn.turn_id !== this.#turnId) {
      this.#scene = scene;
      this.#turnId = turn.turn_id;
      // What was there before somebody came is read by whoever wants to.
      const old = (scene.chronicle.row(turn.turn_id)?.firstSeq ?? 0) <= scene.seenSeq;
      this.#said = old ? turn.assistant.length : 0;
      this.#over = old && !TO_COME.has(turn.status);
    }
    if (this.#over) return;
    const rest = turn.assistant.slice(this.#said);
    const over = !TO_COME.has(turn.status) || turn.interrupted;
    const whole = over ? rest : (SENTENCES.exec(rest)?.[0] ?? "");
    this.#said += whole.length;
    if (whole.trim()) this.say(whole.trim());
    if (over && turn.interrupted) this.say("Interrupted.");
    this.#over = over;
  }

  /** Nothing of what was read out stays on the page. */
  clear() {
    this.#region.replaceChildren();
  }

  /** @param {string} text */
  say(text) {
    this.#region.append(el("p", { text }));
    while (this.#region.childElementCount > MOST_LINES) this.#region.firstElementChild?.remove();
  }
}
