/** @import {TimelineEvent} from "/sdk/protocol.js" */

/**
 * @typedef {"model" | "tool" | "stage" | "guardrail" | "plan" | "pause"} SpanKind
 *
 * @typedef {object} SpanRow A stretch of a turn's time.
 * @property {SpanKind} kind
 * @property {string} name
 * @property {number} fromMs UTC.
 * @property {number | null} toMs Null while it lasts.
 * @property {number} seq Of the event that began it.
 * @property {string} outcome How it ended; empty while it lasts.
 *
 * @typedef {object} ToolUse
 * @property {string} callId
 * @property {string} tool
 * @property {string} title
 * @property {string} status `running`, and then that of its result.
 * @property {string} progress
 * @property {number} seq
 *
 * @typedef {object} Rung One step down the ladder of a cancel.
 * @property {string} target
 * @property {string} outcome
 * @property {number | null} ms
 * @property {number} atMs UTC.
 * @property {number} seq
 *
 * @typedef {object} Citation
 * @property {number} n
 * @property {string} title
 * @property {string} source
 * @property {string} snippet
 */

const MOST_SPANS = 400;

/** What one turn did, and when, as its events tell it. */
export class TurnRow {
  words = "";
  status = "queued";
  /** @type {number | null} UTC; null until the turn has the slot. */
  startMs = null;
  /** @type {number | null} */
  endMs = null;
  lastMs = 0;
  /** @type {SpanRow[]} */
  spans = [];
  /** @type {{atMs: number, n: number}[]} Tokens as they came, close ones together. */
  tokens = [];
  tokenCount = 0;
  /** @type {number | null} */
  firstTokenMs = null;
  /** @type {number | null} */
  totalMs = null;
  /** @type {{name: string, start_ms: number, ms: number, parent?: string}[]} */
  trace = [];
  /** @type {{atMs: number, by: string, cause: string, seq: number} | null} */
  cancel = null;
  /** @type {Rung[]} */
  rungs = [];
  /** @type {number | null} */
  ackMs = null;
  /** @type {Map<string, ToolUse>} */
  tools = new Map();
  /** @type {{id: string, title: string, agent: string, state: string}[]} */
  steps = [];
  /** @type {Citation[]} */
  citations = [];
  /** @type {{code: string, message: string, retryable: boolean, resume: string | null, seq: number}[]} */
  faults = [];
  note = "";
  /** @type {{atMs: number, name: string, seq: number}[]} */
  marks = [];
  /** @type {Set<string>} Actions that were confirmed with other arguments. */
  edited = new Set();
  events = 0;
  /** Counts what changed it. */
  version = 0;
  /** @type {{atMs: number, why: string}[]} Ends of model calls that name no call. */
  #ends = [];

  /**
   * @param {string} turnId
   * @param {number} firstSeq
   */
  constructor(turnId, firstSeq) {
    this.turnId = turnId;
    this.firstSeq = firstSeq;
    this.lastSeq = firstSeq;
  }

  get open() {
    return this.startMs !== null && this.endMs === null;
  }

  /** How long it took, or has taken by now. @param {number} nowMs */
  spanMs(nowMs) {
    if (this.startMs === null) return 0;
    return Math.max(1, (this.endMs ?? Math.max(nowMs, this.lastMs)) - this.startMs);
  }

  /**
   * @param {TimelineEvent} event
   * @param {number} atMs
   */
  take(event, atMs) {
    this.version++;
    this.events++;
    this.lastSeq = event.seq;
    if (this.endMs === null) this.lastMs = atMs;
    const take = TAKES[event.type];
    if (take) take(this, event.payload, atMs, event.seq);
  }

  /**
   * @param {SpanKind} kind
   * @param {string} name
   * @param {number} atMs
   * @param {number} seq
   */
  begin(kind, name, atMs, seq) {
    if (this.spans.length < MOST_SPANS) {
      this.spans.push({ kind, name, fromMs: atMs, toMs: null, seq, outcome: "" });
    }
  }

  /**
   * End the latest span of that name.
   *
   * @param {SpanKind} kind
   * @param {string} name
   * @param {number} atMs
   * @param {string} outcome
   */
  finish(kind, name, atMs, outcome) {
    const span = this.spans.findLast((s) => s.kind === kind && s.name === name && s.toMs === null);
    if (span) {
      span.toMs = atMs;
      span.outcome = outcome;
    }
  }

  /** A call of a model is over; which one, the event does not say where several run. */
  modelEnded(/** @type {number} */ atMs, /** @type {string} */ why) {
    const running = this.spans.filter((span) => span.kind === "model" && span.toMs === null);
    if (running.length === 1 && running[0]) {
      running[0].toMs = atMs;
      running[0].outcome = why;
    } else this.#ends.push({ atMs, why });
  }

