/** @import {Cursor} from "./cursor.js" */
/** @import {Tokens} from "./tokens.js" */
/** @import {Backoff} from "./backoff.js" */

import { urlOf } from "./address.js";
import { SESSION_CLOSED, SessionEnded } from "./errors.js";
import { Heartbeat } from "./heartbeat.js";

/** @typedef {"connecting" | "replaying" | "live" | "waiting" | "ended"} ConnectionState */

/**
 * @typedef {object} Way How to get to the server.
 * @property {URL} base
 * @property {"drive" | "watch" | undefined} role
 * @property {Tokens} tokens
 * @property {Backoff} backoff
 * @property {number} dialMs A dial that has no `hello` by then is given up.
 * @property {new (url: string, protocols: string[]) => any} WebSocket
 */

/**
 * @typedef {object} Owner Who the connection works for.
 * @property {(frame: any) => void} receive
 * @property {(state: ConnectionState, waitMs: number) => void} changed
 * @property {(error: SessionEnded) => void} ended
 */

const SUBPROTOCOL = "bargein.v1";
const UNAUTHORIZED = 4100;
const NO_SUCH_SESSION = 4104;
const NORMAL = 1000;
const GAVE_UP = 3000;

/** One socket at a time, and the next one when it breaks, until it is told not to come back. */
export class Connection {
  /** @type {ConnectionState} */
  state = "connecting";
  /** What went wrong last, for people. */
  problem = "nobody answered";
  /** Sockets that said `hello`. */
  count = 0;
  #way;
  #cursor;
  #owner;
  /** @type {any} */
  #socket = null;
  #dials = 0;
  #greeted = false;
  #renewed = false;
  #awayMs = 0;
  /** @type {ReturnType<typeof setTimeout> | undefined} For the dial, or for the next one. */
  #timer;
  #heartbeat;
  #comeBack = () => this.#hurry();

  /**
   * @param {Way} way
   * @param {Cursor} cursor
   * @param {Owner} owner
   */
  constructor(way, cursor, owner) {
    this.#way = way;
    this.#cursor = cursor;
    this.#owner = owner;
    this.#heartbeat = new Heartbeat(
      () => this.send('{"type":"ping"}'),
      () => this.redial(),
    );
  }

  start() {
    // A browser says when the network is back; where nobody does, time tells.
    globalThis.addEventListener?.("online", this.#comeBack);
    this.#dial();
  }

  /**
   * Send a command if there is somebody to take it.
   *
   * @param {string} text
   * @returns {boolean} Whether it is on its way; it may still be lost there.
   */
  send(text) {
    if (!this.#greeted || this.#socket?.readyState !== 1) return false;
    this.#socket.send(text);
    return true;
  }

  /** All that was missed has come. */
  live() {
    this.#way.backoff.reset();
    this.#change("live");
  }

  /** The server will end this connection; leave it alone for so long. @param {number} ms */
  away(ms) {
    this.#awayMs = ms;
  }

  /**
   * Drop this connection, which is of no use any more, and come back where the cursor stands.
   *
   * @param {number} [waitMs]
   */
  redial(waitMs = this.#way.backoff.next()) {
    this.#drop();
    this.#later(waitMs);
  }

  /** @param {SessionEnded} error */
  end(error) {
    if (this.state === "ended") return;
    globalThis.removeEventListener?.("online", this.#comeBack);
    this.#drop(NORMAL);
    this.#change("ended");
    this.#owner.ended(error);
  }

  // --- the next socket -------------------------------------------------------

  async #dial() {
    const dial = ++this.#dials;
    const current = () => dial === this.#dials && this.state !== "ended";
    this.#change("connecting");
    this.#timer = setTimeout(() => this.redial(), this.#way.dialMs);
    let token;
    try {
      token = await this.#way.tokens.fresh();
    } catch (error) {
      this.problem = `no token: ${error}`;
      if (current()) this.redial(); // who gives out tokens may be out of reach, too
    }
    if (token === undefined || !current()) return;
    const offered = token === null ? [] : [`bargein.jwt.${token}`];
    const url = urlOf(this.#way.base, this.#cursor, this.#way.role);
    try {
      this.#listen(new this.#way.WebSocket(url, [SUBPROTOCOL, ...offered]));
    } catch (error) {
      // What no socket takes is no better the next time.
      this.end(new SessionEnded(null, String(error)));
    }
  }

  /** @param {any} socket */
  #listen(socket) {
    this.#socket = socket;
    const mine = () => this.#socket === socket;
    // What an abandoned socket still has to say is not heard: its events come again.
    socket.onmessage = (/** @type {{data: any}} */ { data }) => mine() && this.#receive(data);
    socket.onclose = (/** @type {any} */ { code, reason }) => mine() && this.#closed(code, reason);
    // A close follows; what there is to know beside its code, a browser doesn't tell.
    socket.onerror = (/** @type {any} */ { message }) => {
      if (message) this.problem = message;
    };
  }

  /** @param {any} text */
  #receive(text) {
    this.#heartbeat.heard();
    let frame;
    try {
      frame = JSON.parse(text);
    } catch {
      return; // if it was an event, the gap will tell
    }
    if (frame.type === "hello" && frame.event_id === undefined) {
      clearTimeout(this.#timer);
      this.#greeted = true;
      this.#renewed = false;
      this.#awayMs = 0;
      this.count++;
      this.#heartbeat.start(frame.heartbeat_s * 1000);
      this.#change("replaying");
    }
    this.#owner.receive(frame);
  }

  /**
   * @param {number} code
   * @param {string} reason
   */
  #closed(code, reason) {
    const { tokens } = this.#way;
    if (code === UNAUTHORIZED && tokens.renewable && !this.#renewed) {
      this.#renewed = true; // once: the next token is as fresh as they get
    } else if (code === NO_SUCH_SESSION && this.#cursor.unborn && this.#cursor.sessionId) {
      // It was cut off before anything of it was stored, so nothing is lost with it.
      this.#cursor.sessionId = this.#cursor.epoch = null;
    } else if (code === SESSION_CLOSED && this.#cursor.lacks) {
      // Nobody answers in a session that is closed; it can be replayed.
      this.#cursor.known = 0;
      this.redial(0);
      return;
    } else if (code >= 4100 && code < 4200) {
      this.end(new SessionEnded(code, code === SESSION_CLOSED ? "the session is closed" : reason));
      return;
    }
    this.redial();
  }

  /** @param {number} waitMs */
  #later(waitMs) {
    if (this.state === "ended") return;
    const allMs = this.#awayMs + waitMs;
    this.#awayMs = 0;
    this.#change("waiting", allMs);
    // Whoever is told may have ended it.
    if (this.state === "waiting") this.#timer = setTimeout(() => this.#dial(), allMs);
  }

  #hurry() {
    if (this.state !== "waiting") return;
    clearTimeout(this.#timer);
    this.#dial();
  }

  #drop(code = GAVE_UP) {
    clearTimeout(this.#timer);
    this.#heartbeat.stop();
    this.#dials++;
    const socket = this.#socket;
    this.#socket = null;
    this.#greeted = false;
    // Not waited for: a connection that is half dead would take a minute to agree.
    if (code === GAVE_UP && socket?.terminate) socket.terminate();
    else socket?.close(code);
  }

  /**
   * @param {ConnectionState} state
   * @param {number} [waitMs]
   */
  #change(state, waitMs = 0) {
    this.state = state;
    this.#owner.changed(state, waitMs);
  }
}
