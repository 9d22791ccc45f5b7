/**
 * @import {ConfigureCommand, EventMap} from "../types/protocol.js"
 * @import {Follower} from "./follower.js"
 * @import {
 *   ActionResult, HistoryPage, InterruptOptions, InterruptResult, Notices, SayOptions, SayResult,
 *   Waiting
 * } from "./options.js"
 */

import { SESSION_CLOSED, SessionEnded } from "./errors.js";

/**
 * A session with an agent, kept over whatever the network does.
 *
 * `for await (const event of session)` reads its events, each once and in order; `session.view`
 * is what they come to. Lives until `disconnect`, or until the server says that it is over.
 */
export class Session {
  #follower;
  #commands;
  /** @type {Map<string, Promise<InterruptResult>>} */
  #interrupts = new Map();

  /** @param {Follower} follower See `connect`. */
  constructor(follower) {
    this.#follower = follower;
    this.#commands = follower.commands;
    /** The session as it is to be shown. */
    this.view = follower.view;
    /** What happened to the connection, counted. */
    this.counts = follower.counts;
  }

  /** The session's id, to come back with. */
  get id() {
    return this.#follower.cursor.sessionId;
  }

  /** Names one unbroken history of the session. */
  get epoch() {
    return this.#follower.cursor.epoch;
  }

  /** The highest seq that was applied. */
  get seq() {
    return this.#follower.cursor.seq;
  }

  /** How the connection is now. */
  get state() {
    return this.#follower.connection.state;
  }

  /** The latest `hello`: limits, and who the server takes this client for. */
  get hello() {
    return this.#follower.hello;
  }

  /** How many commands wait for an answer. */
  get waiting() {
    return this.#commands.waiting;
  }

  /** Every event that is kept, oldest first, late ones too: the session's record. */
  get log() {
    return this.#follower.log.events;
  }

  // --- what you say ----------------------------------------------------------

  /**
   * Say something; a running answer is interrupted, unless `whenBusy` says otherwise.
   *
   * @param {string} text
   * @param {SayOptions} [options]
   * @returns {Promise<SayResult>}
   */
  say(text, { whenBusy, heard, resume, traceparent, signal } = {}) {
    const open = this.view.session.turn_id;
    const stops = whenBusy === undefined || whenBusy === "interrupt" || whenBusy === "rollback";
    const shown = heard ?? (stops ? this.#follower.playback.heardOf(open) : undefined);
    this.#follower.receipts.now();
    const words = { text, when_busy: whenBusy, heard: shown, resume, traceparent };
    return this.#commands.ask("say", words, signal);
  }

  /**
   * Stop the running answer; asked twice for one turn it is one interrupt.
   *
   * @param {InterruptOptions} [options]
   * @returns {Promise<InterruptResult>}
   */
  interrupt({ turnId = this.#toStop, reason, heard, queue, signal } = {}) {
    const key = `${turnId} ${queue}`;
    const asked = this.#interrupts.get(key);
    if (asked) return asked;
    const fields = {
      ...(turnId !== null && { turn_id: turnId }),
      reason,
      heard: heard ?? this.#follower.playback.heardOf(turnId),
      queue,
    };
    this.#follower.receipts.now();
    const answer = this.#commands
      .ask("interrupt", fields, signal)
      .finally(() => this.#interrupts.delete(key));
    this.#interrupts.set(key, answer);
    return answer;
  }

  /** Words on their way may have a turn of their own by then: it is whatever runs then. */
  get #toStop() {
    return this.#commands.saying ? null : this.view.session.turn_id;
  }

  /**
   * Allow a proposed action; `args` replace all of its arguments.
   *
   * @param {string} confirmationId
   * @param {{args?: Record<string, any>, reason?: string} & Waiting} [options]
   * @returns {Promise<ActionResult>}
   */
  confirm(confirmationId, { args, reason, signal } = {}) {
    const fields = { confirmation_id: confirmationId, args, reason };
    return this.#commands.ask("confirm", fields, signal);
  }

  /**
   * Refuse a proposed action.
   *
   * @param {string} confirmationId
   * @param {{reason?: string} & Waiting} [options]
   * @returns {Promise<ActionResult>}
   */
  reject(confirmationId, { reason, signal } = {}) {
    return this.#commands.ask("reject", { confirmation_id: confirmationId, reason }, signal);
  }

  /**
   * Undo an action that was done.
   *
   * @param {string} actionId
   * @param {Waiting} [options]
   * @returns {Promise<ActionResult>}
   */
  revert(actionId, { signal } = {}) {
    return this.#commands.ask("revert", { action_id: actionId }, signal);
  }

  /**
   * Change settings of the session.
   *
   * @param {Omit<ConfigureCommand, "type" | "id">} settings
   * @returns {Promise<Record<string, any>>} All of them, as they are now.
   */
  configure(settings) {
    return this.#commands.ask("configure", settings);
  }

  /**
   * Read a page of the timeline from the server.
   *
   * @param {{after?: number, limit?: number} & Waiting} [options]
   * @returns {Promise<HistoryPage>}
   */
  history({ after, limit, signal } = {}) {
    return this.#commands.ask("history", { after, limit }, signal);
  }

  /**
   * Send any other command of the protocol.
   *
   * @param {string} type
   * @param {Record<string, any>} [fields]
   * @param {Waiting} [options]
   * @returns {Promise<any>}
   */
  send(type, fields = {}, { signal } = {}) {
    return this.#commands.ask(type, fields, signal);
  }

  /**
   * Say how much of a turn was shown or played: the model hears of no more than that.
   *
   * @param {string} turnId
   * @param {number | string} shown Code points, or the text itself.
   */
  shown(turnId, shown) {
    if (this.hello?.you.role === "watch" || this.view.hides(turnId)) return;
    this.#follower.playback.shown(turnId, typeof shown === "number" ? shown : [...shown].length);
  }

  /**
   * Hand in a fresh token for this connection and the next ones.
   *
   * @param {string} token
   */
  async authenticate(token) {
    await this.#follower.renewal.use(token);
  }

  /** End the session for good, for everybody. To leave it, `disconnect`. */
  async close() {
    try {
      await this.#commands.ask("close", {});
    } catch (error) {
      // Whoever closed it, it is closed.
      if (!(error instanceof SessionEnded) || error.code !== SESSION_CLOSED) throw error;
    }
  }

  /** Leave; the session stays on the server, and `connect` with its id comes back to it. */
  disconnect() {
    this.#follower.receipts.now();
    this.#follower.connection.end(new SessionEnded(null, "disconnected"));
  }

  // --- what you hear ---------------------------------------------------------

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
  on(type, listener) {
    return this.#follower.listeners.add(type, listener);
  }

  /**
   * Read the events behind `after`, each once and in order; tokens that an interrupt overtook
   * are left out, as in `on`. Breaking off the loop ends the reader, not the session.
   *
   * @param {{after?: number}} [options]
   */
  events({ after = 0 } = {}) {
    return this.#follower.log.read(after);
  }

  [Symbol.asyncIterator]() {
    return this.events();
  }
}
