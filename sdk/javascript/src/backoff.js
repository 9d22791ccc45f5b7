/** Waits longer after each failure, with full jitter, so that not all clients come at once. */
export class Backoff {
  #failures = 0;

  /**
   * @param {number} baseMs
   * @param {number} mostMs
   * @param {() => number} random
   */
  constructor(baseMs, mostMs, random) {
    this.baseMs = baseMs;
    this.mostMs = mostMs;
    this.random = random;
  }

  /** How long to wait now, in ms; the next wait may be twice as long. */
  next() {
    return this.random() * Math.min(this.mostMs, this.baseMs * 2 ** this.#failures++);
  }

  /** It worked: begin with short waits again. */
  reset() {
    this.#failures = 0;
  }
}

/** Times that are as close as this are the same: sums of fractions are never exact. */
const CLOSE_MS = 1e-3;

/** Lets `burst` through at once and `perSecond` in the long run: what the server takes. */
export class Pace {
  #fullAt = -Infinity;

  /**
   * @param {number} perSecond
   * @param {number} burst
   */
  constructor(perSecond, burst) {
    this.eachMs = 1000 / perSecond;
    this.burst = burst;
  }

  /**
   * Let one through and return 0, or return for how many ms there is no room.
   *
   * @param {number} nowMs
   */
  take(nowMs) {
    const fullAt = Math.max(this.#fullAt, nowMs);
    const waitMs = fullAt - (this.burst - 1) * this.eachMs - nowMs;
    if (waitMs > CLOSE_MS) return waitMs;
    this.#fullAt = fullAt + this.eachMs;
    return 0;
  }
}
