/** Where a client stands in a session's timeline: every event once, in order, none left out. */
export class Cursor {
    /**
     * @param {string | null} sessionId Null: a session that is yet to be opened.
     * @param {number} [lastSeq] What somebody says of it, who may be wrong.
     */
    constructor(sessionId: string | null, lastSeq?: number);
    /** @type {string | null} */
    sessionId: string | null;
    /** @type {string | null} */
    epoch: string | null;
    seq: number;
    /** Up to where the session is known to go; 0 where nobody knows. */
    known: number;
    opensNew: boolean;
    /** Behind which seq a connection is to begin: what lies before is here, or fetched in pages. */
    get after(): number;
    /** Whether a connection left out some of the past, which is to be fetched. */
    get lacks(): boolean;
    /** Nothing of the session was ever seen here, and it was to be a new one. */
    get unborn(): boolean;
    /**
     * Take an event if it is the next one.
     *
     * A merged one stands for `first_seq`..`seq`. One that begins before the cursor and ends
     * behind it can't be split, so it counts as a gap: a resume gives exactly the rest.
     *
     * @param {TimelineEvent} event
     * @returns {"next" | "double" | "gap"}
     */
    take(event: TimelineEvent): "next" | "double" | "gap";
    /** Begin anew: what was seen is not the session's history any more. */
    rewind(): void;
}
import type { TimelineEvent } from "../types/protocol.js";
