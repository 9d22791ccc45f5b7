/** @import {TimelineEvent} from "../types/protocol.js" */
/** @import {Commands} from "./commands.js" */

/** Of the usual size, so many fit into the 256 KiB that a page may have. */
const PAGE_EVENTS = 800;
const AT_ONCE = 3;
/** Below the rate of a server by default; whoever needs more is better off with a replay. */
const MOST_PAGES = 40;
const MOST_HELD = 4096;
/** More than this a connection may not have to give before it gives a page: the rest is live. */
const MOST_AHEAD = 2048;
const AGAIN_MS = 1000;
/** Far fewer than those after which a server shows somebody the door. */
const MOST_REFUSALS = 3;
/** Frames that wait for no event that came before: among them the answers that bring pages. */
const PASSES_PART = new Set(["hello", "reply", "error", "go_away"]);
/** The same when all pages are there: an answer comes behind its events again. */
const PASSES_WHOLE = new Set(["hello", "go_away"]);
/** Connections in a row that may end before a page of theirs has come. */
const MOST_FRUITLESS = 2;

/**
 * Fetches the past of a session in pages, while what goes on meanwhile waits.
 *
 * A page is one message, and a browser takes one in hardly more time than one event of a replay.
 * In the end every event has come once and in order, exactly as in a replay.
 */
export class Past {
  #commands;
  #asked = 0;
  #refusals = 0;
  #fruitless = 0;
  #begunAt = -1;
  /** @type {AbortController | null} There while anything has to wait. */
  #stopping = null;
  #complete = false;
  /** @type {any[]} Frames of the connection that there is, in order. */
  #held = [];

  /** @param {Commands} commands */
  constructor(commands) {
    this.#commands = commands;
  }

  /** Whether there are pages to come. */
  get fetching() {
    return this.#stopping !== null && !this.#complete;
  }

  /** Whether this has to wait. @param {any} frame */
  holds({ event_id: id, type }) {
    if (this.#stopping === null) return false;
    const passes = this.#complete ? PASSES_WHOLE : PASSES_PART;
    return id !== undefined || !passes.has(type);
  }

  /**
   * Keep a frame until its time comes.
   *
   * @param {any} frame
   * @returns {boolean} Whether there was room.
   */
  hold(frame) {
    return this.#held.push(frame) <= MOST_HELD;
  }

  /** The connection is gone, and with it what came on it: the next one gives that again. */
  lost() {
    this.#held.length = 0;
  }

  /**
   * A connection is there that pages may come over.
   *
   * @param {number} seq What is here by now.
   * @returns {boolean} Whether there is hope: each connection may break of its first page.
   */
  begins(seq) {
    this.#fruitless = this.fetching && seq === this.#begunAt ? this.#fruitless + 1 : 0;
    this.#begunAt = seq;
    return this.#fruitless < MOST_FRUITLESS;
  }

  /** Whether answers would come soon, behind so many events. @param {number} events */
  fits(events) {
    return events <= MOST_AHEAD;
  }

  /** Fetch nothing more, and hold nothing any more. */
  stop() {
    this.#stopping?.abort();
    this.#stopping = null;
    this.lost();
  }

  /**
   * Fetch the events behind `from` up to `to`, over one connection after the other if need be.
   *
   * @param {number} from
   * @param {number} to
   * @param {(event: TimelineEvent) => void} fold Is given each of them, in order.
   * @throws {unknown} Pages don't do, or it was stopped, which `fetching` tells.
   */
  async fetch(from, to, fold) {
    const { signal } = (this.#stopping = new AbortController());
    this.#complete = false;
    /** @type {Promise<TimelineEvent[]>[]} */
    const coming = [];
    let asked = from;
    while (from < to) {
      while (coming.length < AT_ONCE && asked < to) {
        const page = this.#read(asked, Math.min(to, asked + PAGE_EVENTS), signal);
        page.catch(() => {}); // whoever waits for it hears of it
        coming.push(page);
        asked += PAGE_EVENTS;
      }
      const events = /** @type {TimelineEvent[]} */ (await coming.shift());
      signal.throwIfAborted();
      for (const event of events) fold(event);
      from += events.length;
    }
  }

  /**
   * The past is there: what was held may follow it.
   *
   * @param {(frame: any) => void} take
   */
  async release(take) {
    const stopping = this.#stopping;
    this.#complete = true;
    // A frame that breaks the order ends the connection, which empties the list.
    for (let frame; (frame = this.#held.shift()); ) {
      take(frame);
      // Who waits for `connect` is to hear what is behind it, as in a replay.
      if (frame.type === "live") await new Promise((wake) => setTimeout(wake, 0));
    }
    if (stopping === this.#stopping) this.#stopping = null;
  }

  /**
   * Nothing comes any more: what no page is missing for is taken now.
   *
   * @param {(frame: any) => void} take
   */
  finish(take) {
    if (!this.#complete) return;
    for (let frame; (frame = this.#held.shift()); ) take(frame);
  }

  /**
   * Read these, however many answers it takes.
   *
   * @param {number} from
   * @param {number} to
   * @param {AbortSignal} signal
   */
  async #read(from, to, signal) {
    /** @type {TimelineEvent[]} */
    const events = [];
    while (events.length < to - from) {
      const after = from + events.length;
      const page = await this.#ask(after, to - after, signal);
      for (const event of page) {
        if (event.seq !== from + events.length + 1) throw new RangeError("no page of this session");
        events.push(event);
      }
      if (page.length === 0) throw new RangeError("a page has nothing");
    }
    return events;
  }

  /**
   * @param {number} after
   * @param {number} limit
   * @param {AbortSignal} signal
   * @returns {Promise<TimelineEvent[]>}
   */
  async #ask(after, limit, signal) {
    if (++this.#asked > MOST_PAGES) throw new RangeError("too many pages");
    try {
      return (await this.#commands.ask("history", { after, limit }, signal, 1)).events;
    } catch (error) {
      const { retryable } = /** @type {{retryable?: boolean}} */ (error);
      if (!retryable || ++this.#refusals > MOST_REFUSALS) throw error;
    }
    await new Promise((wake) => {
      const timer = setTimeout(wake, AGAIN_MS);
      signal.addEventListener("abort", () => (clearTimeout(timer), wake(null)), { once: true });
    });
    return this.#ask(after, limit, signal);
  }
}
