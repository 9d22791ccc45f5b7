/** @import {InterruptOptions} from "./options.js" */
/** @import {Session} from "./session.js" */

/** Stops the answer of the open turn where it was heard; what still comes of it is not spoken. */
export class Answers {
  /** @type {string | null} */
  #cut = null;
  #session;

  /** @param {Session} session */
  constructor(session) {
    this.#session = session;
  }

  /** Whether a turn was stopped, here or anywhere. @param {string | null} turnId */
  isCut(turnId) {
    return turnId === this.#cut || this.#session.view.hides(turnId);
  }

  /** How much was heard of the open turn; null: it is not spoken, or others may hear it. */
  get heardBefore() {
    const { turn_id: open, connections } = this.#session.view.session;
    return open !== null && connections <= 1 ? this.#heardOf(open) : null;
  }

  /** Stop the open turn. @param {InterruptOptions} how */
  async stop(how) {
    const { turn_id: open } = this.#session.view.session;
    this.#cut = open;
    try {
      await this.#session.interrupt(how);
    } catch (error) {
      if (this.#cut === open) this.#cut = null;
      throw error;
    }
  }

  /** By all that was reported, in code points. @param {string} turnId */
  #heardOf(turnId) {
    let isSpoken = false;
    let heard = 0;
    for (const { turn_id: id, type, payload } of this.#session.log) {
      if (id !== turnId) continue;
      if (type === "tts.chunk") isSpoken = true;
      else if (type === "playback.progress" || type === "playback.stop")
        heard = Math.max(heard, payload.chars ?? 0);
    }
    return isSpoken ? heard : null;
  }
}
