/** @import {TimelineEvent} from "../types/protocol.js" */

import { Action } from "./actions.js";
import { Turn } from "./turn.js";

/**
 * What a session knows is what its events say: the twin of the server's fold.
 *
 * It has no clock, no chance and no input but the events. Vectors that the server's own fold
 * computes hold it to that one (tests/sdk/vectors).
 */
export class Fold {
  seq = 0;
  openedAt = "";
  agent = "";
  /** @type {string | null} */
  title = null;
  /** @type {Record<string, any>} */
  config = {};
  closed = false;
  connections = 0;
  /** @type {Map<string, Turn>} In the order in which they began. */
  turns = new Map();
  /** @type {string[]} */
  queue = [];
  /** @type {string | null} */
  openTurn = null;
  /** @type {string | null} The latest turn, where it was pre-empted and is to go on. */
  suspended = null;
  /** @type {string | null} */
  planned = null;
  /** @type {Map<string, Action>} */
  actions = new Map();
  /** @type {Map<string, Utterance>} */
  utterances = new Map();

  /**
   * Take the event that follows the last one applied.
   *
   * @param {TimelineEvent} event
   */
  apply(event) {
    this.seq = event.seq;
    const { type, turn_id: turnId } = event;
    /** @type {any} */
    const payload = event.payload;
    if (type === "turn.start" || type === "input.text") this.#answer(turnId, payload.utterances ?? []);
    else if (type === "playback.resumed") this.#mark(payload.utterances ?? [], { aside: true });
    else if (type === "input.dropped") this.#mark(payload.utterances ?? [], { refused: true });
    if (turnId !== null && Object.hasOwn(ON_TURN, type)) {
      const turn = this.turns.get(turnId) ?? this.#newTurn(turnId);
      turn.version++;
      /** @type {OnTurn} */ (ON_TURN[type])(this, turn, payload);
    } else if (Object.hasOwn(ON_SESSION, type)) {
      /** @type {OnSession} */ (ON_SESSION[type])(this, payload, event.ts);
    } else if (type.startsWith("action.")) {
      this.actions.get(payload.action_id)?.follow(type, payload);
    }
  }

  /** @param {string} turnId */
  #newTurn(turnId) {
    const turn = new Turn(turnId);
    this.turns.set(turnId, turn);
    return turn;
  }

  /** @param {string} id @returns {Utterance} */
  utterance(id) {
    let known = this.utterances.get(id);
    if (!known) {
      known = { id, revision: -1, text: "", final: false, turnId: null, aside: false, refused: false };
      this.utterances.set(id, known);
    }
    return known;
  }

  /** @param {string} id @param {boolean} final @param {any} payload */
  understand(id, final, { revision, text, aside }) {
    const known = this.utterance(id);
    this.utterances.set(id, { ...known, revision, text, final, aside: aside ?? known.aside });
  }

  /** @param {string | null} turnId @param {{utterance_id: string}[]} spoken */
  #answer(turnId, spoken) {
    for (const { utterance_id: id } of spoken) {
      const known = this.utterances.get(id);
      if (known) this.utterances.set(id, { ...known, turnId, aside: false });
    }
  }

  /** @param {string[]} ids @param {Partial<Utterance>} as What has become of them. */
  #mark(ids, as) {
    for (const id of ids) {
      const known = this.utterances.get(id);
      if (known) this.utterances.set(id, { ...known, ...as });
    }
  }

  /** @param {string} turnId */
  unqueue(turnId) {
    const place = this.queue.indexOf(turnId);
    if (place >= 0) this.queue.splice(place, 1);
  }

  /** @param {Turn} turn */
  endTurn(turn) {
    turn.closeSteps();
    if (this.openTurn === turn.id) this.openTurn = null;
  }
}

/**
 * @typedef {object} Utterance
 * @property {string} id
 * @property {number} revision
 * @property {string} text
 * @property {boolean} final
 * @property {string | null} turnId
 * @property {boolean} aside
 * @property {boolean} refused
 */
/** @typedef {(fold: Fold, turn: Turn, payload: any) => void} OnTurn */
/** @typedef {(fold: Fold, payload: any, ts: string) => void} OnSession */

