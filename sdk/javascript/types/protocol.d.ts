// Generated from /protocol.json by `python -m tests.sdk.protocol_types`; a test fails when it
// drifts. Fields have their names on the wire.

/** The user's words, a whole turn. */
export interface SayCommand {
  type: "say";
  text?: string;
  id?: string | null;
  when_busy?: "interrupt" | "queue" | "reject" | "rollback" | "steer";
  heard?: Heard | null;
  resume?: string | null;
}

/** Stop the current turn; safe to send blind. */
export interface InterruptCommand {
  type: "interrupt";
  id?: string | null;
  turn_id?: string | null;
  reason?: string | null;
  heard?: Heard | null;
  queue?: "drop" | "keep";
}

/** Voice activity began at the client. */
export interface StartSpeechCommand {
  type: "speech.start";
  utterance_id: string;
  id?: string | null;
}

/** Voice activity ended at the client. */
export interface StopSpeechCommand {
  type: "speech.stop";
  utterance_id: string;
  id?: string | null;
}

/** A chunk of input audio, in base64. */
export interface SendAudioCommand {
  type: "audio.chunk";
  utterance_id: string;
  index: number;
  format: string;
  data: string;
  id?: string | null;
}

/** A transcript in progress. */
export interface RevisePartialCommand {
  type: "asr.partial";
  utterance_id: string;
  revision: number;
  text: string;
  confidence?: number | null;
  id?: string | null;
}

/** The recogniser's last word on an utterance. */
export interface ReviseFinalCommand {
  type: "asr.final";
  utterance_id: string;
  revision: number;
  text: string;
  confidence?: number | null;
  id?: string | null;
}

/** The user says: my turn is over. */
export interface EndTurnCommand {
  type: "turn.end";
  utterance_id?: string | null;
  id?: string | null;
}

/** The client begins to play or show the turn. */
export interface StartPlaybackCommand {
  type: "playback.start";
  turn_id: string;
  chunk_id?: string | null;
  offset_ms?: number | null;
  chars?: number | null;
  id?: string | null;
}

/** The client played or showed so much: the truth boundary. */
export interface ReportPlaybackCommand {
  type: "playback.progress";
  turn_id: string;
  chunk_id?: string | null;
  offset_ms?: number | null;
  chars?: number | null;
  id?: string | null;
}

/** The client stopped playing, at its end or before. */
export interface StopPlaybackCommand {
  type: "playback.stop";
  turn_id: string;
  chunk_id?: string | null;
  offset_ms?: number | null;
  chars?: number | null;
  id?: string | null;
}

/** Allow a proposed action, or say that one in doubt has happened. */
export interface ConfirmCommand {
  type: "confirm";
  confirmation_id: string;
  args?: Record<string, any> | null;
  reason?: string | null;
  id?: string | null;
}

/** Refuse a proposed action, or say that one in doubt has not happened. */
export interface RejectCommand {
  type: "reject";
  confirmation_id: string;
  reason?: string | null;
  id?: string | null;
}

/** Compensate a committed action. */
export interface RevertCommand {
  type: "revert";
  action_id: string;
  id?: string | null;
}

/** Change settings of the session; an unknown key is refused. */
export interface ConfigureCommand {
  type: "configure";
  id?: string | null;
  voice?: boolean | null;
  on_disconnect?: "cancel" | "continue" | "grace" | null;
  agent?: string | null;
}

/** Everything up to `seq` has been received. */
export interface AckCommand {
  type: "ack";
  seq: number;
  id?: string | null;
}

/** A page of the timeline after `after`; `limit` is cut to 1000. */
export interface HistoryCommand {
  type: "history";
  after?: number;
  limit?: number;
  id?: string | null;
}

/** A view computed from the timeline. */
export interface ProjectCommand {
  type: "projection";
  name: "actions" | "latency" | "plan" | "session" | "transcript";
  id?: string | null;
}

/** A fresh token for this connection, of the same principal. */
export interface AuthenticateCommand {
  type: "auth";
  token: string;
  id?: string | null;
}

/** For people, and for measuring. */
export interface PingCommand {
  type: "ping";
  nonce?: string | number | null;
  id?: string | null;
}

/** End the session for good. */
export interface CloseCommand {
  type: "close";
  id?: string | null;
}

/** The first frame of every connection. */
export interface Hello {
  type: "hello";
  protocol: string;
  server: string;
  session_id: string;
  epoch: string;
  resumed: boolean;
  replay_from: number;
  replay_to: number;
  heartbeat_s: number;
  limits: Record<string, any>;
  you: You;
}

/** Replay is over: the client has everything up to `seq`. */
export interface Live {
  type: "live";
  seq: number;
}

/** A command was accepted, and this came of it; `at_seq` is out already. */
export interface Reply {
  type: "reply";
  command_id: string | null;
  result: any;
  at_seq: number;
}

/** A command or frame was refused; the connection stays open. */
export interface Refused {
  type: "error";
  command_id: string | null;
  error: Problem;
}

