/** @import {Cursor} from "./cursor.js" */

const EVERY_MS = 250;

/**
 * Says what of a session is here, on a connection that began behind more than that.
 *
 * Such a connection claims a past that is still to be fetched. Without this, an interrupt by
 * somebody else would count all of it as heard. Once begun it goes on, because where a client
 * acks, no more than that counts.
 */
export class Receipts {
  #send;
  #cursor;
  /** @type {number | null} The last one on this connection; null where none is needed. */
  #said = null;
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  #timer;

  /**
   * @param {(text: string) => boolean} send
   * @param {Cursor} cursor
   */
  constructor(send, cursor) {
    this.#send = send;
    this.#cursor = cursor;
  }

  /** This connection needs them. */
  begin() {
    this.#said = -1;
    this.now();
  }

  /** Something has come. */
  soon() {
    if (this.#said === null || this.#timer !== undefined) return;
    this.#timer = setTimeout(() => {
      this.#timer = undefined;
      this.now();
    }, EVERY_MS);
  }

  /** Say it, so that what is sent next finds it true. */
  now() {
    const { seq } = this.#cursor;
    if (this.#said === null || this.#said === seq) return;
    if (this.#send(JSON.stringify({ type: "ack", seq }))) this.#said = seq;
  }

  /** The connection is gone. */
  stop() {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    this.#said = null;
  }
}
