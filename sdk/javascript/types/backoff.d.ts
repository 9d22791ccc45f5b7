/** Waits longer after each failure, with full jitter, so that not all clients come at once. */
export class Backoff {
    /**
     * @param {number} baseMs
     * @param {number} mostMs
     * @param {() => number} random
     */
    constructor(baseMs: number, mostMs: number, random: () => number);
    baseMs: number;
    mostMs: number;
    random: () => number;
    /** How long to wait now, in ms; the next wait may be twice as long. */
    next(): number;
    /** It worked: begin with short waits again. */
    reset(): void;
    #private;
}
/** Lets `burst` through at once and `perSecond` in the long run: what the server takes. */
export class Pace {
    /**
     * @param {number} perSecond
     * @param {number} burst
     */
    constructor(perSecond: number, burst: number);
    eachMs: number;
    burst: number;
    /**
     * Let one through and return 0, or return for how many ms there is no room.
     *
     * @param {number} nowMs
     */
    take(nowMs: number): number;
    #private;
}
