/** @import {Palette} from "./palette.js" */
/** @import {Scene} from "./scene.js" */
/** @import {SpanKind, SpanRow, TurnRow} from "./turn_row.js" */

import { el, part, say, show } from "./dom.js";
import { duration } from "./format.js";
import { Windowed } from "./windowed.js";

const ROW_PX = 46;
const EDGE_PX = 10;
const THINNEST_PX = 2;
const NEAR_PX = 3;
/** @type {Record<SpanKind, {top: number, height: number}>} Where in its row a span is drawn. */
const LANES = {
  plan: { top: 8, height: 5 },
  guardrail: { top: 3, height: 4 },
  stage: { top: 8, height: 5 },
  model: { top: 16, height: 12 },
  tool: { top: 31, height: 7 },
  pause: { top: 31, height: 7 },
};
const STEPS_MS = [1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000, 10_000, 30_000, 60_000];

/** Every turn as a row on a common axis of time, each from its own start. */
export class Waterfall {
  #canvas = part("waterfall-canvas", HTMLCanvasElement);
  #axis = part("waterfall-axis", HTMLElement);
  #tip = part("waterfall-tip", HTMLElement);
  #scroller = part("waterfall", HTMLElement);
  #empty = part("waterfall-empty", HTMLElement);
  #list;
  #choose;
  #palette;
  #scaleMs = 1000;
  #drawn = "";
  #axisDrawn = "";
  /** @type {TurnRow[]} */
  #rows = [];
  #nowMs = 0;

