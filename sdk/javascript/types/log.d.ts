/**
 * Every event as it came, the newest `most` of them.
 *
 * A reader is a place in the log and has no queue of its own: a slow one costs no memory, and is
 * told when what it should read next is gone.
 */
export class EventLog {
    /** @param {number} most */
    constructor(most: number);
    most: number;
    /** What is kept, oldest first. @returns {readonly TimelineEvent[]} */
    get events(): readonly TimelineEvent[];
    /**
     * @param {TimelineEvent} event
     * @param {boolean} late It is text of a turn that was stopped: kept, and not to be shown.
     */
    add(event: TimelineEvent, late: boolean): void;
    /** Throw all away: another history begins, and readers begin with it. */
    clear(): void;
    /** Nothing comes any more; readers end behind the rest. @param {Error | null} error */
    end(error: Error | null): void;
    /**
     * Read on from behind `after`, without text that came too late to be shown.
     *
     * @param {number} after
     * @returns {AsyncIterableIterator<TimelineEvent>}
     */
    read(after: number): AsyncIterableIterator<TimelineEvent>;
    #private;
}
import type { TimelineEvent } from "../types/protocol.js";
