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
export function connect(address: string | URL, options?: ConnectOptions): Promise<Session>;
export { AddressRefused } from "./address.js";
export * from "./errors.js";
export { Session };
export type ConnectOptions = import("./options.js").ConnectOptions;
export type SayOptions = import("./options.js").SayOptions;
export type InterruptOptions = import("./options.js").InterruptOptions;
export type ConnectionState = import("./connection.js").ConnectionState;
export type TimelineEvent = import("../types/protocol.js").TimelineEvent;
import { Session } from "./session.js";