/** @type {Record<string, OnTurn>} */
const ON_TURN = {
  "model.token": (_, turn, { text }) => {
    turn.text += text;
  },
  "input.text": (fold, turn, { text, steered, utterances }) => {
    // What steers has no turn of its own.
    if (steered) return;
    turn.words = text;
    turn.worded = true;
    turn.utterances = utterances ?? [];
    fold.queue.push(turn.id);
  },
  "input.dropped": (fold, turn) => {
    turn.status = "dropped";
    fold.unqueue(turn.id);
  },
  "turn.start": (fold, turn, { input, replaces, utterances, corrects }) => {
    fold.unqueue(turn.id);
    turn.utterances = utterances ?? [];
    turn.corrects = corrects ?? null;
    if (!turn.worded || utterances?.length) turn.words = input;
    // The conversation reads in the order in which turns began; queued words came before that.
    fold.turns.delete(turn.id);
    fold.turns.set(turn.id, turn);
    turn.status = "open";
    fold.openTurn = turn.id;
    const replaced = fold.turns.get(replaces);
    if (replaced) {
      replaced.rolledBack = true;
      replaced.version++;
    }
    fold.suspended = null;
  },
  "plan.ready": (fold, turn, { steps }) => {
    turn.steps = steps.map((/** @type {any} */ step) => ({ state: "pending", ...step }));
    fold.planned = turn.id;
  },
  object: (_, turn, { kind, data }) => {
    if (kind === "speech.withheld") turn.withheld = placesIn(data);
  },
  "plan.step": (_, turn, { id, state }) => turn.tick(id, state),
  "cancel.requested": (_, turn, { by }) => {
    turn.cancelled = true;
    if (by === "preempted") turn.preempted = true;
  },
  "cancel.stage": (_, turn, { target, heard }) => {
    if (target === "transcript") turn.heard = heard || "";
  },
  "response.end": (_, turn, { status }) => {
    turn.status = status;
  },
  "turn.trace": (fold, turn, { spans, total_ms: totalMs }) => {
    turn.spans = spans;
    turn.totalMs = totalMs;
    if (!turn.cancelled) fold.endTurn(turn);
  },
  "cancel.ack": (fold, turn, { took_ms: tookMs }) => {
    turn.cancelMs = tookMs;
    if (turn.preempted && !turn.givenUp) fold.suspended = turn.id;
    fold.endTurn(turn);
  },
  "action.proposed": (fold, turn, payload) => {
    const { action_id: id } = payload;
    if (!fold.actions.has(id)) fold.actions.set(id, new Action(turn.id, payload));
  },
};

// These say nothing that a view shows, but they too are the first that is heard of a turn.
for (const type of [
  "response.start",
  "model.start",
  "model.end",
  "tool.call",
  "tool.result",
  "tts.chunk",
  "playback.start",
  "playback.progress",
  "playback.stop",
  "error",
]) {
  ON_TURN[type] = () => {};
}

/** @param {any} data @returns {[number, number][]} */
function placesIn(data) {
  const places = data?.places;
  if (!Array.isArray(places)) return [];
  let last = 0;
  for (const place of places) {
    if (!Array.isArray(place) || place.length !== 2 || !place.every(Number.isInteger)) return [];
    const [start, end] = place;
    if (start < last || end < start) return [];
    last = end;
  }
  return /** @type {[number, number][]} */ (places);
}

/** @type {OnSession} */
const onConnections = (fold, { connections }) => {
  fold.connections = connections;
};

/** @type {OnSession} */
const onVoice = (fold, { utterance_id: id }) => {
  fold.utterance(id);
};

/** @type {Record<string, OnSession>} */
const ON_SESSION = {
  "session.opened": (fold, { agent, config }, ts) => {
    fold.agent = agent;
    fold.config = config;
    fold.openedAt = ts;
  },
  "session.attached": onConnections,
  "session.detached": onConnections,
  "session.configured": (fold, { config }) => {
    fold.config = config;
    if (Object.hasOwn(config, "agent")) fold.agent = config.agent;
  },
  "speech.start": onVoice,
  "speech.stop": onVoice,
  "audio.chunk": onVoice,
  "asr.partial": (fold, payload) => fold.understand(payload.utterance_id, false, payload),
  "asr.final": (fold, payload) => fold.understand(payload.utterance_id, true, payload),
  "session.titled": (fold, { title }) => {
    fold.title = title;
  },
  "session.closed": (fold) => {
    fold.closed = true;
    fold.suspended = null;
    fold.queue = [];
  },
  "input.dropped": (fold, { continues }) => {
    const turn = fold.turns.get(continues);
    if (turn) turn.givenUp = true;
    if (fold.suspended === continues) fold.suspended = null;
  },
};
