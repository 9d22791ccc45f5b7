/** @typedef {string | null | (() => string | null | Promise<string | null>)} TokenSource */

const BEFORE_END_MS = 60_000;
const LONGEST_TIMER_MS = 2 ** 31 - 1;

/** Where the tokens come from, and when the next one is due. */
export class Tokens {
  #source;
  /** @type {string | null} */
  #latest = null;

  /** @param {TokenSource} source */
  constructor(source) {
    this.#source = source;
  }

  /** Whether a fresh one can be asked for. */
  get renewable() {
    return typeof this.#source === "function";
  }

  /** Return a token to come with; a function is asked each time. */
  async fresh() {
    this.#latest = typeof this.#source === "function" ? await this.#source() : this.#source;
    return this.#latest;
  }

  /**
   * Come with this one from now on, where no function says otherwise.
   *
   * @param {string} token
   * @returns {() => void} Takes it back.
   */
  replace(token) {
    const before = { source: this.#source, latest: this.#latest };
    if (!this.renewable) this.#source = token;
    this.#latest = token;
    return () => {
      this.#source = before.source;
      this.#latest = before.latest;
    };
  }

  /**
   * Return in how many ms a fresh token is due; null if nobody knows, or nobody has one.
   *
   * A minute before the end, or half way there for one that lives shorter.
   *
   * @param {number} nowMs UTC.
   */
  dueIn(nowMs) {
    const expMs = this.renewable && this.#latest !== null ? endOf(this.#latest) : null;
    if (expMs === null) return null;
    const leftMs = Math.max(0, expMs - nowMs);
    return Math.min(LONGEST_TIMER_MS, Math.max(leftMs / 2, leftMs - BEFORE_END_MS));
  }
}

/**
 * Read when a JWT ends, in ms UTC. It is the server that checks it; this is for the clock alone.
 *
 * @param {string} token
 * @returns {number | null}
 */
function endOf(token) {
  try {
    const claims = atob((token.split(".")[1] ?? "").replace(/-/g, "+").replace(/_/g, "/"));
    const { exp } = JSON.parse(claims);
    return typeof exp === "number" ? exp * 1000 : null;
  } catch {
    return null;
  }
}
