/** @import {Span, Step} from "../types/protocol.js" */

/**
 * @typedef {"queued" | "open" | "completed" | "cancelled" | "failed" | "refused" | "dropped"
 * } TurnStatus
 */

/** One turn of the fold: the user's words, the answer, and how far the user heard it. */
export class Turn {
  words = "";
  /** @type {TurnStatus} */
  status = "queued";
  rolledBack = false;
  /** All that was generated of the answer. */
  text = "";
  /** @type {string | null} What the user had of a cancelled answer; null: all of it. */
  heard = null;
  /** @type {[number, number][]} Parts that were left unsaid, in code points. */
  withheld = [];
  cancelled = false;
  preempted = false;
  givenUp = false;
  worded = false;
  /** @type {{utterance_id: string, revision: number}[]} What was said aloud. */
  utterances = [];
  /** @type {string | null} The turn whose words these are, as they were really said. */
  corrects = null;
  /** @type {Step[]} */
  steps = [];
  /** @type {number | null} */
  totalMs = null;
  /** @type {Span[]} */
  spans = [];
  /** @type {number | null} */
  cancelMs = null;
  /** Counts what changed it, so that a view of it can be kept while nothing does. */
  version = 0;

  /** @param {string} id */
  constructor(id) {
    this.id = id;
  }

  /**
   * @param {string} stepId
   * @param {Step["state"]} state
   */
  tick(stepId, state) {
    this.steps = this.steps.map((step) => (step.id === stepId ? { ...step, state } : step));
  }

  /**
   * What the user had of *text*, which is the answer or its beginning.
   *
   * @param {string} text
   */
  saidOf(text) {
    if (!this.withheld.length) return text;
    let points = Array.from(text);
    for (const [start, end] of [...this.withheld].reverse()) {
      const before = points.slice(0, start).join("");
      const rest = points.slice(end).join("").replace(/^[ \t\r\n]+/, "");
      points = Array.from(rest ? before + rest : before.replace(/[ \t\r\n]+$/, ""));
    }
    return points.join("");
  }

  /** Close what the end of the turn left open. */
  closeSteps() {
    const brokeOff = this.status === "failed" ? "failed" : "cancelled";
    this.steps = this.steps.map((step) => {
      if (step.state === "active") return { ...step, state: brokeOff };
      return step.state === "pending" ? { ...step, state: "skipped" } : step;
    });
  }
}
