import { useEffect, useRef, useState } from "react";
import type { Session } from "bargein";

import type { ActionView } from "./activity";
import { ArgsDialog } from "./ArgsDialog";

interface ProposalsProps {
  session: Session | null;
  actions: readonly ActionView[];
  /** The server's time, in ms UTC. */
  now: () => number;
  /** The last one is decided: whoever was here has to go somewhere. */
  onDone: () => void;
}

/**
 * What waits for a person: above the words that are being typed, and taking nothing from them.
 *
 * Not a modal dialog, because the answer goes on beside it and may be cut short as ever.
 */
export function Proposals({ session, actions, now, onDone }: ProposalsProps) {
  const box = useRef<HTMLElement>(null);
  const had = useRef(false);
  const waiting = actions.filter(({ state }) => state === "proposed" || state === "in_doubt");
  const names = waiting.map(({ action_id: id, state }) => id + state).join();

  useEffect(() => {
    // A button that goes takes the focus with it.
    if (had.current && document.activeElement === document.body) onDone();
    had.current = false;
  }, [names]);

  if (!session || waiting.length === 0) return null;
  return (
    <section
      ref={box}
      className="bargein-proposals"
      aria-label="To be decided"
      onFocus={() => (had.current = true)}
      onBlur={({ relatedTarget }) => {
        if (relatedTarget) had.current = box.current?.contains(relatedTarget as Node) ?? false;
      }}
    >
      {waiting.map((action) => (
        <Proposal
          key={action.action_id + action.state}
          session={session}
          action={action}
          now={now}
        />
      ))}
    </section>
  );
}

function Proposal({
  session,
  action,
  now,
}: {
  session: Session;
  action: ActionView;
  now: () => number;
}) {
  const [edits, setEdits] = useState(false);
  const [asked, setAsked] = useState(false);
  const [refused, setRefused] = useState("");
  const { action_id: id, confirmation_id: confirmation, summary, state, args } = action;
  const doubtful = state === "in_doubt";

  const decide = async (decision: Promise<unknown>) => {
    setAsked(true);
    setRefused("");
    try {
      await decision;
      setEdits(false);
    } catch (error) {
      setRefused((error as Error).message);
    } finally {
      setAsked(false);
    }
  };

  return (
    <div
      className="bargein-proposal"
      role="group"
      aria-labelledby={`summary-${id}`}
      data-state={state}
    >
      <p id={`summary-${id}`} className="bargein-question">
        {doubtful ? `Did this happen? ${summary}` : summary}
      </p>
      {doubtful ? (
        <p className="bargein-aside">The server can't find out. Please look, and say what is so.</p>
      ) : (
        <Countdown until={action.expires_at} now={now} />
      )}
      <div className="bargein-buttons">
        <button
          type="button"
          className="bargein-yes"
          disabled={asked}
          onClick={() => decide(session.confirm(confirmation))}
        >
          {doubtful ? "It happened" : "Confirm"}
        </button>
        {!doubtful && Object.keys(args).length > 0 && (
          <button
            type="button"
            disabled={asked}
            aria-haspopup="dialog"
            onClick={() => setEdits(true)}
          >
            Change…
          </button>
        )}
        <button type="button" disabled={asked} onClick={() => decide(session.reject(confirmation))}>
          {doubtful ? "It did not" : "Reject"}
        </button>
      </div>
      {refused && !edits && (
        <p className="bargein-refused" role="alert">
          {refused}
        </p>
      )}
      {edits && (
        <ArgsDialog
          title={summary}
          args={args}
          asked={asked}
          refused={refused}
          onConfirm={(changed) => decide(session.confirm(confirmation, { args: changed }))}
          onClose={() => (setEdits(false), setRefused(""))}
        />
      )}
    </div>
  );
}

/** How long there is to decide. A screen reader is told on demand, not every second. */
function Countdown({ until, now }: { until: string; now: () => number }) {
  const [leftS, setLeftS] = useState(() => secondsLeft(until, now));
  useEffect(() => {
    const timer = setInterval(() => setLeftS(secondsLeft(until, now)), 250);
    return () => clearInterval(timer);
  }, [until, now]);
  const clock = `${Math.floor(leftS / 60)}:${String(leftS % 60).padStart(2, "0")}`;
  return (
    <p className="bargein-countdown" data-hurry={leftS <= 15}>
      {leftS > 0 ? (
        <>
          Nothing is done before your yes. <span role="timer">{clock}</span> left.
        </>
      ) : (
        "The time is up."
      )}
    </p>
  );
}

function secondsLeft(until: string, now: () => number): number {
  return Math.max(0, Math.ceil((Date.parse(until) - now()) / 1000));
}
