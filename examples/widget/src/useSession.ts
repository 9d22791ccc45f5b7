import * as React from "react";
import type { ConnectOptions, Session } from "bargein";
import { useBargein } from "bargein/react";

import { Activities } from "./activity";

/** Words that were said and that the timeline does not have yet. */
export interface Unsaid {
  key: number;
  text: string;
  /** Why the server did not take them; null while they are on their way. */
  error: Error | null;
}

/** A session, what went on in its turns, and the words on their way to it. */
export function useSession(address: string, options: ConnectOptions) {
  const bargein = useBargein(React, address, options);
  const activities = useActivities(bargein.session);
  return { ...bargein, activities, ...useWords(bargein.session) };
}

function useActivities(session: Session | null): Activities {
  const [activities, setActivities] = React.useState(() => new Activities());
  React.useEffect(() => {
    if (!session) return;
    const all = new Activities();
    for (const event of session.log) all.take(event);
    setActivities(all);
    // Drawn with the views, which change with the same events.
    const stops = [
      session.on("*", (event) => all.take(event)),
      session.on("reset", () => all.clear()),
    ];
    return () => stops.forEach((stop) => stop());
  }, [session]);
  return activities;
}

function useWords(session: Session | null) {
  const [unsaid, setUnsaid] = React.useState<readonly Unsaid[]>([]);
  const count = React.useRef(0);
  const drop = (key: number) => setUnsaid((all) => all.filter((one) => one.key !== key));
  /** Say something; what is refused stays to be seen, and can be said again. */
  const say = (text: string, resume?: string) => {
    if (!session) return;
    const key = ++count.current;
    setUnsaid((all) => [...all, { key, text, error: null }]);
    session.say(text, { resume }).then(
      () => drop(key),
      (error: Error) =>
        setUnsaid((all) => all.map((one) => (one.key === key ? { ...one, error } : one))),
    );
  };
  return { unsaid, say, drop };
}

/**
 * Report how much of an answer is on the screen: after an interrupt the model is told of no more.
 *
 * A hidden tab shows nothing, and an answer that was over before the page came has been reported.
 */
export function useShown(session: Session | null) {
  const seenOpen = React.useRef(new Set<string>());
  const report = () => {
    const latest = session?.view.transcript.turns.at(-1);
    if (!session || !latest || document.hidden) return;
    if (latest.status === "open") seenOpen.current.add(latest.turn_id);
    if (seenOpen.current.has(latest.turn_id)) session.shown(latest.turn_id, latest.assistant);
  };
  React.useEffect(report);
  React.useEffect(() => {
    document.addEventListener("visibilitychange", report);
    return () => document.removeEventListener("visibilitychange", report);
  }, [session]);
}

/** The server's clock, as the newest events show it: what expires there is counted down by it. */
export function useServerClock(session: Session | null): () => number {
  const aheadMs = React.useRef<number | null>(null);
  React.useEffect(() => {
    aheadMs.current = null;
    return session?.on("*", ({ ts }) => {
      if (session.state !== "live") return; // a replay tells what time it was
      const seenMs = Date.parse(ts) - Date.now();
      // The event that was fastest here comes closest.
      aheadMs.current = Math.max(aheadMs.current ?? seenMs, seenMs);
    });
  }, [session]);
  return React.useCallback(() => Date.now() + (aheadMs.current ?? 0), []);
}
