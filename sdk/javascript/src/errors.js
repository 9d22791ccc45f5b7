/** @import {ErrorCode, Problem} from "../types/protocol.js" */

/** The close code of a session that is over for good. */
export const SESSION_CLOSED = 4102;

/** The base of all errors of this package. */
export class BargeinError extends Error {
  get name() {
    return this.constructor.name;
  }
}

/** The server refused a command. With `retryable`, saying it again later may help. */
export class CommandRefused extends BargeinError {
  /**
   * @param {string} command The command's type.
   * @param {Problem} problem
   */
  constructor(command, problem) {
    super(`${command}: ${problem.message}`);
    this.command = command;
    /** @type {ErrorCode} */
    this.code = problem.code;
    this.retryable = problem.retryable;
    this.param = problem.param ?? null;
  }
}

/** More commands wait for the connection than may; wait for some of them first. */
export class QueueFull extends BargeinError {
  /** @param {number} most */
  constructor(most) {
    super(`${most} commands wait for an answer already`);
    this.most = most;
  }
}

/** The session can't be reached any more; `code` is the close code, where there was one. */
export class SessionEnded extends BargeinError {
  /**
   * @param {number | null} code
   * @param {string} reason
   */
  constructor(code, reason) {
    super(code === null ? reason : `${reason || "closed"} (${code})`);
    this.code = code;
    this.reason = reason;
  }
}

/** A reader of events was so slow that some it had not read are gone; begin anew. */
export class ReaderBehind extends BargeinError {
  /** @param {number} missed */
  constructor(missed) {
    super(`${missed} events are gone from memory before they were read`);
    this.missed = missed;
  }
}
