import { BargeinError } from "./errors.js";

const LOOPBACK = /^(localhost|(.+\.)?localhost|127(\.\d{1,3}){3}|\[::1\])$/;
const SESSION = "/v1/session";

/** The address can't be used; `message` says what to write instead. */
export class AddressRefused extends BargeinError {}

/**
 * Read where the server is. A bare origin means its sessions; `http` is read as `ws`.
 *
 * @param {string | URL} address
 * @returns {{base: URL, sessionId: string | null}}
 * @throws {AddressRefused} Write `wss:`, and the token into the options.
 */
export function readAddress(address) {
  // In a page, "/v1/session" is the page's own server.
  const base = new URL(address, globalThis.location?.href);
  base.protocol = base.protocol.replace(/^http/, "ws");
  if (!/^wss?:$/.test(base.protocol)) throw new AddressRefused(`${base.protocol} is not wss:`);
  if (base.protocol === "ws:" && !LOOPBACK.test(base.hostname)) {
    throw new AddressRefused(`without encryption only to this machine: wss://${base.host}`);
  }
  if (base.username || base.password || /token|jwt|auth/i.test(base.search)) {
    throw new AddressRefused("a token or password never stands in a URL; see options.token");
  }
  base.hash = "";
  if (base.pathname === "/") base.pathname = SESSION;
  const found = /^(.*\/v1\/session)\/([^/]+)$/.exec(base.pathname);
  if (found) base.pathname = /** @type {string} */ (found[1]);
  return { base, sessionId: found ? decodeURIComponent(/** @type {string} */ (found[2])) : null };
}

/**
 * Return the URL to dial: a new session, or an old one from behind `after`.
 *
 * @param {URL} base
 * @param {{sessionId: string | null, epoch: string | null, after: number}} place
 * @param {"drive" | "watch" | undefined} role
 */
export function urlOf(base, place, role) {
  const url = new URL(base);
  if (place.sessionId !== null) {
    url.pathname += `/${encodeURIComponent(place.sessionId)}`;
    if (place.epoch !== null || place.after > 0) url.searchParams.set("after", String(place.after));
    if (place.epoch !== null) url.searchParams.set("epoch", place.epoch);
  }
  if (role) url.searchParams.set("role", role);
  return url.href;
}
