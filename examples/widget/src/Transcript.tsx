import { useEffect, useLayoutEffect, useRef, useState } from "react";

import type { Activities, ActionView, Exchange } from "./activity";
import { Note } from "./Note";
import { Turn } from "./Turn";
import type { Unsaid } from "./useSession";

interface TranscriptProps {
  turns: readonly Exchange[];
  actions: readonly ActionView[];
  activities: Activities;
  unsaid: readonly Unsaid[];
  connected: boolean;
  onSay: (text: string, resume?: string) => void;
  onDrop: (key: number) => void;
  onRevert: (actionId: string) => Promise<unknown>;
}

const NEAR_END_PX = 48;
const NONE: readonly ActionView[] = [];

/** What was said, oldest first; it follows the newest words unless somebody reads further up. */
export function Transcript(props: TranscriptProps) {
  const { turns, actions, activities, unsaid, connected, onSay, onDrop, onRevert } = props;
  const box = useRef<HTMLDivElement>(null);
  const [follows, setFollows] = useState(true);
  const actionsOf = new Map<string, ActionView[]>();
  for (const action of actions) {
    const known = actionsOf.get(action.turn_id);
    if (known) known.push(action);
    else actionsOf.set(action.turn_id, [action]);
  }
  const toEnd = () => box.current?.scrollTo({ top: box.current.scrollHeight });

  useLayoutEffect(() => {
    if (follows) toEnd();
  });
  useEffect(() => {
    // The box may get smaller, too: a keyboard on a phone, a proposal below it.
    const watch = new ResizeObserver(() => follows && toEnd());
    if (box.current) watch.observe(box.current);
    return () => watch.disconnect();
  }, [follows]);

  return (
    <div className="bargein-middle">
      <div
        ref={box}
        className="bargein-transcript"
        role="region"
        aria-label="What was said"
        tabIndex={0}
        onScroll={({ currentTarget: { scrollHeight, scrollTop, clientHeight } }) =>
          setFollows(scrollHeight - scrollTop - clientHeight < NEAR_END_PX)
        }
      >
        {turns.length + unsaid.length === 0 && connected && (
          <p className="bargein-empty">
            Ask something. You need not wait for the end of an answer: say the next thing, and it
            stops.
          </p>
        )}
        <ol>
          {turns.map((turn, place) => (
            <Turn
              key={turn.turn_id}
              turn={turn}
              activity={activities.of(turn.turn_id)}
              actions={actionsOf.get(turn.turn_id) ?? NONE}
              latest={place === turns.length - 1}
              onSay={onSay}
              onRevert={onRevert}
            />
          ))}
          {unsaid.map(({ key, text, error }) => (
            <li key={key} className="bargein-turn">
              {text && (
                <p className="bargein-user" data-state="unsaid">
                  {text}
                </p>
              )}
              {error && (
                <Note
                  text={`That was not taken: ${error.message}`}
                  {...((error as { retryable?: boolean }).retryable && {
                    label: "Try again",
                    onAct: () => (onDrop(key), onSay(text)),
                  })}
                  onClose={() => onDrop(key)}
                />
              )}
            </li>
          ))}
        </ol>
      </div>
      {!follows && (
        <button
          type="button"
          className="bargein-latest"
          onClick={() => (setFollows(true), toEnd())}
        >
          <span aria-hidden="true">↓</span> Newest words
        </button>
      )}
    </div>
  );
}
