export type ConnectOptions = {
    /**
     * A JWT, or a function that gives a fresh one whenever asked.
     */
    token?: TokenSource | undefined;
    /**
     * A session to come back to; without it a new one is opened.
     */
    sessionId?: string | undefined;
    /**
     * Up to where that session is known to go, as `/v1/sessions` lists it
     * and `session.seq` said: a long one is there sooner. It may be out of date.
     */
    lastSeq?: number | undefined;
    role?: "drive" | "watch" | undefined;
    /**
     * Leaves the session when it is aborted.
     */
    signal?: AbortSignal | undefined;
    /**
     * Where the platform has
     * none, as Node 20: that of the package `ws`.
     */
    WebSocket?: (new (url: string, protocols: string[]) => any) | undefined;
    /**
     * After this the first connection is given up. 30,000.
     */
    connectMs?: number | undefined;
    /**
     * After this one dial is given up, and the next begun. 10,000.
     */
    dialMs?: number | undefined;
    /**
     * Commands that may wait for an answer, offline or not. 100.
     */
    queueMost?: number | undefined;
    /**
     * Of the log; the views need none of them. 100,000.
     */
    keepEvents?: number | undefined;
    /**
     * How often `shown` is reported at most. 250.
     */
    shownEveryMs?: number | undefined;
    /**
     * Between dials: 500 to 30,000, with full
     * jitter.
     */
    backoff?: {
        baseMs: number;
        mostMs: number;
    } | undefined;
    /**
     * Chance, for tests.
     */
    random?: (() => number) | undefined;
};
export type Waiting = {
    signal?: AbortSignal;
};
export type SayOptions = {
    /**
     * `interrupt`, unless said otherwise.
     */
    whenBusy?: SayCommand["when_busy"];
    /**
     * Where nothing was reported with `shown`.
     */
    heard?: Heard | undefined;
    /**
     * A token that takes up a failed turn; `text` may then be empty.
     */
    resume?: string | undefined;
    /**
     * The span that the turn is part of, as in W3C Trace Context.
     */
    traceparent?: string | undefined;
    /**
     * Waits no longer for the answer.
     */
    signal?: AbortSignal | undefined;
};
export type InterruptOptions = {
    /**
     * That turn only; else the one that is open here.
     */
    turnId?: string | null | undefined;
    reason?: string | undefined;
    heard?: Heard | undefined;
    /**
     * Whether words that wait are dropped.
     */
    queue?: InterruptCommand["queue"];
    signal?: AbortSignal | undefined;
};
export type SayResult = {
    turn_id: string;
    outcome: "started" | "queued" | "consumed" | "rolled_back";
    interrupted: string | null;
};
export type InterruptResult = {
    interrupted: boolean;
    turn_id?: string | undefined;
    ack_seq?: number | undefined;
    still_committing?: string[] | undefined;
};
export type HistoryPage = {
    events: TimelineEvent[];
    next: number | null;
};
export type ActionResult = {
    action_id: string;
    state: string;
};
/**
 * What `on` tells beside events. `*`: every event, as an iterator reads them. `view`: views have
 * changed, told once for all that came together. `reset`: the history is another one, throw away
 * what you have of the session. `flush`: stop playing that turn, now. `refused`: something went
 * wrong that no command of yours asked for.
 */
export type Notices = {
    "*": TimelineEvent;
    connection: {
        state: ConnectionState;
        waitMs: number;
    };
    view: number;
    reset: number;
    flush: Flush;
    pause: Pause;
    unpause: Unpause;
    go_away: GoAway;
    refused: Problem;
    ended: SessionEnded;
};
import type { TokenSource } from "./tokens.js";
import type { SayCommand } from "../types/protocol.js";
import type { Heard } from "../types/protocol.js";
import type { InterruptCommand } from "../types/protocol.js";
import type { TimelineEvent } from "../types/protocol.js";
import type { ConnectionState } from "./connection.js";
import type { Flush } from "../types/protocol.js";
import type { Pause } from "../types/protocol.js";
import type { Unpause } from "../types/protocol.js";
import type { GoAway } from "../types/protocol.js";
import type { Problem } from "../types/protocol.js";
import type { SessionEnded } from "./errors.js";
