/**
 * Reports how much of a turn was shown, so that after an interrupt the model knows what the user
 * had. Not more often than every `everyMs`; only the latest report counts, so none is kept.
 */
export class Playback {
    /**
     * @param {(text: string) => boolean} send
     * @param {number} everyMs
     */
    constructor(send: (text: string) => boolean, everyMs: number);
    send: (text: string) => boolean;
    everyMs: number;
    /**
     * @param {string} turnId
     * @param {number} chars Code points of the turn's text.
     */
    shown(turnId: string, chars: number): void;
    /** What to say of a turn in the command that interrupts it. @param {string | null} turnId */
    heardOf(turnId: string | null): {
        chars: number;
    } | undefined;
    /** Say it again on a new connection, if this turn is open. @param {string | null} openTurn */
    again(openTurn: string | null): void;
    /** No report of any other turn is taken any more. @param {string} turnId */
    begun(turnId: string): void;
    /** Nor of one that was stopped. @param {string | null} turnId */
    stopped(turnId: string | null): void;
    forget(): void;
    #private;
}
