interface BannerProps {
  state: string;
  /** Commands that go when the connection is back. */
  waiting: number;
  error: Error | null;
  /** Come back to this conversation. */
  onAgain: () => void;
  /** Begin another one. */
  onLeave?: (() => void) | undefined;
}

const WHY: Record<number, string> = {
  4100: "You are not signed in, or not any more.",
  4101: "The server did not understand this page. Loading it anew may help.",
  4102: "This conversation is closed. You can still read it.",
  4103: "Your access to this conversation was taken back.",
  4104: "This conversation is not there any more.",
};

/** These are over for good. */
const OVER = new Set([4102, 4103, 4104]);

/** Says how the connection is, where it is not as it should be. */
export function Banner({ state, waiting, error, onAgain, onLeave }: BannerProps) {
  const code = (error as { code?: number | null } | null)?.code ?? 0;
  return (
    <div className="bargein-banner-place" role="status">
      {state === "ended" && error ? (
        <p className="bargein-banner" data-kind="ended">
          {WHY[code] ?? `There is no connection: ${error.message}.`}
          {!OVER.has(code) && (
            <button type="button" onClick={onAgain}>
              Try again
            </button>
          )}
          {OVER.has(code) && onLeave && (
            <button type="button" onClick={onLeave}>
              Begin a new one
            </button>
          )}
        </p>
      ) : (
        TROUBLE[state] && (
          <p className="bargein-banner" data-kind={state}>
            <span className="bargein-spinner" aria-hidden="true" />
            {TROUBLE[state]}
            {waiting > 0 && state !== "replaying" && " What you said is kept, and sent then."}
          </p>
        )
      )}
    </div>
  );
}

const TROUBLE: Record<string, string> = {
  connecting: "Connecting…",
  replaying: "Catching up…",
  waiting: "The connection is gone. Coming back…",
};
