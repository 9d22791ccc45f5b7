/**
 * @typedef {object} Utterance
 * @property {string} id
 * @property {number} revision Of the next words.
 * @property {string} text The latest words.
 * @property {boolean} final
 * @property {boolean} taken A turn answers it: what is said now is another one.
 * @property {Understood["key"] | null} key What the recogniser calls it.
 */
/**
 * Reports what the user says: which voice, which words, in which revision.
 *
 * A voice and the words that are understood meanwhile are one utterance, until these are final or
 * a turn has taken them. Words that come later still belong to it.
 */
export class Utterances {
    /**
     * @param {(type: string, fields: Record<string, any>) => Promise<boolean>} send
     * @param {() => number} [random]
     */
    constructor(send: (type: string, fields: Record<string, any>) => Promise<boolean>, random?: () => number);
    /** The utterance that goes on, or did last. */
    get current(): Utterance | null;
    /** Report that a voice begins; the answer comes when the server has decided what it is over. */
    voiceBegan(): Promise<boolean>;
    /** Report that it ends. */
    voiceEnded(): void;
    /** Report words. @param {Understood} words */
    words({ key, text, final, confidence }: Understood): void;
    /** Report that the user says: my turn is over; false where nothing was said that it could end. */
    end(): boolean;
    /** A turn answers these. @param {readonly string[]} ids */
    took(ids: readonly string[]): void;
    #private;
}
export type Utterance = {
    id: string;
    /**
     * Of the next words.
     */
    revision: number;
    /**
     * The latest words.
     */
    text: string;
    final: boolean;
    /**
     * A turn answers it: what is said now is another one.
     */
    taken: boolean;
    /**
     * What the recogniser calls it.
     */
    key: Understood["key"] | null;
};
import type { Understood } from "./voice_recogniser.js";
