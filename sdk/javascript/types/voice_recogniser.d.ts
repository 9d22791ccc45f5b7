/**
 * The browser's own recogniser, kept listening.
 *
 * Browsers end it when nobody speaks for a while; then it is started again. Most of them ask a
 * service on the network, and Chromium builds without one report `network` at once.
 *
 * @implements {Recogniser}
 */
export class BrowserRecogniser implements Recogniser {
    /**
     * Return the recogniser of this browser, or null where it has none.
     *
     * @param {string} [lang] BCP 47, such as `en-GB`; the browser's own otherwise.
     */
    static here(lang?: string): BrowserRecogniser | null;
    /**
     * @param {new () => any} Recognition
     * @param {string} lang
     */
    constructor(Recognition: new () => any, lang: string);
    /** @param {RecogniserListener} listener */
    start(listener: RecogniserListener): void;
    stop(): void;
    #private;
}
/**
 * What a recogniser has understood.
 */
export type Understood = {
    /**
     * Names the stretch of speech: the same one until it is final.
     */
    key: string | number;
    /**
     * All of it; it replaces what was understood before.
     */
    text: string;
    final: boolean;
    /**
     * From 0 to 1.
     */
    confidence?: number | undefined;
};
export type RecogniserListener = {
    words: (words: Understood) => void;
    /**
     * After `stop`: the words of all that was said before are there.
     * Without it a key that was let go waits for them.
     */
    done?: (() => void) | undefined;
    /**
     * It will understand nothing more; let the user type.
     * After `not-allowed` and `audio-capture` it may, when it is started again.
     */
    failed: (reason: string) => void;
};
/**
 * Who turns speech into words: the browser, or anything of yours.
 */
export type Recogniser = {
    /**
     * Listen, until `stop`.
     */
    start: (listener: RecogniserListener) => void;
    /**
     * Listen no longer; words of what was said before may still come, and
     * `done` says that no more will.
     */
    stop: () => void;
    /**
     * Told when a voice begins and ends, over the
     * agent or not; for those who want to know.
     */
    voice?: ((speaking: boolean) => void) | undefined;
    /**
     * Its sound comes from elsewhere: who is refused the
     * microphone of this browser can still hold a key and talk.
     */
    needsNoMicrophone?: boolean | undefined;
};
