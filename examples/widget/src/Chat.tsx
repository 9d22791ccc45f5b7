import { useEffect, useRef, useState } from "react";
import type { ConnectOptions } from "bargein";

import { Announcer } from "./Announcer";
import { Banner } from "./Banner";
import { Composer } from "./Composer";
import { Proposals } from "./Proposals";
import { Transcript } from "./Transcript";
import { useServerClock, useSession, useShown } from "./useSession";
import "./chat.css";

export interface ChatProps {
  /** `wss://host` of a server, or the URL of one session. */
  address: string;
  /** A JWT, or a function that gives a fresh one whenever it is asked. */
  token?: ConnectOptions["token"];
  /** A session to come back to; `onSession` names the one that there is. */
  sessionId?: string | undefined;
  onSession?: (id: string) => void;
  onTitle?: (title: string) => void;
  /** Somebody wants to begin anew; without it there is no button for that. */
  onLeave?: () => void;
  /** `auto` follows the system. */
  theme?: "auto" | "light" | "dark";
}

/** A conversation with an agent, as wide and as high as the box that it is in. */
export function Chat({ sessionId, onSession, ...props }: ChatProps) {
  const [attempt, setAttempt] = useState({ count: 0, sessionId });
  const id = useRef(sessionId);
  return (
    <Conversation
      {...props}
      key={attempt.count}
      sessionId={attempt.sessionId}
      onSession={(found) => {
        id.current = found;
        onSession?.(found);
      }}
      onAgain={() => setAttempt({ count: attempt.count + 1, sessionId: id.current })}
    />
  );
}

function Conversation({
  address,
  token,
  sessionId,
  theme = "auto",
  ...props
}: ChatProps & { onAgain: () => void }) {
  const { session, view, state, error, activities, unsaid, say, drop } = useSession(address, {
    token: token ?? null,
    ...(sessionId !== undefined && { sessionId }),
  });
  const now = useServerClock(session);
  const words = useRef<HTMLTextAreaElement>(null);
  useShown(session);

  const id = session?.id ?? null;
  const title = view?.session.title ?? null;
  useEffect(() => void (id !== null && props.onSession?.(id)), [id]);
  useEffect(() => void (title !== null && props.onTitle?.(title)), [title]);

  const turns = view?.transcript.turns ?? [];
  const actions = view?.actions.actions ?? [];
  const answering = view?.session.turn_id != null;
  // An error is told by the server, and it may be over before it is read.
  const stop = () => void session?.interrupt({ reason: "stopped by the user" }).catch(() => {});

  return (
    <section
      className="bargein"
      data-theme={theme}
      aria-label={title ?? "Conversation"}
      onKeyDown={(event) => {
        // Where Escape has closed something, it has done its work.
        if (event.key === "Escape" && !event.defaultPrevented && answering) stop();
      }}
    >
      <header className="bargein-head">
        <h1>{title ?? "New conversation"}</h1>
        <span className="bargein-agent">{view?.session.agent ?? ""}</span>
        {props.onLeave && turns.length > 0 && (
          <button type="button" className="bargein-quiet" onClick={props.onLeave}>
            Start over
          </button>
        )}
      </header>
      <Banner
        state={state}
        waiting={session?.waiting ?? 0}
        error={error}
        onAgain={props.onAgain}
        onLeave={props.onLeave}
      />
      <Transcript
        turns={turns}
        actions={actions}
        activities={activities}
        unsaid={unsaid}
        connected={session !== null}
        onSay={say}
        onDrop={drop}
        onRevert={(actionId) => session?.revert(actionId) ?? Promise.resolve()}
      />
      <Proposals
        session={session}
        actions={actions}
        now={now}
        onDone={() => words.current?.focus()}
      />
      <Composer
        ref={words}
        disabled={session === null || state === "ended"}
        answering={answering}
        onSay={say}
        onStop={stop}
      />
      <Announcer ready={session !== null} turns={turns} actions={actions} />
    </section>
  );
}