/** An interrupt was accepted: show no more of that turn. */
export interface Flush {
  type: "flush";
  turn_id: string;
  seq: number;
}

/** Speech was heard and it isn't decided whether it interrupts: hold playback. */
export interface Pause {
  type: "pause";
  turn_id: string;
}

/** It was no interruption: go on. */
export interface Unpause {
  type: "unpause";
  turn_id: string;
}

/** The answer to `ping`. */
export interface Pong {
  type: "pong";
  nonce: string | number | null;
  server_ts: string;
  command_id?: string;
}

/** From here to `caught_up`, runs of tokens come merged. */
export interface Lagging {
  type: "lagging";
  behind: number;
}

/** The client keeps up again. */
export interface CaughtUp {
  type: "caught_up";
  seq: number;
}

/** The server drains: finish reading, reconnect with `after`. */
export interface GoAway {
  type: "go_away";
  reason: string;
  reconnect_after_ms: number;
}

/** The session begins: which agent serves it, with which settings. */
export interface SessionOpenedEvent {
  session_id: string;
  seq: number;
  event_id: string;
  ts: string;
  type: "session.opened";
  turn_id: string | null;
  parent_event_id: string | null;
  payload: SessionOpened;
}

/** A client is attached; `connections` counts them all, this one too. */
export interface SessionAttachedEvent {
  session_id: string;
  seq: number;
  event_id: string;
  ts: string;
  type: "session.attached";
  turn_id: string | null;
  parent_event_id: string | null;
  payload: SessionAttached;
}

/** A client is gone; `connections` counts those that are left. */
export interface SessionDetachedEvent {
  session_id: string;
  seq: number;
  event_id: string;
  ts: string;
  type: "session.detached";
  turn_id: string | null;
  parent_event_id: string | null;
  payload: SessionDetached;
}

/** Settings changed; these are all of them, now. */
export interface SessionConfiguredEvent {
  session_id: string;
  seq: number;
  event_id: string;
  ts: string;
  type: "session.configured";
  turn_id: string | null;
  parent_event_id: string | null;
  payload: SessionConfigured;
}

/** The conversation has a title. */
export interface SessionTitledEvent {
  session_id: string;
  seq: number;
  event_id: string;
  ts: string;
  type: "session.titled";
  turn_id: string | null;
  parent_event_id: string | null;
  payload: SessionTitled;
}

/** The session is over for good; nothing comes after this. */
export interface SessionClosedEvent {
  session_id: string;
  seq: number;
  event_id: string;
  ts: string;
  type: "session.closed";
  turn_id: string | null;
  parent_event_id: string | null;
  payload: SessionClosed;
}

/** Voice activity began at the client. */
export interface SpeechStartedEvent {
  session_id: string;
  seq: number;
  event_id: string;
  ts: string;
  type: "speech.start";
  turn_id: string | null;
  parent_event_id: string | null;
  payload: SpeechStarted;
}

/** Voice activity ended at the client. */
export interface SpeechStoppedEvent {
  session_id: string;
  seq: number;
  event_id: string;
  ts: string;
  type: "speech.stop";
  turn_id: string | null;
  parent_event_id: string | null;
  payload: SpeechStopped;
}

/** A chunk of input audio: its size in bytes and SHA-256 digest, not its bytes. */
export interface AudioReceivedEvent {
  session_id: string;
  seq: number;
  event_id: string;
  ts: string;
  type: "audio.chunk";
  turn_id: string | null;
  parent_event_id: string | null;
  payload: AudioReceived;
}

/** A transcript in progress; a later revision replaces it. */
export interface AsrPartialEvent {
  session_id: string;
  seq: number;
  event_id: string;
  ts: string;
  type: "asr.partial";
  turn_id: string | null;
  parent_event_id: string | null;
  payload: AsrPartial;
}

/** The recogniser's last word on an utterance. */
export interface AsrFinalEvent {
  session_id: string;
  seq: number;
  event_id: string;
  ts: string;
  type: "asr.final";
  turn_id: string | null;
  parent_event_id: string | null;
  payload: AsrFinal;
}

/** The user's typed words, as they came. */
export interface InputTextEvent {
  session_id: string;
  seq: number;
  event_id: string;
  ts: string;
  type: "input.text";
  turn_id: string | null;
  parent_event_id: string | null;
  payload: InputText;
}

/** Words that were acknowledged will not be answered. */
export interface InputDroppedEvent {
  session_id: string;
  seq: number;
  event_id: string;
  ts: string;
  type: "input.dropped";
  turn_id: string | null;
  parent_event_id: string | null;
  payload: InputDropped;
}

/** The turn has the response slot. */
export interface TurnStartEvent {
  session_id: string;
  seq: number;
  event_id: string;
  ts: string;
  type: "turn.start";
  turn_id: string | null;
  parent_event_id: string | null;
  payload: TurnStart;
}

/** The user's words of this turn are final; everything after answers them. */
export interface TurnEndEvent {
  session_id: string;
  seq: number;
  event_id: string;
  ts: string;
  type: "turn.end";
  turn_id: string | null;
  parent_event_id: string | null;
  payload: TurnEnd;
}

