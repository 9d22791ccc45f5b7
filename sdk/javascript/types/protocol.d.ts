// Generated from /protocol.json by `python -m tests.sdk.protocol_types`; a test fails when it
// drifts. Fields have their names on the wire.

/** The user's words, a whole turn. */
export interface SayCommand {
  /** What kind of frame this is. */
  type: "say";
  /** The words; may be empty only with `resume`. */
  text?: string;
  /** The client's own name for this command: it is done once, and its answer names it. */
  id?: string | null;
  /** What is done while a turn is running. */
  when_busy?: "interrupt" | "queue" | "reject" | "rollback" | "steer";
  /** What of the running turn was really played or shown. */
  heard?: Heard | null;
  /** The token of a failed turn, which these words take up again. */
  resume?: string | null;
  /** The client's span that the turn is part of, as in W3C Trace Context. */
  traceparent?: string | null;
}

/** Stop the current turn; safe to send blind. */
export interface InterruptCommand {
  /** What kind of frame this is. */
  type: "interrupt";
  /** The client's own name for this command: it is done once, and its answer names it. */
  id?: string | null;
  /** Stop that turn only; without it, the one that runs. */
  turn_id?: string | null;
  /** Why, in the client's words; `cause` of the cancel. */
  reason?: string | null;
  /** What of the running turn was really played or shown. */
  heard?: Heard | null;
  /** What an interrupt does with words that wait. */
  queue?: "drop" | "keep";
}

/** Voice activity began at the client. */
export interface StartSpeechCommand {
  /** What kind of frame this is. */
  type: "speech.start";
  /** The client's own name for one stretch of speech. */
  utterance_id: string;
  /** The client's own name for this command: it is done once, and its answer names it. */
  id?: string | null;
}

/** Voice activity ended at the client. */
export interface StopSpeechCommand {
  /** What kind of frame this is. */
  type: "speech.stop";
  /** The client's own name for one stretch of speech. */
  utterance_id: string;
  /** The client's own name for this command: it is done once, and its answer names it. */
  id?: string | null;
}

/** A chunk of input audio, in base64. */
export interface SendAudioCommand {
  /** What kind of frame this is. */
  type: "audio.chunk";
  /** The client's own name for one stretch of speech. */
  utterance_id: string;
  /** The chunk's number within its utterance, from 0. */
  index: number;
  /** How the sound is encoded. */
  format: string;
  /** The sound, in base64. */
  data: string;
  /** The client's own name for this command: it is done once, and its answer names it. */
  id?: string | null;
}

/** A transcript in progress. */
export interface RevisePartialCommand {
  /** What kind of frame this is. */
  type: "asr.partial";
  /** The client's own name for one stretch of speech. */
  utterance_id: string;
  /** Counts the versions of a transcript; a later one replaces the earlier. */
  revision: number;
  /** The words. */
  text: string;
  /** How sure the recogniser is, from 0 to 1. */
  confidence?: number | null;
  /** The client's own name for this command: it is done once, and its answer names it. */
  id?: string | null;
}

/** The recogniser's last word on an utterance. */
export interface ReviseFinalCommand {
  /** What kind of frame this is. */
  type: "asr.final";
  /** The client's own name for one stretch of speech. */
  utterance_id: string;
  /** Counts the versions of a transcript; a later one replaces the earlier. */
  revision: number;
  /** The words. */
  text: string;
  /** How sure the recogniser is, from 0 to 1. */
  confidence?: number | null;
  /** The client's own name for this command: it is done once, and its answer names it. */
  id?: string | null;
}

/** The user says: my turn is over. */
export interface EndTurnCommand {
  /** What kind of frame this is. */
  type: "turn.end";
  /** The client's own name for one stretch of speech. */
  utterance_id?: string | null;
  /** The client's own name for this command: it is done once, and its answer names it. */
  id?: string | null;
}

/** The client begins to play or show the turn, or a chunk of it. */
export interface StartPlaybackCommand {
  /** What kind of frame this is. */
  type: "playback.start";
  /** The turn that this is about. */
  turn_id: string;
  /** The chunk of speech that this is about. */
  chunk_id?: string | null;
  /** Milliseconds from the beginning of the chunk. */
  offset_ms?: number | null;
  /** Unicode code points of the turn's text, from its beginning. */
  chars?: number | null;
  /** When each word of the chunk will be over, in ms from the chunk's beginning. */
  words_ms?: number[] | null;
  /** The client's own name for this command: it is done once, and its answer names it. */
  id?: string | null;
}

/** The client played or showed so much: the truth boundary. */
export interface ReportPlaybackCommand {
  /** What kind of frame this is. */
  type: "playback.progress";
  /** The turn that this is about. */
  turn_id: string;
  /** The chunk of speech that this is about. */
  chunk_id?: string | null;
  /** Milliseconds from the beginning of the chunk. */
  offset_ms?: number | null;
  /** Unicode code points of the turn's text, from its beginning. */
  chars?: number | null;
  /** The client's own name for this command: it is done once, and its answer names it. */
  id?: string | null;
}

/** The client stopped playing, at its end or before. */
export interface StopPlaybackCommand {
  /** What kind of frame this is. */
  type: "playback.stop";
  /** The turn that this is about. */
  turn_id: string;
  /** The chunk of speech that this is about. */
  chunk_id?: string | null;
  /** Milliseconds from the beginning of the chunk. */
  offset_ms?: number | null;
  /** Unicode code points of the turn's text, from its beginning. */
  chars?: number | null;
  /** The client's own name for this command: it is done once, and its answer names it. */
  id?: string | null;
}

/** Allow a proposed action, or say that one in doubt has happened. */
export interface ConfirmCommand {
  /** What kind of frame this is. */
  type: "confirm";
  /** What `confirm` and `reject` name. */
  confirmation_id: string;
  /** Arguments that replace all of the proposed ones. */
  args?: Record<string, any> | null;
  /** Why, for people who read the timeline. */
  reason?: string | null;
  /** The client's own name for this command: it is done once, and its answer names it. */
  id?: string | null;
}

/** Refuse a proposed action, or say that one in doubt has not happened. */
export interface RejectCommand {
  /** What kind of frame this is. */
  type: "reject";
  /** What `confirm` and `reject` name. */
  confirmation_id: string;
  /** Why, for people who read the timeline. */
  reason?: string | null;
  /** The client's own name for this command: it is done once, and its answer names it. */
  id?: string | null;
}

/** Compensate a committed action. */
export interface RevertCommand {
  /** What kind of frame this is. */
  type: "revert";
  /** The action that this is about. */
  action_id: string;
  /** The client's own name for this command: it is done once, and its answer names it. */
  id?: string | null;
}

/** Change settings of the session; an unknown key is refused. */
export interface ConfigureCommand {
  /** What kind of frame this is. */
  type: "configure";
  /** The client's own name for this command: it is done once, and its answer names it. */
  id?: string | null;
  /** Whether the session is a spoken one. */
  voice?: boolean | null;
  /** What becomes of a turn when no driver is attached any more. */
  on_disconnect?: "cancel" | "continue" | "grace" | null;
  /** Who answers from the next turn on. */
  agent?: string | null;
  /** How long a turn should take at most; replaces all that were set before. */
  budgets?: Budgets | null;
}

/** Everything up to `seq` has been received. */
export interface AckCommand {
  /** What kind of frame this is. */
  type: "ack";
  /** The last event that was received. */
  seq: number;
  /** The client's own name for this command: it is done once, and its answer names it. */
  id?: string | null;
}

/** A page of the timeline after `after`; `limit` is cut to 1000. */
export interface HistoryCommand {
  /** What kind of frame this is. */
  type: "history";
  /** The page begins behind this seq. */
  after?: number;
  /** At most so many events. */
  limit?: number;
  /** The client's own name for this command: it is done once, and its answer names it. */
  id?: string | null;
}

/** A view computed from the timeline. */
export interface ProjectCommand {
  /** What kind of frame this is. */
  type: "projection";
  /** Which view. */
  name: "actions" | "latency" | "plan" | "session" | "transcript";
  /** The client's own name for this command: it is done once, and its answer names it. */
  id?: string | null;
}

/** A fresh token for this connection, of the same principal. */
export interface AuthenticateCommand {
  /** What kind of frame this is. */
  type: "auth";
  /** A signed JWT of the same principal. */
  token: string;
  /** The client's own name for this command: it is done once, and its answer names it. */
  id?: string | null;
}

/** For people, and for measuring. */
export interface PingCommand {
  /** What kind of frame this is. */
  type: "ping";
  /** Comes back with the `pong`. */
  nonce?: string | number | null;
  /** The client's own name for this command: it is done once, and its answer names it. */
  id?: string | null;
}

/** End the session for good. */
export interface CloseCommand {
  /** What kind of frame this is. */
  type: "close";
  /** The client's own name for this command: it is done once, and its answer names it. */
  id?: string | null;
}

/** The first frame of every connection. */
export interface Hello {
  /** What kind of frame this is. */
  type: "hello";
  /** The subprotocol that is spoken. */
  protocol: string;
  /** The server's name and version. */
  server: string;
  /** The session that this connection is attached to. */
  session_id: string;
  /** Names this history of the session; a resume hands it in with `after`. */
  epoch: string;
  /** Whether the replay is exactly what the client misses. */
  resumed: boolean;
  /** The first seq of the replay. */
  replay_from: number;
  /** The last seq of the replay; one less than `replay_from` where there is none. */
  replay_to: number;
  /** Seconds between two pings of the server. */
  heartbeat_s: number;
  /** What the server takes and keeps. */
  limits: Record<string, any>;
  /** Who the server takes this client for. */
  you: You;
}

/** Replay is over: the client has everything up to `seq`. */
export interface Live {
  /** What kind of frame this is. */
  type: "live";
  /** The client has every event up to this one. */
  seq: number;
}

