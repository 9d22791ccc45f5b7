// What went on in a turn beside its words: plan, tools, sources, faults. Folded from the events,
// because the session's views leave it out. Each turn's value is replaced, never changed, so a turn
// in which nothing happened need not be drawn again.
import type { Session, TimelineEvent } from "bargein";

type Events = { [E in TimelineEvent as E["type"]]: E["payload"] };
export type Step = Events["plan.ready"]["steps"][number];
export type ToolState = "running" | Events["tool.result"]["status"];
export type Exchange = Session["view"]["transcript"]["turns"][number];
export type ActionView = Session["view"]["actions"]["actions"][number];

export interface ToolUse {
  id: string;
  title: string;
  args: Record<string, unknown>;
  state: ToolState;
  progress: string;
  /** 0 to 1, where the tool says how far it is. */
  fraction: number | null;
  result: unknown;
}

export interface Source {
  n: number;
  title: string;
  /** Where in the document. */
  place: string;
  /** Null where it is no address that a page may link to. */
  url: string | null;
  source: string;
  snippet: string;
}

export interface Fault {
  code: string;
  message: string;
  retryable: boolean;
  /** Takes the turn up where it broke off. */
  resume: string | null;
}

export interface Activity {
  steps: readonly Step[];
  tools: readonly ToolUse[];
  sources: readonly Source[];
  fault: Fault | null;
  /** A line on what is going on now. */
  status: string;
}

export const NOTHING: Activity = { steps: [], tools: [], sources: [], fault: null, status: "" };

/** The activity of all turns, as far as the events have come. */
export class Activities {
  #turns = new Map<string, Activity>();

  of(turnId: string): Activity {
    return this.#turns.get(turnId) ?? NOTHING;
  }

  take(event: TimelineEvent): void {
    const { turn_id: turnId } = event;
    if (turnId === null) return;
    const before = this.of(turnId);
    const now = follow(before, event);
    if (now !== before) this.#turns.set(turnId, now);
  }

  clear(): void {
    this.#turns.clear();
  }
}

/** Return the activity after an event; the same object where the event says nothing of it. */
export function follow(now: Activity, { type, payload }: TimelineEvent): Activity {
  switch (type) {
    case "plan.ready":
      return { ...now, steps: payload.steps.map((step) => ({ ...step })) };
    case "plan.step": {
      const { id, state } = payload;
      return { ...now, steps: now.steps.map((one) => (one.id === id ? { ...one, state } : one)) };
    }
    case "tool.call":
      return { ...now, tools: [...now.tools, begun(payload)] };
    case "tool.progress": {
      const { call_id: id, text, fraction = null } = payload;
      return changed(now, id, { progress: text, fraction });
    }
    case "tool.result":
      return changed(now, payload.call_id, { state: payload.status, result: payload.result });
    case "object":
      if (payload.kind !== "citations" || !Array.isArray(payload.data)) return now;
      return { ...now, sources: [...now.sources, ...payload.data.flatMap(sourceOf)] };
    case "status":
      return { ...now, status: payload.text };
    case "error": {
      const { code, message, retryable, recover } = payload;
      return { ...now, fault: { code, message, retryable, resume: recover?.resume_token ?? null } };
    }
    case "response.end":
      return { ...now, status: "", steps: closed(now.steps, payload.status === "failed") };
    default:
      return now;
  }
}

function begun({ call_id: id, tool, title, args }: Events["tool.call"]): ToolUse {
  const named = title ?? tool.replaceAll("_", " ");
  return { id, title: named, args, state: "running", progress: "", fraction: null, result: null };
}

function changed(now: Activity, id: string, change: Partial<ToolUse>): Activity {
  return {
    ...now,
    tools: now.tools.map((tool) => (tool.id === id ? { ...tool, ...change } : tool)),
  };
}

/** No step outlives its turn. */
function closed(steps: readonly Step[], failed: boolean): Step[] {
  return steps.map((step) => {
    if (step.state === "active") return { ...step, state: failed ? "failed" : "cancelled" };
    return step.state === "pending" ? { ...step, state: "skipped" } : step;
  });
}

/** Read a citation; it comes from documents, so nothing of it is taken for granted. */
function sourceOf(found: unknown): Source[] {
  if (typeof found !== "object" || found === null) return [];
  const { n, title, heading, source, url, snippet } = found as Record<string, unknown>;
  if (typeof n !== "number") return [];
  const text = (value: unknown) => (typeof value === "string" ? value : "");
  const named = text(title) || text(source) || `Source ${n}`;
  return [
    {
      n,
      title: named,
      place: text(heading)
        .replace(named, "")
        .replace(/^[ >]+/, ""),
      url: webAddress(text(url)) ?? webAddress(text(source)),
      source: text(source),
      snippet: text(snippet),
    },
  ];
}

/** `javascript:` and its like are addresses, too: only those of the web become links. */
export function webAddress(text: string): string | null {
  if (!/^https?:\/\//i.test(text)) return null;
  return URL.canParse(text) ? new URL(text).href : null;
}