  /**
   * @param {Palette} palette
   * @param {(row: TurnRow, seq: number | null) => void} choose
   * @param {() => void} changed
   */
  constructor(palette, choose, changed) {
    this.#palette = palette;
    this.#choose = choose;
    this.#list = new Windowed(this.#scroller, {
      rowPx: ROW_PX,
      make: makeRow,
      fill: (root, place) => fillRow(root, this.#rows[place], place, this.#nowMs),
      choose: (place) => this.#pick(place),
      changed,
    });
    this.#scroller.addEventListener("click", (event) => this.#click(event));
    this.#scroller.addEventListener("mousemove", (event) => this.#point(event));
    this.#scroller.addEventListener("mouseleave", () => show(this.#tip, false));
  }

  /**
   * @param {Scene | null} scene
   * @param {TurnRow | null} chosen
   */
  draw(scene, chosen) {
    this.#rows = scene?.chronicle.rows ?? [];
    this.#nowMs = scene?.nowMs() ?? 0;
    const open = this.#rows.some((row) => row.open);
    const place = chosen ? this.#rows.indexOf(chosen) : -1;
    const version = `${scene?.chronicle.version} ${open ? Math.floor(this.#nowMs / 100) : ""}`;
    show(this.#empty, this.#rows.length === 0);
    this.#list.draw(this.#rows.length, place, version);
    this.#paint(`${version} ${open ? this.#nowMs : ""} ${place}`);
  }

  /** @param {TurnRow} row */
  reveal(row) {
    this.#list.reveal(this.#rows.indexOf(row));
  }

  // --- painting --------------------------------------------------------------

  /** @param {string} version */
  #paint(version) {
    const { from, to, offsetPx } = this.#list.inSight;
    const { clientWidth: width, clientHeight: height } = this.#canvas;
    this.#scaleMs = this.#scaleOf(from, to);
    const ratio = devicePixelRatio;
    const drawn = `${version} ${offsetPx} ${width} ${height} ${ratio} ${this.#palette.version}`;
    if (drawn === this.#drawn || width === 0) return;
    this.#drawn = drawn;
    this.#canvas.width = Math.round(width * ratio);
    this.#canvas.height = Math.round(height * ratio);
    const paper = this.#canvas.getContext("2d");
    if (!paper) return;
    paper.scale(ratio, ratio);
    this.#paintAxis(paper, width, height);
    for (let place = from; place < to; place++) {
      const row = this.#rows[place];
      if (row && row.startMs !== null) this.#paintRow(paper, row, place * ROW_PX - offsetPx, width);
    }
  }

  /** The longest turn in sight fills the width. @param {number} from @param {number} to */
  #scaleOf(from, to) {
    let longest = 200;
    for (let place = from; place < to; place++) {
      longest = Math.max(longest, this.#rows[place]?.spanMs(this.#nowMs) ?? 0);
    }
    // In steps, so that the axis of a turn that goes on does not crawl.
    const step = 10 ** Math.floor(Math.log10(longest)) / 4;
    return Math.ceil((longest * 1.02) / step) * step;
  }

  /** @param {number} ms @param {number} width */
  #x(ms, width) {
    return EDGE_PX + (ms / this.#scaleMs) * (width - 2 * EDGE_PX);
  }

  /**
   * @param {CanvasRenderingContext2D} paper
   * @param {number} width
   * @param {number} height
   */
  #paintAxis(paper, width, height) {
    const step = STEPS_MS.find((ms) => this.#scaleMs / ms <= 6) ?? this.#scaleMs / 4;
    paper.fillStyle = this.#palette.of("grid");
    const labels = [];
    for (let ms = 0; ms <= this.#scaleMs; ms += step) {
      paper.fillRect(Math.round(this.#x(ms, width)), 0, 1, height);
      labels.push(ms);
    }
    const drawn = `${labels.length} ${step} ${this.#scaleMs} ${width}`;
    if (drawn === this.#axisDrawn) return;
    this.#axisDrawn = drawn;
    this.#axis.replaceChildren(
      ...labels.map((ms) => {
        const label = el("span", { text: ms === 0 ? "0" : axisLabel(ms) });
        label.style.setProperty("left", `${this.#x(ms, width)}px`);
        return label;
      }),
    );
  }

  /**
   * @param {CanvasRenderingContext2D} paper
   * @param {TurnRow} row
   * @param {number} top
   * @param {number} width
   */
  #paintRow(paper, row, top, width) {
    const start = row.startMs ?? 0;
    const end = row.endMs ?? Math.max(this.#nowMs, row.lastMs);
    const x = (/** @type {number} */ atMs) => this.#x(atMs - start, width);
    for (const span of row.spans) {
      const kind = kindOf(span);
      const { top: down, height } = LANES[kind];
      const from = x(span.fromMs);
      const long = Math.max(THINNEST_PX, x(span.toMs ?? end) - from);
      paper.fillStyle = this.#palette.of(kind);
      paper.globalAlpha = kind === "model" ? 0.28 : span.toMs === null ? 0.6 : 0.9;
      paper.beginPath();
      paper.roundRect(from, top + down, long, height, Math.min(2.5, long / 2));
      paper.fill();
    }
    this.#paintTokens(paper, row, top, x);
    paper.globalAlpha = 1;
    paper.fillStyle = this.#palette.of("mark");
    for (const { atMs } of row.marks) {
      paper.beginPath();
      paper.arc(x(atMs), top + 10.5, 2.5, 0, 7);
      paper.fill();
    }
    this.#paintCancel(paper, row, top, x);
  }

  /**
   * Tokens as a density: the more came in the time of a pixel or two, the taller.
   *
   * @param {CanvasRenderingContext2D} paper
   * @param {TurnRow} row
   * @param {number} top
   * @param {(atMs: number) => number} x
   */
  #paintTokens(paper, row, top, x) {
    const { top: down, height } = LANES.model;
    paper.fillStyle = this.#palette.of("token");
    let place = -1;
    let n = 0;
    const put = () => {
      const tall = height * Math.min(1, 0.3 + n * 0.14);
      if (n > 0) paper.fillRect(place, top + down + height - tall, 2, tall);
    };
    paper.globalAlpha = 0.95;
    for (const token of row.tokens) {
      const at = Math.round(x(token.atMs) / 2) * 2;
      if (at !== place) {
        put();
        place = at;
        n = 0;
      }
      n += token.n;
    }
    put();
  }

  /**
   * @param {CanvasRenderingContext2D} paper
   * @param {TurnRow} row
   * @param {number} top
   * @param {(atMs: number) => number} x
   */
  #paintCancel(paper, row, top, x) {
    if (!row.cancel) return;
    paper.fillStyle = this.#palette.of("cancel");
    const at = x(row.cancel.atMs);
    const over = x(row.endMs ?? row.cancel.atMs);
    paper.globalAlpha = 0.2;
    paper.fillRect(at, top + 4, Math.max(0, over - at), ROW_PX - 8);
    paper.globalAlpha = 1;
    paper.fillRect(at - 1, top + 4, 2, ROW_PX - 8);
    // The rungs of the ladder, side by side where they took no time that could be seen.
    row.rungs.forEach((rung, number) => {
      const right = Math.max(x(rung.atMs), at) + 4 + number * 4;
      paper.fillRect(right, top + ROW_PX - 9, 2.5, 5);
    });
    if (row.ackMs !== null) {
      paper.beginPath();
      paper.arc(Math.max(over, at) + 7, top + 10.5, 3, 0, 7);
      paper.fill();
    }
  }

  // --- pointing --------------------------------------------------------------

  /** @param {number} place */
  #pick(place) {
    const row = this.#rows[place];
    if (row) this.#choose(row, null);
  }

  /** @param {MouseEvent} event */
  #click(event) {
    const { row, hit } = this.#at(event);
    if (row && hit) this.#choose(row, hit.seq);
  }

  /** @param {MouseEvent} event */
  #point(event) {
    const { row, hit, x, y } = this.#at(event);
    show(this.#tip, Boolean(row && hit));
    if (!row || !hit) return;
    say(this.#tip, hit.text);
    const room = this.#canvas.clientWidth - this.#tip.offsetWidth - 8;
    const left = Math.max(0, Math.min(x + 12, room)) + this.#canvas.offsetLeft;
    this.#tip.style.setProperty("transform", `translate(${left}px, ${y + 18}px)`);
  }

  /** What is drawn where the mouse is. @param {MouseEvent} event */
  #at(event) {
    const box = this.#canvas.getBoundingClientRect();
    const x = event.clientX - box.left;
    const y = event.clientY - box.top;
    const down = y + this.#list.inSight.offsetPx;
    const row = this.#rows[Math.floor(down / ROW_PX)];
    const hit = row && x >= 0 ? this.#hit(row, x, down % ROW_PX, box.width) : null;
    return { row, hit, x, y };
  }

  /**
   * @param {TurnRow} row
   * @param {number} px
   * @param {number} py
   * @param {number} width
   */
  #hit(row, px, py, width) {
    const start = row.startMs ?? 0;
    const end = row.endMs ?? Math.max(this.#nowMs, row.lastMs);
    const near = (/** @type {number} */ atMs, far = NEAR_PX) =>
      Math.abs(this.#x(atMs - start, width) - px) <= far;
    if (row.cancel && near(row.cancel.atMs)) {
      const { by, cause, seq } = row.cancel;
      return { seq, text: `cancelled by ${by}: ${cause}` };
    }
    const mark = py < 15 ? row.marks.find(({ atMs }) => near(atMs, 5)) : undefined;
    if (mark) return { seq: mark.seq, text: mark.name };
    const span = row.spans.findLast((one) => {
      const { fromMs, toMs } = one;
      const { top, height } = LANES[kindOf(one)];
      if (py < top - 2 || py > top + height + 2) return false;
      const from = this.#x(fromMs - start, width) - NEAR_PX;
      return px >= from && px <= this.#x((toMs ?? end) - start, width) + NEAR_PX;
    });
    if (!span) return null;
    const took = duration((span.toMs ?? end) - span.fromMs);
    return { seq: span.seq, text: `${span.kind} ${span.name} · ${took}` };
  }
}

