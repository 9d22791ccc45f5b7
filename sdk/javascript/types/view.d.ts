/**
 * The session as it is to be shown: what `projection` answers with, computed here.
 *
 * Each is computed when it is read and kept while nothing changes; a turn that did not change is
 * the same object as before. Nothing is cut to the size of a reply, as the server has to do.
 */
export class View {
    /** @param {Gate} gate */
    constructor(gate: Gate);
    /** Counts the changes. */
    get version(): number;
    /** The conversation. @returns {Transcript} */
    get transcript(): Transcript;
    /** The latest plan, with the state of each step. @returns {PlanView} */
    get plan(): PlanView;
    /** Every action, oldest first, and what became of it. @returns {Actions} */
    get actions(): Actions;
    /** Where the time of the latest turns went. @returns {Latency} */
    get latency(): Latency;
    /** The session at a glance. @returns {SessionView} */
    get session(): SessionView;
    /** @param {import("../types/protocol.js").TimelineEvent} event */
    apply(event: import("../types/protocol.js").TimelineEvent): void;
    /** Say whether text of this turn comes too late to be shown. @param {string | null} turnId */
    hides(turnId: string | null): boolean;
    /** Show no more of a turn than now. @param {string} turnId */
    freeze(turnId: string): void;
    /** A new connection: what was flushed on the old one is on the timeline, or never was. */
    thaw(): void;
    /** Begin anew, with nothing. */
    clear(): void;
    #private;
}
import type { Transcript } from "../types/protocol.js";
import type { PlanView } from "../types/protocol.js";
import type { Actions } from "../types/protocol.js";
import type { Latency } from "../types/protocol.js";
import type { SessionView } from "../types/protocol.js";
import type { Gate } from "./gate.js";
