/** @import {ConnectOptions} from "./options.js" */
/** @import {Session} from "./session.js" */

import { connect } from "./index.js";

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
export function useBargein(React, address, options = {}) {
  const [now, setNow] = React.useState(/** @type {Bargein} */ (NOTHING_YET));
  React.useEffect(() => {
    const leaving = new AbortController();
    const signal = options.signal
      ? AbortSignal.any([options.signal, leaving.signal])
      : leaving.signal;
    // Drawn only while it is there: an answer may come when it has gone.
    const draw = (/** @type {Bargein} */ next) => void (leaving.signal.aborted || setNow(next));
    draw(NOTHING_YET);
    // Strict mode takes every component away once, at once: that must not open a session.
    const connected = Promise.resolve().then(() => connect(address, { ...options, signal }));
    connected.then(
      (session) => {
        /** @param {Error | null} error */
        const redraw = (error = null) =>
          draw({ session, state: session.state, view: session.view, error });
        session.on("view", () => redraw());
        session.on("connection", () => redraw());
        session.on("ended", redraw);
        redraw();
      },
      (error) => draw({ ...NOTHING_YET, state: "ended", error }),
    );
    return () => leaving.abort();
  }, [String(address), options.sessionId]);
  return now;
}

/** @type {Bargein} */
const NOTHING_YET = { session: null, state: "connecting", view: null, error: null };
