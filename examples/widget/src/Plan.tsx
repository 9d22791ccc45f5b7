import type { Step } from "./activity";

const STATES: Record<Step["state"], string> = {
  pending: "to do",
  active: "under way",
  done: "done",
  failed: "failed",
  skipped: "skipped",
  cancelled: "stopped",
};

/** The steps to an answer, ticked off as they are done. */
export function Plan({ steps }: { steps: readonly Step[] }) {
  const done = steps.filter((step) => step.state === "done").length;
  return (
    <details className="bargein-plan" open>
      <summary>
        Plan
        <span className="bargein-count">
          {done} of {steps.length}
        </span>
      </summary>
      <ol>
        {steps.map((step) => (
          <li key={step.id} data-state={step.state}>
            <span className="bargein-tick" aria-hidden="true" />
            <span>
              {step.title}
              <span className="bargein-heard-only">, {STATES[step.state]}</span>
            </span>
          </li>
        ))}
      </ol>
    </details>
  );
}