/** A command was accepted, and this came of it; `at_seq` is out already. */
export interface Reply {
  /** What kind of frame this is. */
  type: "reply";
  /** The `id` of the command; null where it had none. */
  command_id: string | null;
  /** What came of it; what is in it depends on the command. */
  result: any;
  /** The events up to this one are out already. */
  at_seq: number;
}

/** A command or frame was refused; the connection stays open. */
export interface Refused {
  /** What kind of frame this is. */
  type: "error";
  /** The `id` of the command; null where there was none to read. */
  command_id: string | null;
  /** What is wrong, and what to do about it. */
  error: Problem;
}

/** An interrupt was accepted: show no more of that turn. */
export interface Flush {
  /** What kind of frame this is. */
  type: "flush";
  /** The turn that this is about. */
  turn_id: string;
  /** `cancel.requested` has this seq or a later one. */
  seq: number;
}

/** Speech was heard and it isn't decided whether it interrupts: hold playback. */
export interface Pause {
  /** What kind of frame this is. */
  type: "pause";
  /** The turn that this is about. */
  turn_id: string;
}

/** It was no interruption: go on. */
export interface Unpause {
  /** What kind of frame this is. */
  type: "unpause";
  /** The turn that this is about. */
  turn_id: string;
}

/** The answer to `ping`. */
export interface Pong {
  /** What kind of frame this is. */
  type: "pong";
  /** That of the `ping`. */
  nonce: string | number | null;
  /** The server's clock: UTC with milliseconds. */
  server_ts: string;
  /** The `id` of the command that led to this. */
  command_id?: string;
}

/** From here to `caught_up`, runs of tokens come merged. */
export interface Lagging {
  /** What kind of frame this is. */
  type: "lagging";
  /** How many events the client is behind. */
  behind: number;
}

/** The client keeps up again. */
export interface CaughtUp {
  /** What kind of frame this is. */
  type: "caught_up";
  /** The client has every event up to this one. */
  seq: number;
}

/** The server drains: finish reading, reconnect with `after`. */
export interface GoAway {
  /** What kind of frame this is. */
  type: "go_away";
  /** Why the connection is going to be closed. */
  reason: string;
  /** When the next connection is welcome, in ms. */
  reconnect_after_ms: number;
}

/** The session begins: which agent serves it, with which settings. */
export interface SessionOpenedEvent {
  /** The session that this is a fact of. */
  session_id: string;
  /** Its place on the timeline: from 1, without gaps, the order of everything. */
  seq: number;
  /** Unique within the session; a frame that has one is an event. */
  event_id: string;
  /** When it was written: UTC with milliseconds; never runs backwards. */
  ts: string;
  /** Which event this is. */
  type: "session.opened";
  /** The turn that it belongs to; null outside a turn. */
  turn_id: string | null;
  /** The event that caused this one; null for roots. */
  parent_event_id: string | null;
  /** What this event says. */
  payload: SessionOpened;
}

/** A client is attached; `connections` counts them all, this one too. */
export interface SessionAttachedEvent {
  /** The session that this is a fact of. */
  session_id: string;
  /** Its place on the timeline: from 1, without gaps, the order of everything. */
  seq: number;
  /** Unique within the session; a frame that has one is an event. */
  event_id: string;
  /** When it was written: UTC with milliseconds; never runs backwards. */
  ts: string;
  /** Which event this is. */
  type: "session.attached";
  /** The turn that it belongs to; null outside a turn. */
  turn_id: string | null;
  /** The event that caused this one; null for roots. */
  parent_event_id: string | null;
  /** What this event says. */
  payload: SessionAttached;
}

/** A client is gone; `connections` counts those that are left. */
export interface SessionDetachedEvent {
  /** The session that this is a fact of. */
  session_id: string;
  /** Its place on the timeline: from 1, without gaps, the order of everything. */
  seq: number;
  /** Unique within the session; a frame that has one is an event. */
  event_id: string;
  /** When it was written: UTC with milliseconds; never runs backwards. */
  ts: string;
  /** Which event this is. */
  type: "session.detached";
  /** The turn that it belongs to; null outside a turn. */
  turn_id: string | null;
  /** The event that caused this one; null for roots. */
  parent_event_id: string | null;
  /** What this event says. */
  payload: SessionDetached;
}

/** Settings changed; these are all of them, now. */
export interface SessionConfiguredEvent {
  /** The session that this is a fact of. */
  session_id: string;
  /** Its place on the timeline: from 1, without gaps, the order of everything. */
  seq: number;
  /** Unique within the session; a frame that has one is an event. */
  event_id: string;
  /** When it was written: UTC with milliseconds; never runs backwards. */
  ts: string;
  /** Which event this is. */
  type: "session.configured";
  /** The turn that it belongs to; null outside a turn. */
  turn_id: string | null;
  /** The event that caused this one; null for roots. */
  parent_event_id: string | null;
  /** What this event says. */
  payload: SessionConfigured;
}

/** The conversation has a title. */
export interface SessionTitledEvent {
  /** The session that this is a fact of. */
  session_id: string;
  /** Its place on the timeline: from 1, without gaps, the order of everything. */
  seq: number;
  /** Unique within the session; a frame that has one is an event. */
  event_id: string;
  /** When it was written: UTC with milliseconds; never runs backwards. */
  ts: string;
  /** Which event this is. */
  type: "session.titled";
  /** The turn that it belongs to; null outside a turn. */
  turn_id: string | null;
  /** The event that caused this one; null for roots. */
  parent_event_id: string | null;
  /** What this event says. */
  payload: SessionTitled;
}

/** The session is over for good; nothing comes after this. */
export interface SessionClosedEvent {
  /** The session that this is a fact of. */
  session_id: string;
  /** Its place on the timeline: from 1, without gaps, the order of everything. */
  seq: number;
  /** Unique within the session; a frame that has one is an event. */
  event_id: string;
  /** When it was written: UTC with milliseconds; never runs backwards. */
  ts: string;
  /** Which event this is. */
  type: "session.closed";
  /** The turn that it belongs to; null outside a turn. */
  turn_id: string | null;
  /** The event that caused this one; null for roots. */
  parent_event_id: string | null;
  /** What this event says. */
  payload: SessionClosed;
}

/** Voice activity began. */
export interface SpeechStartedEvent {
  /** The session that this is a fact of. */
  session_id: string;
  /** Its place on the timeline: from 1, without gaps, the order of everything. */
  seq: number;
  /** Unique within the session; a frame that has one is an event. */
  event_id: string;
  /** When it was written: UTC with milliseconds; never runs backwards. */
  ts: string;
  /** Which event this is. */
  type: "speech.start";
  /** The turn that it belongs to; null outside a turn. */
  turn_id: string | null;
  /** The event that caused this one; null for roots. */
  parent_event_id: string | null;
  /** What this event says. */
  payload: SpeechStarted;
}

/** Voice activity ended. */
export interface SpeechStoppedEvent {
  /** The session that this is a fact of. */
  session_id: string;
  /** Its place on the timeline: from 1, without gaps, the order of everything. */
  seq: number;
  /** Unique within the session; a frame that has one is an event. */
  event_id: string;
  /** When it was written: UTC with milliseconds; never runs backwards. */
  ts: string;
  /** Which event this is. */
  type: "speech.stop";
  /** The turn that it belongs to; null outside a turn. */
  turn_id: string | null;
  /** The event that caused this one; null for roots. */
  parent_event_id: string | null;
  /** What this event says. */
  payload: SpeechStopped;
}

/** A chunk of input audio: its size in bytes and SHA-256 digest, not its bytes. */
export interface AudioReceivedEvent {
  /** The session that this is a fact of. */
  session_id: string;
  /** Its place on the timeline: from 1, without gaps, the order of everything. */
  seq: number;
  /** Unique within the session; a frame that has one is an event. */
  event_id: string;
  /** When it was written: UTC with milliseconds; never runs backwards. */
  ts: string;
  /** Which event this is. */
  type: "audio.chunk";
  /** The turn that it belongs to; null outside a turn. */
  turn_id: string | null;
  /** The event that caused this one; null for roots. */
  parent_event_id: string | null;
  /** What this event says. */
  payload: AudioReceived;
}

/** A transcript in progress; a later revision replaces it. */
export interface AsrPartialEvent {
  /** The session that this is a fact of. */
  session_id: string;
  /** Its place on the timeline: from 1, without gaps, the order of everything. */
  seq: number;
  /** Unique within the session; a frame that has one is an event. */
  event_id: string;
  /** When it was written: UTC with milliseconds; never runs backwards. */
  ts: string;
  /** Which event this is. */
  type: "asr.partial";
  /** The turn that it belongs to; null outside a turn. */
  turn_id: string | null;
  /** The event that caused this one; null for roots. */
  parent_event_id: string | null;
  /** What this event says. */
  payload: AsrPartial;
}

/** The recogniser's last word on an utterance. */
export interface AsrFinalEvent {
  /** The session that this is a fact of. */
  session_id: string;
  /** Its place on the timeline: from 1, without gaps, the order of everything. */
  seq: number;
  /** Unique within the session; a frame that has one is an event. */
  event_id: string;
  /** When it was written: UTC with milliseconds; never runs backwards. */
  ts: string;
  /** Which event this is. */
  type: "asr.final";
  /** The turn that it belongs to; null outside a turn. */
  turn_id: string | null;
  /** The event that caused this one; null for roots. */
  parent_event_id: string | null;
  /** What this event says. */
  payload: AsrFinal;
}

