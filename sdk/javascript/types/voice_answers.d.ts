/** @import {InterruptOptions} from "./options.js" */
/** @import {Session} from "./session.js" */
/** Stops the answer of the open turn where it was heard; what still comes of it is not spoken. */
export class Answers {
    /** @param {Session} session */
    constructor(session: Session);
    /** Whether a turn was stopped, here or anywhere. @param {string | null} turnId */
    isCut(turnId: string | null): boolean;
    /** How much was heard of the open turn; null: it is not spoken, or others may hear it. */
    get heardBefore(): number | null;
    /** Stop the open turn. @param {InterruptOptions} how */
    stop(how: InterruptOptions): Promise<void>;
    #private;
}
import type { InterruptOptions } from "./options.js";
import type { Session } from "./session.js";