/** The planner was asked. */
export interface PlanStartEvent {
  session_id: string;
  seq: number;
  event_id: string;
  ts: string;
  type: "plan.start";
  turn_id: string | null;
  parent_event_id: string | null;
  payload: PlanStart;
}

/** There is a plan. */
export interface PlanReadyEvent {
  session_id: string;
  seq: number;
  event_id: string;
  ts: string;
  type: "plan.ready";
  turn_id: string | null;
  parent_event_id: string | null;
  payload: PlanReady;
}

/** A step of the plan changed its state. */
export interface PlanStepEvent {
  session_id: string;
  seq: number;
  event_id: string;
  ts: string;
  type: "plan.step";
  turn_id: string | null;
  parent_event_id: string | null;
  payload: PlanStep;
}

/** The request may be answered. */
export interface GuardrailPassedEvent {
  session_id: string;
  seq: number;
  event_id: string;
  ts: string;
  type: "guardrail.passed";
  turn_id: string | null;
  parent_event_id: string | null;
  payload: GuardrailPassed;
}

/** The request is not answered, for this reason. */
export interface GuardrailTrippedEvent {
  session_id: string;
  seq: number;
  event_id: string;
  ts: string;
  type: "guardrail.tripped";
  turn_id: string | null;
  parent_event_id: string | null;
  payload: GuardrailTripped;
}

/** A stage of the pipeline begins. */
export interface StageStartEvent {
  session_id: string;
  seq: number;
  event_id: string;
  ts: string;
  type: "stage.start";
  turn_id: string | null;
  parent_event_id: string | null;
  payload: StageStart;
}

/** A stage of the pipeline is over. */
export interface StageEndEvent {
  session_id: string;
  seq: number;
  event_id: string;
  ts: string;
  type: "stage.end";
  turn_id: string | null;
  parent_event_id: string | null;
  payload: StageEnd;
}

/** Documents are being looked up. */
export interface RetrieveStartEvent {
  session_id: string;
  seq: number;
  event_id: string;
  ts: string;
  type: "retrieve.start";
  turn_id: string | null;
  parent_event_id: string | null;
  payload: RetrieveStart;
}

/** Documents were found. */
export interface RetrieveResultEvent {
  session_id: string;
  seq: number;
  event_id: string;
  ts: string;
  type: "retrieve.result";
  turn_id: string | null;
  parent_event_id: string | null;
  payload: RetrieveResult;
}

/** A model was called. */
export interface ModelStartEvent {
  session_id: string;
  seq: number;
  event_id: string;
  ts: string;
  type: "model.start";
  turn_id: string | null;
  parent_event_id: string | null;
  payload: ModelStart;
}

/** Text as it was generated; `n` counts the deltas that travel in this event. */
export interface ModelTokenEvent {
  session_id: string;
  seq: number;
  event_id: string;
  ts: string;
  type: "model.token";
  turn_id: string | null;
  parent_event_id: string | null;
  payload: ModelToken;
  first_seq?: number;
}

/** The call of the model is over; `stop_reason` is the vendor's, or `cancelled`, `error`. */
export interface ModelEndEvent {
  session_id: string;
  seq: number;
  event_id: string;
  ts: string;
  type: "model.end";
  turn_id: string | null;
  parent_event_id: string | null;
  payload: ModelEnd;
}

/** The model will be called again after a wait; no text had been shown. */
export interface ModelRetryEvent {
  session_id: string;
  seq: number;
  event_id: string;
  ts: string;
  type: "model.retry";
  turn_id: string | null;
  parent_event_id: string | null;
  payload: ModelRetry;
}

/** Another model takes over. */
export interface ModelFallbackEvent {
  session_id: string;
  seq: number;
  event_id: string;
  ts: string;
  type: "model.fallback";
  turn_id: string | null;
  parent_event_id: string | null;
  payload: ModelFallback;
}

/** The model calls a tool; `title` is for people, where the app has one. */
export interface ToolCallEvent {
  session_id: string;
  seq: number;
  event_id: string;
  ts: string;
  type: "tool.call";
  turn_id: string | null;
  parent_event_id: string | null;
  payload: ToolCall;
}

/** A tool tells how far it is. */
export interface ToolProgressEvent {
  session_id: string;
  seq: number;
  event_id: string;
  ts: string;
  type: "tool.progress";
  turn_id: string | null;
  parent_event_id: string | null;
  payload: ToolProgress;
}

/** The one end of a tool call. */
export interface ToolResultEvent {
  session_id: string;
  seq: number;
  event_id: string;
  ts: string;
  type: "tool.result";
  turn_id: string | null;
  parent_event_id: string | null;
  payload: ToolResult;
}

/** Something failed and is being healed. */
export interface RecoveryStartEvent {
  session_id: string;
  seq: number;
  event_id: string;
  ts: string;
  type: "recovery.start";
  turn_id: string | null;
  parent_event_id: string | null;
  payload: RecoveryStart;
}