/** The user's typed words, as they came. */
export interface InputTextEvent {
  /** The session that this is a fact of. */
  session_id: string;
  /** Its place on the timeline: from 1, without gaps, the order of everything. */
  seq: number;
  /** Unique within the session; a frame that has one is an event. */
  event_id: string;
  /** When it was written: UTC with milliseconds; never runs backwards. */
  ts: string;
  /** Which event this is. */
  type: "input.text";
  /** The turn that it belongs to; null outside a turn. */
  turn_id: string | null;
  /** The event that caused this one; null for roots. */
  parent_event_id: string | null;
  /** What this event says. */
  payload: InputText;
}

/** Words that were acknowledged will not be answered. */
export interface InputDroppedEvent {
  /** The session that this is a fact of. */
  session_id: string;
  /** Its place on the timeline: from 1, without gaps, the order of everything. */
  seq: number;
  /** Unique within the session; a frame that has one is an event. */
  event_id: string;
  /** When it was written: UTC with milliseconds; never runs backwards. */
  ts: string;
  /** Which event this is. */
  type: "input.dropped";
  /** The turn that it belongs to; null outside a turn. */
  turn_id: string | null;
  /** The event that caused this one; null for roots. */
  parent_event_id: string | null;
  /** What this event says. */
  payload: InputDropped;
}

/** The turn has the response slot. */
export interface TurnStartEvent {
  /** The session that this is a fact of. */
  session_id: string;
  /** Its place on the timeline: from 1, without gaps, the order of everything. */
  seq: number;
  /** Unique within the session; a frame that has one is an event. */
  event_id: string;
  /** When it was written: UTC with milliseconds; never runs backwards. */
  ts: string;
  /** Which event this is. */
  type: "turn.start";
  /** The turn that it belongs to; null outside a turn. */
  turn_id: string | null;
  /** The event that caused this one; null for roots. */
  parent_event_id: string | null;
  /** What this event says. */
  payload: TurnStart;
}

/** The user's words of this turn are final; everything after answers them. */
export interface TurnEndEvent {
  /** The session that this is a fact of. */
  session_id: string;
  /** Its place on the timeline: from 1, without gaps, the order of everything. */
  seq: number;
  /** Unique within the session; a frame that has one is an event. */
  event_id: string;
  /** When it was written: UTC with milliseconds; never runs backwards. */
  ts: string;
  /** Which event this is. */
  type: "turn.end";
  /** The turn that it belongs to; null outside a turn. */
  turn_id: string | null;
  /** The event that caused this one; null for roots. */
  parent_event_id: string | null;
  /** What this event says. */
  payload: TurnEnd;
}

/** The planner was asked. */
export interface PlanStartEvent {
  /** The session that this is a fact of. */
  session_id: string;
  /** Its place on the timeline: from 1, without gaps, the order of everything. */
  seq: number;
  /** Unique within the session; a frame that has one is an event. */
  event_id: string;
  /** When it was written: UTC with milliseconds; never runs backwards. */
  ts: string;
  /** Which event this is. */
  type: "plan.start";
  /** The turn that it belongs to; null outside a turn. */
  turn_id: string | null;
  /** The event that caused this one; null for roots. */
  parent_event_id: string | null;
  /** What this event says. */
  payload: PlanStart;
}

/** There is a plan. */
export interface PlanReadyEvent {
  /** The session that this is a fact of. */
  session_id: string;
  /** Its place on the timeline: from 1, without gaps, the order of everything. */
  seq: number;
  /** Unique within the session; a frame that has one is an event. */
  event_id: string;
  /** When it was written: UTC with milliseconds; never runs backwards. */
  ts: string;
  /** Which event this is. */
  type: "plan.ready";
  /** The turn that it belongs to; null outside a turn. */
  turn_id: string | null;
  /** The event that caused this one; null for roots. */
  parent_event_id: string | null;
  /** What this event says. */
  payload: PlanReady;
}

/** A step of the plan changed its state. */
export interface PlanStepEvent {
  /** The session that this is a fact of. */
  session_id: string;
  /** Its place on the timeline: from 1, without gaps, the order of everything. */
  seq: number;
  /** Unique within the session; a frame that has one is an event. */
  event_id: string;
  /** When it was written: UTC with milliseconds; never runs backwards. */
  ts: string;
  /** Which event this is. */
  type: "plan.step";
  /** The turn that it belongs to; null outside a turn. */
  turn_id: string | null;
  /** The event that caused this one; null for roots. */
  parent_event_id: string | null;
  /** What this event says. */
  payload: PlanStep;
}

/** The request may be answered. */
export interface GuardrailPassedEvent {
  /** The session that this is a fact of. */
  session_id: string;
  /** Its place on the timeline: from 1, without gaps, the order of everything. */
  seq: number;
  /** Unique within the session; a frame that has one is an event. */
  event_id: string;
  /** When it was written: UTC with milliseconds; never runs backwards. */
  ts: string;
  /** Which event this is. */
  type: "guardrail.passed";
  /** The turn that it belongs to; null outside a turn. */
  turn_id: string | null;
  /** The event that caused this one; null for roots. */
  parent_event_id: string | null;
  /** What this event says. */
  payload: GuardrailPassed;
}

/** The request is not answered, for this reason. */
export interface GuardrailTrippedEvent {
  /** The session that this is a fact of. */
  session_id: string;
  /** Its place on the timeline: from 1, without gaps, the order of everything. */
  seq: number;
  /** Unique within the session; a frame that has one is an event. */
  event_id: string;
  /** When it was written: UTC with milliseconds; never runs backwards. */
  ts: string;
  /** Which event this is. */
  type: "guardrail.tripped";
  /** The turn that it belongs to; null outside a turn. */
  turn_id: string | null;
  /** The event that caused this one; null for roots. */
  parent_event_id: string | null;
  /** What this event says. */
  payload: GuardrailTripped;
}

/** A stage of the pipeline begins. */
export interface StageStartEvent {
  /** The session that this is a fact of. */
  session_id: string;
  /** Its place on the timeline: from 1, without gaps, the order of everything. */
  seq: number;
  /** Unique within the session; a frame that has one is an event. */
  event_id: string;
  /** When it was written: UTC with milliseconds; never runs backwards. */
  ts: string;
  /** Which event this is. */
  type: "stage.start";
  /** The turn that it belongs to; null outside a turn. */
  turn_id: string | null;
  /** The event that caused this one; null for roots. */
  parent_event_id: string | null;
  /** What this event says. */
  payload: StageStart;
}

/** A stage of the pipeline is over. */
export interface StageEndEvent {
  /** The session that this is a fact of. */
  session_id: string;
  /** Its place on the timeline: from 1, without gaps, the order of everything. */
  seq: number;
  /** Unique within the session; a frame that has one is an event. */
  event_id: string;
  /** When it was written: UTC with milliseconds; never runs backwards. */
  ts: string;
  /** Which event this is. */
  type: "stage.end";
  /** The turn that it belongs to; null outside a turn. */
  turn_id: string | null;
  /** The event that caused this one; null for roots. */
  parent_event_id: string | null;
  /** What this event says. */
  payload: StageEnd;
}

/** Documents are being looked up. */
export interface RetrieveStartEvent {
  /** The session that this is a fact of. */
  session_id: string;
  /** Its place on the timeline: from 1, without gaps, the order of everything. */
  seq: number;
  /** Unique within the session; a frame that has one is an event. */
  event_id: string;
  /** When it was written: UTC with milliseconds; never runs backwards. */
  ts: string;
  /** Which event this is. */
  type: "retrieve.start";
  /** The turn that it belongs to; null outside a turn. */
  turn_id: string | null;
  /** The event that caused this one; null for roots. */
  parent_event_id: string | null;
  /** What this event says. */
  payload: RetrieveStart;
}

/** Documents were found. */
export interface RetrieveResultEvent {
  /** The session that this is a fact of. */
  session_id: string;
  /** Its place on the timeline: from 1, without gaps, the order of everything. */
  seq: number;
  /** Unique within the session; a frame that has one is an event. */
  event_id: string;
  /** When it was written: UTC with milliseconds; never runs backwards. */
  ts: string;
  /** Which event this is. */
  type: "retrieve.result";
  /** The turn that it belongs to; null outside a turn. */
  turn_id: string | null;
  /** The event that caused this one; null for roots. */
  parent_event_id: string | null;
  /** What this event says. */
  payload: RetrieveResult;
}

/** A model was called. */
export interface ModelStartEvent {
  /** The session that this is a fact of. */
  session_id: string;
  /** Its place on the timeline: from 1, without gaps, the order of everything. */
  seq: number;
  /** Unique within the session; a frame that has one is an event. */
  event_id: string;
  /** When it was written: UTC with milliseconds; never runs backwards. */
  ts: string;
  /** Which event this is. */
  type: "model.start";
  /** The turn that it belongs to; null outside a turn. */
  turn_id: string | null;
  /** The event that caused this one; null for roots. */
  parent_event_id: string | null;
  /** What this event says. */
  payload: ModelStart;
}

/** Text as it was generated; `n` counts the deltas that travel in this event. */
export interface ModelTokenEvent {
  /** The session that this is a fact of. */
  session_id: string;
  /** Its place on the timeline: from 1, without gaps, the order of everything. */
  seq: number;
  /** Unique within the session; a frame that has one is an event. */
  event_id: string;
  /** When it was written: UTC with milliseconds; never runs backwards. */
  ts: string;
  /** Which event this is. */
  type: "model.token";
  /** The turn that it belongs to; null outside a turn. */
  turn_id: string | null;
  /** The event that caused this one; null for roots. */
  parent_event_id: string | null;
  /** What this event says. */
  payload: ModelToken;
  /** Where tokens were merged: the first seq that this frame stands for. */
  first_seq?: number;
}

