/** @import {SpanKind} from "./turn_row.js" */

const KINDS = /** @type {const} */ ([
  "model", "token", "tool", "stage", "guardrail", "plan", "pause", "cancel", "mark", "grid", "axis",
]);

/** The colours of the canvas: what the style sheet says now, in light or in dark. */
export class Palette {
  /** @type {Record<string, string>} */
  #colours = {};
  #probe;
  version = 0;

  /** @param {HTMLElement} probe An element whose colour can be asked for. */
  constructor(probe) {
    this.#probe = probe;
    this.read();
  }

  /** The theme has changed. */
  read() {
    for (const kind of KINDS) {
      this.#probe.dataset["kind"] = kind;
      this.#colours[kind] = getComputedStyle(this.#probe).color;
    }
    this.version++;
  }

  /** @param {SpanKind | typeof KINDS[number]} kind */
  of(kind) {
    return this.#colours[kind] ?? "currentColor";
  }
}
