/** @import {ActionView} from "/sdk/protocol.js" */
/** @import {Decisions} from "./proposals.js" */
/** @import {Mode} from "./route.js" */

import { button, el, say, show } from "./dom.js";
import { duration } from "./format.js";

const SAID = /** @type {Record<string, string>} */ ({
  proposed: "Waits for you",
  confirmed: "Confirmed",
  rejected: "Rejected",
  expired: "Expired",
  committing: "Being done",
  committed: "Done",
  failed: "Failed",
  in_doubt: "Nobody knows whether it was done",
  reverting: "Being undone",
  reverted: "Undone",
  revert_failed: "Could not be undone",
});
const LONGEST_ROWS = 12;

/** One action: what it would do, with what, and the buttons that decide. */
export class ActionCard {
  #action;
  #state = el("span", { class: "action-state" });
  #summary = el("h3", {});
  #left = el("span", { class: "left" });
  #args = el("textarea", { class: "args", spellcheck: "false", autocomplete: "off" });
  #wrong = el("p", { class: "wrong", role: "alert" });
  #outcome = el("pre", { class: "outcome" });
  #confirm = button("Confirm", () => this.#decide("confirm"), { class: "button primary" });
  #reject = button("Reject", () => this.#decide("reject"));
  #revert = button("Undo", () => this.#decide("revert"));
  #drawn = "";
  #label = el("label", {});
  #busy = false;
  #drives = false;
  #replayed = false;

  /**
   * @param {ActionView} action
   * @param {Decisions} can
   */
  constructor(action, can) {
    this.#action = action;
    this.can = can;
    const id = action.action_id;
    this.#args.id = `args-${id}`;
    this.#wrong.id = `wrong-${id}`;
    this.#summary.id = `summary-${id}`;
    this.#args.setAttribute("aria-describedby", this.#wrong.id);
    this.#args.addEventListener("input", () => this.#check());
    this.#label.htmlFor = this.#args.id;
    const name = el("code", { class: "action-name", text: action.action });
    const head = el("div", { class: "action-head" }, this.#state, name, this.#left);
    const buttons = el("div", { class: "buttons" }, this.#confirm, this.#reject, this.#revert);
    this.root = el("section", { class: "action", "aria-labelledby": this.#summary.id });
    this.root.dataset["action"] = id;
    this.root.append(head, this.#summary, this.#label, this.#args, this.#wrong, this.#outcome, buttons);
    this.#show(action.args);
  }

  get waits() {
    return this.#action.state === "proposed" || this.#action.state === "in_doubt";
  }

  focus() {
    this.#confirm.focus();
  }

  /**
   * @param {ActionView} action
   * @param {Mode} mode
   * @param {boolean} edited Whether it was confirmed with other arguments than proposed.
   */
  draw(action, mode, edited) {
    const drawn = `${JSON.stringify(action)} ${mode} ${edited}`;
    if (drawn === this.#drawn) return;
    const { state } = action;
    // What it was done with, once that is decided; until then it is the reader's to edit.
    const decided = this.#action.state === "proposed" && state !== "proposed";
    if (decided) this.#show(action.args);
    this.#action = action;
    this.#drawn = drawn;
    this.#drives = mode === "drive";
    this.#replayed = mode === "replay";
    say(this.#label, edited ? "Arguments, as edited" : "Arguments");
    this.root.dataset["state"] = state;
    say(this.#summary, action.summary);
    const why = state === "rejected" && action.reason ? `: ${action.reason}` : "";
    say(this.#state, `${SAID[state] ?? state}${whose(action)}${why}`);
    const outcome = action.error ?? action.result;
    const text = typeof outcome === "string" ? outcome : JSON.stringify(outcome, null, 2);
    say(this.#outcome, outcome === undefined ? "" : text);
    show(this.#outcome, outcome !== undefined);
    this.#buttons();
    this.tick();
  }

  /** A second has gone by. */
  tick() {
    const open = this.#action.state === "proposed" && !this.#replayed;
    show(this.#left, open);
    if (!open) return;
    const leftMs = Date.parse(this.#action.expires_at) - Date.now();
    say(this.#left, leftMs > 0 ? `${duration(Math.ceil(leftMs / 1000) * 1000)} left` : "expires now");
  }

  #buttons() {
    const { state } = this.#action;
    const doubt = state === "in_doubt";
    const decides = this.#drives && this.waits;
    show(this.#confirm, decides);
    show(this.#reject, decides);
    show(this.#revert, this.#drives && state === "committed");
    for (const press of [this.#confirm, this.#reject, this.#revert]) press.disabled = this.#busy;
    const [yes, no] = doubt ? ["It happened", "It did not"] : ["Confirm", "Reject"];
    if (this.#confirm.lastElementChild) say(this.#confirm.lastElementChild, yes ?? "");
    if (this.#reject.lastElementChild) say(this.#reject.lastElementChild, no ?? "");
    this.#args.readOnly = !this.#drives || state !== "proposed";
  }

  /** @param {Record<string, any>} args */
  #show(args) {
    this.#args.value = JSON.stringify(args, null, 2);
    this.#args.rows = Math.min(LONGEST_ROWS, this.#args.value.split("\n").length);
    this.#check();
  }

  /** Read what is in the field; undefined if it is no object. @returns {any} */
  #check() {
    let args;
    try {
      args = JSON.parse(this.#args.value);
    } catch (error) {
      args = undefined;
    }
    const good = typeof args === "object" && args !== null && !Array.isArray(args);
    this.#args.setAttribute("aria-invalid", String(!good));
    say(this.#wrong, good ? "" : "Arguments are one JSON object, such as {\"guests\": 2}.");
    return good ? args : undefined;
  }

  /** @param {"confirm" | "reject" | "revert"} what */
  async #decide(what) {
    if (this.#busy) return;
    const edits = what === "confirm" && this.#action.state === "proposed";
    const args = this.#check();
    if (edits && args === undefined) {
      this.#args.focus();
      return;
    }
    const changed = edits && JSON.stringify(args) !== JSON.stringify(this.#action.args);
    this.#busy = true;
    this.#buttons();
    try {
      if (what === "confirm") await this.can.confirm(this.#action, changed ? args : undefined);
      else await this.can[what](this.#action);
    } finally {
      this.#busy = false;
      this.#buttons();
    }
  }
}

/** Say who decided it, where somebody did. @param {ActionView} action */
function whose({ by, state }) {
  if (!by || state === "proposed") return "";
  return state === "confirmed" || state === "rejected" ? ` by ${by}` : ` · confirmed by ${by}`;
}
