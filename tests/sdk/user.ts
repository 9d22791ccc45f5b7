// What a TypeScript user writes: compiled against the packed package, and never run.
import { CommandRefused, connect, type Session, type TimelineEvent } from "bargein";
import { useBargein } from "bargein/react";
import * as React from "react";

export async function talk(): Promise<string> {
  const session: Session = await connect("wss://agents.example", { token: async () => "a.b.c" });
  const off: () => void = session.on("model.token", (event) => {
    const text: string = event.payload.text;
    // @ts-expect-error there is no such field
    event.payload.words;
    console.log(text);
  });
  session.on("flush", ({ turn_id }) => console.log(turn_id.length));
  // @ts-expect-error there is no such event
  session.on("model.tokens", () => {});
  // @ts-expect-error there is no such way to be busy
  await session.say("Hello", { whenBusy: "wait" });
  const { outcome } = await session.say("Hello", { whenBusy: "queue" });
  const queued: boolean = outcome === "queued";
  await session.say("Hello", { traceparent: `00-${"1".repeat(32)}-${"2".repeat(16)}-01` });
  session.on("turn.trace", ({ payload }) => {
    const slowest: number = Math.max(...payload.spans.map((span) => span.ms));
    // @ts-expect-error a span without a parent has none
    payload.spans[0].parent.length;
    console.log(slowest);
  });
  await session.confirm("conf_1", { args: { guests: 3 } });
  for await (const event of session) {
    switch (event.type) {
      case "action.proposed":
        console.log(event.payload.summary, event.payload.confirmation_id);
        break;
      case "cancel.stage":
        // @ts-expect-error it may be missing
        event.payload.heard.length;
        break;
      default:
        read(event);
    }
  }
  const { turns } = session.view.transcript;
  off();
  return `${turns.map((turn) => turn.assistant)} ${session.view.plan.steps.length} ${queued}`;
}

function read(event: TimelineEvent): number {
  return event.seq;
}

export function why(error: unknown): string | null {
  return error instanceof CommandRefused && error.code === "busy" ? error.param : null;
}

export function Chat(): string {
  const { view, state, session } = useBargein(React, "wss://agents.example", { token: "a.b.c" });
  void session?.interrupt();
  return `${state} ${view?.session.state}`;
}
