/** @import {Exchange} from "/sdk/protocol.js" */
/** @import {TurnRow} from "./turn_row.js" */
/** @import {Scene} from "./scene.js" */

import { button, el, icon, say, show } from "./dom.js";
import { count, duration } from "./format.js";

const STEP_SAID = /** @type {Record<string, string>} */ ({
  pending: "waits",
  active: "in progress",
  done: "done",
  failed: "failed",
  cancelled: "cancelled",
  skipped: "skipped",
});
const TOOL_SAID = /** @type {Record<string, string>} */ ({
  running: "running",
  ok: "done",
  error: "failed",
  cancelled: "stopped",
  timeout: "timed out",
  skipped: "skipped",
  proposed: "proposed",
  committing: "still committing",
});
const LINK = /^https?:\/\//i;

/**
 * @typedef {object} CardActions What can be done from a card.
 * @property {(turnId: string) => void} inspect
 * @property {(token: string) => void} resume
 */

/** One turn of the conversation: words, work, answer, and how it ended. */
export class TurnCard {
  #words = el("p", { class: "words" });
  #plan = el("ol", { class: "plan", "aria-label": "Plan" });
  #tools = el("ul", { class: "tools", "aria-label": "Tools" });
  #text = document.createTextNode("");
  #unheard = el("span", { class: "unheard" });
  #answer = el("p", { class: "answer" });
  #note = el("p", { class: "note" });
  #sources = el("ol", { class: "sources", "aria-label": "Sources" });
  #faults = el("div", { class: "faults" });
  #state = el("span", {});
  #foot = el("footer", { class: "turn-foot" });
  /** Where the cards of its actions go. */
  actions = el("div", { class: "actions" });
  #drawn = "";
  #exchange = /** @type {Exchange | null} */ (null);

