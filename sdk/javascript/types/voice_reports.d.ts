/** Reports to the server what is said and heard here, and tells what it refuses. */
export class Reports {
    /**
     * @param {Session} session
     * @param {(error: any) => void} refused Not told of what only came too late.
     */
    constructor(session: Session, refused: (error: any) => void);
    /**
     * @param {string} type
     * @param {Record<string, any>} fields
     * @returns {Promise<boolean>} Whether the server has taken it in, or what came before it.
     */
    send(type: string, fields: Record<string, any>): Promise<boolean>;
    /** Say how much of a turn was heard. @param {string} turnId @param {number} chars */
    shown(turnId: string, chars: number): void;
    /** Tell if the server refuses. @param {Promise<unknown>} answer */
    heed(answer: Promise<unknown>): Promise<boolean>;
    #private;
}
import type { Session } from "./session.js";