/** A guardrail's call of a model counts as the guardrail. @param {SpanRow} span @returns {SpanKind} */
export const kindOf = ({ kind, name }) => (name.startsWith("guardrail:") ? "guardrail" : kind);

/** @param {number} ms */
const axisLabel = (ms) => (ms >= 1000 ? `${ms / 1000} s` : `${ms} ms`);

/** @param {HTMLElement} root */
function makeRow(root) {
  const name = el("span", { class: "row-name" });
  const total = el("span", { class: "row-total" });
  const words = el("span", { class: "row-words" });
  const head = el("span", { class: "row-head" }, name, total);
  root.append(el("span", { class: "row-label" }, head, words), el("span", { class: "sr" }));
}

/**
 * @param {HTMLElement} root
 * @param {TurnRow | undefined} row
 * @param {number} place
 * @param {number} nowMs
 */
function fillRow(root, row, place, nowMs) {
  const label = root.firstElementChild;
  const head = label?.firstElementChild;
  if (!row || !head?.firstElementChild || !head.lastElementChild || !label?.lastElementChild) return;
  const took = row.startMs === null ? "" : duration(row.totalMs ?? row.spanMs(nowMs));
  root.dataset["status"] = row.status;
  say(head.firstElementChild, `Turn ${place + 1}`);
  say(head.lastElementChild, took);
  say(label.lastElementChild, row.words);
  if (root.lastElementChild) say(root.lastElementChild, row.status);
}