  /**
   * @param {string} turnId
   * @param {CardActions} can
   */
  constructor(turnId, can) {
    this.turnId = turnId;
    this.can = can;
    this.#answer.append(this.#text, this.#unheard);
    const inspect = button("Timeline", () => can.inspect(turnId), { class: "quiet" });
    inspect.setAttribute("aria-label", `Show ${turnId} in the timeline`);
    this.#foot.append(this.#state, inspect);
    const reply = el("div", { class: "reply" });
    reply.append(this.#plan, this.#tools, this.#answer, this.#note, this.#sources);
    reply.append(this.actions, this.#faults, this.#foot);
    this.root = el("article", { class: "turn", "data-turn": turnId, "aria-label": turnId });
    this.root.append(this.#words, reply);
  }

  /** How much of its answer is on the page. */
  get shown() {
    return this.#text.data;
  }

  /**
   * @param {Exchange} exchange
   * @param {TurnRow | undefined} row
   * @param {Scene} scene
   */
  draw(exchange, row, scene) {
    const drawn = `${row?.version} ${scene.mode}`;
    if (exchange === this.#exchange && drawn === this.#drawn) return;
    this.#exchange = exchange;
    this.#drawn = drawn;
    this.root.dataset["status"] = exchange.interrupted ? "cancelled" : exchange.status;
    this.root.classList.toggle("rolled-back", exchange.rolled_back);
    say(this.#words, exchange.user);
    show(this.#words, exchange.user !== "");
    this.#drawText(exchange);
    if (!row) return;
    this.#drawPlan(row);
    this.#drawTools(row);
    this.#drawSources(row);
    this.#drawFaults(row, scene);
    const waits = exchange.status === "open" && !exchange.interrupted && !exchange.assistant;
    const note = row.note || (waits && row.steps.length === 0 ? "Thinking…" : "");
    say(this.#note, note);
    show(this.#note, note !== "");
    this.#drawFoot(exchange, row);
  }

  /** @param {Exchange} exchange */
  #drawText({ assistant, generated, status, interrupted }) {
    const had = this.#text.data;
    // What is there stays there: a selection holds, and nothing is laid out again.
    if (assistant.length > had.length && assistant.startsWith(had)) {
      this.#text.appendData(assistant.slice(had.length));
    } else if (assistant !== had) this.#text.data = assistant;
    const rest = generated?.startsWith(assistant) ? generated.slice(assistant.length) : "";
    say(this.#unheard, rest);
    this.#unheard.title = rest ? "Generated, and never shown: the model doesn't count it" : "";
    show(this.#unheard, rest !== "");
    show(this.#answer, assistant !== "" || rest !== "");
    this.#answer.classList.toggle("streams", status === "open" && !interrupted);
  }

  /** @param {TurnRow} row */
  #drawPlan({ steps }) {
    show(this.#plan, steps.length > 0);
    if (this.#plan.childElementCount !== steps.length) {
      this.#plan.replaceChildren(
        ...steps.map(({ title, agent }) => {
          const label = el("span", { class: "step-title", text: title });
          const who = el("span", { class: "step-agent", text: agent });
          return el("li", {}, el("span", { class: "tick" }), label, who, el("span", { class: "sr" }));
        }),
      );
    }
    steps.forEach(({ state }, place) => {
      const item = /** @type {HTMLElement} */ (this.#plan.children[place]);
      if (item.dataset["state"] === state) return;
      item.dataset["state"] = state;
      if (item.lastElementChild) say(item.lastElementChild, `, ${STEP_SAID[state] ?? state}`);
    });
  }

  /** @param {TurnRow} row */
  #drawTools({ tools }) {
    show(this.#tools, tools.size > 0);
    let place = 0;
    for (const use of tools.values()) {
      let item = /** @type {HTMLElement | undefined} */ (this.#tools.children[place++]);
      if (!item) {
        item = el("li", { class: "tool" }, icon("tool"));
        const name = el("span", { class: "tool-name", text: use.title || use.tool });
        item.append(name, el("span", { class: "tool-state" }));
        this.#tools.append(item);
      }
      item.dataset["status"] = use.status;
      const running = use.status === "running" && use.progress;
      const said = running || (TOOL_SAID[use.status] ?? use.status);
      if (item.lastElementChild) say(item.lastElementChild, said);
    }
  }

  /** @param {TurnRow} row */
  #drawSources({ citations }) {
    show(this.#sources, citations.length > 0);
    for (const { n, title, source, snippet } of citations.slice(this.#sources.childElementCount)) {
      const name = el("span", { class: "source-n", text: String(n) });
      // An address of any other kind could be a script.
      const what = LINK.test(source)
        ? el("a", { href: source, rel: "noreferrer", target: "_blank", text: title || source })
        : el("span", { text: title || source });
      what.title = snippet;
      this.#sources.append(el("li", {}, name, what));
    }
  }

  /**
   * @param {TurnRow} row
   * @param {Scene} scene
   */
  #drawFaults({ faults }, { mode }) {
    show(this.#faults, faults.length > 0);
    for (const { code, message, resume } of faults.slice(this.#faults.childElementCount)) {
      const note = el("div", { class: "fault" }, el("p", { text: message }), el("code", { text: code }));
      if (resume) note.append(button("Take it up again", () => this.can.resume(resume)));
      this.#faults.append(note);
    }
    for (const again of this.#faults.querySelectorAll("button")) show(again, mode === "drive");
  }

  /**
   * @param {Exchange} exchange
   * @param {TurnRow} row
   */
  #drawFoot(exchange, row) {
    const said = [];
    if (exchange.status === "queued") said.push("Waits for its turn");
    if (exchange.status === "dropped") said.push("Dropped, not answered");
    if (exchange.status === "refused") said.push("Refused");
    if (exchange.status === "failed") said.push("Failed");
    if (exchange.interrupted) said.push(interruptedAt(exchange));
    if (exchange.rolled_back) said.push("Rolled back");
    if (row.firstTokenMs !== null && row.startMs !== null && !row.open) {
      said.push(`first token ${duration(row.firstTokenMs - row.startMs)}`);
    }
    if (row.totalMs !== null) said.push(duration(row.totalMs));
    say(this.#state, said.join(" · "));
    show(this.#foot, !row.open || said.length > 0);
  }
}

/** @param {Exchange} exchange */
function interruptedAt({ assistant, generated }) {
  const had = [...assistant].length;
  if (generated === undefined) return `Interrupted after ${count(had, "character")}`;
  return `Interrupted, ${had} of ${count([...generated].length, "character")} shown`;
}