/** The call of the model is over; `stop_reason` is the vendor's, or `cancelled`, `error`. */
export interface ModelEndEvent {
  /** The session that this is a fact of. */
  session_id: string;
  /** Its place on the timeline: from 1, without gaps, the order of everything. */
  seq: number;
  /** Unique within the session; a frame that has one is an event. */
  event_id: string;
  /** When it was written: UTC with milliseconds; never runs backwards. */
  ts: string;
  /** Which event this is. */
  type: "model.end";
  /** The turn that it belongs to; null outside a turn. */
  turn_id: string | null;
  /** The event that caused this one; null for roots. */
  parent_event_id: string | null;
  /** What this event says. */
  payload: ModelEnd;
}

/** The model will be called again after a wait; no text had been shown. */
export interface ModelRetryEvent {
  /** The session that this is a fact of. */
  session_id: string;
  /** Its place on the timeline: from 1, without gaps, the order of everything. */
  seq: number;
  /** Unique within the session; a frame that has one is an event. */
  event_id: string;
  /** When it was written: UTC with milliseconds; never runs backwards. */
  ts: string;
  /** Which event this is. */
  type: "model.retry";
  /** The turn that it belongs to; null outside a turn. */
  turn_id: string | null;
  /** The event that caused this one; null for roots. */
  parent_event_id: string | null;
  /** What this event says. */
  payload: ModelRetry;
}

/** Another model takes over. */
export interface ModelFallbackEvent {
  /** The session that this is a fact of. */
  session_id: string;
  /** Its place on the timeline: from 1, without gaps, the order of everything. */
  seq: number;
  /** Unique within the session; a frame that has one is an event. */
  event_id: string;
  /** When it was written: UTC with milliseconds; never runs backwards. */
  ts: string;
  /** Which event this is. */
  type: "model.fallback";
  /** The turn that it belongs to; null outside a turn. */
  turn_id: string | null;
  /** The event that caused this one; null for roots. */
  parent_event_id: string | null;
  /** What this event says. */
  payload: ModelFallback;
}

/** The model calls a tool; `title` is for people, where the app has one. */
export interface ToolCallEvent {
  /** The session that this is a fact of. */
  session_id: string;
  /** Its place on the timeline: from 1, without gaps, the order of everything. */
  seq: number;
  /** Unique within the session; a frame that has one is an event. */
  event_id: string;
  /** When it was written: UTC with milliseconds; never runs backwards. */
  ts: string;
  /** Which event this is. */
  type: "tool.call";
  /** The turn that it belongs to; null outside a turn. */
  turn_id: string | null;
  /** The event that caused this one; null for roots. */
  parent_event_id: string | null;
  /** What this event says. */
  payload: ToolCall;
}

/** A tool tells how far it is. */
export interface ToolProgressEvent {
  /** The session that this is a fact of. */
  session_id: string;
  /** Its place on the timeline: from 1, without gaps, the order of everything. */
  seq: number;
  /** Unique within the session; a frame that has one is an event. */
  event_id: string;
  /** When it was written: UTC with milliseconds; never runs backwards. */
  ts: string;
  /** Which event this is. */
  type: "tool.progress";
  /** The turn that it belongs to; null outside a turn. */
  turn_id: string | null;
  /** The event that caused this one; null for roots. */
  parent_event_id: string | null;
  /** What this event says. */
  payload: ToolProgress;
}

/** The one end of a tool call. */
export interface ToolResultEvent {
  /** The session that this is a fact of. */
  session_id: string;
  /** Its place on the timeline: from 1, without gaps, the order of everything. */
  seq: number;
  /** Unique within the session; a frame that has one is an event. */
  event_id: string;
  /** When it was written: UTC with milliseconds; never runs backwards. */
  ts: string;
  /** Which event this is. */
  type: "tool.result";
  /** The turn that it belongs to; null outside a turn. */
  turn_id: string | null;
  /** The event that caused this one; null for roots. */
  parent_event_id: string | null;
  /** What this event says. */
  payload: ToolResult;
}

/** Something failed and is being healed. */
export interface RecoveryStartEvent {
  /** The session that this is a fact of. */
  session_id: string;
  /** Its place on the timeline: from 1, without gaps, the order of everything. */
  seq: number;
  /** Unique within the session; a frame that has one is an event. */
  event_id: string;
  /** When it was written: UTC with milliseconds; never runs backwards. */
  ts: string;
  /** Which event this is. */
  type: "recovery.start";
  /** The turn that it belongs to; null outside a turn. */
  turn_id: string | null;
  /** The event that caused this one; null for roots. */
  parent_event_id: string | null;
  /** What this event says. */
  payload: RecoveryStart;
}

/** The healing is over. */
export interface RecoveryEndEvent {
  /** The session that this is a fact of. */
  session_id: string;
  /** Its place on the timeline: from 1, without gaps, the order of everything. */
  seq: number;
  /** Unique within the session; a frame that has one is an event. */
  event_id: string;
  /** When it was written: UTC with milliseconds; never runs backwards. */
  ts: string;
  /** Which event this is. */
  type: "recovery.end";
  /** The turn that it belongs to; null outside a turn. */
  turn_id: string | null;
  /** The event that caused this one; null for roots. */
  parent_event_id: string | null;
  /** What this event says. */
  payload: RecoveryEnd;
}

/** Structured content: citations, tables, anything that is no prose. */
export interface ObjectEvent {
  /** The session that this is a fact of. */
  session_id: string;
  /** Its place on the timeline: from 1, without gaps, the order of everything. */
  seq: number;
  /** Unique within the session; a frame that has one is an event. */
  event_id: string;
  /** When it was written: UTC with milliseconds; never runs backwards. */
  ts: string;
  /** Which event this is. */
  type: "object";
  /** The turn that it belongs to; null outside a turn. */
  turn_id: string | null;
  /** The event that caused this one; null for roots. */
  parent_event_id: string | null;
  /** What this event says. */
  payload: Object;
}

/** A line for the user on what is going on. */
export interface StatusEvent {
  /** The session that this is a fact of. */
  session_id: string;
  /** Its place on the timeline: from 1, without gaps, the order of everything. */
  seq: number;
  /** Unique within the session; a frame that has one is an event. */
  event_id: string;
  /** When it was written: UTC with milliseconds; never runs backwards. */
  ts: string;
  /** Which event this is. */
  type: "status";
  /** The turn that it belongs to; null outside a turn. */
  turn_id: string | null;
  /** The event that caused this one; null for roots. */
  parent_event_id: string | null;
  /** What this event says. */
  payload: Status;
}

/** A durable fact about the principal was kept. */
export interface MemorySavedEvent {
  /** The session that this is a fact of. */
  session_id: string;
  /** Its place on the timeline: from 1, without gaps, the order of everything. */
  seq: number;
  /** Unique within the session; a frame that has one is an event. */
  event_id: string;
  /** When it was written: UTC with milliseconds; never runs backwards. */
  ts: string;
  /** Which event this is. */
  type: "memory.saved";
  /** The turn that it belongs to; null outside a turn. */
  turn_id: string | null;
  /** The event that caused this one; null for roots. */
  parent_event_id: string | null;
  /** What this event says. */
  payload: MemorySaved;
}

/** Text that is to be spoken; a `claim` has its support on the timeline. */
export interface TtsChunkEvent {
  /** The session that this is a fact of. */
  session_id: string;
  /** Its place on the timeline: from 1, without gaps, the order of everything. */
  seq: number;
  /** Unique within the session; a frame that has one is an event. */
  event_id: string;
  /** When it was written: UTC with milliseconds; never runs backwards. */
  ts: string;
  /** Which event this is. */
  type: "tts.chunk";
  /** The turn that it belongs to; null outside a turn. */
  turn_id: string | null;
  /** The event that caused this one; null for roots. */
  parent_event_id: string | null;
  /** What this event says. */
  payload: TtsChunk;
}

/** The client began to play or show the turn, or a chunk of it. */
export interface PlaybackStartEvent {
  /** The session that this is a fact of. */
  session_id: string;
  /** Its place on the timeline: from 1, without gaps, the order of everything. */
  seq: number;
  /** Unique within the session; a frame that has one is an event. */
  event_id: string;
  /** When it was written: UTC with milliseconds; never runs backwards. */
  ts: string;
  /** Which event this is. */
  type: "playback.start";
  /** The turn that it belongs to; null outside a turn. */
  turn_id: string | null;
  /** The event that caused this one; null for roots. */
  parent_event_id: string | null;
  /** What this event says. */
  payload: PlaybackStart;
}

/** The client played or showed so much: code points of the text, ms of the chunk. */
export interface PlaybackProgressEvent {
  /** The session that this is a fact of. */
  session_id: string;
  /** Its place on the timeline: from 1, without gaps, the order of everything. */
  seq: number;
  /** Unique within the session; a frame that has one is an event. */
  event_id: string;
  /** When it was written: UTC with milliseconds; never runs backwards. */
  ts: string;
  /** Which event this is. */
  type: "playback.progress";
  /** The turn that it belongs to; null outside a turn. */
  turn_id: string | null;
  /** The event that caused this one; null for roots. */
  parent_event_id: string | null;
  /** What this event says. */
  payload: PlaybackProgress;
}

/** Output holds, because the user may be interrupting. */
export interface PlaybackPausedEvent {
  /** The session that this is a fact of. */
  session_id: string;
  /** Its place on the timeline: from 1, without gaps, the order of everything. */
  seq: number;
  /** Unique within the session; a frame that has one is an event. */
  event_id: string;
  /** When it was written: UTC with milliseconds; never runs backwards. */
  ts: string;
  /** Which event this is. */
  type: "playback.paused";
  /** The turn that it belongs to; null outside a turn. */
  turn_id: string | null;
  /** The event that caused this one; null for roots. */
  parent_event_id: string | null;
  /** What this event says. */
  payload: PlaybackPaused;
}

