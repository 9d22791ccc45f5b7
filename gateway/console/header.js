/** @import {Desk} from "./desk.js" */

import { part, say, show } from "./dom.js";
import { brief, count } from "./format.js";

const TICK_MS = 500;
const LONGEST = 80;
const SAID = /** @type {Record<string, string>} */ ({
  draft: "Ready",
  opening: "Opening",
  failed: "Not connected",
  connecting: "Connecting",
  replaying: "Catching up",
  live: "Live",
  waiting: "Reconnecting",
  ended: "Ended",
});

/** Above all else: which session, in which way, and how the connection is. */
export class Header {
  #title = part("title", HTMLElement);
  #state = part("state", HTMLElement);
  #badge = part("badge", HTMLElement);
  #devices = part("devices", HTMLElement);
  #banner = part("banner", HTMLElement);
  #bannerText = part("banner-text", HTMLElement);
  #retry = part("retry", HTMLButtonElement);
  #watchBar = part("watch-bar", HTMLElement);
  #watchText = part("watch-text", HTMLElement);
  #takePart = part("take-part", HTMLAnchorElement);
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  #timer;

  /** @param {() => void} retry */
  constructor(retry) {
    this.#retry.addEventListener("click", retry);
  }

  /** @param {Desk} desk */
  draw(desk) {
    const { scene, mode, closed, phase } = desk;
    const view = scene?.view.session;
    const words = scene?.chronicle.rows.find((row) => row.words)?.words ?? "";
    const none = desk.sessionId === null ? "New session" : "Untitled";
    const title = view?.title || brief(words, LONGEST) || none;
    say(this.#title, title);
    document.title = desk.sessionId === null ? "bargein" : `${title} · bargein`;
    const state = this.#stateOf(desk);
    this.#state.dataset["state"] = state;
    say(this.#state, mode === "replay" && phase === "open" ? "Stored" : (SAID[state] ?? state));
    const badge = mode === "watch" ? "Watching" : mode === "replay" ? "Replay" : closed ? "Closed" : "";
    say(this.#badge, badge);
    this.#badge.dataset["kind"] = badge.toLowerCase();
    show(this.#badge, badge !== "");
    const devices = mode === "replay" ? 0 : (view?.connections ?? 0);
    say(this.#devices, count(devices, "device"));
    show(this.#devices, devices > 1);
    this.#drawBanner(desk, state);
    this.#drawWatchBar(desk);
  }

  /** @param {Desk} desk */
  #stateOf({ phase, session, closed, mode }) {
    if (phase !== "open" || mode === "replay") return phase === "open" ? "stored" : phase;
    return closed ? "ended" : (session?.state ?? "ended");
  }

  /**
   * @param {Desk} desk
   * @param {string} state
   */
  #drawBanner(desk, state) {
    const failed = desk.phase === "failed";
    const lost = state === "waiting" || (state === "connecting" && desk.session !== null);
    show(this.#banner, failed || lost);
    show(this.#retry, failed);
    clearTimeout(this.#timer);
    if (failed) say(this.#bannerText, desk.problem);
    else if (lost) {
      const seconds = Math.max(0, Math.ceil((desk.retryAtMs - performance.now()) / 1000));
      const when = state === "waiting" && seconds > 0 ? `trying again in ${seconds} s` : "connecting…";
      say(this.#bannerText, `The connection is lost: ${when} Nothing you say gets lost.`);
      this.#timer = setTimeout(() => this.#drawBanner(desk, this.#stateOf(desk)), TICK_MS);
    }
  }

  /** @param {Desk} desk */
  #drawWatchBar({ mode, closed, phase, sessionId }) {
    const watches = phase === "open" && (mode !== "drive" || closed);
    show(this.#watchBar, watches);
    if (!watches) return;
    show(this.#takePart, !closed);
    this.#takePart.href = `#${sessionId}`;
    const what = mode === "replay" ? "This is a replay: nothing you do here changes the session." : "";
    const looks = "You are watching. What others say appears here.";
    say(this.#watchText, closed && mode !== "replay" ? "This session is closed." : what || looks);
  }
}
