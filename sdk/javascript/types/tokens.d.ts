/** Where the tokens come from, and when the next one is due. */
export class Tokens {
    /** @param {TokenSource} source */
    constructor(source: TokenSource);
    /** Whether a fresh one can be asked for. */
    get renewable(): boolean;
    /** Return a token to come with; a function is asked each time. */
    fresh(): Promise<string | null>;
    /**
     * Come with this one from now on, where no function says otherwise.
     *
     * @param {string} token
     * @returns {() => void} Takes it back.
     */
    replace(token: string): () => void;
    /**
     * Return in how many ms a fresh token is due; null if nobody knows, or nobody has one.
     *
     * A minute before the end, or half way there for one that lives shorter.
     *
     * @param {number} nowMs UTC.
     */
    dueIn(nowMs: number): number | null;
    #private;
}
export type TokenSource = string | null | (() => string | null | Promise<string | null>);