/** The healing is over. */
export interface RecoveryEndEvent {
  session_id: string;
  seq: number;
  event_id: string;
  ts: string;
  type: "recovery.end";
  turn_id: string | null;
  parent_event_id: string | null;
  payload: RecoveryEnd;
}

/** Structured content: citations, tables, anything that is no prose. */
export interface ObjectEvent {
  session_id: string;
  seq: number;
  event_id: string;
  ts: string;
  type: "object";
  turn_id: string | null;
  parent_event_id: string | null;
  payload: Object;
}

/** A line for the user on what is going on. */
export interface StatusEvent {
  session_id: string;
  seq: number;
  event_id: string;
  ts: string;
  type: "status";
  turn_id: string | null;
  parent_event_id: string | null;
  payload: Status;
}

/** A durable fact about the principal was kept. */
export interface MemorySavedEvent {
  session_id: string;
  seq: number;
  event_id: string;
  ts: string;
  type: "memory.saved";
  turn_id: string | null;
  parent_event_id: string | null;
  payload: MemorySaved;
}

/** Text that is to be spoken; a `claim` has its support on the timeline. */
export interface TtsChunkEvent {
  session_id: string;
  seq: number;
  event_id: string;
  ts: string;
  type: "tts.chunk";
  turn_id: string | null;
  parent_event_id: string | null;
  payload: TtsChunk;
}

/** The client began to play or show the turn. */
export interface PlaybackStartEvent {
  session_id: string;
  seq: number;
  event_id: string;
  ts: string;
  type: "playback.start";
  turn_id: string | null;
  parent_event_id: string | null;
  payload: PlaybackStart;
}

/** The client played or showed so much: code points of the text, ms of the chunk. */
export interface PlaybackProgressEvent {
  session_id: string;
  seq: number;
  event_id: string;
  ts: string;
  type: "playback.progress";
  turn_id: string | null;
  parent_event_id: string | null;
  payload: PlaybackProgress;
}

/** Output holds, because the user may be interrupting. */
export interface PlaybackPausedEvent {
  session_id: string;
  seq: number;
  event_id: string;
  ts: string;
  type: "playback.paused";
  turn_id: string | null;
  parent_event_id: string | null;
  payload: PlaybackPaused;
}

/** Output goes on: it was no interruption. */
export interface PlaybackResumedEvent {
  session_id: string;
  seq: number;
  event_id: string;
  ts: string;
  type: "playback.resumed";
  turn_id: string | null;
  parent_event_id: string | null;
  payload: PlaybackResumed;
}

/** Playing or showing ended here: by the client, or by a cancel. */
export interface PlaybackStopEvent {
  session_id: string;
  seq: number;
  event_id: string;
  ts: string;
  type: "playback.stop";
  turn_id: string | null;
  parent_event_id: string | null;
  payload: PlaybackStop;
}

/** Work on the answer begins. */
export interface ResponseStartEvent {
  session_id: string;
  seq: number;
  event_id: string;
  ts: string;
  type: "response.start";
  turn_id: string | null;
  parent_event_id: string | null;
  payload: ResponseStart;
}

/** The answer is over; `text` is all that was generated of it. */
export interface ResponseEndEvent {
  session_id: string;
  seq: number;
  event_id: string;
  ts: string;
  type: "response.end";
  turn_id: string | null;
  parent_event_id: string | null;
  payload: ResponseEnd;
}

/** The turn is over: from here on it has no tokens. */
export interface CancelRequestedEvent {
  session_id: string;
  seq: number;
  event_id: string;
  ts: string;
  type: "cancel.requested";
  turn_id: string | null;
  parent_event_id: string | null;
  payload: CancelRequested;
}

/** One rung: what became of `transcript`, `model`, or `tool:{call_id}`. */
export interface CancelStageEvent {
  session_id: string;
  seq: number;
  event_id: string;
  ts: string;
  type: "cancel.stage";
  turn_id: string | null;
  parent_event_id: string | null;
  payload: CancelStage;
}

/** The last event of a cancelled turn: what stopped, and what did not. */
export interface CancelAckEvent {
  session_id: string;
  seq: number;
  event_id: string;
  ts: string;
  type: "cancel.ack";
  turn_id: string | null;
  parent_event_id: string | null;
  payload: CancelAck;
}

/** The agent wants to do this; nothing happens before a confirm. */
export interface ActionProposedEvent {
  session_id: string;
  seq: number;
  event_id: string;
  ts: string;
  type: "action.proposed";
  turn_id: string | null;
  parent_event_id: string | null;
  payload: ActionProposed;
}

/** Somebody who may do so allowed it; `args` where they were edited. */
export interface ActionConfirmedEvent {
  session_id: string;
  seq: number;
  event_id: string;
  ts: string;
  type: "action.confirmed";
  turn_id: string | null;
  parent_event_id: string | null;
  payload: ActionConfirmed;
}

/** It will not be done. */
export interface ActionRejectedEvent {
  session_id: string;
  seq: number;
  event_id: string;
  ts: string;
  type: "action.rejected";
  turn_id: string | null;
  parent_event_id: string | null;
  payload: ActionRejected;
}

