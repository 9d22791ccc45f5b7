/** @import {EventMap} from "../types/protocol.js" */
/** @import {Speaker} from "./voice_speakers.js" */

import { TimedSpeaker } from "./voice_speakers.js";

/**
 * Why nothing is played: a voice was heard here, the server says so, or a key is held.
 *
 * @typedef {"voice" | "server" | "key"} Hold
 */

/**
 * A chunk of speech, and how much of it was heard.
 *
 * @typedef {object} Playing
 * @property {string} turnId
 * @property {string} chunkId
 * @property {string} text
 * @property {number | null} start Where it stands in the turn's text, in code points.
 * @property {boolean} isProtected Speech does not interrupt it.
 * @property {boolean} begun
 * @property {number} heard An index of `text`: what comes before it was heard.
 * @property {number} playedMs
 */

/**
 * @typedef {object} Reports
 * @property {(type: string, fields: Record<string, any>) => unknown} send
 * @property {(turnId: string, chars: number) => void} shown As `Session.shown`.
 */

/**
 * Plays an answer chunk by chunk, and reports to the word what was heard of it.
 *
 * It is silent at once when it is held. What was cut off by a hold is taken up at the word that was
 * cut, when no hold is left.
 */
export class Player {
  /** @type {Playing[]} The first is being played. */
  #queue = [];
  /** @type {Set<Hold>} */
  #holds = new Set();
  /** @type {(() => void) | null} Stops what sounds now. */
  #stop = null;
  #sinceMs = 0;
  #reports;
  #changed;

  /**
   * @param {Reports} reports
   * @param {Speaker} [speaker]
   * @param {() => void} [changed] Called when anything of what follows has changed.
   */
  constructor(reports, speaker = new TimedSpeaker(), changed = () => {}) {
    this.#reports = reports;
    this.#speaker = speaker;
    this.#changed = changed;
  }

  /** Who speaks; another one takes over with the next word. */
  get speaker() {
    return this.#speaker;
  }

  set speaker(speaker) {
    const sounding = this.#silence();
    this.#speaker = speaker;
    if (sounding) this.#play();
  }
  /** @type {Speaker} */
  #speaker;

  /** Whether there is something to play, and if so, whether it sounds. */
  get state() {
    if (this.#queue.length === 0) return /** @type {const} */ ("silent");
    return this.#holds.size > 0 ? /** @type {const} */ ("paused") : /** @type {const} */ ("speaking");
  }

  /** The chunk that is played, or is to be played next. @returns {Readonly<Playing> | null} */
  get playing() {
    return this.#queue[0] ?? null;
  }

  /** What holds it. @returns {ReadonlySet<Hold>} */
  get holds() {
    return this.#holds;
  }

  /** How loud it is now, from 0 to 1. */
  get loudness() {
    return this.#stop ? this.#speaker.loudness : 0;
  }

  /** How many code points of the turn that is played were heard; null if that can't be told. */
  get heardChars() {
    const playing = this.#queue[0];
    return playing ? charsOf(playing) : null;
  }

  /**
   * Play a chunk when all before it has been.
   *
   * @param {EventMap["tts.chunk"]} event
   */
  add({ turn_id: turnId, payload }) {
    if (turnId === null) return;
    const { chunk_id: chunkId, text, start = null, protected: isProtected = false } = payload;
    const heard = { begun: false, heard: 0, playedMs: 0 };
    this.#queue.push({ turnId, chunkId, text, start, isProtected, ...heard });
    this.#play();
    this.#changed();
  }

  /** Be silent, at once. @param {Hold} by */
  hold(by) {
    if (this.#holds.has(by)) return;
    this.#holds.add(by);
    if (this.#silence()) this.#report("playback.progress");
    this.#changed();
  }

  /** Go on, unless something else holds. @param {readonly Hold[]} by */
  release(...by) {
    const before = this.#holds.size;
    for (const hold of by) this.#holds.delete(hold);
    if (this.#holds.size === before) return;
    this.#play();
    this.#changed();
  }

  /** Throw away what is left of turns, and holds with the chunk that they held. @param {(id: string) => boolean} which */
  drop(which) {
    const left = this.#queue.filter(({ turnId }) => !which(turnId));
    if (left.length === this.#queue.length && left.length > 0) return;
    if (left[0] !== this.#queue[0] || left.length === 0) {
      this.#silence();
      this.#holds.delete("voice");
      this.#holds.delete("server");
    }
    this.#queue = left;
    this.#play();
    this.#changed();
  }

  /** Stop for good what is left, and say how much of it was heard. */
  stop() {
    this.#silence();
    if (this.#queue[0]?.begun) this.#report("playback.stop");
    this.drop(() => true);
  }

  #play() {
    const playing = this.#queue[0];
    if (!playing || this.#stop || this.#holds.size > 0) return;
    const { turnId, chunkId, text } = playing;
    if (!playing.begun) {
      playing.begun = true;
      this.#reports.send("playback.start", { turn_id: turnId, chunk_id: chunkId });
    }
    const from = playing.heard;
    this.#sinceMs = performance.now();
    this.#stop = this.#speaker.speak(text.slice(from), {
      word: (at) => {
        playing.heard = from + at;
        this.#shown(playing);
        this.#changed();
      },
      ended: () => {
        this.#stop = null;
        this.#ended(playing);
      },
      failed: () => {
        this.#stop = null;
        this.#speaker = new TimedSpeaker(); // the words can still be read in their time
        this.#play();
      },
    });
  }

  /** @param {Playing} playing */
  #ended(playing) {
    playing.heard = playing.text.length;
    playing.playedMs += performance.now() - this.#sinceMs;
    this.#shown(playing);
    this.#report("playback.stop");
    this.#queue.shift();
    this.#play();
    this.#changed();
  }

  /** @returns {boolean} Whether something sounded. */
  #silence() {
    if (!this.#stop) return false;
    this.#stop();
    this.#stop = null;
    const playing = this.#queue[0];
    if (playing) playing.playedMs += performance.now() - this.#sinceMs;
    return true;
  }

  /** @param {Playing} playing */
  #shown(playing) {
    const chars = charsOf(playing);
    if (chars !== null) this.#reports.shown(playing.turnId, chars);
  }

  /** @param {"playback.progress" | "playback.stop"} type */
  #report(type) {
    const playing = this.#queue[0];
    if (!playing) return;
    this.#reports.send(type, {
      turn_id: playing.turnId,
      chunk_id: playing.chunkId,
      offset_ms: Math.round(playing.playedMs),
      chars: charsOf(playing) ?? undefined,
    });
  }
}

/** @param {Playing} playing */
function charsOf({ start, text, heard }) {
  return start === null ? null : start + [...text.slice(0, heard).trimEnd()].length;
}
