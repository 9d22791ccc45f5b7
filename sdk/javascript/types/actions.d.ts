/** One action, from its proposal to its outcome. */
export class Action {
    /**
     * @param {string} turnId
     * @param {ActionProposedEvent["payload"]} proposed
     */
    constructor(turnId: string, proposed: ActionProposedEvent["payload"]);
    status: string;
    /** @type {string | null} */
    by: string | null;
    /** @type {string | null} */
    reason: string | null;
    /** @type {any} */
    result: any;
    /** @type {string | null} */
    error: string | null;
    /** @type {any} */
    revertResult: any;
    /** @type {string | null} */
    revertError: string | null;
    turnId: string;
    proposed: import("../types/protocol.js").ActionProposed;
    args: Record<string, any>;
    get undone(): boolean;
    /**
     * Follow an `action.…` event; what is no edge from here is passed over.
     *
     * @param {string} type
     * @param {any} payload
     */
    follow(type: string, payload: any): void;
}
import type { ActionProposedEvent } from "../types/protocol.js";