/** Nobody decided in time: it will not be done. */
export interface ActionExpiredEvent {
  session_id: string;
  seq: number;
  event_id: string;
  ts: string;
  type: "action.expired";
  turn_id: string | null;
  parent_event_id: string | null;
  payload: ActionExpired;
}

/** The intent: durable before the tool starts. */
export interface ActionCommittingEvent {
  session_id: string;
  seq: number;
  event_id: string;
  ts: string;
  type: "action.committing";
  turn_id: string | null;
  parent_event_id: string | null;
  payload: ActionCommitting;
}

/** It was done; `by` whom that was decided where it had been in doubt. */
export interface ActionCommittedEvent {
  session_id: string;
  seq: number;
  event_id: string;
  ts: string;
  type: "action.committed";
  turn_id: string | null;
  parent_event_id: string | null;
  payload: ActionCommitted;
}

/** It was tried, and was not done; `by` whom that was decided where it had been in doubt. */
export interface ActionFailedEvent {
  session_id: string;
  seq: number;
  event_id: string;
  ts: string;
  type: "action.failed";
  turn_id: string | null;
  parent_event_id: string | null;
  payload: ActionFailed;
}

/** It may or may not have been done; nobody starts it again. */
export interface ActionInDoubtEvent {
  session_id: string;
  seq: number;
  event_id: string;
  ts: string;
  type: "action.in_doubt";
  turn_id: string | null;
  parent_event_id: string | null;
  payload: ActionInDoubt;
}

/** The compensation is about to start. */
export interface ActionRevertingEvent {
  session_id: string;
  seq: number;
  event_id: string;
  ts: string;
  type: "action.reverting";
  turn_id: string | null;
  parent_event_id: string | null;
  payload: ActionReverting;
}

/** The compensation was done. */
export interface ActionRevertedEvent {
  session_id: string;
  seq: number;
  event_id: string;
  ts: string;
  type: "action.reverted";
  turn_id: string | null;
  parent_event_id: string | null;
  payload: ActionReverted;
}

/** The compensation was tried, and was not done. */
export interface ActionRevertFailedEvent {
  session_id: string;
  seq: number;
  event_id: string;
  ts: string;
  type: "action.revert_failed";
  turn_id: string | null;
  parent_event_id: string | null;
  payload: ActionRevertFailed;
}

/** A turn was hit; `message` tells a person what to do. */
export interface FaultEvent {
  session_id: string;
  seq: number;
  event_id: string;
  ts: string;
  type: "error";
  turn_id: string | null;
  parent_event_id: string | null;
  payload: Fault;
}

/** Where the time of a turn went: the spans without `parent` add up to the total. */
export interface TurnTraceEvent {
  session_id: string;
  seq: number;
  event_id: string;
  ts: string;
  type: "turn.trace";
  turn_id: string | null;
  parent_event_id: string | null;
  payload: TurnTrace;
}

/** From here the turn can be taken up again. */
export interface TurnCheckpointEvent {
  session_id: string;
  seq: number;
  event_id: string;
  ts: string;
  type: "turn.checkpoint";
  turn_id: string | null;
  parent_event_id: string | null;
  payload: TurnCheckpoint;
}

/** It was done; `by` whom that was decided where it had been in doubt. */
export interface ActionCommitted {
  action_id: string;
  idempotency_key: string;
  result?: any;
  by?: string;
  command_id?: string;
}

/** The intent: durable before the tool starts. */
export interface ActionCommitting {
  action_id: string;
  idempotency_key: string;
}

/** Somebody who may do so allowed it; `args` where they were edited. */
export interface ActionConfirmed {
  action_id: string;
  by: string;
  args?: Record<string, any>;
  digest?: string;
  command_id?: string;
}

/** Nobody decided in time: it will not be done. */
export interface ActionExpired {
  action_id: string;
}

/** It was tried, and was not done; `by` whom that was decided where it had been in doubt. */
export interface ActionFailed {
  action_id: string;
  error: string;
  by?: string;
  command_id?: string;
}

/** It may or may not have been done; nobody starts it again. */
export interface ActionInDoubt {
  action_id: string;
  idempotency_key: string;
}

/** The agent wants to do this; nothing happens before a confirm. */
export interface ActionProposed {
  action_id: string;
  action: string;
  args: Record<string, any>;
  summary: string;
  effect: "idempotent" | "read" | "side_effect";
  confirmation_id: string;
  expires_at: string;
  call_id?: string;
  digest?: string;
}

/** It will not be done. */
export interface ActionRejected {
  action_id: string;
  reason: string;
  by?: string;
  command_id?: string;
}

/** The compensation was tried, and was not done. */
export interface ActionRevertFailed {
  action_id: string;
  error: string;
  by?: string;
  command_id?: string;
}

/** The compensation was done. */
export interface ActionReverted {
  action_id: string;
  result?: any;
  by?: string;
  command_id?: string;
}

/** The compensation is about to start. */
export interface ActionReverting {
  action_id: string;
  idempotency_key: string;
  by?: string;
  command_id?: string;
}

