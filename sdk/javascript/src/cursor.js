/** @import {TimelineEvent} from "../types/protocol.js" */

/** Fewer events than this come as quickly one by one. */
const WORTH_PAGES = 500;

/** Where a client stands in a session's timeline: every event once, in order, none left out. */
export class Cursor {
  /** @type {string | null} */
  sessionId;
  /** @type {string | null} */
  epoch = null;
  seq = 0;
  /** Up to where the session is known to go; 0 where nobody knows. */
  known;

  /**
   * @param {string | null} sessionId Null: a session that is yet to be opened.
   * @param {number} [lastSeq] What somebody says of it, who may be wrong.
   */
  constructor(sessionId, lastSeq = 0) {
    this.sessionId = sessionId;
    this.opensNew = sessionId === null;
    this.known = sessionId !== null && Number.isSafeInteger(lastSeq) ? lastSeq : 0;
  }

  /** Behind which seq a connection is to begin: what lies before is here, or fetched in pages. */
  get after() {
    return this.known - this.seq >= WORTH_PAGES ? this.known : this.seq;
  }

  /** Whether a connection left out some of the past, which is to be fetched. */
  get lacks() {
    return this.known > this.seq;
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
