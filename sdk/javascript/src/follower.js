/** @import {Hello, TimelineEvent} from "../types/protocol.js" */
/** @import {ConnectionState, Way} from "./connection.js" */
/** @import {Cursor} from "./cursor.js" */
/** @import {SessionEnded} from "./errors.js" */

import { Backoff, Pace } from "./backoff.js";
import { Commands } from "./commands.js";
import { Connection } from "./connection.js";
import { SESSION_CLOSED } from "./errors.js";
import { Gate } from "./gate.js";
import { Listeners } from "./listeners.js";
import { EventLog } from "./log.js";
import { Past } from "./past.js";
import { Playback } from "./playback.js";
import { Receipts } from "./receipts.js";
import { Renewal } from "./renewal.js";
import { View } from "./view.js";

// Below what a server takes by default: 20 commands a second, 60 at once.
const PER_SECOND = 15;
const AT_ONCE = 40;

/** Follows a session's timeline over one connection after the other, and tells what is new. */
export class Follower {
  view = new View(new Gate());
  listeners = new Listeners();
  counts = { connections: 0, gaps: 0, doubles: 0, late: 0, resets: 0 };
  /** @type {Hello | null} */
  hello = null;
  #toldView = false;
  #ready;

  /**
   * @param {Way} way
   * @param {Cursor} cursor
   * @param {{
   *   queueMost: number, keepEvents: number, shownEveryMs: number, random: () => number,
   * }} options
   * @param {(error: SessionEnded | null) => void} ready Called when all there is has come, or
   *   nothing will.
   */
  constructor(way, cursor, options, ready) {
    this.#ready = ready;
    this.cursor = cursor;
    this.log = new EventLog(options.keepEvents);
    this.connection = new Connection(way, this.cursor, this);
    const send = (/** @type {string} */ text) => this.connection.send(text);
    this.playback = new Playback(send, options.shownEveryMs);
    this.receipts = new Receipts(send, cursor);
    const pace = new Pace(PER_SECOND, AT_ONCE);
    const patience = new Backoff(1000, 30_000, options.random);
    this.commands = new Commands(send, options.queueMost, pace, patience, options.random);
    this.renewal = new Renewal(way.tokens, this.commands);
    this.past = new Past(this.commands);
  }

  // --- for the connection ----------------------------------------------------

  /** @param {any} frame */
  receive(frame) {
    if (!this.past.holds(frame)) this.#take(frame);
    else if (!this.past.hold(frame)) this.#replay();
  }

