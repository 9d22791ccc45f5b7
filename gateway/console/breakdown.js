/** @import {Scene} from "./scene.js" */
/** @import {SpanRow, TurnRow} from "./turn_row.js" */

import { el, part, show } from "./dom.js";
import { duration } from "./format.js";
import { kindOf } from "./waterfall.js";

const MOST_LINES = 150;

/** One turn in detail: its latency, where its time went, its spans, and the ladder of its cancel. */
export class Breakdown {
  #root = part("breakdown", HTMLElement);
  #choose;
  #drawn = "";

  /** @param {(seq: number) => void} choose */
  constructor(choose) {
    this.#choose = choose;
  }

  /**
   * @param {Scene | null} scene
   * @param {TurnRow | null} row
   * @param {boolean} shown
   */
  draw(scene, row, shown) {
    show(this.#root, shown);
    if (!shown) return;
    const nowMs = scene?.nowMs() ?? 0;
    // While a turn runs, ten times a second is as often as anybody can read.
    const tick = row?.open ? Math.floor(nowMs / 100) : "";
    const drawn = `${row?.turnId} ${row?.open ? "" : row?.version} ${tick}`;
    if (drawn === this.#drawn) return;
    this.#drawn = drawn;
    if (!row) {
      const hint = "Choose a turn to see where its time went.";
      this.#root.replaceChildren(el("p", { class: "empty", text: hint }));
      return;
    }
    const { activeElement: at } = document;
    const focused = at && this.#root.contains(at) ? at.getAttribute("data-seq") : null;
    this.#root.replaceChildren(figures(row), ...this.#shares(row), ...this.#spans(row, nowMs));
    this.#root.append(...this.#ladder(row));
    const again = focused && this.#root.querySelector(`[data-seq="${CSS.escape(focused)}"]`);
    if (again instanceof HTMLElement) again.focus();
  }

  /** Where the time went: the parts that follow each other and add up. @param {TurnRow} row */
  #shares(row) {
    const parts = row.trace.filter((span) => span.parent === undefined && span.ms > 0);
    if (parts.length === 0 || !row.totalMs) return [];
    const bar = el("div", { class: "shares", "aria-hidden": "true" });
    const list = el("ul", { class: "share-list" });
    const sums = new Map();
    for (const { name, ms } of parts) sums.set(name, (sums.get(name) ?? 0) + ms);
    for (const [name, ms] of sums) {
      const share = el("span", { "data-part": name });
      share.style.setProperty("flex-grow", String(ms));
      bar.append(share);
      const key = el("span", { class: "key", "data-part": name });
      list.append(el("li", {}, key, `${name} `, el("b", { text: duration(ms) })));
    }
    return [el("h3", { text: "Where the time went" }), bar, list];
  }

  /**
   * @param {TurnRow} row
   * @param {number} nowMs
   */
  #spans(row, nowMs) {
    if (row.spans.length === 0 || row.startMs === null) return [];
    const start = row.startMs;
    const whole = row.spanMs(nowMs);
    const lines = row.spans.slice(0, MOST_LINES).map((span) => {
      const toMs = span.toMs ?? start + whole;
      const bar = el("span", { class: "bar", "data-kind": kindOf(span) });
      bar.style.setProperty("left", `${((span.fromMs - start) / whole) * 100}%`);
      bar.style.setProperty("width", `${((toMs - span.fromMs) / whole) * 100}%`);
      return this.#line(span, bar, duration(toMs - span.fromMs));
    });
    const rest = row.spans.length - lines.length;
    if (rest > 0) lines.push(el("li", { class: "empty", text: `and ${rest} more` }));
    return [el("h3", { text: "Spans" }), el("ol", { class: "spans" }, ...lines)];
  }

  /**
   * @param {SpanRow} span
   * @param {HTMLElement} bar
   * @param {string} took
   */
  #line(span, bar, took) {
    const name = el("span", { class: "span-name", text: span.name });
    const kind = el("span", { class: "span-kind", text: span.kind });
    const track = el("span", { class: "track" }, bar);
    const time = el("span", { class: "span-time", text: took });
    const press = el("button", { type: "button", class: "span", "data-seq": String(span.seq) });
    press.append(kind, name, track, time);
    press.addEventListener("click", () => this.#choose(span.seq));
    return el("li", {}, press);
  }

  /** @param {TurnRow} row */
  #ladder(row) {
    const { cancel } = row;
    if (!cancel) return [];
    const rung = (/** @type {string} */ what, /** @type {string} */ how, /** @type {number} */ seq) => {
      const press = el("button", { type: "button", class: "rung", "data-seq": String(seq) });
      press.append(el("span", { text: what }), el("span", { class: "how", text: how }));
      press.addEventListener("click", () => this.#choose(seq));
      return el("li", {}, press);
    };
    const after = cancel.atMs - (row.startMs ?? cancel.atMs);
    const list = el("ol", { class: "ladder" });
    list.append(rung(`Cancelled by ${cancel.by}: ${cancel.cause}`, `after ${duration(after)}`, cancel.seq));
    for (const { target, outcome, ms, seq } of row.rungs) {
      const took = ms === null ? "" : ` in ${duration(ms)}`;
      list.append(rung(nameOf(target, row), `${outcome.replace("_", " ")}${took}`, seq));
    }
    if (row.ackMs !== null) list.append(rung("Acknowledged", duration(row.ackMs), row.lastSeq));
    return [el("h3", { text: "Interrupt" }), list];
  }
}

/**
 * @param {string} target
 * @param {TurnRow} row
 */
function nameOf(target, row) {
  const use = target.startsWith("tool:") ? row.tools.get(target.slice(5)) : undefined;
  return use ? `Tool ${use.tool}` : target.charAt(0).toUpperCase() + target.slice(1);
}

/** @param {TurnRow} row */
function figures(row) {
  const list = el("dl", { class: "figures" });
  const add = (/** @type {string} */ name, /** @type {number | null} */ ms) => {
    if (ms === null) return;
    list.append(el("div", {}, el("dt", { text: name }), el("dd", { text: duration(ms) })));
  };
  const first = row.firstTokenMs;
  add("First token", first === null || row.startMs === null ? null : first - row.startMs);
  add("Total", row.totalMs);
  add("Interrupt to ack", row.ackMs);
  const tokens = row.tokenCount.toLocaleString("en");
  list.append(el("div", {}, el("dt", { text: "Tokens" }), el("dd", { text: tokens })));
  return list;
}
