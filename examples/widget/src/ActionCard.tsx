import { useState } from "react";

import type { ActionView } from "./activity";
import { Note } from "./Note";

const STATES: Record<string, string> = {
  proposed: "waits for your yes",
  confirmed: "confirmed",
  committing: "being done",
  committed: "done",
  rejected: "not done",
  expired: "not done: nobody said yes in time",
  failed: "could not be done",
  in_doubt: "nobody knows whether it happened",
  reverting: "being undone",
  reverted: "undone",
  revert_failed: "could not be undone",
};

const WHY_NOT: Record<string, string> = {
  refused: "not done: the answer was no",
  interrupted: "not done: you cut in",
};

interface ActionCardProps {
  action: ActionView;
  onRevert: (actionId: string) => Promise<unknown>;
}

/** What the agent wants done, or had done, and what became of it. */
export function ActionCard({ action, onRevert }: ActionCardProps) {
  const [refused, setRefused] = useState("");
  const { state, summary, reason, result, error } = action;
  const why =
    state === "rejected" && reason ? (WHY_NOT[reason] ?? `not done: ${reason}`) : STATES[state];
  const outcome = error ?? (state === "committed" || state === "reverted" ? result : null);
  return (
    <div className="bargein-action" data-state={state}>
      <span className="bargein-tick" aria-hidden="true" />
      <p>
        <strong>{summary}</strong>
        <span className="bargein-action-state">{why ?? state}</span>
        {outcome != null && <span className="bargein-outcome">{shown(outcome)}</span>}
      </p>
      {state === "committed" && action.effect === "side_effect" && (
        <button
          type="button"
          className="bargein-quiet"
          onClick={() => onRevert(action.action_id).catch((met: Error) => setRefused(met.message))}
        >
          Undo
        </button>
      )}
      {refused && <Note text={refused} onClose={() => setRefused("")} />}
    </div>
  );
}

function shown(value: unknown): string {
  return typeof value === "string" ? value : JSON.stringify(value);
}
