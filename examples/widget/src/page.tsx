// A page with nothing but the chat on it. In a page of your own, use <Chat> like this.
import { StrictMode, useState } from "react";
import { createRoot } from "react-dom/client";

import { Chat } from "./Chat";
import "./page.css";

const KEPT = "bargein.session";
const root = document.getElementById("page") as HTMLElement;
const address =
  root.dataset.address ?? import.meta.env.VITE_BARGEIN_ADDRESS ?? "ws://127.0.0.1:8710";

function Page() {
  // A tab that is loaded anew goes on where it was.
  const [sessionId, setSessionId] = useState(() => sessionStorage.getItem(KEPT) ?? undefined);
  const [visit, setVisit] = useState(1);
  const leave = () => {
    sessionStorage.removeItem(KEPT);
    setSessionId(undefined);
    setVisit(visit + 1);
  };
  return (
    <Chat
      key={visit}
      address={address}
      sessionId={sessionId}
      onSession={(id) => sessionStorage.setItem(KEPT, id)}
      onTitle={(title) => (document.title = title)}
      onLeave={leave}
    />
  );
}

createRoot(root).render(
  <StrictMode>
    <Page />
  </StrictMode>,
);
