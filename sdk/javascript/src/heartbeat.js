/** Notices a connection that has died without a word: asks into a silence, then gives up. */
export class Heartbeat {
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  #timer;
  #everyMs = 0;
  #heardAt = 0;
  #asked = false;

  /**
   * @param {() => void} ask
   * @param {() => void} lost
   */
  constructor(ask, lost) {
    this.ask = ask;
    this.lost = lost;
  }

  /** @param {number} everyMs How long a silence may be. */
  start(everyMs) {
    this.stop();
    this.#everyMs = everyMs;
    this.heard();
    this.#wait(everyMs);
  }

  /** Something came. */
  heard() {
    this.#heardAt = performance.now();
    this.#asked = false;
  }

  stop() {
    clearTimeout(this.#timer);
  }

  /** @param {number} ms */
  #wait(ms) {
    this.#timer = setTimeout(() => this.#look(), ms);
  }

  #look() {
    const leftMs = this.#everyMs - (performance.now() - this.#heardAt);
    if (leftMs > 0) {
      this.#wait(leftMs);
    } else if (this.#asked) {
      this.lost();
    } else {
      // A machine that slept finds a long silence: it has to ask before it judges.
      this.#asked = true;
      this.ask();
      this.#wait(this.#everyMs / 2);
    }
  }
}
