/** Notices a connection that has died without a word: asks into a silence, then gives up. */
export class Heartbeat {
    /**
     * @param {() => void} ask
     * @param {() => void} lost
     */
    constructor(ask: () => void, lost: () => void);
    ask: () => void;
    lost: () => void;
    /** @param {number} everyMs How long a silence may be. */
    start(everyMs: number): void;
    /** Something came. */
    heard(): void;
    stop(): void;
    #private;
}
