/**
 * Who may speak: it holds the agent when a voice is heard, and lets it go on, or drops what it had
 * to say, when that is decided. The server decides where its turn is still open, and the line is
 * up; else it is done here, and any words will do.
 */
export class Floor {
    /**
     * @param {Session} session
     * @param {Player} player
     * @param {{tell: (notice: "held" | "released", by: Hold) => void, cut: () => void}} does `cut`
     *   stops the open turn.
     */
    constructor(session: Session, player: Player, { tell, cut }: {
        tell: (notice: "held" | "released", by: Hold) => void;
        cut: () => void;
    });
    /** The turn that is spoken, or is to be: a voice now is one over it. */
    get turnId(): string | null;
    /** Take in that a voice begins. @param {"voice" | "key"} by */
    taken(by: "voice" | "key"): void;
    /** Take in that it ends. */
    left(): void;
    /**
     * Take in whether the server knows of the voice over a turn: it has said `pause`, or won't.
     *
     * @param {string | null} turnId
     * @param {boolean} answered
     */
    noted(turnId: string | null, answered: boolean): void;
    /** Take in that a turn was ended by the key: what is being said is about to be stopped. */
    ended(): void;
    /** Take in that somebody said something. */
    worded(): void;
    /** @param {Hold} by */
    hold(by: Hold): void;
    /** @param {Hold} by */
    release(by: Hold): void;
    /** Do what the server decides. @returns {(() => void)[]} Each stops listening to it. */
    follow(): (() => void)[];
    /**
     * Do something in a while, unless the same comes in between.
     *
     * @param {string} name
     * @param {number} ms
     * @param {() => void} act
     */
    later(name: string, ms: number, act: () => void): void;
    /** Do not do it; true where it was to come. @param {string} name */
    notNow(name: string): boolean;
    /** Forget all that is to come. */
    close(): void;
    #private;
}
import type { Hold } from "./voice_player.js";
import type { Session } from "./session.js";
import type { Player } from "./voice_player.js";
