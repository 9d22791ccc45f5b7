/** @import {TimelineEvent} from "../types/protocol.js" */
/** @import {Commands} from "./commands.js" */

/** Of the usual size, so many fit into the 256 KiB that a page may have. */
const PAGE_EVENTS = 800;
const AT_ONCE = 3;
/** Below the rate of a server by default; whoever needs more is better off with a replay. */
const MOST_PAGES = 40;
const MOST_HELD = 4096;
const AGAIN_MS = 1000;
/** Far fewer than those after which a server shows somebody the door. */
const MOST_REFUSALS = 3;
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
  /** @type {AbortController | null} There while something is fetched. */
  #stopping = null;
  /** @type {any[]} Frames of the connection that there is, in order. */
  #held = [];

  /** @param {Commands} commands */
  constructor(commands) {
    this.#commands = commands;
  }

  /** Whether what comes has to wait. */
  get fetching() {
    return this.#stopping !== null;
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
   * @returns {boolean} Whether there is hope: a page may be what breaks each connection.
   */
  begins(seq) {
    this.#fruitless = this.fetching && seq === this.#begunAt ? this.#fruitless + 1 : 0;
    this.#begunAt = seq;
    return this.#fruitless < MOST_FRUITLESS;
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

  /** The past is there: what was held may follow it. @param {(frame: any) => void} receive */
  release(receive) {
    this.#stopping = null;
    // One that breaks the order ends the connection, which empties the list that is walked here.
    for (const frame of this.#held) receive(frame);
    this.lost();
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
