/** @import {Replay} from "./replay.js" */

import { icon, part, say, show } from "./dom.js";
import { clock, place } from "./format.js";

/**
 * @typedef {object} Playing
 * @property {() => void} changed
 * @property {(skips: boolean) => void} remake Called when quiet stretches are to be cut, or not.
 */

/** The buttons of a replay: play, how fast, and where. */
export class ReplayBar {
  #root = part("replay", HTMLElement);
  #play = part("replay-play", HTMLButtonElement);
  #scrub = part("replay-scrub", HTMLInputElement);
  #time = part("replay-time", HTMLElement);
  #clock = part("replay-clock", HTMLElement);
  #skips = part("replay-skips", HTMLInputElement);
  #drawn = "";
  /** @type {Replay | null} */
  #replay = null;

  /** @param {Playing} can */
  constructor(can) {
    this.#play.addEventListener("click", () => {
      if (this.#replay?.playing) this.#replay.pause();
      else this.#replay?.play();
      can.changed();
    });
    this.#scrub.addEventListener("input", () => {
      this.#replay?.seek(Number(this.#scrub.value));
      can.changed();
    });
    this.#skips.addEventListener("change", () => can.remake(this.skips));
    for (const press of this.#speeds) {
      press.addEventListener("change", () => {
        if (this.#replay) this.#replay.speed = this.speed;
        can.changed();
      });
    }
  }

  get skips() {
    return this.#skips.checked;
  }

  get speed() {
    return Number(this.#speeds.find(({ checked }) => checked)?.value ?? 1);
  }

  /** @returns {HTMLInputElement[]} */
  get #speeds() {
    return [...this.#root.querySelectorAll("input")].filter(({ type }) => type === "radio");
  }

  focus() {
    this.#play.focus();
  }

  /** @param {Replay | null} replay */
  draw(replay) {
    show(this.#root, replay !== null);
    this.#replay = replay;
    if (!replay) return;
    const { positionMs, lengthMs, playing, ended } = replay;
    const drawn = `${positionMs} ${lengthMs} ${playing} ${ended} ${replay.count}`;
    if (drawn === this.#drawn) return;
    this.#drawn = drawn;
    const label = playing ? "Pause" : ended ? "Play again" : "Play";
    if (this.#play.getAttribute("aria-label") !== label) {
      this.#play.setAttribute("aria-label", label);
      this.#play.title = label;
      this.#play.replaceChildren(icon(playing ? "pause" : "play"));
    }
    this.#scrub.max = String(Math.ceil(lengthMs));
    this.#scrub.value = String(positionMs);
    this.#scrub.setAttribute("aria-valuetext", `${place(positionMs)} of ${place(lengthMs)}`);
    say(this.#time, `${place(positionMs)} / ${place(lengthMs)}`);
    say(this.#clock, clock(replay.ts));
  }
}
