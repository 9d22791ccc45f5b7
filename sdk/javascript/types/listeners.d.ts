/** Calls whoever listens; one that throws disturbs nobody else. */
export class Listeners {
    /**
     * @param {string} name
     * @param {(value: any) => void} listener
     * @returns {() => void} Stops listening.
     */
    add(name: string, listener: (value: any) => void): () => void;
    /**
     * @param {string} name
     * @param {any} value
     */
    tell(name: string, value: any): void;
    clear(): void;
    #private;
}