  /** What came of it says that a call of this agent is over, and has just ended or before. */
  modelSettled(/** @type {string} */ agent, /** @type {boolean} */ just) {
    const running = this.spans.some((s) => s.kind === "model" && s.name === agent && !s.toMs);
    const end = running ? (just ? this.#ends.pop() : this.#ends.shift()) : undefined;
    if (end) this.finish("model", agent, end.atMs, end.why);
  }

  /** Nothing of it runs on. @param {number} atMs */
  close(atMs) {
    this.endMs = atMs;
    this.note = "";
    for (const span of this.spans) {
      if (span.toMs === null) {
        const end = span.kind === "model" ? this.#ends.shift() : undefined;
        span.toMs = end?.atMs ?? atMs;
        span.outcome = end?.why ?? (this.cancel ? "cancelled" : "");
      }
    }
  }
}

/** @type {Record<string, (row: TurnRow, payload: any, atMs: number, seq: number) => void>} */
const TAKES = {
  "input.text": (row, { text, steered }) => {
    if (!steered) row.words = text;
  },
  "input.dropped": (row) => {
    row.status = "dropped";
  },
  "turn.start": (row, { input }, atMs) => {
    row.startMs = atMs;
    row.status = "open";
    row.words ||= input;
  },
  "plan.start": (row, _, atMs, seq) => row.begin("plan", "plan", atMs, seq),
  "plan.ready": (row, { steps }, atMs) => {
    row.steps = steps.map((/** @type {any} */ step) => ({ state: "pending", ...step }));
    row.finish("plan", "plan", atMs, "ready");
    row.modelSettled("planner", true);
  },
  "plan.step": (row, { id, state }) => {
    row.steps = row.steps.map((step) => (step.id === id ? { ...step, state } : step));
  },
  "guardrail.passed": (row, { name }) => row.modelSettled(`guardrail:${name}`, true),
  "guardrail.tripped": (row, { name }, atMs, seq) => {
    row.modelSettled(`guardrail:${name}`, true);
    row.marks.push({ atMs, name: `guardrail ${name} tripped`, seq });
  },
  "stage.start": (row, { stage, agent }, atMs, seq) =>
    row.begin("stage", `${stage} · ${agent}`, atMs, seq),
  "stage.end": (row, { stage, agent, status }, atMs) => {
    row.modelSettled(agent, true);
    row.finish("stage", `${stage} · ${agent}`, atMs, status);
  },
  "model.start": (row, { agent }, atMs, seq) => {
    row.modelSettled(agent, false);
    row.begin("model", agent, atMs, seq);
  },
  "model.end": (row, { stop_reason: why }, atMs) => row.modelEnded(atMs, why),
  "model.retry": (row, { cause }, atMs, seq) =>
    row.marks.push({ atMs, name: `retry: ${cause}`, seq }),
  "model.token": (row, { n = 1 }, atMs) => {
    row.firstTokenMs ??= atMs;
    row.tokenCount += n;
    const latest = row.tokens.at(-1);
    if (latest && atMs - latest.atMs < 8) latest.n += n;
    else row.tokens.push({ atMs, n });
  },
  "tool.call": (row, { call_id: callId, tool, title }, atMs, seq) => {
    row.tools.set(callId, {
      callId,
      tool,
      title: title ?? "",
      status: "running",
      progress: "",
      seq,
    });
    row.begin("tool", tool, atMs, seq);
  },
  "tool.progress": (row, { call_id: callId, text }) => {
    const use = row.tools.get(callId);
    if (use) use.progress = text;
  },
  "tool.result": (row, { call_id: callId, status }, atMs) => {
    const use = row.tools.get(callId);
    if (!use) return;
    use.status = status;
    const span = row.spans.find((s) => s.kind === "tool" && s.seq === use.seq);
    if (span) {
      span.toMs = atMs;
      span.outcome = status;
    }
  },
  object: (row, { kind, data }) => {
    if (kind === "citations" && Array.isArray(data)) row.citations.push(...data.map(citation));
  },
  status: (row, { text }) => {
    row.note = text;
  },
  "action.proposed": (row, { summary }, atMs, seq) =>
    row.marks.push({ atMs, name: `proposed: ${summary}`, seq }),
  "action.confirmed": (row, { action_id: id, args }) => {
    if (args) row.edited.add(id);
  },
  "playback.paused": (row, _, atMs, seq) => row.begin("pause", "paused", atMs, seq),
  "playback.resumed": (row, _, atMs) => row.finish("pause", "paused", atMs, ""),
  error: (row, { code, message, retryable, recover }, atMs, seq) => {
    const resume = recover?.resume_token ?? null;
    row.faults.push({ code, message, retryable, resume, seq });
    row.marks.push({ atMs, name: `error: ${code}`, seq });
  },
  "cancel.requested": (row, { by, cause }, atMs, seq) => {
    row.cancel = { atMs, by, cause, seq };
  },
  "cancel.stage": (row, { target, outcome, ms }, atMs, seq) =>
    row.rungs.push({ target, outcome, ms: ms ?? null, atMs, seq }),
  "response.end": (row, { status }) => {
    row.status = status;
  },
  "turn.trace": (row, { spans, total_ms: totalMs }, atMs) => {
    row.trace = spans;
    // Of a turn that a crash broke off nobody knows how long it worked.
    row.totalMs = totalMs || null;
    // A cancelled turn has one event more, and that is its last one.
    if (!row.cancel) row.close(atMs);
  },
  "cancel.ack": (row, { took_ms: tookMs }, atMs) => {
    row.ackMs = tookMs;
    row.close(atMs);
  },
};

/** @param {any} from @returns {Citation} */
const citation = (from) => ({
  n: Number(from?.n) || 0,
  title: String(from?.title ?? from?.url ?? from?.source ?? ""),
  source: String(from?.url ?? from?.source ?? ""),
  snippet: String(from?.snippet ?? ""),
});
