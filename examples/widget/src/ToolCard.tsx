import type { ToolState, ToolUse } from "./activity";

const STATES: Record<ToolState, string> = {
  running: "under way",
  ok: "done",
  error: "failed",
  cancelled: "stopped",
  timeout: "took too long",
  skipped: "left out",
  proposed: "proposed",
  committing: "being done",
};

/** A tool that the agent uses: how far it is, and on demand what went in and came out. */
export function ToolCard({ tool }: { tool: ToolUse }) {
  const { title, state, args, result, progress, fraction } = tool;
  return (
    <details className="bargein-tool" data-state={state}>
      <summary>
        <span className="bargein-tick" aria-hidden="true" />
        <span className="bargein-tool-name">{title}</span>
        <span className="bargein-tool-state">
          {(state === "running" && progress) || STATES[state]}
        </span>
        {state === "running" && fraction !== null && (
          <progress value={fraction} aria-label={`${title}: how far it is`} />
        )}
      </summary>
      <dl>
        <dt>Asked with</dt>
        <dd>
          <Value value={args} />
        </dd>
        {state !== "running" && (
          <>
            <dt>Answer</dt>
            <dd>
              <Value value={result} />
            </dd>
          </>
        )}
      </dl>
    </details>
  );
}

/** Whatever a tool says is text here, never a part of the page. */
function Value({ value }: { value: unknown }) {
  if (value === null || value === undefined || value === "") return <i>nothing</i>;
  return (
    <pre tabIndex={0}>{typeof value === "string" ? value : JSON.stringify(value, null, 2)}</pre>
  );
}
