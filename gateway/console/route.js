/**
 * @typedef {"drive" | "watch" | "replay"} Mode
 * @typedef {{sessionId: string | null, mode: Mode, seq: number | null}} Route What the page shows.
 */

const FRAGMENT = /^#([A-Za-z0-9_-]{1,128})(?:\/(watch|replay))?(?::(\d{1,15}))?$/;

/**
 * Read the fragment of the address: `#sess_1`, `#sess_1/watch`, `#sess_1/replay:42`.
 *
 * @param {string} fragment
 * @returns {Route} A new session, where it names none.
 */
export function readRoute(fragment) {
  const found = FRAGMENT.exec(fragment);
  return {
    sessionId: found?.[1] ?? null,
    mode: /** @type {Mode} */ (found?.[2] ?? "drive"),
    seq: found?.[3] === undefined ? null : Number(found[3]),
  };
}

/** Write a route as a fragment. @param {Route} route */
export function fragmentOf({ sessionId, mode, seq }) {
  if (sessionId === null) return "";
  return `#${sessionId}${mode === "drive" ? "" : `/${mode}`}${seq === null ? "" : `:${seq}`}`;
}

/** Show a route in the address bar, without another entry in the history. @param {Route} route */
export function replaceRoute(route) {
  history.replaceState(null, "", `${location.pathname}${location.search}${fragmentOf(route)}`);
}
