/**
 * Says what of a session is here, on a connection that began behind more than that.
 *
 * Such a connection claims a past that is still to be fetched. Without this, an interrupt by
 * somebody else would count all of it as heard. Once begun it goes on, because where a client
 * acks, no more than that counts.
 */
export class Receipts {
    /**
     * @param {(text: string) => boolean} send
     * @param {Cursor} cursor
     */
    constructor(send: (text: string) => boolean, cursor: Cursor);
    /** This connection needs them. */
    begin(): void;
    /** Something has come. */
    soon(): void;
    /** Say it, so that what is sent next finds it true. */
    now(): void;
    /** The connection is gone. */
    stop(): void;
    #private;
}
import type { Cursor } from "./cursor.js";
