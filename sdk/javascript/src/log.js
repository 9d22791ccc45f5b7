/** @import {TimelineEvent} from "../types/protocol.js" */

import { ReaderBehind } from "./errors.js";

/**
 * Every event as it came, the newest `most` of them.
 *
 * A reader is a place in the log and has no queue of its own: a slow one costs no memory, and is
 * told when what it should read next is gone.
 */
export class EventLog {
  /** @type {TimelineEvent[]} */
  #events = [];
  #dropped = 0;
  #history = 0;
  /** @type {Set<() => void>} */
  #waiting = new Set();
  /** @type {{error: Error | null} | null} */
  #over = null;
  /** @type {WeakSet<TimelineEvent>} */
  #late = new WeakSet();

  /** @param {number} most */
  constructor(most) {
    this.most = most;
  }

  /** What is kept, oldest first. @returns {readonly TimelineEvent[]} */
  get events() {
    return this.#events;
  }

  /**
   * @param {TimelineEvent} event
   * @param {boolean} late It is text of a turn that was stopped: kept, and not to be shown.
   */
  add(event, late) {
    this.#events.push(event);
    if (late) this.#late.add(event);
    // In pieces, or each event would move all the others.
    if (this.#events.length > this.most * 1.25) {
      const surplus = this.#events.length - this.most;
      this.#events.splice(0, surplus);
      this.#dropped += surplus;
    }
    this.#wake();
  }

  /** Throw all away: another history begins, and readers begin with it. */
  clear() {
    this.#events = [];
    this.#dropped = 0;
    this.#history++;
    this.#wake();
  }

  /** Nothing comes any more; readers end behind the rest. @param {Error | null} error */
  end(error) {
    this.#over ??= { error };
    this.#wake();
  }

  #wake() {
    for (const wake of this.#waiting) wake();
    this.#waiting.clear();
  }

  /**
   * Read on from behind `after`, without text that came too late to be shown.
   *
   * @param {number} after
   * @returns {AsyncIterableIterator<TimelineEvent>}
   */
  read(after) {
    let history = this.#history;
    let next = this.#dropped + this.#placeAfter(after);
    let left = false;
    const done = { done: /** @type {const} */ (true), value: undefined };
    /** @returns {Promise<IteratorResult<TimelineEvent, undefined>>} */
    const step = async () => {
      for (;;) {
        if (left) return done;
        if (history !== this.#history) {
          history = this.#history;
          next = after = 0;
        }
        if (next < this.#dropped) {
          const missed = this.#dropped - next;
          left = true;
          throw new ReaderBehind(missed);
        }
        const event = this.#events[next - this.#dropped];
        if (event) {
          next++;
          if (event.seq > after && !this.#late.has(event)) return { done: false, value: event };
        } else if (this.#over) {
          left = true;
          if (this.#over.error) throw this.#over.error;
        } else {
          await new Promise((wake) => this.#waiting.add(() => wake(null)));
        }
      }
    };
    return {
      next: step,
      return: async () => {
        left = true;
        this.#wake();
        return done;
      },
      [Symbol.asyncIterator]() {
        return this;
      },
    };
  }

  /** @param {number} seq */
  #placeAfter(seq) {
    const place = this.#events.findIndex((event) => event.seq > seq);
    return place < 0 ? this.#events.length : place;
  }
}
