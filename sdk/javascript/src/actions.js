/** @import {ActionProposedEvent} from "../types/protocol.js" */

/**
 * Where an event takes an action; what is not here does not happen. Both doubts are
 * `action.in_doubt` on the wire, and `in_doubt` in the view.
 *
 * @type {Record<string, Record<string, string>>}
 */
const EDGES = {
  proposed: { confirmed: "confirmed", rejected: "rejected", expired: "expired" },
  confirmed: { committing: "committing", rejected: "rejected", expired: "expired" },
  committing: { committed: "committed", failed: "failed", in_doubt: "in_doubt" },
  in_doubt: { committed: "committed", failed: "failed" },
  committed: { reverting: "reverting" },
  reverting: { reverted: "reverted", revert_failed: "revert_failed", in_doubt: "revert_in_doubt" },
  revert_in_doubt: { reverted: "reverted", revert_failed: "revert_failed" },
};

/** One action, from its proposal to its outcome. */
export class Action {
  status = "proposed";
  /** @type {string | null} */
  by = null;
  /** @type {string | null} */
  reason = null;
  /** @type {any} */
  result = null;
  /** @type {string | null} */
  error = null;
  /** @type {any} */
  revertResult = null;
  /** @type {string | null} */
  revertError = null;

  /**
   * @param {string} turnId
   * @param {ActionProposedEvent["payload"]} proposed
   */
  constructor(turnId, proposed) {
    this.turnId = turnId;
    this.proposed = proposed;
    this.args = proposed.args;
  }

  get undone() {
    return this.status.startsWith("revert");
  }

  /**
   * Follow an `action.…` event; what is no edge from here is passed over.
   *
   * @param {string} type
   * @param {any} payload
   */
  follow(type, payload) {
    const status = EDGES[this.status]?.[type.slice("action.".length)];
    if (status === undefined) return;
    this.status = status;
    NOTES[type]?.(this, payload);
  }
}

/** @type {Record<string, (action: Action, payload: any) => void>} */
const NOTES = {
  "action.confirmed": (action, { by, args }) => {
    action.by = by;
    if (args) action.args = args;
  },
  "action.rejected": (action, { by, reason }) => {
    action.reason = reason;
    action.by = by || action.by;
  },
  "action.committed": (action, { result }) => {
    action.result = result ?? null;
  },
  "action.failed": (action, { error }) => {
    action.error = error;
  },
  "action.reverted": (action, { result }) => {
    action.revertResult = result ?? null;
  },
  "action.revert_failed": (action, { error }) => {
    action.revertError = error;
  },
};
