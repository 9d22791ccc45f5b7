import { useEffect, useRef, useState } from "react";

import type { ActionView, Exchange } from "./activity";

interface AnnouncerProps {
  /** The session is there, with all that was said in it before. */
  ready: boolean;
  turns: readonly Exchange[];
  actions: readonly ActionView[];
}

const SENTENCE = /[^]*?(?:[.!?…]["')\]]?(?=\s)|\n)\s*/y;
/** It is a list to the eye; what it is marked with is not read out. */
const ITEM = /^[-*•] +/;
const KEPT = 30;

/**
 * Reads an answer out sentence by sentence, for those who hear the page.
 *
 * A screen reader that is given each token stammers, and one that is given the whole answer at its
 * end is late. What was said before the page came is not read out.
 */
export function Announcer({ ready, turns, actions }: AnnouncerProps) {
  const [lines, setLines] = useState<readonly { key: number; text: string }[]>([]);
  const read = useRef({ turnId: "", chars: 0, over: true, key: 0, first: true });
  const told = useRef(new Set<string>());
  const latest = turns.at(-1);

  useEffect(() => {
    if (!ready) return;
    const place = read.current;
    const news: string[] = [];
    if (place.first) {
      const { turn_id: turnId = "", assistant = "" } = latest ?? {};
      Object.assign(place, { turnId, chars: assistant.length, over: isOver(latest), first: false });
      for (const { action_id: id, state } of actions)
        if (state !== "proposed") told.current.add(id);
    }
    if (latest && latest.turn_id !== place.turnId) {
      Object.assign(place, { turnId: latest.turn_id, chars: 0, over: false });
    }
    if (latest && !place.over) {
      place.over = isOver(latest);
      const { sentences, chars } = split(latest.assistant, place.chars, place.over);
      place.chars = chars;
      news.push(...sentences);
      if (place.over && latest.interrupted) news.push("Stopped.");
    }
    for (const { action_id: id, state, summary } of actions) {
      if (state !== "proposed" || told.current.has(id)) continue;
      told.current.add(id);
      news.push(`To be confirmed: ${summary}.`);
    }
    if (news.length === 0) return;
    setLines((all) => [...all, ...news.map((text) => ({ key: ++place.key, text }))].slice(-KEPT));
  }, [ready, latest, actions]);

  return (
    <div className="bargein-heard-only" role="log" aria-live="polite" aria-label="Answers">
      {lines.map(({ key, text }) => (
        <p key={key}>{text}</p>
      ))}
    </div>
  );
}

function isOver(turn: Exchange | undefined): boolean {
  return turn?.status !== "open" && turn?.status !== "queued";
}

/** Return the sentences behind `from` that are whole, or all the rest where no more comes. */
export function split(text: string, from: number, over: boolean) {
  const sentences: string[] = [];
  let chars = from;
  for (;;) {
    SENTENCE.lastIndex = chars;
    const found = SENTENCE.exec(text);
    if (!found) break;
    chars = SENTENCE.lastIndex;
    sentences.push(found[0]);
  }
  if (over && chars < text.length) {
    sentences.push(text.slice(chars));
    chars = text.length;
  }
  const plain = sentences.map((one) => one.replace(ITEM, "").trim());
  return { sentences: plain.filter(Boolean), chars };
}
