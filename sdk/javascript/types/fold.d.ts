/**
 * What a session knows is what its events say: the twin of the server's fold.
 *
 * It has no clock, no chance and no input but the events. Vectors that the server's own fold
 * computes hold it to that one (tests/sdk/vectors).
 */
export class Fold {
    seq: number;
    openedAt: string;
    agent: string;
    /** @type {string | null} */
    title: string | null;
    /** @type {Record<string, any>} */
    config: Record<string, any>;
    closed: boolean;
    connections: number;
    /** @type {Map<string, Turn>} In the order in which they began. */
    turns: Map<string, Turn>;
    /** @type {string[]} */
    queue: string[];
    /** @type {string | null} */
    openTurn: string | null;
    /** @type {string | null} The latest turn, where it was pre-empted and is to go on. */
    suspended: string | null;
    /** @type {string | null} */
    planned: string | null;
    /** @type {Map<string, Action>} */
    actions: Map<string, Action>;
    /** @type {Map<string, Utterance>} */
    utterances: Map<string, Utterance>;
    /**
     * Take the event that follows the last one applied.
     *
     * @param {TimelineEvent} event
     */
    apply(event: TimelineEvent): void;
    /** @param {string} id @returns {Utterance} */
    utterance(id: string): Utterance;
    /** @param {string} id @param {boolean} final @param {any} payload */
    understand(id: string, final: boolean, { revision, text, aside }: any): void;
    /** @param {string} turnId */
    unqueue(turnId: string): void;
    /** @param {Turn} turn */
    endTurn(turn: Turn): void;
    #private;
}
export type Utterance = {
    id: string;
    revision: number;
    text: string;
    final: boolean;
    turnId: string | null;
    aside: boolean;
    refused: boolean;
};
export type OnTurn = (fold: Fold, turn: Turn, payload: any) => void;
export type OnSession = (fold: Fold, payload: any, ts: string) => void;
import { Turn } from "./turn.js";
import { Action } from "./actions.js";
import type { TimelineEvent } from "../types/protocol.js";
