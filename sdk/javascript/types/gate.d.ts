/**
 * Keeps late text of a cancelled turn off the screen.
 *
 * `flush` overtakes the tokens that were on their way, so the gate shuts before they come.
 */
export class Gate {
    /**
     * @param {string} turnId
     * @param {string} text What is shown of the turn, and all that will be.
     */
    shut(turnId: string, text: string): void;
    /** @param {string | null} turnId */
    isShut(turnId: string | null): boolean;
    /** @param {string} turnId */
    shownOf(turnId: string): string | undefined;
    /**
     * Forget all: at each `hello`, because a turn that was never stored may have been flushed, and
     * its id is given again. What was stored, the timeline itself shuts.
     */
    reset(): void;
    #private;
}
