/**
 * Keeps late text of a cancelled turn off the screen.
 *
 * `flush` overtakes the tokens that were on their way, so the gate shuts before they come.
 */
export class Gate {
  /** @type {Map<string, string>} What of each turn was shown when its gate shut. */
  #shown = new Map();

  /**
   * @param {string} turnId
   * @param {string} text What is shown of the turn, and all that will be.
   */
  shut(turnId, text) {
    if (!this.#shown.has(turnId)) this.#shown.set(turnId, text);
  }

  /** @param {string | null} turnId */
  isShut(turnId) {
    return turnId !== null && this.#shown.has(turnId);
  }

  /** @param {string} turnId */
  shownOf(turnId) {
    return this.#shown.get(turnId);
  }

  /**
   * Forget all: at each `hello`, because a turn that was never stored may have been flushed, and
   * its id is given again. What was stored, the timeline itself shuts.
   */
  reset() {
    this.#shown.clear();
  }
}