/** One action and the state that it is in. */
export interface ActionView {
  action_id: string;
  action: string;
  state: string;
  summary: string;
  turn_id: string;
  confirmation_id: string;
  effect: "idempotent" | "read" | "side_effect";
  args: Record<string, any>;
  expires_at: string;
  by?: string;
  reason?: string;
  result?: any;
  error?: string;
}

/** Every action of the session, oldest first; `earlier` counts older ones that are left out. */
export interface Actions {
  seq: number;
  actions: ActionView[];
  earlier: number;
}

/** The recogniser's last word on an utterance. */
export interface AsrFinal {
  utterance_id: string;
  revision: number;
  text: string;
  confidence?: number;
}

/** A transcript in progress; a later revision replaces it. */
export interface AsrPartial {
  utterance_id: string;
  revision: number;
  text: string;
  confidence?: number;
}

/** A chunk of input audio: its size in bytes and SHA-256 digest, not its bytes. */
export interface AudioReceived {
  utterance_id: string;
  index: number;
  bytes: number;
  digest: string;
  format?: string;
  gap?: boolean;
}

/** The last event of a cancelled turn: what stopped, and what did not. */
export interface CancelAck {
  turn_id: string;
  took_ms: number;
  stopped: string[];
  still_committing: string[];
  tokens: TokenCount;
  abandoned?: string[];
}

/** The turn is over: from here on it has no tokens. */
export interface CancelRequested {
  by: "deadline" | "disconnected" | "operator" | "preempted" | "speech" | "user";
  cause: string;
  in_flight: InFlight;
  command_id?: string;
}

/** One rung: what became of `transcript`, `model`, or `tool:{call_id}`. */
export interface CancelStage {
  target: string;
  outcome: "abandoned" | "already_done" | "committing" | "finished" | "frozen" | "stopped";
  ms?: number;
  text?: string;
  heard?: string;
}

/** What went wrong, as it stands in `error.code`. */
export type ErrorCode =
  | "binary_not_supported"
  | "busy"
  | "context_overflow"
  | "duplicate"
  | "expired"
  | "forbidden"
  | "frame_too_large"
  | "guardrail"
  | "internal"
  | "invalid_command"
  | "invalid_json"
  | "model_error"
  | "model_overloaded"
  | "model_refused"
  | "model_timeout"
  | "not_found"
  | "not_utf8"
  | "overloaded"
  | "plan_invalid"
  | "quota_exceeded"
  | "rate_limited"
  | "server_restarted"
  | "stale"
  | "store_unavailable"
  | "timeline_corrupt"
  | "tool_error"
  | "tool_limit"
  | "tool_timeout"
  | "unauthorized"
  | "unknown_command";

/** The user's words and the answer, as the user knows them. */
export interface Exchange {
  turn_id: string;
  user: string;
  assistant: string;
  status: string;
  interrupted: boolean;
  rolled_back: boolean;
  generated?: string;
  cut?: boolean;
}

/** A turn was hit; `message` tells a person what to do. */
export interface Fault {
  code: ErrorCode;
  message: string;
  retryable: boolean;
  layer: "connection" | "executor" | "orchestrator" | "pipeline";
  recover: Recover;
}

/** The request may be answered. */
export interface GuardrailPassed {
  name: string;
}

/** The request is not answered, for this reason. */
export interface GuardrailTripped {
  name: string;
  reason: string;
}

/** What of the turn was really played or shown, as the client knows it. */
export interface Heard {
  chunk_id?: string;
  offset_ms?: number;
  chars?: number;
}

/** What ran when the interrupt came. */
export interface InFlight {
  model: boolean;
  tools?: string[];
  actions?: string[];
  playing?: string;
}

/** Words that were acknowledged will not be answered. */
export interface InputDropped {
  command_id: string | null;
  reason: string;
}

/** The user's typed words, as they came. */
export interface InputText {
  text: string;
  command_id?: string | null;
  queued?: boolean;
  interrupted?: string;
  steered?: boolean;
  continues?: string;
}

/** The latest turns, oldest first. */
export interface Latency {
  seq: number;
  turns: TurnLatency[];
}

/** A durable fact about the principal was kept. */
export interface MemorySaved {
  key: string;
}

/** The call of the model is over; `stop_reason` is the vendor's, or `cancelled`, `error`. */
export interface ModelEnd {
  stop_reason: string;
  usage: Usage;
}

/** Another model takes over. */
export interface ModelFallback {
  from: string;
  to: string;
}

/** The model will be called again after a wait; no text had been shown. */
export interface ModelRetry {
  attempt: number;
  after_ms: number;
  cause: string;
}

/** A model was called. */
export interface ModelStart {
  model: string;
  agent: string;
}

/** Text as it was generated; `n` counts the deltas that travel in this event. */
export interface ModelToken {
  text: string;
  n?: number;
}

/** Structured content: citations, tables, anything that is no prose. */
export interface Object {
  kind: string;
  data: any;
}

/** There is a plan. */
export interface PlanReady {
  steps: Step[];
}