/** Output goes on: it was no interruption. */
export interface PlaybackResumedEvent {
  /** The session that this is a fact of. */
  session_id: string;
  /** Its place on the timeline: from 1, without gaps, the order of everything. */
  seq: number;
  /** Unique within the session; a frame that has one is an event. */
  event_id: string;
  /** When it was written: UTC with milliseconds; never runs backwards. */
  ts: string;
  /** Which event this is. */
  type: "playback.resumed";
  /** The turn that it belongs to; null outside a turn. */
  turn_id: string | null;
  /** The event that caused this one; null for roots. */
  parent_event_id: string | null;
  /** What this event says. */
  payload: PlaybackResumed;
}

/** Playing or showing ended here: by the client, or by a cancel. */
export interface PlaybackStopEvent {
  /** The session that this is a fact of. */
  session_id: string;
  /** Its place on the timeline: from 1, without gaps, the order of everything. */
  seq: number;
  /** Unique within the session; a frame that has one is an event. */
  event_id: string;
  /** When it was written: UTC with milliseconds; never runs backwards. */
  ts: string;
  /** Which event this is. */
  type: "playback.stop";
  /** The turn that it belongs to; null outside a turn. */
  turn_id: string | null;
  /** The event that caused this one; null for roots. */
  parent_event_id: string | null;
  /** What this event says. */
  payload: PlaybackStop;
}

/** Work on the answer begins. */
export interface ResponseStartEvent {
  /** The session that this is a fact of. */
  session_id: string;
  /** Its place on the timeline: from 1, without gaps, the order of everything. */
  seq: number;
  /** Unique within the session; a frame that has one is an event. */
  event_id: string;
  /** When it was written: UTC with milliseconds; never runs backwards. */
  ts: string;
  /** Which event this is. */
  type: "response.start";
  /** The turn that it belongs to; null outside a turn. */
  turn_id: string | null;
  /** The event that caused this one; null for roots. */
  parent_event_id: string | null;
  /** What this event says. */
  payload: ResponseStart;
}

/** The answer is over; `text` is all that was generated of it. */
export interface ResponseEndEvent {
  /** The session that this is a fact of. */
  session_id: string;
  /** Its place on the timeline: from 1, without gaps, the order of everything. */
  seq: number;
  /** Unique within the session; a frame that has one is an event. */
  event_id: string;
  /** When it was written: UTC with milliseconds; never runs backwards. */
  ts: string;
  /** Which event this is. */
  type: "response.end";
  /** The turn that it belongs to; null outside a turn. */
  turn_id: string | null;
  /** The event that caused this one; null for roots. */
  parent_event_id: string | null;
  /** What this event says. */
  payload: ResponseEnd;
}

/** The turn is over: from here on it has no tokens. */
export interface CancelRequestedEvent {
  /** The session that this is a fact of. */
  session_id: string;
  /** Its place on the timeline: from 1, without gaps, the order of everything. */
  seq: number;
  /** Unique within the session; a frame that has one is an event. */
  event_id: string;
  /** When it was written: UTC with milliseconds; never runs backwards. */
  ts: string;
  /** Which event this is. */
  type: "cancel.requested";
  /** The turn that it belongs to; null outside a turn. */
  turn_id: string | null;
  /** The event that caused this one; null for roots. */
  parent_event_id: string | null;
  /** What this event says. */
  payload: CancelRequested;
}

/** One rung: what became of `transcript`, `model`, or `tool:{call_id}`. */
export interface CancelStageEvent {
  /** The session that this is a fact of. */
  session_id: string;
  /** Its place on the timeline: from 1, without gaps, the order of everything. */
  seq: number;
  /** Unique within the session; a frame that has one is an event. */
  event_id: string;
  /** When it was written: UTC with milliseconds; never runs backwards. */
  ts: string;
  /** Which event this is. */
  type: "cancel.stage";
  /** The turn that it belongs to; null outside a turn. */
  turn_id: string | null;
  /** The event that caused this one; null for roots. */
  parent_event_id: string | null;
  /** What this event says. */
  payload: CancelStage;
}

/** The last event of a cancelled turn: what stopped, and what did not. */
export interface CancelAckEvent {
  /** The session that this is a fact of. */
  session_id: string;
  /** Its place on the timeline: from 1, without gaps, the order of everything. */
  seq: number;
  /** Unique within the session; a frame that has one is an event. */
  event_id: string;
  /** When it was written: UTC with milliseconds; never runs backwards. */
  ts: string;
  /** Which event this is. */
  type: "cancel.ack";
  /** The turn that it belongs to; null outside a turn. */
  turn_id: string | null;
  /** The event that caused this one; null for roots. */
  parent_event_id: string | null;
  /** What this event says. */
  payload: CancelAck;
}

/** The agent wants to do this; nothing happens before a confirm. */
export interface ActionProposedEvent {
  /** The session that this is a fact of. */
  session_id: string;
  /** Its place on the timeline: from 1, without gaps, the order of everything. */
  seq: number;
  /** Unique within the session; a frame that has one is an event. */
  event_id: string;
  /** When it was written: UTC with milliseconds; never runs backwards. */
  ts: string;
  /** Which event this is. */
  type: "action.proposed";
  /** The turn that it belongs to; null outside a turn. */
  turn_id: string | null;
  /** The event that caused this one; null for roots. */
  parent_event_id: string | null;
  /** What this event says. */
  payload: ActionProposed;
}

/** Somebody who may do so allowed it; `args` where they were edited. */
export interface ActionConfirmedEvent {
  /** The session that this is a fact of. */
  session_id: string;
  /** Its place on the timeline: from 1, without gaps, the order of everything. */
  seq: number;
  /** Unique within the session; a frame that has one is an event. */
  event_id: string;
  /** When it was written: UTC with milliseconds; never runs backwards. */
  ts: string;
  /** Which event this is. */
  type: "action.confirmed";
  /** The turn that it belongs to; null outside a turn. */
  turn_id: string | null;
  /** The event that caused this one; null for roots. */
  parent_event_id: string | null;
  /** What this event says. */
  payload: ActionConfirmed;
}

/** It will not be done. */
export interface ActionRejectedEvent {
  /** The session that this is a fact of. */
  session_id: string;
  /** Its place on the timeline: from 1, without gaps, the order of everything. */
  seq: number;
  /** Unique within the session; a frame that has one is an event. */
  event_id: string;
  /** When it was written: UTC with milliseconds; never runs backwards. */
  ts: string;
  /** Which event this is. */
  type: "action.rejected";
  /** The turn that it belongs to; null outside a turn. */
  turn_id: string | null;
  /** The event that caused this one; null for roots. */
  parent_event_id: string | null;
  /** What this event says. */
  payload: ActionRejected;
}

/** Nobody decided in time: it will not be done. */
export interface ActionExpiredEvent {
  /** The session that this is a fact of. */
  session_id: string;
  /** Its place on the timeline: from 1, without gaps, the order of everything. */
  seq: number;
  /** Unique within the session; a frame that has one is an event. */
  event_id: string;
  /** When it was written: UTC with milliseconds; never runs backwards. */
  ts: string;
  /** Which event this is. */
  type: "action.expired";
  /** The turn that it belongs to; null outside a turn. */
  turn_id: string | null;
  /** The event that caused this one; null for roots. */
  parent_event_id: string | null;
  /** What this event says. */
  payload: ActionExpired;
}

/** The intent: durable before the tool starts. */
export interface ActionCommittingEvent {
  /** The session that this is a fact of. */
  session_id: string;
  /** Its place on the timeline: from 1, without gaps, the order of everything. */
  seq: number;
  /** Unique within the session; a frame that has one is an event. */
  event_id: string;
  /** When it was written: UTC with milliseconds; never runs backwards. */
  ts: string;
  /** Which event this is. */
  type: "action.committing";
  /** The turn that it belongs to; null outside a turn. */
  turn_id: string | null;
  /** The event that caused this one; null for roots. */
  parent_event_id: string | null;
  /** What this event says. */
  payload: ActionCommitting;
}

/** It was done; `by` whom that was decided where it had been in doubt. */
export interface ActionCommittedEvent {
  /** The session that this is a fact of. */
  session_id: string;
  /** Its place on the timeline: from 1, without gaps, the order of everything. */
  seq: number;
  /** Unique within the session; a frame that has one is an event. */
  event_id: string;
  /** When it was written: UTC with milliseconds; never runs backwards. */
  ts: string;
  /** Which event this is. */
  type: "action.committed";
  /** The turn that it belongs to; null outside a turn. */
  turn_id: string | null;
  /** The event that caused this one; null for roots. */
  parent_event_id: string | null;
  /** What this event says. */
  payload: ActionCommitted;
}

/** It was tried, and was not done; `by` whom that was decided where it had been in doubt. */
export interface ActionFailedEvent {
  /** The session that this is a fact of. */
  session_id: string;
  /** Its place on the timeline: from 1, without gaps, the order of everything. */
  seq: number;
  /** Unique within the session; a frame that has one is an event. */
  event_id: string;
  /** When it was written: UTC with milliseconds; never runs backwards. */
  ts: string;
  /** Which event this is. */
  type: "action.failed";
  /** The turn that it belongs to; null outside a turn. */
  turn_id: string | null;
  /** The event that caused this one; null for roots. */
  parent_event_id: string | null;
  /** What this event says. */
  payload: ActionFailed;
}

/** It may or may not have been done; nobody starts it again. */
export interface ActionInDoubtEvent {
  /** The session that this is a fact of. */
  session_id: string;
  /** Its place on the timeline: from 1, without gaps, the order of everything. */
  seq: number;
  /** Unique within the session; a frame that has one is an event. */
  event_id: string;
  /** When it was written: UTC with milliseconds; never runs backwards. */
  ts: string;
  /** Which event this is. */
  type: "action.in_doubt";
  /** The turn that it belongs to; null outside a turn. */
  turn_id: string | null;
  /** The event that caused this one; null for roots. */
  parent_event_id: string | null;
  /** What this event says. */
  payload: ActionInDoubt;
}

