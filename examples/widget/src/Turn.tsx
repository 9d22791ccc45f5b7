import { memo } from "react";

import { ActionCard } from "./ActionCard";
import type { ActionView, Activity, Exchange, Fault } from "./activity";
import { Answer, Sources } from "./Answer";
import { Note } from "./Note";
import { Plan } from "./Plan";
import { ToolCard } from "./ToolCard";

interface TurnProps {
  turn: Exchange;
  activity: Activity;
  actions: readonly ActionView[];
  /** Nothing was said after it, so it can be taken up again. */
  latest: boolean;
  onSay: (text: string, resume?: string) => void;
  onRevert: (actionId: string) => Promise<unknown>;
}

/** One exchange: the words, what was done for the answer, and the answer. */
export const Turn = memo(function Turn({
  turn,
  activity,
  actions,
  latest,
  onSay,
  onRevert,
}: TurnProps) {
  const { steps, tools, sources, fault, status } = activity;
  const proposed = tools.filter((tool) => !BECAME_ACTIONS.has(tool.state));
  const open = turn.status === "open";
  return (
    <li className="bargein-turn" data-status={turn.status}>
      {turn.user && (
        <p className="bargein-user" data-state={turn.rolled_back ? "taken-back" : turn.status}>
          <span className="bargein-heard-only">You: </span>
          {turn.user}
        </p>
      )}
      {turn.status === "queued" && <p className="bargein-aside">Waits for its turn.</p>}
      {turn.status === "dropped" && <p className="bargein-aside">Not answered: it was dropped.</p>}
      {turn.rolled_back && <p className="bargein-aside">Taken back.</p>}
      {steps.length > 0 && <Plan steps={steps} />}
      {proposed.map((tool) => (
        <ToolCard key={tool.id} tool={tool} />
      ))}
      {open && status && <p className="bargein-aside">{status}</p>}
      <div className="bargein-answer">
        <span className="bargein-heard-only">Agent: </span>
        {open && turn.assistant === "" && <Thinking />}
        <Answer text={turn.assistant} sources={sources} />
        {turn.interrupted && (
          <p className="bargein-cut">
            {turn.assistant ? "You cut in here" : "You cut in before it said anything"}
          </p>
        )}
        {turn.status === "refused" && <p className="bargein-aside">This was not answered.</p>}
      </div>
      {sources.length > 0 && !open && <Sources sources={sources} />}
      {actions.map((action) => (
        <ActionCard key={action.action_id} action={action} onRevert={onRevert} />
      ))}
      {turn.status === "failed" && (
        <Failure fault={fault} turn={turn} latest={latest} onSay={onSay} />
      )}
    </li>
  );
}, sameTurn);

/** What these calls came to is shown as actions. */
const BECAME_ACTIONS = new Set(["proposed", "committing"]);

function Thinking() {
  return (
    <p className="bargein-thinking">
      <span className="bargein-heard-only">An answer is on its way.</span>
      <i aria-hidden="true" />
      <i aria-hidden="true" />
      <i aria-hidden="true" />
    </p>
  );
}

interface FailureProps {
  fault: Fault | null;
  turn: Exchange;
  latest: boolean;
  onSay: (text: string, resume?: string) => void;
}

function Failure({ fault, turn, latest, onSay }: FailureProps) {
  const text = fault?.message ?? "This answer broke off.";
  if (!latest || !fault || !(fault.retryable || fault.resume))
    return <Note text={text} old={!latest} />;
  const { resume } = fault;
  return resume ? (
    <Note text={text} label="Go on" onAct={() => onSay("", resume)} />
  ) : (
    <Note text={text} label="Ask again" onAct={() => onSay(turn.user)} />
  );
}

/** The views make new objects of all actions whenever anything changes. */
function sameTurn(before: TurnProps, now: TurnProps): boolean {
  return (
    before.turn === now.turn &&
    before.activity === now.activity &&
    before.latest === now.latest &&
    before.actions.length === now.actions.length &&
    before.actions.every((action, place) => action.state === now.actions[place]?.state)
  );
}
