/** @import {Span, Step} from "../types/protocol.js" */
/**
 * @typedef {"queued" | "open" | "completed" | "cancelled" | "failed" | "refused" | "dropped"
 * } TurnStatus
 */
/** One turn of the fold: the user's words, the answer, and how far the user heard it. */
export class Turn {
    /** @param {string} id */
    constructor(id: string);
    words: string;
    /** @type {TurnStatus} */
    status: TurnStatus;
    rolledBack: boolean;
    /** All that was generated of the answer. */
    text: string;
    /** @type {string | null} What the user had of a cancelled answer; null: all of it. */
    heard: string | null;
    /** @type {[number, number][]} Parts that were left unsaid, in code points. */
    withheld: [number, number][];
    cancelled: boolean;
    preempted: boolean;
    givenUp: boolean;
    worded: boolean;
    /** @type {{utterance_id: string, revision: number}[]} What was said aloud. */
    utterances: {
        utterance_id: string;
        revision: number;
    }[];
    /** @type {string | null} The turn whose words these are, as they were really said. */
    corrects: string | null;
    /** @type {Step[]} */
    steps: Step[];
    /** @type {number | null} */
    totalMs: number | null;
    /** @type {Span[]} */
    spans: Span[];
    /** @type {number | null} */
    cancelMs: number | null;
    /** Counts what changed it, so that a view of it can be kept while nothing does. */
    version: number;
    id: string;
    /**
     * @param {string} stepId
     * @param {Step["state"]} state
     */
    tick(stepId: string, state: Step["state"]): void;
    /**
     * What the user had of *text*, which is the answer or its beginning.
     *
     * @param {string} text
     */
    saidOf(text: string): string;
    /** Close what the end of the turn left open. */
    closeSteps(): void;
}
export type TurnStatus = "queued" | "open" | "completed" | "cancelled" | "failed" | "refused" | "dropped";
import type { Step } from "../types/protocol.js";
import type { Span } from "../types/protocol.js";
