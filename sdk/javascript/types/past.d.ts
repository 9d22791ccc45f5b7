/**
 * Fetches the past of a session in pages, while what goes on meanwhile waits.
 *
 * A page is one message, and a browser takes one in hardly more time than one event of a replay.
 * In the end every event has come once and in order, exactly as in a replay.
 */
export class Past {
    /** @param {Commands} commands */
    constructor(commands: Commands);
    /** Whether there are pages to come. */
    get fetching(): boolean;
    /** Whether this has to wait. @param {any} frame */
    holds({ event_id: id, type }: any): boolean;
    /**
     * Keep a frame until its time comes.
     *
     * @param {any} frame
     * @returns {boolean} Whether there was room.
     */
    hold(frame: any): boolean;
    /** The connection is gone, and with it what came on it: the next one gives that again. */
    lost(): void;
    /**
     * A connection is there that pages may come over.
     *
     * @param {number} seq What is here by now.
     * @returns {boolean} Whether there is hope: each connection may break of its first page.
     */
    begins(seq: number): boolean;
    /** Whether answers would come soon, behind so many events. @param {number} events */
    fits(events: number): boolean;
    /** Fetch nothing more, and hold nothing any more. */
    stop(): void;
    /**
     * Fetch the events behind `from` up to `to`, over one connection after the other if need be.
     *
     * @param {number} from
     * @param {number} to
     * @param {(event: TimelineEvent) => void} fold Is given each of them, in order.
     * @throws {unknown} Pages don't do, or it was stopped, which `fetching` tells.
     */
    fetch(from: number, to: number, fold: (event: TimelineEvent) => void): Promise<void>;
    /**
     * The past is there: what was held may follow it.
     *
     * @param {(frame: any) => void} take
     */
    release(take: (frame: any) => void): Promise<void>;
    /**
     * Nothing comes any more: what no page is missing for is taken now.
     *
     * @param {(frame: any) => void} take
     */
    finish(take: (frame: any) => void): void;
    #private;
}
import type { TimelineEvent } from "../types/protocol.js";
import type { Commands } from "./commands.js";