/** The compensation is about to start. */
export interface ActionRevertingEvent {
  /** The session that this is a fact of. */
  session_id: string;
  /** Its place on the timeline: from 1, without gaps, the order of everything. */
  seq: number;
  /** Unique within the session; a frame that has one is an event. */
  event_id: string;
  /** When it was written: UTC with milliseconds; never runs backwards. */
  ts: string;
  /** Which event this is. */
  type: "action.reverting";
  /** The turn that it belongs to; null outside a turn. */
  turn_id: string | null;
  /** The event that caused this one; null for roots. */
  parent_event_id: string | null;
  /** What this event says. */
  payload: ActionReverting;
}

/** The compensation was done. */
export interface ActionRevertedEvent {
  /** The session that this is a fact of. */
  session_id: string;
  /** Its place on the timeline: from 1, without gaps, the order of everything. */
  seq: number;
  /** Unique within the session; a frame that has one is an event. */
  event_id: string;
  /** When it was written: UTC with milliseconds; never runs backwards. */
  ts: string;
  /** Which event this is. */
  type: "action.reverted";
  /** The turn that it belongs to; null outside a turn. */
  turn_id: string | null;
  /** The event that caused this one; null for roots. */
  parent_event_id: string | null;
  /** What this event says. */
  payload: ActionReverted;
}

/** The compensation was tried, and was not done. */
export interface ActionRevertFailedEvent {
  /** The session that this is a fact of. */
  session_id: string;
  /** Its place on the timeline: from 1, without gaps, the order of everything. */
  seq: number;
  /** Unique within the session; a frame that has one is an event. */
  event_id: string;
  /** When it was written: UTC with milliseconds; never runs backwards. */
  ts: string;
  /** Which event this is. */
  type: "action.revert_failed";
  /** The turn that it belongs to; null outside a turn. */
  turn_id: string | null;
  /** The event that caused this one; null for roots. */
  parent_event_id: string | null;
  /** What this event says. */
  payload: ActionRevertFailed;
}

/** A turn was hit; `message` tells a person what to do. */
export interface FaultEvent {
  /** The session that this is a fact of. */
  session_id: string;
  /** Its place on the timeline: from 1, without gaps, the order of everything. */
  seq: number;
  /** Unique within the session; a frame that has one is an event. */
  event_id: string;
  /** When it was written: UTC with milliseconds; never runs backwards. */
  ts: string;
  /** Which event this is. */
  type: "error";
  /** The turn that it belongs to; null outside a turn. */
  turn_id: string | null;
  /** The event that caused this one; null for roots. */
  parent_event_id: string | null;
  /** What this event says. */
  payload: Fault;
}

/** Where the time of a turn went: the spans without `parent` add up to the total. */
export interface TurnTraceEvent {
  /** The session that this is a fact of. */
  session_id: string;
  /** Its place on the timeline: from 1, without gaps, the order of everything. */
  seq: number;
  /** Unique within the session; a frame that has one is an event. */
  event_id: string;
  /** When it was written: UTC with milliseconds; never runs backwards. */
  ts: string;
  /** Which event this is. */
  type: "turn.trace";
  /** The turn that it belongs to; null outside a turn. */
  turn_id: string | null;
  /** The event that caused this one; null for roots. */
  parent_event_id: string | null;
  /** What this event says. */
  payload: TurnTrace;
}

/** From here the turn can be taken up again. */
export interface TurnCheckpointEvent {
  /** The session that this is a fact of. */
  session_id: string;
  /** Its place on the timeline: from 1, without gaps, the order of everything. */
  seq: number;
  /** Unique within the session; a frame that has one is an event. */
  event_id: string;
  /** When it was written: UTC with milliseconds; never runs backwards. */
  ts: string;
  /** Which event this is. */
  type: "turn.checkpoint";
  /** The turn that it belongs to; null outside a turn. */
  turn_id: string | null;
  /** The event that caused this one; null for roots. */
  parent_event_id: string | null;
  /** What this event says. */
  payload: TurnCheckpoint;
}

/** It was done; `by` whom that was decided where it had been in doubt. */
export interface ActionCommitted {
  /** The action that this is about. */
  action_id: string;
  /** What the tool knows this attempt by: the same key, the same deed. */
  idempotency_key: string;
  /** What came of it. */
  result?: any;
  /** Who decided: a principal, or `policy`. */
  by?: string;
  /** The `id` of the command that led to this. */
  command_id?: string;
}

/** The intent: durable before the tool starts. */
export interface ActionCommitting {
  /** The action that this is about. */
  action_id: string;
  /** What the tool knows this attempt by: the same key, the same deed. */
  idempotency_key: string;
}

/** Somebody who may do so allowed it; `args` where they were edited. */
export interface ActionConfirmed {
  /** The action that this is about. */
  action_id: string;
  /** A principal, or `policy`. */
  by: string;
  /** The arguments, where they were edited. */
  args?: Record<string, any>;
  /** Of the arguments with which it will be done. */
  digest?: string;
  /** The `id` of the command that led to this. */
  command_id?: string;
}

/** Nobody decided in time: it will not be done. */
export interface ActionExpired {
  /** The action that this is about. */
  action_id: string;
}

/** It was tried, and was not done; `by` whom that was decided where it had been in doubt. */
export interface ActionFailed {
  /** The action that this is about. */
  action_id: string;
  /** Why it was not done. */
  error: string;
  /** Who decided: a principal, or `policy`. */
  by?: string;
  /** The `id` of the command that led to this. */
  command_id?: string;
}

/** It may or may not have been done; nobody starts it again. */
export interface ActionInDoubt {
  /** The action that this is about. */
  action_id: string;
  /** What the tool knows this attempt by: the same key, the same deed. */
  idempotency_key: string;
}

/** The agent wants to do this; nothing happens before a confirm. */
export interface ActionProposed {
  /** The action that this is about. */
  action_id: string;
  /** What is to be done: the tool's name. */
  action: string;
  /** What it is to be done with; secret ones are hidden. */
  args: Record<string, any>;
  /** Rendered by the server from `args`, never by the model. */
  summary: string;
  /** `read` changes nothing, `idempotent` may be repeated, `side_effect` needs a person. */
  effect: "idempotent" | "read" | "side_effect";
  /** What `confirm` and `reject` name. */
  confirmation_id: string;
  /** UTC, ISO 8601 with milliseconds. */
  expires_at: string;
  /** The call of the tool that proposed it. */
  call_id?: string;
  /** SHA-256 of `args` as JSON with sorted keys. */
  digest?: string;
}

/** It will not be done. */
export interface ActionRejected {
  /** The action that this is about. */
  action_id: string;
  /** Why not. */
  reason: string;
  /** Who decided: a principal, or `policy`. */
  by?: string;
  /** The `id` of the command that led to this. */
  command_id?: string;
}

/** The compensation was tried, and was not done. */
export interface ActionRevertFailed {
  /** The action that this is about. */
  action_id: string;
  /** Why it was not done. */
  error: string;
  /** Who decided: a principal, or `policy`. */
  by?: string;
  /** The `id` of the command that led to this. */
  command_id?: string;
}

/** The compensation was done. */
export interface ActionReverted {
  /** The action that this is about. */
  action_id: string;
  /** What came of it. */
  result?: any;
  /** Who decided: a principal, or `policy`. */
  by?: string;
  /** The `id` of the command that led to this. */
  command_id?: string;
}

/** The compensation is about to start. */
export interface ActionReverting {
  /** The action that this is about. */
  action_id: string;
  /** What the tool knows this attempt by: the same key, the same deed. */
  idempotency_key: string;
  /** Who decided: a principal, or `policy`. */
  by?: string;
  /** The `id` of the command that led to this. */
  command_id?: string;
}

/** One action and the state that it is in. */
export interface ActionView {
  /** The action that this is about. */
  action_id: string;
  /** What is to be done: the tool's name. */
  action: string;
  /** As the latest event of the action says. */
  state: "proposed" | "confirmed" | "rejected" | "expired" | "committing" | "committed" | "failed" | "in_doubt" | "reverting" | "reverted" | "revert_failed";
  /** What is to be done, in words; the server renders it from the arguments. */
  summary: string;
  /** The turn that this is about. */
  turn_id: string;
  /** What `confirm` and `reject` name. */
  confirmation_id: string;
  /** `read` changes nothing, `idempotent` may be repeated, `side_effect` needs a person. */
  effect: "idempotent" | "read" | "side_effect";
  /** What it is, or was, done with. */
  args: Record<string, any>;
  /** Until when it can be confirmed: UTC with milliseconds. */
  expires_at: string;
  /** Who confirmed or rejected it. */
  by?: string;
  /** Why it was rejected. */
  reason?: string;
  /** What it came to; of a reverted one, what the undoing came to. */
  result?: any;
  /** Why it was not done. */
  error?: string;
}

/** Every action of the session, oldest first; `earlier` counts older ones that are left out. */
export interface Actions {
  /** The view is true at this event. */
  seq: number;
  /** The actions. */
  actions: ActionView[];
  /** How many older ones are left out. */
  earlier: number;
}

/** The recogniser's last word on an utterance. */
export interface AsrFinal {
  /** The client's own name for one stretch of speech. */
  utterance_id: string;
  /** Counts the versions of a transcript; a later one replaces the earlier. */
  revision: number;
  /** The words. */
  text: string;
  /** How sure the recogniser is, from 0 to 1. */
  confidence?: number;
  /** `server` where a recogniser of the app's said it; else the client. */
  by?: "server";
  /** Whether it is no turn but an aside, an echo or noise; left out where it is as before. */
  aside?: boolean;
}

