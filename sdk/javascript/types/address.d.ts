/**
 * Read where the server is. A bare origin means its sessions; `http` is read as `ws`.
 *
 * @param {string | URL} address
 * @returns {{base: URL, sessionId: string | null}}
 * @throws {AddressRefused} Write `wss:`, and the token into the options.
 */
export function readAddress(address: string | URL): {
    base: URL;
    sessionId: string | null;
};
/**
 * Return the URL to dial: a new session, or an old one from behind `after`.
 *
 * @param {URL} base
 * @param {{sessionId: string | null, epoch: string | null, after: number}} place
 * @param {"drive" | "watch" | undefined} role
 */
export function urlOf(base: URL, place: {
    sessionId: string | null;
    epoch: string | null;
    after: number;
}, role: "drive" | "watch" | undefined): string;
/** The address can't be used; `message` says what to write instead. */
export class AddressRefused extends BargeinError {
}
import { BargeinError } from "./errors.js";
