/** @import {TimelineEvent} from "../types/protocol.js" */

/** Where a client stands in a session's timeline: every event once, in order, none left out. */
export class Cursor {
  /** @type {string | null} */
  sessionId;
  /** @type {string | null} */
  epoch = null;
  seq = 0;

  /** @param {string | null} sessionId Null: a session that is yet to be opened. */
  constructor(sessionId) {
    this.sessionId = sessionId;
    this.opensNew = sessionId === null;
  }

  /** Nothing of the session was ever seen here, and it was to be a new one. */
  get unborn() {
    return this.opensNew && this.seq === 0;
  }

  /**
   * Take an event if it is the next one.
   *
   * A merged one stands for `first_seq`..`seq`. One that begins before the cursor and ends
   * behind it can't be split, so it counts as a gap: a resume gives exactly the rest.
   *
   * @param {TimelineEvent} event
   * @returns {"next" | "double" | "gap"}
   */
  take(event) {
    const first = ("first_seq" in event && event.first_seq) || event.seq;
    if (event.seq <= this.seq) return "double";
    if (first !== this.seq + 1) return "gap";
    this.seq = event.seq;
    return "next";
  }

  /** Begin anew: what was seen is not the session's history any more. */
  rewind() {
    this.seq = 0;
    this.epoch = null;
  }
}