/** A transcript in progress; a later revision replaces it. */
export interface AsrPartial {
  /** The client's own name for one stretch of speech. */
  utterance_id: string;
  /** Counts the versions of a transcript; a later one replaces the earlier. */
  revision: number;
  /** The words. */
  text: string;
  /** How sure the recogniser is, from 0 to 1. */
  confidence?: number;
  /** `server` where a recogniser of the app's said it; else the client. */
  by?: "server";
  /** Whether it is no turn but an aside, an echo or noise; left out where it is as before. */
  aside?: boolean;
}

/** A chunk of input audio: its size in bytes and SHA-256 digest, not its bytes. */
export interface AudioReceived {
  /** The client's own name for one stretch of speech. */
  utterance_id: string;
  /** The chunk's number within its utterance, from 0. */
  index: number;
  /** Size of the chunk in bytes. */
  bytes: number;
  /** SHA-256 of the sound, in hexadecimal. */
  digest: string;
  /** How the sound is encoded. */
  format?: string;
  /** Chunks before this one are missing. */
  gap?: boolean;
}

/** How long a turn should take at most, in ms; what took longer is told on the timeline. */
export interface Budgets {
  /** From the words to the first of the answer. */
  first_token_ms?: number | null;
  /** From the words to the end of the work. */
  turn_ms?: number | null;
  /** From an interrupt to its `cancel.ack`. */
  cancel_ms?: number | null;
}

/** The last event of a cancelled turn: what stopped, and what did not. */
export interface CancelAck {
  /** The turn that this is about. */
  turn_id: string;
  /** From the request to this event, in ms. */
  took_ms: number;
  /** The rungs that stopped in time. */
  stopped: string[];
  /** Actions that are left to finish; their outcome follows. */
  still_committing: string[];
  /** How much was generated, and how much of it delivered. */
  tokens: TokenCount;
  /** What had not stopped in time; its result will be thrown away. */
  abandoned?: string[];
}

/** The turn is over: from here on it has no tokens. */
export interface CancelRequested {
  /** Who, or what, asked for it. */
  by: "deadline" | "disconnected" | "operator" | "preempted" | "speech" | "user";
  /** Why. */
  cause: string;
  /** What ran at that moment. */
  in_flight: InFlight;
  /** The `id` of the command that led to this. */
  command_id?: string;
}

/** One rung: what became of `transcript`, `model`, or `tool:{call_id}`. */
export interface CancelStage {
  /** The rung: `transcript`, `model`, or `tool:` and a call's id. */
  target: string;
  /** What became of it. */
  outcome: "abandoned" | "already_done" | "committing" | "finished" | "frozen" | "stopped";
  /** How long that took since the request, in ms. */
  ms?: number;
  /** All that was generated; of the rung `transcript`. */
  text?: string;
  /** What of it the user had heard or seen; of the rung `transcript`. */
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
  /** The turn that this is about. */
  turn_id: string;
  /** What the user said. */
  user: string;
  /** What was said: of a cancelled answer what was heard of it, and of a spoken one nothing that was left unsaid. */
  assistant: string;
  /** How the turn stands, or ended. */
  status: "cancelled" | "completed" | "dropped" | "failed" | "open" | "queued" | "refused";
  /** It was cut short. */
  interrupted: boolean;
  /** The model never sees this turn again. */
  rolled_back: boolean;
  /** All of such an answer, where it is more than that. */
  generated?: string;
  /** The texts are too long for a reply; this is how they begin. */
  cut?: boolean;
  /** The transcripts that `user` was put together from, where it was spoken. */
  utterances?: SpokenInput[];
  /** The turn whose words these are, as they were really said. */
  corrects?: string;
}

/** A turn was hit; `message` tells a person what to do. */
export interface Fault {
  /** The error's code. */
  code: ErrorCode;
  /** What is wrong, in a sentence that tells a person what to do. */
  message: string;
  /** Whether the same may succeed later, unchanged. */
  retryable: boolean;
  /** Where it happened. */
  layer: "connection" | "executor" | "orchestrator" | "pipeline";
  /** How to go on. */
  recover: Recover;
}

/** The request may be answered. */
export interface GuardrailPassed {
  /** The guardrail. */
  name: string;
}

/** The request is not answered, for this reason. */
export interface GuardrailTripped {
  /** The guardrail. */
  name: string;
  /** Why, for the user. */
  reason: string;
}

/** What of the turn was really played or shown, as the client knows it. */
export interface Heard {
  /** The chunk of speech that this is about. */
  chunk_id?: string;
  /** Milliseconds from the beginning of the chunk. */
  offset_ms?: number;
  /** Unicode code points of the turn's text, from its beginning. */
  chars?: number;
}

/** What ran when the interrupt came. */
export interface InFlight {
  /** Whether a model was at work. */
  model: boolean;
  /** Calls of tools that ran. */
  tools?: string[];
  /** Actions that were not over. */
  actions?: string[];
  /** The chunk of speech that was being played. */
  playing?: string;
}

/** Words that were acknowledged will not be answered. */
export interface InputDropped {
  /** The `id` of the command that brought the words, or that gave the turn up; null without one. */
  command_id: string | null;
  /** Why they are not answered. */
  reason: string;
  /** A pre-empted turn that does not go on; the event is then of no turn. */
  continues?: string;
  /** Spoken words that were refused before they had a turn; then it is of none. */
  utterances?: string[];
}

/** The user's typed words, as they came. */
export interface InputText {
  /** The words. */
  text: string;
  /** The `id` of the command that brought the words; null without one. */
  command_id?: string | null;
  /** The words wait for the running turn; their own has not begun. */
  queued?: boolean;
  /** The turn that these words cut short. */
  interrupted?: string;
  /** The running turn took the words in; they have no turn of their own. */
  steered?: boolean;
  /** A failed turn that these words take up again, when their turn comes. */
  continues?: string;
  /** The client's span that the turn is part of, as in W3C Trace Context. */
  traceparent?: string;
  /** The transcripts that the words were put together from, where they were spoken. */
  utterances?: SpokenInput[];
}

/** The latest turns, oldest first. */
export interface Latency {
  /** The view is true at this event. */
  seq: number;
  /** The latest turns, oldest first. */
  turns: TurnLatency[];
}

/** A durable fact about the principal was kept. */
export interface MemorySaved {
  /** Names the fact. */
  key: string;
}

/** The call of the model is over; `stop_reason` is the vendor's, or `cancelled`, `error`. */
export interface ModelEnd {
  /** Why the model stopped: in the vendor's word, or `cancelled`, or `error`. */
  stop_reason: string;
  /** What it cost. */
  usage: Usage;
  /** Who had asked, as in `model.start`. */
  agent?: string;
}

/** Another model takes over. */
export interface ModelFallback {
  /** The model that failed. */
  from: string;
  /** The model that takes over. */
  to: string;
}

/** The model will be called again after a wait; no text had been shown. */
export interface ModelRetry {
  /** Which attempt this is. */
  attempt: number;
  /** How long to wait, in ms. */
  after_ms: number;
  /** What had gone wrong. */
  cause: string;
}

/** A model was called. */
export interface ModelStart {
  /** The model, by the vendor's name. */
  model: string;
  /** Who asks: an agent, `planner`, `titler` or `guardrail:` and a name. */
  agent: string;
}

/** Text as it was generated; `n` counts the deltas that travel in this event. */
export interface ModelToken {
  /** What was generated since the last such event of the turn. */
  text: string;
  /** How many deltas of the model travel in this event. */
  n?: number;
}

/** Structured content: citations, tables, anything that is no prose. */
export interface Object {
  /** What `data` is; clients leave aside what they don't know. */
  kind: string;
  /** The content itself. */
  data: any;
}

/** There is a plan. */
export interface PlanReady {
  /** The steps of the plan, in order. */
  steps: Step[];
}

/** The planner was asked. */
export interface PlanStart {
}

/** A step of the plan changed its state. */
export interface PlanStep {
  /** The step of the plan that changed. */
  id: string;
  /** How far it is now. */
  state: "active" | "cancelled" | "done" | "failed" | "pending" | "skipped";
}

/** The current plan; empty where the app plans nothing. */
export interface PlanView {
  /** The view is true at this event. */
  seq: number;
  /** The turn that made the plan; null where there is none. */
  turn_id: string | null;
  /** The steps of the plan, in order. */
  steps: Step[];
}

/** Output holds, because the user may be interrupting. */
export interface PlaybackPaused {
  /** Why it holds. */
  cause: string;
}

/** The client played or showed so much: code points of the text, ms of the chunk. */
export interface PlaybackProgress {
  /** Unicode code points of the turn's text, from its beginning. */
  chars?: number;
  /** The chunk of speech that this is about. */
  chunk_id?: string;
  /** Milliseconds from the beginning of the chunk. */
  offset_ms?: number;
}

/** Output goes on: it was no interruption. */
export interface PlaybackResumed {
  /** Why it goes on. */
  cause: string;
  /** What was heard, and is not answered. */
  utterances?: string[];
  /** From the first sound to the decision. */
  waited_ms?: number;
}

/** The client began to play or show the turn, or a chunk of it. */
export interface PlaybackStart {
  /** The chunk of speech that this is about. */
  chunk_id?: string;
  /** When each word of the chunk is over, in ms from the chunk's beginning. */
  words_ms?: number[];
}

/** Playing or showing ended here: by the client, or by a cancel. */
export interface PlaybackStop {
  /** Who ended it. */
  by: "cancel" | "client" | "timeout";
  /** Unicode code points of the turn's text, from its beginning. */
  chars?: number;
  /** The chunk of speech that this is about. */
  chunk_id?: string;
  /** Milliseconds from the beginning of the chunk. */
  offset_ms?: number;
}

/** What is wrong with a command, and what a person can do about it. */
export interface Problem {
  /** The error's code. */
  code: ErrorCode;
  /** What is wrong, in a sentence that tells a person what to do. */
  message: string;
  /** Whether the same may succeed later, unchanged. */
  retryable: boolean;
  /** Where in the command it is wrong, or what is used up. */
  param?: string | null;
  /** When the same command is likely to be taken, where that is known. */
  retry_after_ms?: number;
}

