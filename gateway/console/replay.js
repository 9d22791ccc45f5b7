/** @import {TimelineEvent} from "/sdk/protocol.js" */
/** @import {Scene} from "./scene.js" */

import { Gate } from "/sdk/gate.js";
import { View } from "/sdk/view.js";
import { Chronicle } from "./chronicle.js";

const QUIET_MS = 1000;
const LONGEST_IN_TURN_MS = 5000;

/** A stored session, played again at the pace of its own times. Nothing of it is sent anywhere. */
export class Replay {
  view = new View(new Gate());
  chronicle = new Chronicle();
  speed = 1;
  playing = false;
  #events;
  /** @type {Float64Array} When each event comes, in ms of the replay. */
  #at;
  #next = 0;
  #positionMs = 0;
  #frameMs = 0;

  /**
   * @param {readonly TimelineEvent[]} events All of the session, from the first.
   * @param {boolean} skips Whether stretches in which nothing happened are cut short.
   */
  constructor(events, skips) {
    this.#events = events;
    this.#at = schedule(events, skips);
  }

  /** @returns {Scene} */
  get scene() {
    const { view, chronicle } = this;
    const nowMs = () => this.#nowMs;
    return { view, chronicle, mode: "replay", session: null, seenSeq: 0, nowMs };
  }

  get lengthMs() {
    return this.#at.at(-1) ?? 0;
  }

  get positionMs() {
    return this.#positionMs;
  }

  get ended() {
    return this.#next >= this.#events.length;
  }

  /** How many events have come. */
  get count() {
    return this.#next;
  }

  /** The time of the latest event that has come, as it stands there. */
  get ts() {
    return this.#events[Math.max(0, this.#next - 1)]?.ts ?? "";
  }

  /** The time in the session, between the event that came and the one that comes. */
  get #nowMs() {
    const last = Math.max(0, this.#next - 1);
    const since = this.#positionMs - (this.#at[last] ?? 0);
    return Date.parse(this.#events[last]?.ts ?? "") + since;
  }

  play() {
    if (this.ended) this.seek(0);
    this.playing = true;
    this.#frameMs = performance.now();
  }

  pause() {
    this.playing = false;
  }

  /** Time goes by. @returns {boolean} Whether more is to come. */
  tick() {
    if (!this.playing) return false;
    const nowMs = performance.now();
    this.#goOn(this.#positionMs + (nowMs - this.#frameMs) * this.speed);
    this.#frameMs = nowMs;
    this.playing = !this.ended;
    return this.playing;
  }

  /** Go to a place in the replay, forth or back. @param {number} ms */
  seek(ms) {
    const to = Math.min(this.lengthMs, Math.max(0, ms));
    if (to < this.#positionMs) {
      this.view.clear();
      this.chronicle.clear();
      this.#next = 0;
    }
    this.#frameMs = performance.now();
    this.#goOn(to);
  }

  /** Go to where an event has just come. @param {number} seq */
  seekTo(seq) {
    const place = this.#events.findIndex((event) => event.seq >= seq);
    if (place >= 0) this.seek(this.#at[place] ?? 0);
  }

  /** @param {number} ms */
  #goOn(ms) {
    this.#positionMs = Math.min(ms, this.lengthMs);
    for (; this.#next < this.#events.length; this.#next++) {
      if ((this.#at[this.#next] ?? 0) > this.#positionMs) break;
      const event = /** @type {TimelineEvent} */ (this.#events[this.#next]);
      this.view.apply(event);
      this.chronicle.take(event);
    }
  }
}

/**
 * @param {readonly TimelineEvent[]} events
 * @param {boolean} skips
 */
function schedule(events, skips) {
  const at = new Float64Array(events.length);
  let open = false;
  let nowMs = 0;
  let lastMs = Date.parse(events[0]?.ts ?? "");
  events.forEach((event, place) => {
    const tsMs = Date.parse(event.ts);
    const most = skips ? (open ? LONGEST_IN_TURN_MS : QUIET_MS) : Infinity;
    nowMs += Math.min(most, Math.max(0, tsMs - lastMs));
    lastMs = tsMs;
    at[place] = nowMs;
    if (event.type === "turn.start") open = true;
    else if (event.type === "turn.trace" || event.type === "cancel.ack") open = false;
  });
  return at;
}
