/** Hands in a fresh token before the old one ends, so that the connection lives on. */
export class Renewal {
    /**
     * @param {Tokens} tokens
     * @param {Commands} commands
     */
    constructor(tokens: Tokens, commands: Commands);
    /** Hand in a token for this connection and the next ones. @param {string} token */
    use(token: string): Promise<void>;
    /** Wait until a token is due. */
    plan(): void;
    stop(): void;
    #private;
}
import type { Tokens } from "./tokens.js";
import type { Commands } from "./commands.js";
