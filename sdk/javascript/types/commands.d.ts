/**
 * @typedef {object} Pending
 * @property {string} type
 * @property {string} text As it is sent, each time the same.
 * @property {boolean} urgent It harms nobody that it overtakes.
 * @property {boolean} sent On the connection that there is now.
 * @property {number} left Tries.
 * @property {() => void} forget Its signal, which may live much longer.
 * @property {(result: any) => void} resolve
 * @property {(error: unknown) => void} reject
 */
/**
 * Commands that wait for their answer: kept over broken connections and sent again under the same
 * id, so that the server does each once and says what came of it.
 */
export class Commands {
    /**
     * @param {(text: string) => boolean} send
     * @param {number} most May wait at once.
     * @param {Pace} pace
     * @param {Backoff} backoff
     * @param {() => number} random
     */
    constructor(send: (text: string) => boolean, most: number, pace: Pace, backoff: Backoff, random: () => number);
    most: number;
    /** How many wait for an answer. */
    get waiting(): number;
    /** Whether words are among them. */
    get saying(): boolean;
    /**
     * Ask the server for something; answered whenever there is a connection again.
     *
     * @param {string} type
     * @param {Record<string, any>} fields
     * @param {AbortSignal} [signal] Waits no longer; what was sent may be done all the same.
     * @param {number} [most] Tries, where the server can't take it at the moment.
     * @returns {Promise<any>} The `result` of the reply.
     */
    ask(type: string, fields: Record<string, any>, signal?: AbortSignal, most?: number): Promise<any>;
    /** Send what was not sent on this connection, as fast as the server takes it. */
    pump(): void;
    /** The connection is gone, and with it what was on its way. */
    lost(): void;
    /**
     * @param {string} id
     * @param {any} result
     */
    settle(id: string, result: any): void;
    /**
     * @param {string} id
     * @param {Problem} problem
     */
    refuse(id: string, problem: Problem): void;
    /** Answer all that waits or is asked from now on: nothing will come. @param {Error} error */
    fail(error: Error): void;
    #private;
}
export type Pending = {
    type: string;
    /**
     * As it is sent, each time the same.
     */
    text: string;
    /**
     * It harms nobody that it overtakes.
     */
    urgent: boolean;
    /**
     * On the connection that there is now.
     */
    sent: boolean;
    /**
     * Tries.
     */
    left: number;
    /**
     * Its signal, which may live much longer.
     */
    forget: () => void;
    resolve: (result: any) => void;
    reject: (error: unknown) => void;
};
import type { Problem } from "../types/protocol.js";
import type { Pace } from "./backoff.js";
import type { Backoff } from "./backoff.js";
