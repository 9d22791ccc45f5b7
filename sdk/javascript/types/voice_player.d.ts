/**
 * Why nothing is played: a voice was heard here, the server says so, or a key is held.
 *
 * @typedef {"voice" | "server" | "key"} Hold
 */
/**
 * A chunk of speech, and how much of it was heard.
 *
 * @typedef {object} Playing
 * @property {string} turnId
 * @property {string} chunkId
 * @property {string} text
 * @property {number | null} start Where it stands in the turn's text, in code points.
 * @property {boolean} isProtected Speech does not interrupt it.
 * @property {boolean} begun
 * @property {number} heard An index of `text`: what comes before it was heard.
 * @property {number} playedMs
 */
/**
 * @typedef {object} Reports
 * @property {(type: string, fields: Record<string, any>) => unknown} send
 * @property {(turnId: string, chars: number) => void} shown As `Session.shown`.
 */
/**
 * Plays an answer chunk by chunk, and reports to the word what was heard of it.
 *
 * It is silent at once when it is held. What was cut off by a hold is taken up at the word that was
 * cut, when no hold is left.
 */
export class Player {
    /**
     * @param {Reports} reports
     * @param {Speaker} [speaker]
     * @param {() => void} [changed] Called when anything of what follows has changed.
     */
    constructor(reports: Reports, speaker?: Speaker, changed?: () => void);
    set speaker(speaker: Speaker);
    /** Who speaks; another one takes over with the next word. */
    get speaker(): Speaker;
    /** Whether there is something to play, and if so, whether it sounds. */
    get state(): "silent" | "paused" | "speaking";
    /** The chunk that is played, or is to be played next. @returns {Readonly<Playing> | null} */
    get playing(): Readonly<Playing> | null;
    /** What holds it. @returns {ReadonlySet<Hold>} */
    get holds(): ReadonlySet<Hold>;
    /** How loud it is now, from 0 to 1. */
    get loudness(): number;
    /** How many code points of the turn that is played were heard; null if that can't be told. */
    get heardChars(): number | null;
    /**
     * Play a chunk when all before it has been.
     *
     * @param {EventMap["tts.chunk"]} event
     */
    add({ turn_id: turnId, payload }: EventMap["tts.chunk"]): void;
    /** Be silent, at once. @param {Hold} by */
    hold(by: Hold): void;
    /** Go on, unless something else holds. @param {readonly Hold[]} by */
    release(...by: readonly Hold[]): void;
    /** Throw away what is left of turns, and holds with the chunk that they held. @param {(id: string) => boolean} which */
    drop(which: (id: string) => boolean): void;
    /** Stop for good what is left, and say how much of it was heard. */
    stop(): void;
    #private;
}
/**
 * Why nothing is played: a voice was heard here, the server says so, or a key is held.
 */
export type Hold = "voice" | "server" | "key";
/**
 * A chunk of speech, and how much of it was heard.
 */
export type Playing = {
    turnId: string;
    chunkId: string;
    text: string;
    /**
     * Where it stands in the turn's text, in code points.
     */
    start: number | null;
    /**
     * Speech does not interrupt it.
     */
    isProtected: boolean;
    begun: boolean;
    /**
     * An index of `text`: what comes before it was heard.
     */
    heard: number;
    playedMs: number;
};
export type Reports = {
    send: (type: string, fields: Record<string, any>) => unknown;
    /**
     * As `Session.shown`.
     */
    shown: (turnId: string, chars: number) => void;
};
import type { Speaker } from "./voice_speakers.js";
import type { EventMap } from "../types/protocol.js";
