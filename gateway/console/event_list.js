/** @import {TimelineEvent} from "/sdk/protocol.js" */
/** @import {Scene} from "./scene.js" */
/** @import {TurnRow} from "./turn_row.js" */

import { el, part, say, show } from "./dom.js";
import { brief, count, duration } from "./format.js";
import { Windowed } from "./windowed.js";

const ROW_PX = 28;
const LONGEST = 90;

/** Every event, or those of one turn, or of some type: one line each. */
export class EventList {
  #root = part("events-panel", HTMLElement);
  #scroller = part("events", HTMLElement);
  #filter = part("event-filter", HTMLInputElement);
  #turnOnly = part("event-turn-only", HTMLInputElement);
  #tally = part("event-tally", HTMLElement);
  #list;
  /** @type {readonly TimelineEvent[]} */
  #events = [];
  #filtered = "";
  #startMs = 0;
  #shown = false;

  /**
   * @param {(seq: number) => void} choose
   * @param {() => void} changed
   */
  constructor(choose, changed) {
    this.#list = new Windowed(this.#scroller, {
      rowPx: ROW_PX,
      make: (root) => {
        for (const name of ["event-seq", "event-at", "event-type", "event-brief"]) {
          root.append(el("span", { class: name }));
        }
      },
      fill: (root, place) => this.#fill(root, place),
      choose: (place) => {
        const event = this.#events[place];
        if (event) choose(event.seq);
      },
      changed,
    });
    this.#filter.addEventListener("input", changed);
    this.#turnOnly.addEventListener("change", changed);
  }

  /**
   * @param {Scene | null} scene
   * @param {TurnRow | null} row
   * @param {number | null} seq Of the event that is chosen.
   * @param {boolean} shown
   */
  draw(scene, row, seq, shown) {
    show(this.#root, shown);
    const appears = shown && !this.#shown;
    this.#shown = shown;
    if (!shown) return;
    const only = this.#turnOnly.checked ? row : null;
    const wanted = this.#filter.value.trim().toLowerCase();
    const { version = 0, events = [] } = scene?.chronicle ?? {};
    const filtered = `${only?.turnId} ${wanted} ${version} ${scene?.chronicle.restarts}`;
    if (filtered !== this.#filtered) {
      this.#filtered = filtered;
      this.#events = this.#matching(events, only, wanted);
      this.#startMs = Date.parse(events[0]?.ts ?? "");
      say(this.#tally, count(this.#events.length, "event"));
    }
    const place = seq === null ? -1 : this.#events.findIndex((event) => event.seq >= seq);
    this.#list.draw(this.#events.length, place, filtered);
    if (appears && place >= 0) this.#list.reveal(place);
  }

  /** @param {number} seq */
  reveal(seq) {
    const place = this.#events.findIndex((event) => event.seq >= seq);
    if (place >= 0) this.#list.reveal(place);
  }

  /**
   * @param {readonly TimelineEvent[]} events
   * @param {TurnRow | null} only
   * @param {string} wanted
   */
  #matching(events, only, wanted) {
    if (!only && !wanted) return events;
    return events.filter(
      ({ turn_id: turnId, type }) =>
        (!only || turnId === only.turnId) && (!wanted || type.includes(wanted)),
    );
  }

  /**
   * @param {HTMLElement} root
   * @param {number} place
   */
  #fill(root, place) {
    const event = this.#events[place];
    if (!event) return;
    const [seq, at, type, rest] = root.children;
    if (!seq || !at || !type || !rest) return;
    say(seq, String(event.seq));
    say(at, duration(Date.parse(event.ts) - this.#startMs));
    say(type, event.type);
    root.dataset["group"] = groupOf(event.type);
    say(rest, saidOf(event));
  }
}

/** @param {string} type */
function groupOf(type) {
  if (/^(cancel|error|guardrail\.tripped)/.test(type)) return "cancel";
  return /^(model|tool|stage|plan|guardrail|action)\b/.exec(type)?.[0] ?? "";
}

/** Say what is in an event, in a few words. @param {TimelineEvent} event */
function saidOf(event) {
  /** @type {any} */
  const payload = event.payload;
  const first = payload.text ?? payload.summary ?? payload.message ?? payload.tool ?? payload.title;
  return brief(first ?? (Object.keys(payload).length ? payload : ""), LONGEST);
}
