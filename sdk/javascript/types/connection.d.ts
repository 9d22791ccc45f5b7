/** One socket at a time, and the next one when it breaks, until it is told not to come back. */
export class Connection {
    /**
     * @param {Way} way
     * @param {Cursor} cursor
     * @param {Owner} owner
     */
    constructor(way: Way, cursor: Cursor, owner: Owner);
    /** @type {ConnectionState} */
    state: ConnectionState;
    /** What went wrong last, for people. */
    problem: string;
    /** Sockets that said `hello`. */
    count: number;
    start(): void;
    /**
     * Send a command if there is somebody to take it.
     *
     * @param {string} text
     * @returns {boolean} Whether it is on its way; it may still be lost there.
     */
    send(text: string): boolean;
    /** All that was missed has come. */
    live(): void;
    /** The server will end this connection; leave it alone for so long. @param {number} ms */
    away(ms: number): void;
    /**
     * Drop this connection, which is of no use any more, and come back where the cursor stands.
     *
     * @param {number} [waitMs]
     */
    redial(waitMs?: number): void;
    /** @param {SessionEnded} error */
    end(error: SessionEnded): void;
    #private;
}
export type ConnectionState = "connecting" | "replaying" | "live" | "waiting" | "ended";
/**
 * How to get to the server.
 */
export type Way = {
    base: URL;
    role: "drive" | "watch" | undefined;
    tokens: Tokens;
    backoff: Backoff;
    /**
     * A dial that has no `hello` by then is given up.
     */
    dialMs: number;
    WebSocket: new (url: string, protocols: string[]) => any;
};
/**
 * Who the connection works for.
 */
export type Owner = {
    receive: (frame: any) => void;
    changed: (state: ConnectionState, waitMs: number) => void;
    ended: (error: SessionEnded) => void;
};
import { SessionEnded } from "./errors.js";
import type { Cursor } from "./cursor.js";
import type { Tokens } from "./tokens.js";
import type { Backoff } from "./backoff.js";
