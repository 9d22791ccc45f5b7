/**
 * @import {
 *   Actions, ActionView, Exchange, Latency, PlanView, SessionView, Transcript
 * } from "../types/protocol.js"
 */
/** @import {Action} from "./actions.js" */
/** @import {Gate} from "./gate.js" */
/** @import {Turn} from "./turn.js" */

import { Fold } from "./fold.js";

const MOST_LATENCIES = 200;
const MOST_UNANSWERED = 8;

/**
 * The session as it is to be shown: what `projection` answers with, computed here.
 *
 * Each is computed when it is read and kept while nothing changes; a turn that did not change is
 * the same object as before. Nothing is cut to the size of a reply, as the server has to do.
 */
export class View {
  #fold = new Fold();
  #gate;
  #version = 0;
  /** @type {Map<string, {version: number, value: any}>} */
  #kept = new Map();
  /** @type {WeakMap<Turn, {version: number, value: Exchange}>} */
  #exchanges = new WeakMap();

  /** @param {Gate} gate */
  constructor(gate) {
    this.#gate = gate;
  }

  /** Counts the changes. */
  get version() {
    return this.#version;
  }

  /** The conversation. @returns {Transcript} */
  get transcript() {
    return this.#keep("transcript", ({ seq, turns, title, utterances }) => {
      const exchanges = Array.from(turns.values(), (turn) => this.#exchange(turn));
      const unanswered = [...utterances.values()]
        .filter(({ text, turnId, aside, refused }) => {
          return text.trim() && turnId === null && !aside && !refused;
        })
        .slice(-MOST_UNANSWERED)
        .map(({ id, revision, text, final }) => ({ utterance_id: id, revision, text, final }));
      return {
        seq,
        turns: exchanges,
        earlier: 0,
        title,
        ...(unanswered.length && { unanswered }),
      };
    });
  }

  /** The latest plan, with the state of each step. @returns {PlanView} */
  get plan() {
    return this.#keep("plan", ({ seq, turns, planned }) => ({
      seq,
      turn_id: planned,
      steps: (planned !== null && turns.get(planned)?.steps) || [],
    }));
  }

  /** Every action, oldest first, and what became of it. @returns {Actions} */
  get actions() {
    return this.#keep("actions", ({ seq, actions }) => ({
      seq,
      actions: Array.from(actions.values(), viewOf),
      earlier: 0,
    }));
  }

  /** Where the time of the latest turns went. @returns {Latency} */
  get latency() {
    return this.#keep("latency", ({ seq, turns }) => {
      const traced = [...turns.values()].filter((turn) => turn.totalMs !== null);
      return { seq, turns: traced.slice(-MOST_LATENCIES).map(latencyOf) };
    });
  }

  /** The session at a glance. @returns {SessionView} */
  get session() {
    return this.#keep("session", (fold) => ({
      seq: fold.seq,
      agent: fold.agent,
      title: fold.title,
      state: fold.closed ? "closed" : fold.openTurn ? "answering" : "idle",
      turn_id: fold.openTurn,
      queued: [...fold.queue],
      connections: fold.connections,
      config: { ...fold.config },
      turns: fold.turns.size,
      opened_at: fold.openedAt,
      ...(fold.suspended !== null && { suspended: fold.suspended }),
    }));
  }

  // --- for the session -------------------------------------------------------

  /** @param {import("../types/protocol.js").TimelineEvent} event */
  apply(event) {
    this.#fold.apply(event);
    this.#version++;
  }

  /** Say whether text of this turn comes too late to be shown. @param {string | null} turnId */
  hides(turnId) {
    const turn = turnId === null ? undefined : this.#fold.turns.get(turnId);
    return this.#gate.isShut(turnId) || turn?.cancelled === true;
  }

  /** Show no more of a turn than now. @param {string} turnId */
  freeze(turnId) {
    this.#gate.shut(turnId, this.#fold.turns.get(turnId)?.text ?? "");
    this.#touch();
  }

  /** A new connection: what was flushed on the old one is on the timeline, or never was. */
  thaw() {
    this.#gate.reset();
    this.#touch();
  }

  /** Begin anew, with nothing. */
  clear() {
    this.#fold = new Fold();
    this.thaw();
  }

  #touch() {
    this.#version++;
    this.#exchanges = new WeakMap();
  }

  // ---------------------------------------------------------------------------

  /**
   * @template T
   * @param {string} name
   * @param {(fold: Fold) => T} compute
   * @returns {T}
   */
  #keep(name, compute) {
    let kept = this.#kept.get(name);
    if (kept?.version !== this.#version) {
      kept = { version: this.#version, value: compute(this.#fold) };
      this.#kept.set(name, kept);
    }
    return kept.value;
  }

  /**
   * @param {Turn} turn
   * @returns {Exchange}
   */
  #exchange(turn) {
    const kept = this.#exchanges.get(turn);
    if (kept?.version === turn.version) return kept.value;
    // Until the timeline says what was heard of it, a flushed turn stands still.
    const heard = turn.saidOf(turn.heard ?? this.#gate.shownOf(turn.id) ?? turn.text);
    /** @type {Exchange} */
    const value = {
      turn_id: turn.id,
      user: turn.words,
      assistant: heard,
      status: turn.status,
      interrupted: turn.cancelled,
      rolled_back: turn.rolledBack,
    };
    if ((turn.cancelled || turn.withheld.length) && heard !== turn.text) value.generated = turn.text;
    if (turn.utterances.length) value.utterances = turn.utterances;
    if (turn.corrects !== null) value.corrects = turn.corrects;
    this.#exchanges.set(turn, { version: turn.version, value });
    return value;
  }
}

/**
 * @param {Action} action
 * @returns {ActionView}
 */
function viewOf(action) {
  const { proposed, undone } = action;
  const result = undone ? action.revertResult : action.result;
  const error = undone ? action.revertError : action.error;
  return {
    action_id: proposed.action_id,
    action: proposed.action,
    state: /** @type {ActionView["state"]} */ (
      action.status === "revert_in_doubt" ? "in_doubt" : action.status
    ),
    summary: proposed.summary,
    turn_id: action.turnId,
    confirmation_id: proposed.confirmation_id,
    effect: proposed.effect,
    args: action.args,
    expires_at: proposed.expires_at,
    ...(action.by !== null && { by: action.by }),
    ...(action.reason !== null && { reason: action.reason }),
    ...(result !== null && { result }),
    ...(error && { error }),
  };
}

/** @param {Turn} turn */
function latencyOf(turn) {
  return {
    turn_id: turn.id,
    status: turn.status,
    total_ms: turn.totalMs ?? 0,
    spans: turn.spans,
    cancel_ms: turn.cancelMs,
  };
}
