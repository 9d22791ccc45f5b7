export { BrowserRecogniser } from "./voice_recogniser.js";
/**
 * A spoken conversation in a session: it listens, reports, plays the answers, and is silent as
 * soon as a voice is heard, long before the server knows of it.
 *
 * Lives until `stop`, or as long as the session.
 */
export class Conversation {
    /**
     * @param {Session} session
     * @param {ConversationOptions} [options]
     */
    constructor(session: Session, { recogniser, speaker, activity, random }?: ConversationOptions);
    /** Tells voices from silence; there for whoever shows it. */
    activity: VoiceActivity;
    /** Plays the answers. */
    player: Player;
    /** What goes on. @returns {VoiceState} */
    get state(): VoiceState;
    /** Whether a microphone is listened to. */
    get handsFree(): boolean;
    /**
     * Begin: answers are spoken from now on.
     *
     * @param {MicrophoneOptions | null} [microphone] Null: none is asked for, there is a key.
     * @throws {import("./voice_microphone.js").MicrophoneRefused} Everything else works;
     *   `press` and `release` do where the recogniser has `needsNoMicrophone`.
     */
    start(microphone?: MicrophoneOptions | null): Promise<void>;
    /**
     * Listen to the microphone, unless `deafen` or `stop` comes before it is there.
     *
     * @param {MicrophoneOptions} [options]
     * @returns {Promise<void>} The same one while it is asked for.
     * @throws {import("./voice_microphone.js").MicrophoneRefused} As `start`; `stopped`: before
     *   `start`, and after `stop`.
     */
    listen(options?: MicrophoneOptions): Promise<void>;
    /** Listen no longer; `press` still works. */
    deafen(): void;
    /**
     * Take in how loud it is; the microphone does this, and anybody whose sound is elsewhere.
     *
     * @param {number} levelDb
     * @param {number} ms
     */
    hear(levelDb: number, ms: number): void;
    /** The key to talk is held: the agent is silent until `release`. */
    press(): void;
    /** The key was let go: the turn is over as soon as the last words are there. */
    release(): void;
    /** Say typed words. @param {string} text */
    say(text: string): Promise<import("./options.js").SayResult>;
    /** Stop the answer. */
    interrupt(): Promise<void>;
    /**
     * Listen to a notice.
     *
     * @template {keyof VoiceNotices} T
     * @param {T} type
     * @param {(value: VoiceNotices[T]) => void} listener
     * @returns {() => void} Stops listening.
     */
    on<T extends keyof VoiceNotices>(type: T, listener: (value: VoiceNotices[T]) => void): () => void;
    /**
     * End: nothing is heard and nothing is spoken any more. An answer that is being spoken is stopped
     * where it was heard; the session goes on.
     */
    stop(): void;
    #private;
}
/**
 * `off`: nobody listens. `listening`: say something. `hearing`: you speak. `deciding`: have you
 * finished, or did you mean to interrupt? `thinking`: an answer is on its way. `speaking`: you hear
 * it. `paused`: you speak over it.
 */
export type VoiceState = "off" | "listening" | "hearing" | "deciding" | "thinking" | "speaking" | "paused";
export type ConversationOptions = {
    /**
     * Without one, words are typed.
     */
    recogniser?: Recogniser | null | undefined;
    /**
     * Without one, words pass in the time that they would take.
     */
    speaker?: Speaker | undefined;
    activity?: ActivityOptions | undefined;
    /**
     * Chance, for tests.
     */
    random?: (() => number) | undefined;
};
/**
 * What `on` tells. `level`: the microphone, and what a voice has to exceed. `mute`: the recogniser
 * understands nothing any more; after `not-allowed` and `audio-capture` it is tried again with the
 * next `listen` or `press`. `lost`: the microphone is gone. `held`, `released`: the agent fell
 * silent, or goes on, and who said so. `refused`: the server refused a report.
 */
export type VoiceNotices = {
    state: VoiceState;
    level: {
        levelDb: number;
        thresholdDb: number;
    };
    played: void;
    held: {
        by: "voice" | "server" | "key";
    };
    released: {
        by: "voice" | "server" | "key";
    };
    mute: string;
    lost: void;
    refused: Error;
};
import { Microphone } from "./voice_microphone.js";
import { MicrophoneRefused } from "./voice_microphone.js";
import { Player } from "./voice_player.js";
import { VoiceActivity } from "./voice_activity.js";
import type { MicrophoneOptions } from "./voice_microphone.js";
import type { Session } from "./session.js";
import type { Recogniser } from "./voice_recogniser.js";
import type { Speaker } from "./voice_speakers.js";
import type { ActivityOptions } from "./voice_activity.js";
export { Microphone, MicrophoneRefused, Player, VoiceActivity };
export { SynthesiserSpeaker, TimedSpeaker } from "./voice_speakers.js";