/** The planner was asked. */
export interface PlanStart {
}

/** A step of the plan changed its state. */
export interface PlanStep {
  id: string;
  state: "active" | "cancelled" | "done" | "failed" | "pending" | "skipped";
}

/** The current plan; empty where the app plans nothing. */
export interface PlanView {
  seq: number;
  turn_id: string | null;
  steps: Step[];
}

/** Output holds, because the user may be interrupting. */
export interface PlaybackPaused {
  cause: string;
}

/** The client played or showed so much: code points of the text, ms of the chunk. */
export interface PlaybackProgress {
  chars?: number;
  chunk_id?: string;
  offset_ms?: number;
}

/** Output goes on: it was no interruption. */
export interface PlaybackResumed {
  cause: string;
}

/** The client began to play or show the turn. */
export interface PlaybackStart {
  chunk_id?: string;
}

/** Playing or showing ended here: by the client, or by a cancel. */
export interface PlaybackStop {
  by: "cancel" | "client" | "timeout";
  chars?: number;
  chunk_id?: string;
  offset_ms?: number;
}

/** What is wrong with a command, and what a person can do about it. */
export interface Problem {
  code: ErrorCode;
  message: string;
  retryable: boolean;
  param?: string | null;
}

/** How to go on after a fault: say with `resume`, what was done, when to come back. */
export interface Recover {
  resume_token?: string;
  done?: string[];
  after_ms?: number;
}

/** The healing is over. */
export interface RecoveryEnd {
  kind: string;
  attempt: number;
  outcome?: string;
}

/** Something failed and is being healed. */
export interface RecoveryStart {
  kind: string;
  attempt: number;
}

/** The answer is over; `text` is all that was generated of it. */
export interface ResponseEnd {
  status: "cancelled" | "completed" | "failed" | "refused";
  text: string;
}

/** Work on the answer begins. */
export interface ResponseStart {
}

/** Documents were found. */
export interface RetrieveResult {
  sources: Record<string, any>[];
}

/** Documents are being looked up. */
export interface RetrieveStart {
  query: string;
}

/** A client is attached; `connections` counts them all, this one too. */
export interface SessionAttached {
  role: string;
  connections: number;
}

/** The session is over for good; nothing comes after this. */
export interface SessionClosed {
  reason: string;
}

/** Settings changed; these are all of them, now. */
export interface SessionConfigured {
  config: Record<string, any>;
}

/** A client is gone; `connections` counts those that are left. */
export interface SessionDetached {
  role: string;
  connections: number;
}

/** The session begins: which agent serves it, with which settings. */
export interface SessionOpened {
  agent: string;
  config: Record<string, any>;
  resumed_from?: string;
}

/** The conversation has a title. */
export interface SessionTitled {
  title: string;
}

/** The session at a glance. */
export interface SessionView {
  seq: number;
  agent: string;
  title: string | null;
  state: "answering" | "closed" | "idle";
  turn_id: string | null;
  queued: string[];
  connections: number;
  config: Record<string, any>;
  turns: number;
  opened_at: string;
}

/** A part of a turn's time, in ms from its start; top-level ones follow each other. */
export interface Span {
  name: string;
  start_ms: number;
  ms: number;
  parent?: string;
}

/** Voice activity began at the client. */
export interface SpeechStarted {
  utterance_id: string;
}

/** Voice activity ended at the client. */
export interface SpeechStopped {
  utterance_id: string;
}

/** A stage of the pipeline is over. */
export interface StageEnd {
  stage: string;
  agent: string;
  status: "failed" | "ok" | "skipped" | "timeout";
}

/** A stage of the pipeline begins. */
export interface StageStart {
  stage: string;
  agent: string;
}

/** A line for the user on what is going on. */
export interface Status {
  text: string;
}

/** One item of a plan; neighbours with the same `group` are done at the same time. */
export interface Step {
  id: string;
  title: string;
  agent: string;
  state: "active" | "cancelled" | "done" | "failed" | "pending" | "skipped";
  group?: number;
}

/** Deltas of a turn: generated by the model, delivered to a client. */
export interface TokenCount {
  generated: number;
  delivered: number;
}

/** The model calls a tool; `title` is for people, where the app has one. */
export interface ToolCall {
  call_id: string;
  tool: string;
  args: Record<string, any>;
  effect: "idempotent" | "read" | "side_effect";
  title?: string;
}

/** A tool tells how far it is. */
export interface ToolProgress {
  call_id: string;
  text: string;
  fraction?: number;
}

/** The one end of a tool call. */
export interface ToolResult {
  call_id: string;
  status: "cancelled" | "committing" | "error" | "ok" | "proposed" | "skipped" | "timeout";
  result?: any;
}

/** The conversation; `earlier` counts older turns that are left out. */
export interface Transcript {
  seq: number;
  turns: Exchange[];
  earlier: number;
  title: string | null;
}

/** Text that is to be spoken; a `claim` has its support on the timeline. */
export interface TtsChunk {
  chunk_id: string;
  text: string;
  commitment: "claim" | "preface";
}