  /** @param {any} frame */
  #take(frame) {
    if (frame.event_id !== undefined) this.#event(frame);
    else if (Object.hasOwn(ON_FRAME, frame.type)) ON_FRAME[frame.type]?.(this, frame);
  }

  /**
   * @param {ConnectionState} state
   * @param {number} waitMs
   */
  changed(state, waitMs) {
    if (state === "waiting") {
      this.commands.lost();
      this.renewal.stop();
      this.past.lost();
      this.receipts.stop();
    }
    this.listeners.tell("connection", { state, waitMs });
  }

  /** @param {SessionEnded} error */
  ended(error) {
    this.renewal.stop();
    if (error.code !== null) this.past.finish((frame) => this.#take(frame));
    this.past.stop();
    this.receipts.stop();
    this.playback.forget();
    this.commands.fail(error);
    // Who left, and who read a session to its end, has read all there is.
    const asWished = error.code === null || error.code === SESSION_CLOSED;
    this.log.end(asWished ? null : error);
    this.#ready(error);
    this.listeners.tell("ended", error);
    this.listeners.clear();
  }

  // --- what comes ------------------------------------------------------------

  /** @param {TimelineEvent} event */
  #event(event) {
    const place = this.cursor.take(event);
    if (place === "double") this.counts.doubles++;
    else if (place === "gap") this.gap();
    else {
      const late = event.type === "model.token" && this.view.hides(event.turn_id);
      this.counts.late += Number(late);
      this.view.apply(event);
      this.log.add(event, late);
      this.receipts.soon();
      if (event.type === "turn.start") this.playback.begun(event.turn_id ?? "");
      if (event.type === "cancel.requested") this.playback.stopped(event.turn_id);
      if (!late) {
        this.listeners.tell(event.type, event);
        this.listeners.tell("*", event);
      }
      this.viewChanged();
    }
  }

  /**
   * Look whether pages will do over a new connection; if not, there will be another one.
   *
   * @param {number} lastSeq How far the session goes by now.
   */
  begins(lastSeq) {
    const { cursor, past } = this;
    if (!past.begins(cursor.seq)) {
      this.#replay();
      return false;
    }
    if (past.fits(lastSeq - cursor.known)) return true;
    past.stop();
    cursor.known = lastSeq;
    this.connection.redial(0);
    return false;
  }

  /** Fetch what lies before the place where the connection began. */
  async fetchPast() {
    if (this.past.fetching) return; // the new connection goes on where the old one was
    const { seq, known } = this.cursor;
    try {
      await this.past.fetch(seq, known, (event) => this.#event(event));
    } catch {
      if (this.past.fetching) this.#replay();
      return;
    }
    await this.past.release((frame) => this.#take(frame));
  }

  /** Pages don't do: let the server give all that is missing. */
  #replay() {
    this.cursor.known = 0;
    this.past.stop();
    this.connection.redial(0);
  }

  /** Something is missing, or came in the wrong place: a resume gives exactly the rest. */
  gap() {
    this.counts.gaps++;
    this.connection.redial();
  }

  /** Throw away what is no part of the session's history any more. */
  reset() {
    this.counts.resets++;
    this.cursor.rewind();
    this.view.clear();
    this.log.clear();
    this.listeners.tell("reset", this.counts.resets);
  }

  /** @param {SessionEnded | null} error */
  ready(error) {
    this.#ready(error);
  }

  viewChanged() {
    // A replay is shown when it is there, and what comes in one go, at once.
    if (this.#toldView || this.connection.state !== "live") return;
    this.#toldView = true;
    queueMicrotask(() => {
      this.#toldView = false;
      this.listeners.tell("view", this.view.version);
    });
  }
}

/** @type {(follower: Follower, frame: any) => void} */
const pass = ({ listeners }, frame) => listeners.tell(frame.type, frame);

/** @type {Record<string, (follower: Follower, frame: any) => void>} */
const ON_FRAME = {
  hello: (follower, frame) => {
    const { cursor, past } = follower;
    const paged = cursor.lacks && frame.replay_from === cursor.known + 1;
    if (!paged) {
      cursor.known = 0;
      past.stop();
    }
    follower.counts.connections = follower.connection.count;
    follower.hello = frame;
    // All of it, or exactly the rest, and never a part.
    if (!paged && cursor.seq > 0 && frame.replay_from !== cursor.seq + 1) follower.reset();
    cursor.sessionId = frame.session_id;
    cursor.epoch = frame.epoch;
    if (paged && !follower.begins(frame.replay_to)) return;
    follower.view.thaw();
    // What a watcher has counts for nobody.
    if (paged && frame.you.role === "drive") follower.receipts.begin();
    follower.commands.pump();
    follower.renewal.plan();
    if (paged) follower.fetchPast();
  },
  live: (follower, frame) => {
    if (frame.seq > follower.cursor.seq) {
      follower.gap();
      return;
    }
    follower.connection.live();
    follower.receipts.now();
    follower.playback.again(follower.view.session.turn_id);
    follower.ready(null);
    follower.viewChanged();
  },
  reply: (follower, { command_id: id, result, at_seq: atSeq }) => {
    // It comes after its events; if they are missing, the next connection brings both.
    if (atSeq > follower.cursor.seq && !follower.past.fetching) follower.gap();
    else follower.commands.settle(id, result);
  },
  error: ({ commands, listeners }, { command_id: id, error }) => {
    if (id !== null) commands.refuse(id, error);
    // A report of what was shown that came too late; nobody has to know.
    else if (error.code !== "stale") listeners.tell("refused", error);
  },
  flush: (follower, frame) => {
    follower.view.freeze(frame.turn_id);
    follower.playback.stopped(frame.turn_id);
    follower.listeners.tell("flush", frame);
    follower.viewChanged();
  },
  caught_up: (follower, { seq }) => {
    if (seq > follower.cursor.seq) follower.gap();
  },
  go_away: (follower, frame) => {
    follower.connection.away(frame.reconnect_after_ms);
    pass(follower, frame);
  },
  pause: pass,
  unpause: pass,
};
