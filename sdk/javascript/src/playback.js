/**
 * Reports how much of a turn was shown, so that after an interrupt the model knows what the user
 * had. Not more often than every `everyMs`; only the latest report counts, so none is kept.
 */
export class Playback {
  /** @type {string | null} */
  #turnId = null;
  #chars = 0;
  /** @type {number | null} Null: nothing on this connection. */
  #reported = null;
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  #timer;

  /**
   * @param {(text: string) => boolean} send
   * @param {number} everyMs
   */
  constructor(send, everyMs) {
    this.send = send;
    this.everyMs = everyMs;
  }

  /**
   * @param {string} turnId
   * @param {number} chars Code points of the turn's text.
   */
  shown(turnId, chars) {
    if (turnId !== this.#turnId) {
      this.#report(); // the last word on the turn before
      this.forget();
      this.#turnId = turnId;
    }
    this.#chars = chars;
    this.#timer ??= this.#tick();
  }

  /** What to say of a turn in the command that interrupts it. @param {string | null} turnId */
  heardOf(turnId) {
    return turnId !== null && turnId === this.#turnId ? { chars: this.#chars } : undefined;
  }

  /** Say it again on a new connection, if this turn is open. @param {string | null} openTurn */
  again(openTurn) {
    if (openTurn === null || openTurn !== this.#turnId) return;
    this.#reported = null;
    this.#timer ??= this.#tick();
  }

  /** No report of any other turn is taken any more. @param {string} turnId */
  begun(turnId) {
    if (turnId !== this.#turnId) this.forget();
  }

  /** Nor of one that was stopped. @param {string | null} turnId */
  stopped(turnId) {
    if (turnId === this.#turnId) this.forget();
  }

  forget() {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    this.#turnId = this.#reported = null;
  }

  #tick() {
    this.#report();
    return setTimeout(() => {
      this.#timer = undefined;
      if (this.#chars !== this.#reported) this.#timer = this.#tick();
    }, this.everyMs);
  }

  #report() {
    if (this.#turnId === null || this.#chars === this.#reported) return;
    this.#reported = this.#chars;
    const report = { type: "playback.progress", turn_id: this.#turnId, chars: this.#chars };
    this.send(JSON.stringify(report)); // if it is lost, `again` says it again
  }
}