/** From here the turn can be taken up again. */
export interface TurnCheckpoint {
  resume_token: string;
}

/** The user's words of this turn are final; everything after answers them. */
export interface TurnEnd {
  by: "endpoint" | "explicit" | "text" | "timeout";
  waited_ms?: number;
  details?: Record<string, any>;
}

/** Where the time of one turn went, in ms. */
export interface TurnLatency {
  turn_id: string;
  status: string;
  total_ms: number;
  spans: Span[];
  cancel_ms: number | null;
}

/** The turn has the response slot. */
export interface TurnStart {
  input: string;
  replaces?: string;
  continues?: string;
}

/** Where the time of a turn went: the spans without `parent` add up to the total. */
export interface TurnTrace {
  spans: Span[];
  total_ms: number;
}

/** Tokens as the vendor counts them; `estimated` where the stream did not finish. */
export interface Usage {
  input_tokens: number;
  output_tokens: number;
  estimated?: boolean;
}

/** Who the server takes this client for. */
export interface You {
  principal: string;
  role: string;
  tier: string;
}

/** Events by their type. */
export interface EventMap {
  "session.opened": SessionOpenedEvent;
  "session.attached": SessionAttachedEvent;
  "session.detached": SessionDetachedEvent;
  "session.configured": SessionConfiguredEvent;
  "session.titled": SessionTitledEvent;
  "session.closed": SessionClosedEvent;
  "speech.start": SpeechStartedEvent;
  "speech.stop": SpeechStoppedEvent;
  "audio.chunk": AudioReceivedEvent;
  "asr.partial": AsrPartialEvent;
  "asr.final": AsrFinalEvent;
  "input.text": InputTextEvent;
  "input.dropped": InputDroppedEvent;
  "turn.start": TurnStartEvent;
  "turn.end": TurnEndEvent;
  "plan.start": PlanStartEvent;
  "plan.ready": PlanReadyEvent;
  "plan.step": PlanStepEvent;
  "guardrail.passed": GuardrailPassedEvent;
  "guardrail.tripped": GuardrailTrippedEvent;
  "stage.start": StageStartEvent;
  "stage.end": StageEndEvent;
  "retrieve.start": RetrieveStartEvent;
  "retrieve.result": RetrieveResultEvent;
  "model.start": ModelStartEvent;
  "model.token": ModelTokenEvent;
  "model.end": ModelEndEvent;
  "model.retry": ModelRetryEvent;
  "model.fallback": ModelFallbackEvent;
  "tool.call": ToolCallEvent;
  "tool.progress": ToolProgressEvent;
  "tool.result": ToolResultEvent;
  "recovery.start": RecoveryStartEvent;
  "recovery.end": RecoveryEndEvent;
  "object": ObjectEvent;
  "status": StatusEvent;
  "memory.saved": MemorySavedEvent;
  "tts.chunk": TtsChunkEvent;
  "playback.start": PlaybackStartEvent;
  "playback.progress": PlaybackProgressEvent;
  "playback.paused": PlaybackPausedEvent;
  "playback.resumed": PlaybackResumedEvent;
  "playback.stop": PlaybackStopEvent;
  "response.start": ResponseStartEvent;
  "response.end": ResponseEndEvent;
  "cancel.requested": CancelRequestedEvent;
  "cancel.stage": CancelStageEvent;
  "cancel.ack": CancelAckEvent;
  "action.proposed": ActionProposedEvent;
  "action.confirmed": ActionConfirmedEvent;
  "action.rejected": ActionRejectedEvent;
  "action.expired": ActionExpiredEvent;
  "action.committing": ActionCommittingEvent;
  "action.committed": ActionCommittedEvent;
  "action.failed": ActionFailedEvent;
  "action.in_doubt": ActionInDoubtEvent;
  "action.reverting": ActionRevertingEvent;
  "action.reverted": ActionRevertedEvent;
  "action.revert_failed": ActionRevertFailedEvent;
  "error": FaultEvent;
  "turn.trace": TurnTraceEvent;
  "turn.checkpoint": TurnCheckpointEvent;
}

/** A fact of the session, by its `type`. */
export type TimelineEvent =
  | EventMap[keyof EventMap];

/** What a client may ask for. */
export type Command =
  | SayCommand
  | InterruptCommand
  | StartSpeechCommand
  | StopSpeechCommand
  | SendAudioCommand
  | RevisePartialCommand
  | ReviseFinalCommand
  | EndTurnCommand
  | StartPlaybackCommand
  | ReportPlaybackCommand
  | StopPlaybackCommand
  | ConfirmCommand
  | RejectCommand
  | RevertCommand
  | ConfigureCommand
  | AckCommand
  | HistoryCommand
  | ProjectCommand
  | AuthenticateCommand
  | PingCommand
  | CloseCommand;

/** What concerns one connection alone. */
export type ConnectionFrame =
  | Hello
  | Live
  | Reply
  | Refused
  | Flush
  | Pause
  | Unpause
  | Pong
  | Lagging
  | CaughtUp
  | GoAway;
