/** @import {Problem} from "../types/protocol.js" */
/** @import {Backoff, Pace} from "./backoff.js" */

import { CommandRefused, QueueFull } from "./errors.js";

/** Nothing was done, and nothing but time is needed to try again. */
const PASSING = new Set(["rate_limited", "overloaded", "store_unavailable", "internal"]);
const MOST_TRIES = 6;
const STOPS = 10;
const LONGEST_TEXT = 64 * 1024;

/**
 * @typedef {object} Pending
 * @property {string} type
 * @property {string} text As it is sent, each time the same.
 * @property {boolean} urgent It harms nobody that it overtakes.
 * @property {boolean} sent On the connection that there is now.
 * @property {number} left Tries.
 * @property {() => void} forget Its signal, which may live much longer.
 * @property {(result: any) => void} resolve
 * @property {(error: unknown) => void} reject
 */

/**
 * Commands that wait for their answer: kept over broken connections and sent again under the same
 * id, so that the server does each once and says what came of it.
 */
export class Commands {
  /** @type {Map<string, Pending>} In the order in which they were asked. */
  #pending = new Map();
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  #timer;
  #heldUntil = 0;
  #number = 0;
  /** @type {Error | null} */
  #over = null;
  #name;
  #send;
  #pace;
  #backoff;

  /**
   * @param {(text: string) => boolean} send
   * @param {number} most May wait at once.
   * @param {Pace} pace
   * @param {Backoff} backoff
   * @param {() => number} random
   */
  constructor(send, most, pace, backoff, random) {
    this.#send = send;
    this.most = most;
    this.#pace = pace;
    this.#backoff = backoff;
    // Ids are the session's, and another device may be on it: they must not meet.
    this.#name = Array.from({ length: 3 }, () => random().toString(36).slice(2, 7)).join("");
  }

  /** How many wait for an answer. */
  get waiting() {
    return this.#pending.size;
  }

  /** Whether words are among them. */
  get saying() {
    return [...this.#pending.values()].some(({ type }) => type === "say");
  }

  /**
   * Ask the server for something; answered whenever there is a connection again.
   *
   * @param {string} type
   * @param {Record<string, any>} fields
   * @param {AbortSignal} [signal] Waits no longer; what was sent may be done all the same.
   * @param {number} [most] Tries, where the server can't take it at the moment.
   * @returns {Promise<any>} The `result` of the reply.
   */
  ask(type, fields, signal, most = MOST_TRIES) {
    if (signal?.aborted) return Promise.reject(signal.reason);
    if (this.#over) return Promise.reject(this.#over);
    // Who says too much has to be able to say stop.
    const room = this.most + (type === "interrupt" ? STOPS : 0);
    if (this.#pending.size >= room) return Promise.reject(new QueueFull(room));
    const id = `${this.#name}.${++this.#number}`;
    const text = JSON.stringify({ type, id, ...fields });
    if (text.length > LONGEST_TEXT) {
      const message = `A command may have ${LONGEST_TEXT} bytes.`;
      const problem = { code: /** @type {const} */ ("frame_too_large"), message, retryable: false };
      return Promise.reject(new CommandRefused(type, problem));
    }
    // An interrupt that names no turn would, out of its place, stop another one.
    const urgent = type === "interrupt" ? "turn_id" in fields : /^(confirm|reject)$/.test(type);
    const answer = new Promise((resolve, reject) => {
      const takeBack = () => this.#take(id)?.reject(signal?.reason);
      const forget = () => signal?.removeEventListener("abort", takeBack);
      const command = { type, text, urgent, sent: false, left: most, forget, resolve, reject };
      this.#pending.set(id, command);
      signal?.addEventListener("abort", takeBack);
    });
    this.pump();
    return answer;
  }

  /** Send what was not sent on this connection, as fast as the server takes it. */
  pump() {
    clearTimeout(this.#timer);
    const now = performance.now();
    let waitMs = Math.max(0, this.#heldUntil - now);
    for (const command of this.#pending.values()) {
      if (command.sent || (waitMs > 0 && !command.urgent)) continue;
      if (!command.urgent && (waitMs = this.#pace.take(now)) > 0) continue;
      command.sent = this.#send(command.text);
      if (!command.sent) return; // there will be another connection, and another call
    }
    if (waitMs > 0) this.#timer = setTimeout(() => this.pump(), waitMs);
  }

  /** The connection is gone, and with it what was on its way. */
  lost() {
    clearTimeout(this.#timer);
    for (const command of this.#pending.values()) command.sent = false;
  }

  /**
   * @param {string} id
   * @param {any} result
   */
  settle(id, result) {
    this.#backoff.reset();
    this.#take(id)?.resolve(result);
  }

  /**
   * @param {string} id
   * @param {Problem} problem
   */
  refuse(id, problem) {
    const command = this.#pending.get(id);
    if (!command) return;
    if (problem.retryable && PASSING.has(problem.code) && --command.left > 0) {
      command.sent = false;
      this.#heldUntil = performance.now() + this.#backoff.next();
      this.pump();
    } else {
      this.#take(id)?.reject(new CommandRefused(command.type, problem));
    }
  }

  /** Answer all that waits or is asked from now on: nothing will come. @param {Error} error */
  fail(error) {
    this.#over = error;
    clearTimeout(this.#timer);
    for (const id of [...this.#pending.keys()]) this.#take(id)?.reject(error);
  }

  /** @param {string} id */
  #take(id) {
    const command = this.#pending.get(id);
    this.#pending.delete(id);
    command?.forget();
    return command;
  }
}
