/** @import {TimelineEvent} from "../types/protocol.js" */
/** Where a client stands in a session's timeline: every event once, in order, none left out. */
export class Cursor {
    /** @param {string | null} sessionId Null: a session that is yet to be opened. */
    constructor(sessionId: string | null);
    /** @type {string | null} */
    sessionId: string | null;
    /** @type {string | null} */
    epoch: string | null;
    seq: number;
    opensNew: boolean;
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
