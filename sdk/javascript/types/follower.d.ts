/** Follows a session's timeline over one connection after the other, and tells what is new. */
export class Follower {
    /**
     * @param {Way} way
     * @param {Cursor} cursor
     * @param {{
     *   queueMost: number, keepEvents: number, shownEveryMs: number, random: () => number,
     * }} options
     * @param {(error: SessionEnded | null) => void} ready Called when all there is has come, or
     *   nothing will.
     */
    constructor(way: Way, cursor: Cursor, options: {
        queueMost: number;
        keepEvents: number;
        shownEveryMs: number;
        random: () => number;
    }, ready: (error: SessionEnded | null) => void);
    view: View;
    listeners: Listeners;
    counts: {
        connections: number;
        gaps: number;
        doubles: number;
        late: number;
        resets: number;
    };
    /** @type {Hello | null} */
    hello: Hello | null;
    cursor: Cursor;
    log: EventLog;
    connection: Connection;
    playback: Playback;
    receipts: Receipts;
    commands: Commands;
    renewal: Renewal;
    past: Past;
    /** @param {any} frame */
    receive(frame: any): void;
    /**
     * @param {ConnectionState} state
     * @param {number} waitMs
     */
    changed(state: ConnectionState, waitMs: number): void;
    /** @param {SessionEnded} error */
    ended(error: SessionEnded): void;
    /**
     * Look whether pages will do over a new connection; if not, there will be another one.
     *
     * @param {number} lastSeq How far the session goes by now.
     */
    begins(lastSeq: number): boolean;
    /** Fetch what lies before the place where the connection began. */
    fetchPast(): Promise<void>;
    /** Something is missing, or came in the wrong place: a resume gives exactly the rest. */
    gap(): void;
    /** Throw away what is no part of the session's history any more. */
    reset(): void;
    /** @param {SessionEnded | null} error */
    ready(error: SessionEnded | null): void;
    viewChanged(): void;
    #private;
}
import { View } from "./view.js";
import { Listeners } from "./listeners.js";
import type { Hello } from "../types/protocol.js";
import type { Cursor } from "./cursor.js";
import { EventLog } from "./log.js";
import { Connection } from "./connection.js";
import { Playback } from "./playback.js";
import { Receipts } from "./receipts.js";
import { Commands } from "./commands.js";
import { Renewal } from "./renewal.js";
import { Past } from "./past.js";
import type { ConnectionState } from "./connection.js";
import type { SessionEnded } from "./errors.js";
import type { Way } from "./connection.js";
