/**
 * Tells a voice from the room, and from the agent's own sound in the microphone, by loudness.
 *
 * It gets to know both: the room while nobody speaks, the echo while the agent does. It has no
 * clock and no microphone of its own; whoever has them calls `hear` for each frame.
 */
export class VoiceActivity {
    /** @param {ActivityOptions} [options] */
    constructor(options?: ActivityOptions);
    options: {
        /**
         * Nothing quieter is a voice. -50.
         */
        leastDb: number;
        /**
         * A voice is so much louder than the room. 10.
         */
        marginDb: number;
        /**
         * What of the agent's own sound comes back where it is as loud as it
         * gets, before that is known. -32.
         */
        echoDb: number;
        /**
         * A voice over the agent is so much louder than that. 8.
         */
        overDb: number;
        /**
         * A voice is taken for one after so long. 60.
         */
        beganMs: number;
        /**
         * The same while the agent sounds. 120.
         */
        overMs: number;
        /**
         * It has ended after so much silence. 300.
         */
        endedMs: number;
        /**
         * How long a room rings when the agent has stopped. 250.
         */
        tailMs: number;
    };
    /** Whether there is a voice. */
    get speaking(): boolean;
    /** What is to be exceeded now, dB. */
    get thresholdDb(): number;
    /**
     * Take in a frame of the microphone's sound.
     *
     * @param {number} levelDb
     * @param {number} ms How long the frame is.
     * @param {number} [playing] How loud the agent is, from 0 to 1.
     * @returns {"began" | "ended" | null} What has become of the voice with this frame.
     */
    hear(levelDb: number, ms: number, playing?: number): "began" | "ended" | null;
    /** Learn that the last voice was the agent's own: so loud an echo is not taken for one again. */
    wasEcho(): void;
    /** Forget a voice that is going on: the microphone is not listened to any more. */
    silence(): void;
    #private;
}
/**
 * Levels are dB below full scale, of frames of some 20 ms.
 */
export type ActivityOptions = {
    /**
     * Nothing quieter is a voice. -50.
     */
    leastDb?: number | undefined;
    /**
     * A voice is so much louder than the room. 10.
     */
    marginDb?: number | undefined;
    /**
     * What of the agent's own sound comes back where it is as loud as it
     * gets, before that is known. -32.
     */
    echoDb?: number | undefined;
    /**
     * A voice over the agent is so much louder than that. 8.
     */
    overDb?: number | undefined;
    /**
     * A voice is taken for one after so long. 60.
     */
    beganMs?: number | undefined;
    /**
     * The same while the agent sounds. 120.
     */
    overMs?: number | undefined;
    /**
     * It has ended after so much silence. 300.
     */
    endedMs?: number | undefined;
    /**
     * How long a room rings when the agent has stopped. 250.
     */
    tailMs?: number | undefined;
};
