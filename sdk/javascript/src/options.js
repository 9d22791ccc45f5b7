/**
 * @import {
 *   Flush, GoAway, Heard, InterruptCommand, Pause, Problem, SayCommand, TimelineEvent, Unpause
 * } from "../types/protocol.js"
 * @import {ConnectionState} from "./connection.js"
 * @import {SessionEnded} from "./errors.js"
 * @import {TokenSource} from "./tokens.js"
 */

/**
 * @typedef {object} ConnectOptions
 * @property {TokenSource} [token] A JWT, or a function that gives a fresh one whenever asked.
 * @property {string} [sessionId] A session to come back to; without it a new one is opened.
 * @property {number} [lastSeq] Up to where that session is known to go, as `/v1/sessions` lists it
 *   and `session.seq` said: a long one is there sooner. It may be out of date.
 * @property {"drive" | "watch"} [role]
 * @property {AbortSignal} [signal] Leaves the session when it is aborted.
 * @property {new (url: string, protocols: string[]) => any} [WebSocket] Where the platform has
 *   none, as Node 20: that of the package `ws`.
 * @property {number} [connectMs] After this the first connection is given up. 30,000.
 * @property {number} [dialMs] After this one dial is given up, and the next begun. 10,000.
 * @property {number} [queueMost] Commands that may wait for an answer, offline or not. 100.
 * @property {number} [keepEvents] Of the log; the views need none of them. 100,000.
 * @property {number} [shownEveryMs] How often `shown` is reported at most. 250.
 * @property {{baseMs: number, mostMs: number}} [backoff] Between dials: 500 to 30,000, with full
 *   jitter.
 * @property {() => number} [random] Chance, for tests.
 */

/** @typedef {{signal?: AbortSignal}} Waiting */

/**
 * @typedef {object} SayOptions
 * @property {SayCommand["when_busy"]} [whenBusy] `interrupt`, unless said otherwise.
 * @property {Heard} [heard] Where nothing was reported with `shown`.
 * @property {string} [resume] A token that takes up a failed turn; `text` may then be empty.
 * @property {string} [traceparent] The span that the turn is part of, as in W3C Trace Context.
 * @property {AbortSignal} [signal] Waits no longer for the answer.
 */

/**
 * @typedef {object} InterruptOptions
 * @property {string | null} [turnId] That turn only; else the one that is open here.
 * @property {string} [reason]
 * @property {Heard} [heard]
 * @property {InterruptCommand["queue"]} [queue] Whether words that wait are dropped.
 * @property {AbortSignal} [signal]
 */

/**
 * @typedef {object} SayResult
 * @property {string} turn_id
 * @property {"started" | "queued" | "consumed" | "rolled_back"} outcome
 * @property {string | null} interrupted
 */

/**
 * @typedef {object} InterruptResult
 * @property {boolean} interrupted
 * @property {string} [turn_id]
 * @property {number} [ack_seq]
 * @property {string[]} [still_committing]
 */

/** @typedef {{events: TimelineEvent[], next: number | null}} HistoryPage */

/** @typedef {{action_id: string, state: string}} ActionResult */

/**
 * What `on` tells beside events. `*`: every event, as an iterator reads them. `view`: views have
 * changed, told once for all that came together. `reset`: the history is another one, throw away
 * what you have of the session. `flush`: stop playing that turn, now. `refused`: something went
 * wrong that no command of yours asked for.
 *
 * @typedef {{
 *   "*": TimelineEvent,
 *   connection: {state: ConnectionState, waitMs: number},
 *   view: number,
 *   reset: number,
 *   flush: Flush,
 *   pause: Pause,
 *   unpause: Unpause,
 *   go_away: GoAway,
 *   refused: Problem,
 *   ended: SessionEnded,
 * }} Notices
 */

export {};
