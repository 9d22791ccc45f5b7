/** @import {Understood} from "./voice_recogniser.js" */

const MOST_KNOWN = 16;

/**
 * @typedef {object} Utterance
 * @property {string} id
 * @property {number} revision Of the next words.
 * @property {string} text The latest words.
 * @property {boolean} final
 * @property {boolean} taken A turn answers it: what is said now is another one.
 * @property {Understood["key"] | null} key What the recogniser calls it.
 */

/**
 * Reports what the user says: which voice, which words, in which revision.
 *
 * A voice and the words that are understood meanwhile are one utterance, until these are final or
 * a turn has taken them. Words that come later still belong to it.
 */
export class Utterances {
  /** @type {Utterance | null} */
  #current = null;
  /** @type {string | null} The one whose voice goes on. */
  #voice = null;
  /** @type {Map<Understood["key"], Utterance>} */
  #byKey = new Map();
  #count = 0;
  #send;
  #name;

  /**
   * @param {(type: string, fields: Record<string, any>) => Promise<boolean>} send
   * @param {() => number} [random]
   */
  constructor(send, random = Math.random) {
    this.#send = send;
    // Ids are the session's: two clients, or two visits, must not meet.
    this.#name = random().toString(36).slice(2, 10);
  }

  /** The utterance that goes on, or did last. */
  get current() {
    return this.#current;
  }

  /** Report that a voice begins; the answer comes when the server has decided what it is over. */
  voiceBegan() {
    const utterance = this.#open();
    this.#voice = utterance.id;
    return this.#send("speech.start", { utterance_id: utterance.id });
  }

  /** Report that it ends. */
  voiceEnded() {
    if (this.#voice !== null) this.#send("speech.stop", { utterance_id: this.#voice });
    this.#voice = null;
  }

  /** Report words. @param {Understood} words */
  words({ key, text, final, confidence }) {
    const utterance = this.#byKey.get(key) ?? this.#bind(key);
    if (utterance.final || (!final && utterance.text === text)) return;
    utterance.text = text;
    utterance.final = final;
    this.#send(final ? "asr.final" : "asr.partial", {
      utterance_id: utterance.id,
      revision: utterance.revision++,
      text,
      confidence,
    });
  }

  /** Report that the user says: my turn is over; false where nothing was said that it could end. */
  end() {
    const { id, text, taken } = this.#current ?? {};
    if (id === undefined || !text || taken) return false;
    this.#send("turn.end", { utterance_id: id });
    return true;
  }

  /** A turn answers these. @param {readonly string[]} ids */
  took(ids) {
    for (const one of [this.#current, ...this.#byKey.values()])
      if (one && ids.includes(one.id)) one.taken = true;
  }

  /** @param {Understood["key"]} key */
  #bind(key) {
    const utterance = this.#current?.key === null ? this.#open() : this.#begin();
    utterance.key = key;
    this.#byKey.set(key, utterance);
    const [oldest] = this.#byKey.keys();
    if (this.#byKey.size > MOST_KNOWN && oldest !== undefined) this.#byKey.delete(oldest);
    return utterance;
  }

  #open() {
    const known = this.#current;
    return known && !known.final && !known.taken ? known : this.#begin();
  }

  /** @returns {Utterance} */
  #begin() {
    const id = `${this.#name}-${++this.#count}`;
    this.#current = { id, revision: 0, text: "", final: false, taken: false, key: null };
    return this.#current;
  }
}
