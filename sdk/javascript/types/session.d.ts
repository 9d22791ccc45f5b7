/**
 * A session with an agent, kept over whatever the network does.
 *
 * `for await (const event of session)` reads its events, each once and in order; `session.view`
 * is what they come to. Lives until `disconnect`, or until the server says that it is over.
 */
export class Session {
    /** @param {Follower} follower See `connect`. */
    constructor(follower: Follower);
    /** The session as it is to be shown. */
    view: import("./view.js").View;
    /** What happened to the connection, counted. */
    counts: {
        connections: number;
        gaps: number;
        doubles: number;
        late: number;
        resets: number;
    };
    /** The session's id, to come back with. */
    get id(): string | null;
    /** Names one unbroken history of the session. */
    get epoch(): string | null;
    /** The highest seq that was applied. */
    get seq(): number;
    /** How the connection is now. */
    get state(): import("./connection.js").ConnectionState;
    /** The latest `hello`: limits, and who the server takes this client for. */
    get hello(): import("../types/protocol.js").Hello | null;
    /** How many commands wait for an answer. */
    get waiting(): number;
    /** Every event that is kept, oldest first, late ones too: the session's record. */
    get log(): readonly (import("../types/protocol.js").SessionOpenedEvent | import("../types/protocol.js").SessionAttachedEvent | import("../types/protocol.js").SessionDetachedEvent | import("../types/protocol.js").SessionConfiguredEvent | import("../types/protocol.js").SessionTitledEvent | import("../types/protocol.js").SessionClosedEvent | import("../types/protocol.js").SpeechStartedEvent | import("../types/protocol.js").SpeechStoppedEvent | import("../types/protocol.js").AudioReceivedEvent | import("../types/protocol.js").AsrPartialEvent | import("../types/protocol.js").AsrFinalEvent | import("../types/protocol.js").InputTextEvent | import("../types/protocol.js").InputDroppedEvent | import("../types/protocol.js").TurnStartEvent | import("../types/protocol.js").TurnEndEvent | import("../types/protocol.js").PlanStartEvent | import("../types/protocol.js").PlanReadyEvent | import("../types/protocol.js").PlanStepEvent | import("../types/protocol.js").GuardrailPassedEvent | import("../types/protocol.js").GuardrailTrippedEvent | import("../types/protocol.js").StageStartEvent | import("../types/protocol.js").StageEndEvent | import("../types/protocol.js").RetrieveStartEvent | import("../types/protocol.js").RetrieveResultEvent | import("../types/protocol.js").ModelStartEvent | import("../types/protocol.js").ModelTokenEvent | import("../types/protocol.js").ModelEndEvent | import("../types/protocol.js").ModelRetryEvent | import("../types/protocol.js").ModelFallbackEvent | import("../types/protocol.js").ToolCallEvent | import("../types/protocol.js").ToolProgressEvent | import("../types/protocol.js").ToolResultEvent | import("../types/protocol.js").RecoveryStartEvent | import("../types/protocol.js").RecoveryEndEvent | import("../types/protocol.js").ObjectEvent | import("../types/protocol.js").StatusEvent | import("../types/protocol.js").MemorySavedEvent | import("../types/protocol.js").TtsChunkEvent | import("../types/protocol.js").PlaybackStartEvent | import("../types/protocol.js").PlaybackProgressEvent | import("../types/protocol.js").PlaybackPausedEvent | import("../types/protocol.js").PlaybackResumedEvent | import("../types/protocol.js").PlaybackStopEvent | import("../types/protocol.js").ResponseStartEvent | import("../types/protocol.js").ResponseEndEvent | import("../types/protocol.js").CancelRequestedEvent | import("../types/protocol.js").CancelStageEvent | import("../types/protocol.js").CancelAckEvent | import("../types/protocol.js").ActionProposedEvent | import("../types/protocol.js").ActionConfirmedEvent | import("../types/protocol.js").ActionRejectedEvent | import("../types/protocol.js").ActionExpiredEvent | import("../types/protocol.js").ActionCommittingEvent | import("../types/protocol.js").ActionCommittedEvent | import("../types/protocol.js").ActionFailedEvent | import("../types/protocol.js").ActionInDoubtEvent | import("../types/protocol.js").ActionRevertingEvent | import("../types/protocol.js").ActionRevertedEvent | import("../types/protocol.js").ActionRevertFailedEvent | import("../types/protocol.js").FaultEvent | import("../types/protocol.js").TurnTraceEvent | import("../types/protocol.js").TurnCheckpointEvent)[];
    /**
     * Say something; a running answer is interrupted, unless `whenBusy` says otherwise.
     *
     * @param {string} text
     * @param {SayOptions} [options]
     * @returns {Promise<SayResult>}
     */
    say(text: string, { whenBusy, heard, resume, traceparent, signal }?: SayOptions): Promise<SayResult>;
    /**
     * Stop the running answer; asked twice for one turn it is one interrupt.
     *
     * @param {InterruptOptions} [options]
     * @returns {Promise<InterruptResult>}
     */
    interrupt({ turnId, reason, heard, queue, signal }?: InterruptOptions): Promise<InterruptResult>;
    /**
     * Allow a proposed action; `args` replace all of its arguments.
     *
     * @param {string} confirmationId
     * @param {{args?: Record<string, any>, reason?: string} & Waiting} [options]
     * @returns {Promise<ActionResult>}
     */
    confirm(confirmationId: string, { args, reason, signal }?: {
        args?: Record<string, any>;
        reason?: string;
    } & Waiting): Promise<ActionResult>;
    /**
     * Refuse a proposed action.
     *
     * @param {string} confirmationId
     * @param {{reason?: string} & Waiting} [options]
     * @returns {Promise<ActionResult>}
     */
    reject(confirmationId: string, { reason, signal }?: {
        reason?: string;
    } & Waiting): Promise<ActionResult>;
    /**
     * Undo an action that was done.
     *
     * @param {string} actionId
     * @param {Waiting} [options]
     * @returns {Promise<ActionResult>}
     */
    revert(actionId: string, { signal }?: Waiting): Promise<ActionResult>;
    /**
     * Change settings of the session.
     *
     * @param {Omit<ConfigureCommand, "type" | "id">} settings
     * @returns {Promise<Record<string, any>>} All of them, as they are now.
     */
    configure(settings: Omit<ConfigureCommand, "type" | "id">): Promise<Record<string, any>>;
    /**
     * Read a page of the timeline from the server.
     *
     * @param {{after?: number, limit?: number} & Waiting} [options]
     * @returns {Promise<HistoryPage>}
     */
    history({ after, limit, signal }?: {
        after?: number;
        limit?: number;
    } & Waiting): Promise<HistoryPage>;
    /**
     * Send any other command of the protocol.
     *
     * @param {string} type
     * @param {Record<string, any>} [fields]
     * @param {Waiting} [options]
     * @returns {Promise<any>}
     */
    send(type: string, fields?: Record<string, any>, { signal }?: Waiting): Promise<any>;
    /**
     * Say how much of a turn was shown or played: the model hears of no more than that.
     *
     * @param {string} turnId
     * @param {number | string} shown Code points, or the text itself.
     */
    shown(turnId: string, shown: number | string): void;
    /**
     * Hand in a fresh token for this connection and the next ones.
     *
     * @param {string} token
     */
    authenticate(token: string): Promise<void>;
    /** End the session for good, for everybody. To leave it, `disconnect`. */
    close(): Promise<void>;
    /** Leave; the session stays on the server, and `connect` with its id comes back to it. */
    disconnect(): void;
    /**
     * Listen to events of a type, to all of them as `*`, or to a notice.
     *
     * @template {keyof EventMap | keyof Notices} T
     * @param {T} type
     * @param {(
     *   value: T extends keyof EventMap ? EventMap[T] : T extends keyof Notices ? Notices[T] : never,
     * ) => void} listener
     * @returns {() => void} Stops listening.
     */
    on<T extends keyof EventMap | keyof Notices>(type: T, listener: (value: T extends keyof EventMap ? EventMap[T] : T extends keyof Notices ? Notices[T] : never) => void): () => void;
    /**
     * Read the events behind `after`, each once and in order; tokens that an interrupt overtook
     * are left out, as in `on`. Breaking off the loop ends the reader, not the session.
     *
     * @param {{after?: number}} [options]
     */
    events({ after }?: {
        after?: number;
    }): AsyncIterableIterator<import("../types/protocol.js").SessionOpenedEvent | import("../types/protocol.js").SessionAttachedEvent | import("../types/protocol.js").SessionDetachedEvent | import("../types/protocol.js").SessionConfiguredEvent | import("../types/protocol.js").SessionTitledEvent | import("../types/protocol.js").SessionClosedEvent | import("../types/protocol.js").SpeechStartedEvent | import("../types/protocol.js").SpeechStoppedEvent | import("../types/protocol.js").AudioReceivedEvent | import("../types/protocol.js").AsrPartialEvent | import("../types/protocol.js").AsrFinalEvent | import("../types/protocol.js").InputTextEvent | import("../types/protocol.js").InputDroppedEvent | import("../types/protocol.js").TurnStartEvent | import("../types/protocol.js").TurnEndEvent | import("../types/protocol.js").PlanStartEvent | import("../types/protocol.js").PlanReadyEvent | import("../types/protocol.js").PlanStepEvent | import("../types/protocol.js").GuardrailPassedEvent | import("../types/protocol.js").GuardrailTrippedEvent | import("../types/protocol.js").StageStartEvent | import("../types/protocol.js").StageEndEvent | import("../types/protocol.js").RetrieveStartEvent | import("../types/protocol.js").RetrieveResultEvent | import("../types/protocol.js").ModelStartEvent | import("../types/protocol.js").ModelTokenEvent | import("../types/protocol.js").ModelEndEvent | import("../types/protocol.js").ModelRetryEvent | import("../types/protocol.js").ModelFallbackEvent | import("../types/protocol.js").ToolCallEvent | import("../types/protocol.js").ToolProgressEvent | import("../types/protocol.js").ToolResultEvent | import("../types/protocol.js").RecoveryStartEvent | import("../types/protocol.js").RecoveryEndEvent | import("../types/protocol.js").ObjectEvent | import("../types/protocol.js").StatusEvent | import("../types/protocol.js").MemorySavedEvent | import("../types/protocol.js").TtsChunkEvent | import("../types/protocol.js").PlaybackStartEvent | import("../types/protocol.js").PlaybackProgressEvent | import("../types/protocol.js").PlaybackPausedEvent | import("../types/protocol.js").PlaybackResumedEvent | import("../types/protocol.js").PlaybackStopEvent | import("../types/protocol.js").ResponseStartEvent | import("../types/protocol.js").ResponseEndEvent | import("../types/protocol.js").CancelRequestedEvent | import("../types/protocol.js").CancelStageEvent | import("../types/protocol.js").CancelAckEvent | import("../types/protocol.js").ActionProposedEvent | import("../types/protocol.js").ActionConfirmedEvent | import("../types/protocol.js").ActionRejectedEvent | import("../types/protocol.js").ActionExpiredEvent | import("../types/protocol.js").ActionCommittingEvent | import("../types/protocol.js").ActionCommittedEvent | import("../types/protocol.js").ActionFailedEvent | import("../types/protocol.js").ActionInDoubtEvent | import("../types/protocol.js").ActionRevertingEvent | import("../types/protocol.js").ActionRevertedEvent | import("../types/protocol.js").ActionRevertFailedEvent | import("../types/protocol.js").FaultEvent | import("../types/protocol.js").TurnTraceEvent | import("../types/protocol.js").TurnCheckpointEvent>;
    [Symbol.asyncIterator](): AsyncIterableIterator<import("../types/protocol.js").SessionOpenedEvent | import("../types/protocol.js").SessionAttachedEvent | import("../types/protocol.js").SessionDetachedEvent | import("../types/protocol.js").SessionConfiguredEvent | import("../types/protocol.js").SessionTitledEvent | import("../types/protocol.js").SessionClosedEvent | import("../types/protocol.js").SpeechStartedEvent | import("../types/protocol.js").SpeechStoppedEvent | import("../types/protocol.js").AudioReceivedEvent | import("../types/protocol.js").AsrPartialEvent | import("../types/protocol.js").AsrFinalEvent | import("../types/protocol.js").InputTextEvent | import("../types/protocol.js").InputDroppedEvent | import("../types/protocol.js").TurnStartEvent | import("../types/protocol.js").TurnEndEvent | import("../types/protocol.js").PlanStartEvent | import("../types/protocol.js").PlanReadyEvent | import("../types/protocol.js").PlanStepEvent | import("../types/protocol.js").GuardrailPassedEvent | import("../types/protocol.js").GuardrailTrippedEvent | import("../types/protocol.js").StageStartEvent | import("../types/protocol.js").StageEndEvent | import("../types/protocol.js").RetrieveStartEvent | import("../types/protocol.js").RetrieveResultEvent | import("../types/protocol.js").ModelStartEvent | import("../types/protocol.js").ModelTokenEvent | import("../types/protocol.js").ModelEndEvent | import("../types/protocol.js").ModelRetryEvent | import("../types/protocol.js").ModelFallbackEvent | import("../types/protocol.js").ToolCallEvent | import("../types/protocol.js").ToolProgressEvent | import("../types/protocol.js").ToolResultEvent | import("../types/protocol.js").RecoveryStartEvent | import("../types/protocol.js").RecoveryEndEvent | import("../types/protocol.js").ObjectEvent | import("../types/protocol.js").StatusEvent | import("../types/protocol.js").MemorySavedEvent | import("../types/protocol.js").TtsChunkEvent | import("../types/protocol.js").PlaybackStartEvent | import("../types/protocol.js").PlaybackProgressEvent | import("../types/protocol.js").PlaybackPausedEvent | import("../types/protocol.js").PlaybackResumedEvent | import("../types/protocol.js").PlaybackStopEvent | import("../types/protocol.js").ResponseStartEvent | import("../types/protocol.js").ResponseEndEvent | import("../types/protocol.js").CancelRequestedEvent | import("../types/protocol.js").CancelStageEvent | import("../types/protocol.js").CancelAckEvent | import("../types/protocol.js").ActionProposedEvent | import("../types/protocol.js").ActionConfirmedEvent | import("../types/protocol.js").ActionRejectedEvent | import("../types/protocol.js").ActionExpiredEvent | import("../types/protocol.js").ActionCommittingEvent | import("../types/protocol.js").ActionCommittedEvent | import("../types/protocol.js").ActionFailedEvent | import("../types/protocol.js").ActionInDoubtEvent | import("../types/protocol.js").ActionRevertingEvent | import("../types/protocol.js").ActionRevertedEvent | import("../types/protocol.js").ActionRevertFailedEvent | import("../types/protocol.js").FaultEvent | import("../types/protocol.js").TurnTraceEvent | import("../types/protocol.js").TurnCheckpointEvent>;
    #private;
}
import type { SayOptions } from "./options.js";
import type { SayResult } from "./options.js";
import type { InterruptOptions } from "./options.js";
import type { InterruptResult } from "./options.js";
import type { Waiting } from "./options.js";
import type { ActionResult } from "./options.js";
import type { ConfigureCommand } from "../types/protocol.js";
import type { HistoryPage } from "./options.js";
import type { EventMap } from "../types/protocol.js";
import type { Notices } from "./options.js";
import type { Follower } from "./follower.js";
