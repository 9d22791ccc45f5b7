/** @import {ErrorCode, Problem} from "../types/protocol.js" */
/** The close code of a session that is over for good. */
export const SESSION_CLOSED: 4102;
/** The base of all errors of this package. */
export class BargeinError extends Error {
    get name(): string;
}
/** The server refused a command. With `retryable`, saying it again later may help. */
export class CommandRefused extends BargeinError {
    /**
     * @param {string} command The command's type.
     * @param {Problem} problem
     */
    constructor(command: string, problem: Problem);
    command: string;
    /** @type {ErrorCode} */
    code: ErrorCode;
    retryable: boolean;
    param: string | null;
}
/** More commands wait for the connection than may; wait for some of them first. */
export class QueueFull extends BargeinError {
    /** @param {number} most */
    constructor(most: number);
    most: number;
}
/** The session can't be reached any more; `code` is the close code, where there was one. */
export class SessionEnded extends BargeinError {
    /**
     * @param {number | null} code
     * @param {string} reason
     */
    constructor(code: number | null, reason: string);
    code: number | null;
    reason: string;
}
/** A reader of events was so slow that some it had not read are gone; begin anew. */
export class ReaderBehind extends BargeinError {
    /** @param {number} missed */
    constructor(missed: number);
    missed: number;
}
import type { ErrorCode } from "../types/protocol.js";
import type { Problem } from "../types/protocol.js";
