/** @import {Credentials} from "./credentials.js" */
/** @import {Route} from "./route.js" */

import { arrange, button, el, icon, part, say, show } from "./dom.js";
import { ago, brief } from "./format.js";
import { fragmentOf } from "./route.js";

const PAGE = 30;
const EVERY_MS = 20_000;
const SETTLE_MS = 700;
const LIMIT_MS = 10_000;
const LONGEST = 80;

/**
 * @typedef {object} Listed
 * @property {string} session_id
 * @property {string | null} title
 * @property {string | null} first_words
 * @property {string} opened_at
 * @property {string} last_at
 * @property {number} last_seq
 * @property {"open" | "closed"} state
 * @property {boolean} live
 */

/** The list of one's own sessions, the latest first. */
export class Sessions {
  #list = part("session-list", HTMLElement);
  #note = part("session-note", HTMLElement);
  /** @type {Map<string, {root: HTMLElement, draw: (listed: Listed) => void}>} */
  #items = new Map();
  /** @type {Listed[]} */
  #sessions = [];
  /** @type {string | null} */
  #next = null;
  #more = button("Show more", () => void this.#load(this.#next), { class: "button more" });
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  #timer;
  /** @type {string | null} */
  #current = null;
  #asks = 0;

  /**
   * @param {Credentials} credentials
   * @param {(why: string) => void} refused Called when the server wants a token.
   */
  constructor(credentials, refused) {
    this.credentials = credentials;
    this.refused = refused;
    part("session-more", HTMLElement).append(this.#more);
    show(this.#more, false);
    document.addEventListener("visibilitychange", () => this.#plan(0));
  }

  /** Look again soon; something has happened that the list may show. */
  soon() {
    this.#plan(SETTLE_MS);
  }

  /** Look now. @returns {Promise<boolean>} Whether the server lets this page in. */
  async load() {
    return this.#load(null);
  }

  /** Show none, and take no answer that was asked for before. */
  clear() {
    clearTimeout(this.#timer);
    this.#asks++;
    this.#sessions = [];
    this.#next = null;
    say(this.#note, "");
    show(this.#note, false);
    this.#draw();
  }

  /**
   * How far a session has come, as far as the list tells; a closed one is not asked for more.
   *
   * @param {string | null} sessionId
   */
  lastSeqOf(sessionId) {
    const found = this.#sessions.find((listed) => listed.session_id === sessionId);
    return found?.state === "open" ? found.last_seq : 0;
  }

  /** @param {string | null} sessionId The session that is open. */
  mark(sessionId) {
    if (sessionId === this.#current) return;
    this.#current = sessionId;
    this.#draw();
  }

  /** @param {number} ms */
  #plan(ms) {
    clearTimeout(this.#timer);
    if (document.visibilityState !== "visible") return;
    this.#timer = setTimeout(() => void this.#load(null), ms);
  }

  /** @param {string | null} before */
  async #load(before) {
    const ask = ++this.#asks;
    const query = new URLSearchParams({ limit: String(PAGE), ...(before && { before }) });
    let said = "";
    const { token, headers } = this.credentials;
    // Whoever has another token by now was not let in with this one.
    const stillIn = () => token === this.credentials.token;
    try {
      const answer = await fetch(`/v1/sessions?${query}`, {
        headers,
        signal: AbortSignal.timeout(LIMIT_MS),
      });
      const refused = answer.status === 401 || answer.status === 429;
      const body = await (answer.ok ? answer.json() : answer.text());
      if (ask !== this.#asks) return stillIn();
      if (refused) {
        clearTimeout(this.#timer);
        this.refused(body.trim());
        return false;
      }
      if (!answer.ok) throw new Error(`the server answered ${answer.status}`);
      this.#take(body.sessions, body.next, before);
    } catch {
      if (ask !== this.#asks) return stillIn();
      said = "The list can't be read at the moment.";
    }
    say(this.#note, said || (this.#sessions.length ? "" : "No sessions yet."));
    show(this.#note, this.#note.textContent !== "");
    this.#draw();
    this.#plan(EVERY_MS);
    return true;
  }

  /**
   * @param {Listed[]} sessions
   * @param {string | null} next
   * @param {string | null} before
   */
  #take(sessions, next, before) {
    const fresh = new Set(sessions.map((listed) => listed.session_id));
    // The first page has all that is later than its end: what else was there is erased.
    const endMs = before === null ? Date.parse(sessions.at(-1)?.last_at ?? "") : NaN;
    const others = this.#sessions.filter(
      (listed) => !fresh.has(listed.session_id) && !(Date.parse(listed.last_at) > endMs),
    );
    const deeper = before !== null || this.#sessions.length <= PAGE;
    this.#sessions = before === null ? [...sessions, ...others] : [...others, ...sessions];
    // Looked at again from the top, the place further down stays where it was.
    if (deeper) this.#next = next;
    if (before === null && next === null) this.#sessions = sessions;
  }

  #draw() {
    arrange(
      this.#list,
      this.#sessions,
      this.#items,
      (listed) => listed.session_id,
      (listed) => this.#item(listed),
    );
    show(this.#more, this.#next !== null);
  }

  /** @param {Listed} listed */
  #item({ session_id: sessionId }) {
    const title = el("span", { class: "session-title" });
    const when = el("span", { class: "session-when" });
    const dot = el("span", { class: "dot" });
    const open = el("a", { class: "session-open", href: address(sessionId, "drive") });
    open.append(title, el("span", { class: "session-line" }, dot, when));
    const watch = el("a", { class: "bare", href: address(sessionId, "watch") }, icon("eye"));
    const replay = el("a", { class: "bare", href: address(sessionId, "replay") }, icon("play"));
    const root = el("li", { class: "session" }, open, watch, replay);
    const draw = (/** @type {Listed} */ listed) => {
      const name = listed.title || brief(listed.first_words ?? "", LONGEST) || "Untitled";
      const state = listed.state === "closed" ? "closed" : listed.live ? "live" : "";
      say(title, name);
      say(when, [ago(listed.last_at), state].filter(Boolean).join(" · "));
      dot.dataset["state"] = state || "stored";
      watch.setAttribute("aria-label", `Watch ${name}`);
      watch.title = "Watch";
      replay.setAttribute("aria-label", `Replay ${name}`);
      replay.title = "Replay";
      if (sessionId === this.#current) open.setAttribute("aria-current", "true");
      else open.removeAttribute("aria-current");
    };
    return { root, draw };
  }
}

/**
 * @param {string} sessionId
 * @param {Route["mode"]} mode
 */
const address = (sessionId, mode) => fragmentOf({ sessionId, mode, seq: null });
