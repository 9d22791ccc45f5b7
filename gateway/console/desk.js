/** @import {SessionEnded} from "/sdk/index.js" */
/** @import {Credentials} from "./credentials.js" */
/** @import {Mode, Route} from "./route.js" */
/** @import {Scene} from "./scene.js" */

import { connect } from "/sdk/index.js";
import { Chronicle } from "./chronicle.js";
import { Replay } from "./replay.js";

const UNAUTHORIZED = 4100;
const CLOSED = 4102;
const NOT_THERE = 4104;

/**
 * @typedef {object} Watching What is told of the session at the desk.
 * @property {() => void} changed
 * @property {(why: string) => void} refused The server wants another token.
 * @property {() => void} listed The list of sessions may show something new.
 * @property {(text: string) => void} tell
 */

/** The one session that is on the page: to talk in, to watch, or played again. */
export class Desk {
  /** @type {Scene | null} */
  scene = null;
  /** @type {Replay | null} */
  replay = null;
  /** @type {Mode} */
  mode = "drive";
  /** @type {string | null} */
  sessionId = null;
  /** @type {"draft" | "opening" | "open" | "failed"} */
  phase = "draft";
  problem = "";
  retryAtMs = 0;
  #visit = new AbortController();
  /** @type {Promise<void> | null} The one dial of this visit, while it lasts. */
  #opening = null;
  #chronicle = new Chronicle();
  #lastSeq = 0;

  /**
   * @param {Credentials} credentials
   * @param {Watching} told
   */
  constructor(credentials, told) {
    this.credentials = credentials;
    this.told = told;
  }

  get session() {
    return this.scene?.session ?? null;
  }

  get answering() {
    return this.session !== null && this.scene?.view.session.turn_id !== null;
  }

  /** Whether anything can be said here. */
  get speaks() {
    return this.mode === "drive" && this.phase !== "failed" && !this.closed;
  }

  get closed() {
    return this.scene?.view.session.state === "closed";
  }

  /**
   * Leave what is open, and open something else.
   *
   * @param {Route} route
   * @param {boolean} skips
   * @param {number} lastSeq How far that session is known to have come.
   */
  async open({ sessionId, mode }, skips, lastSeq) {
    this.leave();
    this.sessionId = sessionId;
    this.mode = mode;
    this.#lastSeq = lastSeq;
    if (sessionId === null) this.told.changed();
    else await this.#connect(skips);
  }

  leave() {
    this.#visit.abort();
    this.#visit = new AbortController();
    this.#opening = null;
    this.scene = this.replay = this.sessionId = null;
    this.#chronicle = new Chronicle();
    this.mode = "drive";
    this.phase = "draft";
    this.problem = "";
    this.retryAtMs = 0;
  }

  /** The session that words go to, opened with the first of them; null where it was left since. */
  async spoken() {
    const { signal } = this.#visit;
    if (!this.session) await this.#connect(false);
    return signal.aborted ? null : this.session;
  }

  /** Take what is new since the last frame. */
  follow() {
    if (this.session) this.#chronicle.follow(this.session.log, true);
  }

  /** Play the same events again, with or without what is quiet. @param {boolean} skips */
  remake(skips) {
    if (!this.replay) return;
    const { count, playing, speed } = this.replay;
    const last = this.#chronicle.events[count - 1];
    this.replay = new Replay(this.#chronicle.events, skips);
    this.replay.speed = speed;
    if (last) this.replay.seekTo(last.seq);
    this.scene = this.replay.scene;
    if (playing) this.replay.play();
    this.told.changed();
  }

  /** Open it once, however many ask while it opens. @param {boolean} skips */
  #connect(skips) {
    this.#opening ??= this.#dial(skips);
    return this.#opening;
  }

  /** @param {boolean} skips */
  async #dial(skips) {
    const { signal } = this.#visit;
    const { mode, sessionId } = this;
    this.phase = "opening";
    this.told.changed();
    try {
      const session = await connect("/v1/session", {
        ...(sessionId !== null && { sessionId, lastSeq: this.#lastSeq }),
        ...(mode !== "drive" && { role: /** @type {const} */ ("watch") }),
        token: this.credentials.token === null ? null : () => this.credentials.token,
        signal,
      });
      if (signal.aborted) return;
      this.phase = "open";
      this.sessionId = session.id;
      this.#chronicle.follow(session.log, false);
      if (mode === "replay") this.#begin(session, skips);
      else this.#attend(session, mode, sessionId === null ? 0 : session.seq);
    } catch (error) {
      if (!signal.aborted) this.#failed(/** @type {SessionEnded} */ (error));
    }
    if (!signal.aborted) this.#opening = null;
    this.told.changed();
  }

  /**
   * All there is has come; from here on nothing of this page reaches the session.
   *
   * @param {import("/sdk/index.js").Session} session
   * @param {boolean} skips
   */
  #begin(session, skips) {
    session.disconnect();
    this.replay = new Replay(this.#chronicle.events, skips);
    this.scene = this.replay.scene;
  }

  /**
   * @param {import("/sdk/index.js").Session} session
   * @param {Mode} mode
   * @param {number} seenSeq
   */
  #attend(session, mode, seenSeq) {
    const chronicle = this.#chronicle;
    const { view } = session;
    // The token may allow less than was asked for.
    if (session.hello?.you.role === "watch") this.mode = mode = "watch";
    this.scene = { view, chronicle, mode, session, seenSeq, nowMs: () => chronicle.nowMs };
    const mine = () => this.session === session;
    session.on("view", () => mine() && this.told.changed());
    session.on("connection", ({ waitMs }) => {
      this.retryAtMs = performance.now() + waitMs;
      if (mine()) this.told.changed();
    });
    session.on("reset", () => chronicle.clear());
    session.on("refused", ({ message }) => mine() && this.told.tell(message));
    for (const type of /** @type {const} */ (["session.opened", "session.titled", "turn.trace"])) {
      session.on(type, () => this.told.listed());
    }
    session.on("ended", (ended) => {
      if (!mine()) return;
      if (ended.code !== CLOSED) this.#failed(ended);
      this.told.listed();
      this.told.changed();
    });
    this.told.listed();
  }

  /** @param {Error & {code?: number | null}} error */
  #failed(error) {
    this.phase = "failed";
    if (error.code === UNAUTHORIZED) this.told.refused("The server takes this token no more.");
    this.problem =
      error.code === NOT_THERE
        ? "There is no such session, or it is somebody else's."
        : `The session can't be had: ${error.message}`;
  }
}
