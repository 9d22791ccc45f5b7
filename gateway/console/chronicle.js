/** @import {TimelineEvent} from "/sdk/protocol.js" */

import { TurnRow } from "./turn_row.js";

const MOST_EVENTS = 100_000;

/** What is kept of a session for its timeline: all events, and what each turn did when. */
export class Chronicle {
  /** @type {TimelineEvent[]} */
  events = [];
  /** @type {TurnRow[]} In the order in which they began. */
  rows = [];
  /** @type {Map<string, TurnRow>} */
  #byTurn = new Map();
  /** Counts what changed. */
  version = 0;
  /** Counts how often it began anew. */
  restarts = 0;
  /** How far the server's clock is ahead of `performance.now()`, in ms. */
  #aheadMs = -Infinity;

  /** The seq of the latest event. */
  get seq() {
    return this.events.at(-1)?.seq ?? 0;
  }

  /** The time on the server now, as far as events have told; in ms UTC. */
  get nowMs() {
    return this.#aheadMs + performance.now();
  }

  /** @param {string | null} turnId */
  row(turnId) {
    return turnId === null ? undefined : this.#byTurn.get(turnId);
  }

  /** @param {number} seq */
  event(seq) {
    const place = this.placeOf(seq);
    return place < 0 ? undefined : this.events[place];
  }

  /** Find where an event is; one that came merged with others stands for all of them. @param {number} seq */
  placeOf(seq) {
    let low = 0;
    let high = this.events.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      if ((this.events[middle]?.seq ?? Infinity) < seq) low = middle + 1;
      else high = middle;
    }
    return low < this.events.length && seq > 0 ? low : -1;
  }

  /**
   * Take what is new in a log.
   *
   * @param {readonly TimelineEvent[]} log Oldest first; its old end may have been cut off.
   * @param {boolean} live Whether it happens now, so that its times tell the server's clock.
   */
  follow(log, live) {
    const { seq } = this;
    let from = log.length;
    while (from > 0 && (log[from - 1]?.seq ?? 0) > seq) from--;
    for (; from < log.length; from++) this.take(/** @type {TimelineEvent} */ (log[from]), live);
  }

  /**
   * @param {TimelineEvent} event
   * @param {boolean} [live]
   */
  take(event, live = false) {
    this.version++;
    this.events.push(event);
    // In pieces, or each event would move all the others.
    if (this.events.length > MOST_EVENTS * 1.25) {
      this.events.splice(0, this.events.length - MOST_EVENTS);
    }
    const atMs = Date.parse(event.ts);
    if (live) this.#aheadMs = Math.max(this.#aheadMs, atMs - performance.now());
    const { turn_id: turnId } = event;
    if (turnId === null) {
      if (event.type === "session.titled") this.rows.at(-1)?.modelSettled("titler", true);
      return;
    }
    let row = this.#byTurn.get(turnId);
    if (!row) {
      row = new TurnRow(turnId, event.seq);
      this.#byTurn.set(turnId, row);
      this.rows.push(row);
    } else if (event.type === "turn.start" && this.rows.at(-1) !== row) {
      // Queued words came earlier than others that were answered first.
      this.rows.splice(this.rows.indexOf(row), 1);
      this.rows.push(row);
    }
    row.take(event, atMs);
  }

  /** Begin anew, with nothing. */
  clear() {
    this.events = [];
    this.rows = [];
    this.#byTurn.clear();
    this.#aheadMs = -Infinity;
    this.version++;
    this.restarts++;
  }
}
