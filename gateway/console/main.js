/** @import {CommandRefused} from "/sdk/index.js" */
/** @import {Route} from "./route.js" */

import { SessionEnded } from "/sdk/index.js";
import { Announcer } from "./announcer.js";
import { Composer } from "./composer.js";
import { Credentials } from "./credentials.js";
import { Desk } from "./desk.js";
import { part, show } from "./dom.js";
import { Door } from "./door.js";
import { Frames } from "./frames.js";
import { Header } from "./header.js";
import { Heard } from "./heard.js";
import { Notices } from "./notices.js";
import { Panels } from "./panels.js";
import { Proposals } from "./proposals.js";
import { ReplayBar } from "./replay_bar.js";
import { fragmentOf, readRoute, replaceRoute } from "./route.js";
import { Sessions } from "./sessions.js";
import { Talk } from "./talk.js";
import { Theme } from "./theme.js";
import { Timeline } from "./timeline.js";

const frames = new Frames(draw);
const changed = () => frames.request();

const notices = new Notices();
const credentials = new Credentials();
const theme = new Theme(part("theme", HTMLButtonElement));
const panels = new Panels(changed);
const heard = new Heard();
const announcer = new Announcer();
const door = new Door(credentials, anew);
const refused = (/** @type {string} */ why) => {
  show(part("token", HTMLElement), true);
  door.ask(why);
};
const sessions = new Sessions(credentials, refused);
const desk = new Desk(credentials, {
  changed,
  refused,
  listed: () => sessions.soon(),
  tell: (text) => notices.tell(text),
});
const header = new Header(comeIn);
/** Whether the server lets this page in; words wait for it. */
let entered = Promise.resolve(false);

/**
 * Ask the server for something, and say so if it will not.
 *
 * @param {() => Promise<unknown> | undefined} what
 * @returns {Promise<boolean>} Whether it did.
 */
async function attempt(what) {
  try {
    await what();
    return true;
  } catch (error) {
    const { code, message } = /** @type {CommandRefused} */ (error);
    // Where the session itself is gone, the page says so already.
    if (typeof code !== "number" && code !== null) notices.tell(message);
    return false;
  }
}

const proposals = new Proposals({
  confirm: async ({ confirmation_id: id }, args) =>
    void (await attempt(() => desk.session?.confirm(id, args && { args }))),
  reject: async ({ confirmation_id: id }) => void (await attempt(() => desk.session?.reject(id))),
  revert: async ({ action_id: id }) => void (await attempt(() => desk.session?.revert(id))),
});
const talk = new Talk(
  {
    inspect: (turnId) => {
      timeline.showTurn(turnId);
      panels.open("timeline");
    },
    resume: (token) => void attempt(() => desk.session?.say("", { resume: token })),
  },
  proposals,
  changed,
);
const composer = new Composer({ say, stop: () => void attempt(() => desk.session?.interrupt()) });
const bar = new ReplayBar({ changed, remake: (skips) => desk.remake(skips) });
const timeline = new Timeline(theme, changed, {
  chosen: (seq) => {
    if (desk.sessionId !== null) replaceRoute({ sessionId: desk.sessionId, mode: desk.mode, seq });
  },
  linkTo: (seq) => {
    const { sessionId, mode } = desk;
    return `${location.origin}${location.pathname}${fragmentOf({ sessionId, mode, seq })}`;
  },
});

/** @param {string} text @returns {Promise<boolean>} Whether the words were taken. */
async function say(text) {
  const sent = talk.sending(text);
  const hand = async () => {
    const fresh = desk.sessionId === null;
    const session = await desk.spoken();
    if (!session) throw new Error(desk.problem || "The session was left before this was said.");
    if (fresh) replaceRoute({ sessionId: session.id, mode: "drive", seq: null });
    try {
      await session.say(text);
    } catch (error) {
      // The session is gone, and whether it had them before that is not known.
      if (!(error instanceof SessionEnded)) throw error;
      throw new Error(`Your words may not have arrived: ${error.message}.`);
    }
  };
  const taken = (await entered) && (await attempt(hand));
  sent();
  return taken;
}

/** @returns {boolean} Whether the next frame is new without anything that comes. */
function draw() {
  desk.follow();
  const plays = desk.replay?.tick() ?? false;
  const { scene } = desk;
  sessions.mark(desk.sessionId);
  header.draw(desk);
  talk.draw(scene);
  heard.draw(scene, talk);
  announcer.draw(scene);
  composer.draw(desk.speaks, desk.answering);
  bar.draw(desk.replay);
  const moves = timeline.draw(scene);
  return plays || (moves && scene?.mode !== "replay");
}

/** @param {Route} route */
async function go(route) {
  if (route.sessionId !== null && route.sessionId === desk.sessionId && route.mode === desk.mode) {
    if (route.seq !== null) jump(route.seq);
    return;
  }
  talk.clear();
  panels.open("talk");
  await desk.open(route, bar.skips, sessions.lastSeqOf(route.sessionId));
  if (desk.phase !== "open") return;
  if (desk.replay) desk.replay.speed = bar.speed;
  if (route.seq !== null) jump(route.seq);
  else desk.replay?.play();
  changed();
}

/** Show an event; in a replay, the moment when it came. @param {number} seq */
function jump(seq) {
  desk.replay?.pause();
  desk.replay?.seekTo(seq);
  draw();
  timeline.choose(seq);
}

/** Another token, or none any more: nothing stays of what was seen with the one before. */
function anew() {
  desk.leave();
  talk.clear();
  announcer.clear();
  sessions.clear();
  // A fresh token may be the same person's, who goes on writing.
  if (credentials.token === null) composer.clear();
  changed();
  comeIn();
}

/** Come in: with the token that there is, or with none. */
function comeIn() {
  show(part("token", HTMLElement), credentials.token !== null);
  const asked = (entered = sessions.load());
  void asked.then((open) => {
    if (!open || asked !== entered) return;
    desk.leave();
    void go(readRoute(location.hash));
  });
}

part("new-session", HTMLButtonElement).addEventListener("click", () => {
  history.pushState(null, "", `${location.pathname}${location.search}`);
  void go(readRoute("")).then(() => composer.focus());
});
part("token", HTMLButtonElement).addEventListener("click", () => door.ask(""));
part("skip", HTMLButtonElement).addEventListener("click", () => composer.focus());
addEventListener("hashchange", () => void go(readRoute(location.hash)));
addEventListener("popstate", () => void go(readRoute(location.hash)));
document.addEventListener("visibilitychange", changed);
comeIn();
