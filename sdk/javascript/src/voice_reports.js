/** @import {Session} from "./session.js" */

import { CommandRefused } from "./errors.js";

/** What is of no use any more when it comes late. */
const OF_THE_MOMENT = new Set(["speech.start", "asr.partial"]);
const LATE = new Set(["stale", "not_found"]);

/** Reports to the server what is said and heard here, and tells what it refuses. */
export class Reports {
  #session;
  #refused;

  /**
   * @param {Session} session
   * @param {(error: any) => void} refused Not told of what only came too late.
   */
  constructor(session, refused) {
    this.#session = session;
    this.#refused = refused;
  }

  /**
   * @param {string} type
   * @param {Record<string, any>} fields
   * @returns {Promise<boolean>} Whether the server has taken it in, or what came before it.
   */
  async send(type, fields) {
    if (OF_THE_MOMENT.has(type) && this.#session.state !== "live") return false;
    return this.heed(this.#session.send(type, fields));
  }

  /** Say how much of a turn was heard. @param {string} turnId @param {number} chars */
  shown(turnId, chars) {
    this.#session.shown(turnId, chars);
  }

  /** Tell if the server refuses. @param {Promise<unknown>} answer */
  async heed(answer) {
    try {
      await answer;
      return true;
    } catch (error) {
      const isLate = error instanceof CommandRefused && LATE.has(error.code);
      if (!isLate) this.#refused(error);
      return isLate;
    }
  }
}
