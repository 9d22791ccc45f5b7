import { readAddress } from "./address.js";
import { Backoff } from "./backoff.js";
import { Cursor } from "./cursor.js";
import { BargeinError, SessionEnded } from "./errors.js";
import { Follower } from "./follower.js";
import { Session } from "./session.js";
import { Tokens } from "./tokens.js";

export { AddressRefused } from "./address.js";
export * from "./errors.js";
export { Session };

/**
 * @typedef {import("./options.js").ConnectOptions} ConnectOptions
 * @typedef {import("./options.js").SayOptions} SayOptions
 * @typedef {import("./options.js").InterruptOptions} InterruptOptions
 * @typedef {import("./connection.js").ConnectionState} ConnectionState
 * @typedef {import("../types/protocol.js").TimelineEvent} TimelineEvent
 */

/**
 * Open a session, or come back to one; resolves when all there is of it has come.
 *
 * @param {string | URL} address `wss://host`, or the URL of one session.
 * @param {ConnectOptions} [options]
 * @returns {Promise<Session>}
 * @throws {SessionEnded} It can't be had: `code` says why, if it was the server that said so.
 * @throws {AddressRefused} The address is no good.
 */
export async function connect(address, options = {}) {
  const { base, sessionId } = readAddress(address);
  const { token = null, signal, random = Math.random } = options;
  const { baseMs, mostMs } = options.backoff ?? { baseMs: 500, mostMs: 30_000 };
  const WebSocket = options.WebSocket ?? globalThis.WebSocket;
  if (!WebSocket) throw new BargeinError("no WebSocket here: give one in options.WebSocket");
  signal?.throwIfAborted();
  const way = {
    base,
    role: options.role,
    tokens: new Tokens(token),
    backoff: new Backoff(baseMs, mostMs, random),
    dialMs: options.dialMs ?? 10_000,
    WebSocket,
  };
  const kept = {
    queueMost: options.queueMost ?? 100,
    keepEvents: options.keepEvents ?? 100_000,
    shownEveryMs: options.shownEveryMs ?? 250,
    random,
  };
  const cursor = new Cursor(options.sessionId ?? sessionId, options.lastSeq);
  return new Promise((resolve, reject) => {
    const follower = new Follower(way, cursor, kept, (error) => {
      clearTimeout(timer);
      if (error) reject(signal?.aborted ? signal.reason : error);
      else resolve(session);
    });
    const session = new Session(follower);
    const timer = setTimeout(
      () => follower.connection.end(new SessionEnded(null, follower.connection.problem)),
      options.connectMs ?? 30_000,
    );
    signal?.addEventListener("abort", () => session.disconnect(), { once: true });
    follower.connection.start();
  });
}
