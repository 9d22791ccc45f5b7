/**
 * The browser's synthesiser.
 *
 * It is stopped rather than paused: `pause` is ignored or final on many machines. Whoever wants it
 * to go on speaks what is left. Where it does not tell when words begin, nothing counts as heard
 * before the end.
 *
 * @implements {Speaker}
 */
export class SynthesiserSpeaker implements Speaker {
    /** Return one where the browser has voices, which some load late; null where it has none. */
    static here(options?: {}): Promise<SynthesiserSpeaker | null>;
    /**
     * @param {{voice?: SpeechSynthesisVoice, rate?: number, volume?: number}} [options]
     * @param {SpeechSynthesis} [synthesis]
     * @param {typeof SpeechSynthesisUtterance} [Utterance]
     */
    constructor(options?: {
        voice?: SpeechSynthesisVoice;
        rate?: number;
        volume?: number;
    }, synthesis?: SpeechSynthesis, Utterance?: typeof SpeechSynthesisUtterance);
    options: {
        voice?: SpeechSynthesisVoice;
        rate?: number;
        volume?: number;
    };
    get loudness(): number;
    /**
     * @param {string} text
     * @param {SpeakingListener} listener
     */
    speak(text: string, listener: SpeakingListener): () => void;
    #private;
}
/**
 * Says nothing, and takes the time that it would need: for pages that show words where no voice is
 * installed, or somebody has muted it.
 *
 * @implements {Speaker}
 */
export class TimedSpeaker implements Speaker {
    /** @param {number} [rate] 1 is some 170 words a minute. */
    constructor(rate?: number);
    loudness: number;
    rate: number;
    /**
     * @param {string} text
     * @param {SpeakingListener} listener
     */
    speak(text: string, listener: SpeakingListener): () => void;
}
export type SpeakingListener = {
    /**
     * A word begins at this place of the text (an index of the
     * string): all before it was heard.
     */
    word: (at: number) => void;
    /**
     * All of it was heard.
     */
    ended: () => void;
    /**
     * No more of it is said; somebody else may.
     */
    failed: (error: Error) => void;
};
/**
 * Who says things aloud: the browser, or anything of yours.
 */
export type Speaker = {
    /**
     * While it speaks, for the echo: 0 is silent, 1 as loud as it gets.
     */
    loudness: number;
    /**
     * Begin; what is
     * returned stops it at once, after which the listener is not called any more.
     */
    speak: (text: string, listener: SpeakingListener) => () => void;
};
