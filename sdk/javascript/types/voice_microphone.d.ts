/** There is no microphone: let the user type, or hold a key; `reason` says why. */
export class MicrophoneRefused extends BargeinError {
    /**
     * @param {WhyNoMicrophone} reason
     * @param {unknown} [cause]
     */
    constructor(reason: WhyNoMicrophone, cause?: unknown);
    reason: WhyNoMicrophone;
    cause: unknown;
}
/**
 * @typedef {object} MicrophoneOptions
 * @property {MediaTrackConstraints} [constraints] Beside echo cancellation, noise suppression and
 *   automatic gain, which are on.
 * @property {string | URL} [worklet] Where `voice_worklet.js` is, if it is not beside this module.
 */
/** The user's microphone, as loudness. Lives until `close`, or until it is pulled out. */
export class Microphone {
    /**
     * Ask for the microphone; call it from a click, or browsers keep the sound back.
     *
     * @param {MicrophoneOptions} [options]
     * @returns {Promise<Microphone>}
     * @throws {MicrophoneRefused} The user, the machine or the browser has none for us.
     */
    static open({ constraints, worklet }?: MicrophoneOptions): Promise<Microphone>;
    /**
     * @param {MediaStream} stream What is heard, for a recogniser of your own.
     * @param {AudioContext} context
     */
    constructor(stream: MediaStream, context: AudioContext);
    /** @type {(levelDb: number, ms: number) => void} Called 50 times a second. */
    onlevel: (levelDb: number, ms: number) => void;
    /** Called once, when it is gone without `close`. */
    onlost: () => void;
    stream: MediaStream;
    /** Let go of it: the browser's sign that it listens goes out. */
    close(): void;
    #private;
}
/** One microphone at most, however often it is asked for; it can be taken back before it is there. */
export class OneMicrophone {
    /** @param {(microphone: Microphone) => void} opened */
    constructor(opened: (microphone: Microphone) => void);
    get isOpen(): boolean;
    /**
     * Open it, unless `close` comes first.
     *
     * @param {MicrophoneOptions} options
     * @throws {MicrophoneRefused} There is none.
     */
    open(options: MicrophoneOptions): Promise<void>;
    close(): void;
    #private;
}
export type WhyNoMicrophone = "denied" | "missing" | "unsupported" | "failed" | "stopped";
export type MicrophoneOptions = {
    /**
     * Beside echo cancellation, noise suppression and
     * automatic gain, which are on.
     */
    constraints?: MediaTrackConstraints | undefined;
    /**
     * Where `voice_worklet.js` is, if it is not beside this module.
     */
    worklet?: string | URL | undefined;
};
import { BargeinError } from "./errors.js";
