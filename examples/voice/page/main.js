import { connect } from "/sdk/index.js";
import { BrowserRecogniser, Conversation, SynthesiserSpeaker, TimedSpeaker } from "/sdk/voice.js";

import { Desk } from "./desk.js";
import { found } from "./dom.js";
import { Heard } from "./heard.js";
import { Proposals } from "./proposals.js";
import { Told } from "./told.js";
import { TranscriptList } from "./transcript.js";

const KEPT = "nightline.session";
const LINES = /** @type {Record<string, string>} */ ({
  connecting: "Connecting…",
  waiting: "The line is gone. Coming back…",
  ended: "The conversation is over.",
});
const here = location.origin.replace(/^http/, "ws");
const line = found("line", HTMLElement);

/** The browser's recogniser, or the one that somebody has put in its place, as tests do. */
function recogniserHere() {
  return /** @type {any} */ (globalThis).recogniser ?? BrowserRecogniser.here("en-GB");
}

async function begin(/** @type {boolean} */ withMicrophone) {
  const { start, quietly } = { start: found("start", HTMLButtonElement), quietly: found("quietly", HTMLButtonElement) };
  start.disabled = quietly.disabled = true;
  line.textContent = LINES["connecting"] ?? "";
  try {
    await talk(withMicrophone);
  } catch (error) {
    sessionStorage.removeItem(KEPT);
    line.textContent = `There is no conversation: ${error instanceof Error ? error.message : error}`;
    start.disabled = quietly.disabled = false;
  }
}

async function talk(/** @type {boolean} */ withMicrophone) {
  const session = await connect(here, { sessionId: sessionStorage.getItem(KEPT) ?? undefined });
  if (session.id) sessionStorage.setItem(KEPT, session.id);
  const speaker = await SynthesiserSpeaker.here();
  const recogniser = recogniserHere();
  const conversation = new Conversation(session, { recogniser, speaker: speaker ?? new TimedSpeaker() });
  /** @type {any} */ (globalThis).nightline = { session, conversation }; // for the browser's console

  found("welcome", HTMLElement).hidden = true;
  found("dock", HTMLElement).hidden = false;
  found("anew", HTMLButtonElement).hidden = false;
  const heard = new Heard(session);
  const list = new TranscriptList(found("turns", HTMLOListElement), found("talk", HTMLElement), heard);
  const proposals = new Proposals(found("proposals", HTMLElement), session);
  const told = new Told(found("told", HTMLElement), session);
  const show = () => {
    const { turns, unanswered = [] } = session.view.transcript;
    list.show(turns, unanswered);
    found("asks", HTMLElement).hidden = turns.length + unanswered.length > 0;
    proposals.show();
    told.show();
  };
  conversation.on("played", () => {
    const { playing, heardChars } = conversation.player;
    if (playing && heardChars !== null) heard.played(playing.turnId, heardChars);
    show();
  });
  session.on("view", show);
  session.on("connection", ({ state }) => (line.textContent = LINES[state] ?? ""));
  line.textContent = "";

  const sound = found("sound", HTMLButtonElement);
  sound.disabled = speaker === null;
  sound.title = speaker ? "" : "This browser has no voice: words are shown in their time.";
  sound.ariaPressed = String(speaker !== null);
  const aloud = (/** @type {boolean} */ on) => {
    conversation.player.speaker = on && speaker ? speaker : new TimedSpeaker();
  };
  const desk = new Desk(conversation, { recogniser, sound: aloud });
  const say = (/** @type {string} */ text) =>
    conversation.say(text).catch((error) => desk.tell(error.message));
  const typed = found("typed", HTMLFormElement);
  typed.onsubmit = (event) => {
    event.preventDefault();
    const text = found("words", HTMLInputElement).value.trim();
    if (text) void say(text);
    typed.reset();
  };
  for (const ask of document.querySelectorAll(".ask"))
    ask.addEventListener("click", () => {
      void say(ask.textContent ?? "");
      found("talk", HTMLElement).focus(); // the button is gone by then
    });
  await conversation.start(null);
  show();
  if (withMicrophone) await desk.listen();
  found("talk", HTMLElement).focus(); // so that the space bar is the key to talk
}

found("start", HTMLButtonElement).onclick = () => void begin(true);
found("quietly", HTMLButtonElement).onclick = () => void begin(false);
found("anew", HTMLButtonElement).onclick = () => {
  sessionStorage.removeItem(KEPT);
  location.reload();
};
if (sessionStorage.getItem(KEPT)) void begin(false);
