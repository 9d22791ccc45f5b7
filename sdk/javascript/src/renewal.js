/** @import {Tokens} from "./tokens.js" */
/** @import {Commands} from "./commands.js" */

const RETRY_MS = 10_000;

/** Hands in a fresh token before the old one ends, so that the connection lives on. */
export class Renewal {
  #tokens;
  #commands;
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  #timer;

  /**
   * @param {Tokens} tokens
   * @param {Commands} commands
   */
  constructor(tokens, commands) {
    this.#tokens = tokens;
    this.#commands = commands;
  }

  /** Hand in a token for this connection and the next ones. @param {string} token */
  async use(token) {
    const takeBack = this.#tokens.replace(token);
    try {
      await this.#commands.ask("auth", { token });
    } catch (error) {
      takeBack();
      throw error;
    }
    this.plan();
  }

  /** Wait until a token is due. */
  plan() {
    const ms = this.#tokens.dueIn(Date.now());
    this.stop();
    if (ms !== null) this.#timer = setTimeout(() => this.#renew(), ms);
  }

  stop() {
    clearTimeout(this.#timer);
  }

  async #renew() {
    try {
      const token = await this.#tokens.fresh();
      if (token !== null) await this.use(token);
    } catch {
      // Once more before it ends; and after that the next connection asks for one.
      this.stop();
      this.#timer = setTimeout(() => this.#renew(), RETRY_MS);
    }
  }
}