/** How to go on after a fault: say with `resume`, what was done, when to come back. */
export interface Recover {
  /** What `say` hands in as `resume` to take the turn up again. */
  resume_token?: string;
  /** What of the turn is done already. */
  done?: string[];
  /** How long to wait, in ms. */
  after_ms?: number;
}

/** The healing is over. */
export interface RecoveryEnd {
  /** What was being healed. */
  kind: string;
  /** Which attempt this is. */
  attempt: number;
  /** What came of it. */
  outcome?: string;
}

/** Something failed and is being healed. */
export interface RecoveryStart {
  /** What is being healed. */
  kind: string;
  /** Which attempt this is. */
  attempt: number;
}

/** The answer is over; `text` is all that was generated of it. */
export interface ResponseEnd {
  /** How the turn ended. */
  status: "cancelled" | "completed" | "failed" | "refused";
  /** All that was generated in this turn. */
  text: string;
}

/** Work on the answer begins. */
export interface ResponseStart {
}

/** Documents were found. */
export interface RetrieveResult {
  /** What was found. */
  sources: Record<string, any>[];
}

/** Documents are being looked up. */
export interface RetrieveStart {
  /** What is looked for. */
  query: string;
}

/** A client is attached; `connections` counts them all, this one too. */
export interface SessionAttached {
  /** What that client may do. */
  role: "drive" | "watch";
  /** How many clients are attached. */
  connections: number;
}

/** The session is over for good; nothing comes after this. */
export interface SessionClosed {
  /** Why. */
  reason: string;
}

/** Settings changed; these are all of them, now. */
export interface SessionConfigured {
  /** The session's settings. */
  config: Record<string, any>;
}

/** A client is gone; `connections` counts those that are left. */
export interface SessionDetached {
  /** What that client may do. */
  role: "drive" | "watch";
  /** How many clients are attached. */
  connections: number;
}

/** The session begins: which agent serves it, with which settings. */
export interface SessionOpened {
  /** The agent that answers. */
  agent: string;
  /** The session's settings. */
  config: Record<string, any>;
  /** The session that this one goes on from. */
  resumed_from?: string;
}

/** The conversation has a title. */
export interface SessionTitled {
  /** A short name, for people. */
  title: string;
}

/** The session at a glance. */
export interface SessionView {
  /** The view is true at this event. */
  seq: number;
  /** The agent that answers. */
  agent: string;
  /** The conversation's title; null while it has none. */
  title: string | null;
  /** Whether a turn is open, or the session is over. */
  state: "answering" | "closed" | "idle";
  /** The turn that is open; null where none is. */
  turn_id: string | null;
  /** Turns whose words wait. */
  queued: string[];
  /** How many clients are attached. */
  connections: number;
  /** The session's settings. */
  config: Record<string, any>;
  /** How many turns there were. */
  turns: number;
  /** UTC with milliseconds. */
  opened_at: string;
  /** A turn that was pre-empted, and goes on when there is a model slot. */
  suspended?: string;
}

/** A part of a turn's time, in ms from its start; top-level ones follow each other. */
export interface Span {
  /** What the time went into. */
  name: string;
  /** From the beginning of the turn, in ms. */
  start_ms: number;
  /** How long it took, in ms. */
  ms: number;
  /** The span that this one is part of; without one, it is part of the turn. */
  parent?: string;
}

/** Voice activity began. */
export interface SpeechStarted {
  /** The client's own name for one stretch of speech. */
  utterance_id: string;
  /** `server` where it heard that itself; else the client said so. */
  by?: "server";
}

/** Voice activity ended. */
export interface SpeechStopped {
  /** The client's own name for one stretch of speech. */
  utterance_id: string;
  /** `server` where it heard that itself; else the client said so. */
  by?: "server";
}

/** Spoken words that a turn answers: the utterance, and which revision of it. */
export interface SpokenInput {
  /** The client's own name for one stretch of speech. */
  utterance_id: string;
  /** Which transcript of it is answered. */
  revision: number;
}

/** A stage of the pipeline is over. */
export interface StageEnd {
  /** The step of the plan that the stage does. */
  stage: string;
  /** The agent that is at work, by its name. */
  agent: string;
  /** How it ended. */
  status: "failed" | "ok" | "skipped" | "timeout";
}

/** A stage of the pipeline begins. */
export interface StageStart {
  /** The step of the plan that the stage does. */
  stage: string;
  /** The agent that is at work, by its name. */
  agent: string;
}

/** A line for the user on what is going on. */
export interface Status {
  /** The line. */
  text: string;
}

/** One item of a plan; neighbours with the same `group` are done at the same time. */
export interface Step {
  /** Names the step within its plan. */
  id: string;
  /** A short name, for people. */
  title: string;
  /** Who does it. */
  agent: string;
  /** How far it is. */
  state: "active" | "cancelled" | "done" | "failed" | "pending" | "skipped";
  /** Neighbours with the same number are done at the same time. */
  group?: number;
}

/** Deltas of a turn: generated by the model, delivered to a client. */
export interface TokenCount {
  /** Deltas that the model made. */
  generated: number;
  /** Deltas that a client was sent. */
  delivered: number;
}

/** The model calls a tool; `title` is for people, where the app has one. */
export interface ToolCall {
  /** One call of a tool, as the model named it; its result has the same. */
  call_id: string;
  /** The tool's name. */
  tool: string;
  /** With which arguments; secret ones are hidden. */
  args: Record<string, any>;
  /** `read` changes nothing, `idempotent` may be repeated, `side_effect` needs a person. */
  effect: "idempotent" | "read" | "side_effect";
  /** A short name, for people. */
  title?: string;
}

/** A tool tells how far it is. */
export interface ToolProgress {
  /** One call of a tool, as the model named it; its result has the same. */
  call_id: string;
  /** How far the tool is, in words. */
  text: string;
  /** How far the tool is, from 0 to 1. */
  fraction?: number;
}

/** The one end of a tool call. */
export interface ToolResult {
  /** One call of a tool, as the model named it; its result has the same. */
  call_id: string;
  /** How the call ended. */
  status: "cancelled" | "committing" | "error" | "ok" | "proposed" | "skipped" | "timeout";
  /** What the tool returned, or why it did not. */
  result?: any;
}

/** The conversation; `earlier` counts older turns that are left out. */
export interface Transcript {
  /** The view is true at this event. */
  seq: number;
  /** The turns, oldest first. */
  turns: Exchange[];
  /** How many older ones are left out. */
  earlier: number;
  /** The conversation's title; null while it has none. */
  title: string | null;
  /** What the user is saying, the latest last; left out where there is nothing. */
  unanswered?: Unanswered[];
}

/** Text that is to be spoken; a `claim` has its support on the timeline. */
export interface TtsChunk {
  /** The chunk of speech that this is about. */
  chunk_id: string;
  /** The words. */
  text: string;
  /** Whether it claims anything, or only leads there. */
  commitment: "claim" | "preface";
  /** Where it begins in the turn's text, in code points. */
  start?: number;
  /** Where it ends there. */
  end?: number;
  /** Speech does not interrupt it; an `interrupt` does. */
  protected?: boolean;
}

/** From here the turn can be taken up again. */
export interface TurnCheckpoint {
  /** What `say` hands in as `resume` to take the turn up again. */
  resume_token: string;
}

/** The user's words of this turn are final; everything after answers them. */
export interface TurnEnd {
  /** What decided it. */
  by: "endpoint" | "explicit" | "text" | "timeout";
  /** From the end of the words to the decision. */
  waited_ms?: number;
  /** What the decision weighed, where it weighed anything. */
  details?: Record<string, any>;
}

/** Where the time of one turn went, in ms. */
export interface TurnLatency {
  /** The turn that this is about. */
  turn_id: string;
  /** How the turn ended. */
  status: "cancelled" | "completed" | "dropped" | "failed" | "open" | "queued" | "refused";
  /** The whole turn, in ms. */
  total_ms: number;
  /** Where the time went. */
  spans: Span[];
  /** How long its cancel took in ms; null where nobody asked for one. */
  cancel_ms: number | null;
}

/** The turn has the response slot. */
export interface TurnStart {
  /** The words that it answers. */
  input: string;
  /** A cancelled turn that was rolled back for this one. */
  replaces?: string;
  /** A failed or pre-empted turn that this one takes up again. */
  continues?: string;
  /** The transcripts that `input` was put together from, where it was spoken. */
  utterances?: SpokenInput[];
  /** A turn whose words the recogniser revised; this one answers what was really said. */
  corrects?: string;
}

/** Where the time of a turn went: the spans without `parent` add up to the total. */
export interface TurnTrace {
  /** Where the time went. */
  spans: Span[];
  /** The whole turn, in ms. */
  total_ms: number;
}

/** Words of the user that no turn answers yet, as the recogniser has them by now. */
export interface Unanswered {
  /** The client's own name for one stretch of speech. */
  utterance_id: string;
  /** Counts the versions of a transcript; a later one replaces the earlier. */
  revision: number;
  /** What was understood so far. */
  text: string;
  /** Whether the recogniser has said its last word. */
  final: boolean;
}

/** Tokens as the vendor counts them; `estimated` where the stream did not finish. */
export interface Usage {
  /** Tokens that the model read. */
  input_tokens: number;
  /** Tokens that the model wrote. */
  output_tokens: number;
  /** The vendor did not say; this is the server's own count. */
  estimated?: boolean;
}

/** Who the server takes this client for. */
export interface You {
  /** Whose sessions these are: the token's `sub`. */
  principal: string;
  /** What this connection may do. */
  role: "drive" | "watch";
  /** Which quotas hold. */
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
