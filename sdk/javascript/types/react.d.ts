/**
 * What is needed of React, whichever copy the page has.
 *
 * @typedef {object} Hooks
 * @property {(effect: () => (() => void) | void, on: any[]) => void} useEffect
 * @property {<T>(first: T) => [T, (next: T) => void]} useState
 */
/**
 * @typedef {object} Bargein
 * @property {Session | null} session Null until there is one.
 * @property {string} state Of the connection.
 * @property {Session["view"] | null} view
 * @property {Error | null} error Why there is no session, or not any more.
 */
/**
 * Use a session in a component: `useBargein(React, url, options)`.
 *
 * It connects when the component appears and leaves when it goes, or when `address` or
 * `options.sessionId` change; the other options are taken as they are then. The component is
 * drawn again whenever a view or the connection changes.
 *
 * @param {Hooks} React
 * @param {string | URL} address
 * @param {ConnectOptions} [options]
 * @returns {Bargein}
 */
export function useBargein(React: Hooks, address: string | URL, options?: ConnectOptions): Bargein;
/**
 * What is needed of React, whichever copy the page has.
 */
export type Hooks = {
    useEffect: (effect: () => (() => void) | void, on: any[]) => void;
    useState: <T>(first: T) => [T, (next: T) => void];
};
export type Bargein = {
    /**
     * Null until there is one.
     */
    session: Session | null;
    /**
     * Of the connection.
     */
    state: string;
    view: Session["view"] | null;
    /**
     * Why there is no session, or not any more.
     */
    error: Error | null;
};
import type { ConnectOptions } from "./options.js";
import type { Session } from "./session.js";
