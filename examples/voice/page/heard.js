/** @import {Session} from "/sdk/session.js" */

/**
 * An aside, a cough, an echo: it was heard over the agent and did not interrupt.
 *
 * @typedef {object} Aside
 * @property {string} words
 * @property {string} cause
 */

/**
 * What is known of a turn beside its words.
 *
 * @typedef {object} Spoken
 * @property {number | null} chars Code points of the answer that were heard; null: nobody says.
 * @property {{start: number, end: number}[]} notices What speech does not interrupt.
 * @property {[number, number][]} withheld What was left unsaid, because nothing supports it.
 * @property {Aside[]} asides
 * @property {string[]} sources
 * @property {boolean} isSpoken It was cut into chunks for speech.
 */

/** Gathers from events what the views of the SDK don't have: how far each answer was heard. */
export class Heard {
  /** @type {Map<string, Spoken>} */
  #turns = new Map();
  /** @type {Map<string, {text: string, revised: boolean}>} */
  #words = new Map();

  /** @param {Session} session */
  constructor(session) {
    session.on("reset", () => {
      this.#turns.clear();
      this.#words.clear();
    });
    for (const event of session.log) this.#take(event);
    session.on("*", (event) => this.#take(event));
  }

  /** Take in how far a turn is played here, before the server says so. */
  played(/** @type {string} */ turnId, /** @type {number} */ chars) {
    const turn = this.of(turnId);
    turn.chars = Math.max(turn.chars ?? 0, chars);
  }

  /** @param {string} turnId @returns {Spoken} */
  of(turnId) {
    let known = this.#turns.get(turnId);
    if (!known) {
      known = { chars: null, notices: [], withheld: [], asides: [], sources: [], isSpoken: false };
      this.#turns.set(turnId, known);
    }
    return known;
  }

  /** Whether other words were understood before these. @param {string} utteranceId */
  wasRevised(utteranceId) {
    return this.#words.get(utteranceId)?.revised ?? false;
  }

  /** @param {import("/sdk/index.js").TimelineEvent} event */
  #take({ type, turn_id: turnId, payload }) {
    if (type === "asr.partial" || type === "asr.final") {
      const { utterance_id: id, text } = payload;
      const before = this.#words.get(id);
      const revised = before?.revised || (before !== undefined && !goesOn(before.text, text));
      this.#words.set(id, { text, revised });
    }
    if (turnId === null) return;
    const turn = this.of(turnId);
    if (type === "tts.chunk") {
      turn.isSpoken = true;
      const { start, end, protected: isProtected } = payload;
      if (isProtected && start !== undefined && end !== undefined) turn.notices.push({ start, end });
    } else if (type === "playback.progress" || type === "playback.stop") {
      const isFinal = type === "playback.stop" && payload.by === "cancel";
      const least = isFinal ? 0 : (turn.chars ?? 0);
      if (payload.chars !== undefined) turn.chars = Math.max(least, payload.chars);
    } else if (type === "object" && payload.kind === "speech.withheld") {
      turn.withheld = /** @type {any} */ (payload.data).places ?? [];
    } else if (type === "retrieve.result") {
      turn.sources = payload.sources.map(({ title, heading }) => String(heading || title));
    } else if (type === "playback.resumed") {
      const said = (payload.utterances ?? []).map((id) => this.#words.get(id)?.text ?? "");
      turn.asides.push({ words: said.join(" ").trim(), cause: payload.cause });
    }
  }
}

/** @param {string} before @param {string} now */
function goesOn(before, now) {
  const plain = (/** @type {string} */ text) => text.toLowerCase().replace(/[^\p{L}\p{N} ]/gu, "");
  return plain(now).startsWith(plain(before));
}
