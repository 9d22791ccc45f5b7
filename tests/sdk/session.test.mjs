// What the SDK does, fact by fact, against a server of a few lines.
import assert from "node:assert/strict";
import { getEventListeners } from "node:events";
import { afterEach, beforeEach, mock, test } from "node:test";

import { connect, QueueFull, SessionEnded } from "../../sdk/javascript/src/index.js";
import {
  dial,
  event,
  FakeSocket,
  hello,
  live,
  nextSocket,
  opening,
  pass,
  refusal,
  reply,
  settle,
  sockets,
  started,
  stopTime,
  token,
} from "./wire.mjs";

beforeEach(stopTime);
afterEach(() => {
  mock.timers.reset();
  mock.restoreAll();
});

const resumed = (seq, more = {}) =>
  hello({ resumed: true, replay_from: seq + 1, replay_to: seq, ...more });
const QUIET = { heartbeat_s: 1000 };
const shownNow = (session) => session.view.transcript.turns.at(-1)?.assistant;

// --- the address and the token ------------------------------------------------------------

test("without encryption only this machine is talked to", async () => {
  for (const address of ["ws://example.org", "http://10.0.0.1:8710", "ws://localhost.evil.org"]) {
    await assert.rejects(connect(address, { WebSocket: FakeSocket }), /without encryption/);
  }
  for (const address of ["ws://localhost:8710", "ws://127.0.0.1", "ws://[::1]:1", "wss://a.org"]) {
    await dial({}, address);
    assert.equal(sockets.length, 1, address);
    assert.equal(sockets[0].url.pathname, "/v1/session");
  }
});

test("a token in a URL is refused", async () => {
  for (const address of ["wss://a.org/?token=x", "wss://me:pw@a.org", "ftp://a.org"]) {
    await assert.rejects(connect(address, { WebSocket: FakeSocket }), { name: "AddressRefused" });
  }
});

test("a token is offered as a subprotocol", async () => {
  const { socket } = await dial({ token: "a.b.c" });
  assert.deepEqual(socket.protocols, ["bargein.v1", "bargein.jwt.a.b.c"]);
  assert.ok(!socket.url.href.includes("a.b.c"));
});

test("an old session is attached to from its beginning", async () => {
  const { socket } = await dial({}, "ws://localhost/v1/session/sess_9");
  assert.equal(socket.url.pathname, "/v1/session/sess_9");
  assert.equal(socket.url.search, "");
  const { socket: other } = await dial({ sessionId: "sess_8", role: "watch" });
  assert.equal(other.url.pathname, "/v1/session/sess_8");
  assert.equal(other.url.search, "?role=watch");
});

test("a session can be connected to when all there is has come", async () => {
  const { connecting, socket } = await dial({ sessionId: "sess_1" });
  let connected = false;
  connecting.then(() => (connected = true));
  socket.gives(hello({ replay_to: 3 }), ...opening());
  await settle();
  assert.equal(connected, false);
  socket.gives(live(3));
  const session = await connecting;
  assert.equal(session.view.transcript.turns[0].user, "Hi");
});

test("who is never answered is told so", async () => {
  const { connecting } = await dial({ connectMs: 5000, dialMs: 2000 });
  await pass(5000);
  await assert.rejects(connecting, { name: "SessionEnded", message: "nobody answered" });
  assert.ok(sockets.length > 1, "it dialed more than once");
});

test("who has no token for long is told why", async () => {
  let asked = 0;
  const token = async () => (asked++, Promise.reject(new Error("the provider is down")));
  const { connecting } = await dial({ token, connectMs: 5000 });
  await pass(5000);
  await assert.rejects(connecting, /the provider is down/);
  assert.ok(asked > 2);
});

test("a token that is near its end is renewed on the connection", async () => {
  const jwt = (seconds) => `x.${btoa(JSON.stringify({ exp: Date.now() / 1000 + seconds }))}.y`;
  let given = 0;
  const provider = async () => (given++, jwt(300));
  const { socket } = await started({ token: provider }, opening(), QUIET);
  await pass(239_000);
  assert.equal(given, 1);
  await pass(2000);
  assert.equal(given, 2);
  const [command] = socket.sentOf("auth");
  assert.match(command.token, /^x\./);
  socket.gives(reply(command));
  await pass(241_000);
  assert.equal(given, 3, "and again");
  assert.equal(sockets.length, 1);
});

test("a token that was refused is asked for anew once, and then it is over", async () => {
  let given = 0;
  const { connecting, socket } = await dial({ token: () => `t${++given}` });
  socket.closes(4100);
  const second = await nextSocket();
  assert.deepEqual(second.protocols[1], "bargein.jwt.t2");
  second.closes(4100, "no");
  await assert.rejects(connecting, { code: 4100 });
});

test("who hands in a token comes back with it", async () => {
  const { session, socket } = await started({ token: "old" });
  const done = session.authenticate("new");
  socket.gives(reply(socket.sentOf("auth")[0]));
  await done;
  socket.closes(1006);
  assert.equal((await nextSocket()).protocols[1], "bargein.jwt.new");
});

// --- coming back --------------------------------------------------------------------------

for (const code of [1000, 1001, 1006, 1009, 1011, 4000, 4001, 4002, 4003, 4004]) {
  test(`after ${code} it comes back where it was`, async () => {
    const { session, socket } = await started();
    socket.closes(code);
    const next = await nextSocket();
    assert.equal(next.url.href, "ws://localhost/v1/session/sess_1?after=3&epoch=e1");
    assert.notEqual(session.state, "ended");
  });
}

for (const code of [4100, 4101, 4102, 4103, 4104]) {
  test(`after ${code} it does not come back`, async () => {
    const { session, socket } = await started();
    const answer = session.say("x");
    let told = null;
    session.on("ended", (error) => (told = error));
    socket.closes(code, "so it is");
    await assert.rejects(answer, { name: "SessionEnded", code });
    assert.equal(told.code, code);
    assert.equal(session.state, "ended");
    assert.equal(await nextSocket(60_000), null);
  });
}

test("each failure makes the next wait longer, up to the most, and with jitter", async () => {
  const waits = [];
  const { session, socket } = await started();
  session.on("connection", ({ state, waitMs }) => state === "waiting" && waits.push(waitMs));
  socket.closes(1006);
  for (let turn = 0; turn < 9; turn++) (await nextSocket(40_000)).closes(1006);
  const most = [500, 1000, 2000, 4000, 8000, 16_000, 30_000, 30_000, 30_000, 30_000];
  assert.deepEqual(waits, most.map((ms) => ms * 0.999));
  const back = await nextSocket(40_000);
  back.gives(resumed(3), live(3));
  back.closes(1006);
  assert.equal(waits.at(-1), 499.5);
});

test("a server that goes away says when to come back", async () => {
  const { socket } = await started();
  socket.gives({ type: "go_away", reason: "drain", reconnect_after_ms: 5000 });
  socket.gives(token(4, "still read"));
  socket.closes(4000);
  await pass(4990);
  assert.equal(sockets.length, 1);
  assert.ok(await nextSocket(1000));
});

test("a new session that was never stored is opened again", async () => {
  const { connecting, socket } = await dial();
  socket.gives(hello());
  socket.closes(1006);
  const second = await nextSocket();
  assert.equal(second.url.pathname, "/v1/session/sess_1");
  second.closes(4104);
  const third = await nextSocket();
  assert.equal(third.url.href, "ws://localhost/v1/session");
  third.gives(hello({ session_id: "sess_2" }), live(0));
  assert.equal((await connecting).id, "sess_2");
});

test("another history throws the old one away", async () => {
  const { session, socket } = await started();
  let resets = 0;
  session.on("reset", () => resets++);
  socket.closes(1006);
  const next = await nextSocket();
  const [first, ...rest] = opening();
  next.gives(hello({ epoch: "e2", replay_to: 1 }), first, live(1));
  assert.equal(resets, 1);
  assert.deepEqual(session.log, [first]);
  assert.deepEqual(session.view.transcript.turns, []);
  next.gives(...rest);
  next.closes(1006);
  assert.match((await nextSocket()).url.search, /after=3&epoch=e2/);
});

test("readers begin anew with another history", async () => {
  const { session, socket } = await started();
  const reader = session.events();
  const read = async (count) => {
    const seqs = [];
    while (seqs.length < count) seqs.push((await reader.next()).value.event_id);
    return seqs;
  };
  assert.deepEqual(await read(3), ["evt_1", "evt_2", "evt_3"]);
  socket.closes(1006);
  const next = await nextSocket();
  const others = opening().map((found) => ({ ...found, event_id: `new_${found.seq}` }));
  next.gives(hello({ epoch: "e2", replay_to: 3 }), ...others, live(3));
  assert.deepEqual(await read(3), ["new_1", "new_2", "new_3"]);
});

test("a network that is back is used at once", async () => {
  const listeners = new Map();
  globalThis.addEventListener = (name, listener) => listeners.set(name, listener);
  globalThis.removeEventListener = (name) => listeners.delete(name);
  try {
    const { session, socket } = await started();
    socket.closes(1006);
    listeners.get("online")();
    await settle();
    assert.equal(sockets.length, 2);
    session.disconnect();
    assert.equal(listeners.size, 0);
  } finally {
    delete globalThis.addEventListener;
    delete globalThis.removeEventListener;
  }
});

// --- a silent connection ------------------------------------------------------------------

test("a silence is asked into, and a dead connection is given up", async () => {
  const { session, socket } = await started({}, opening(), { heartbeat_s: 10 });
  await pass(9000);
  socket.gives(token(4, "x"));
  await pass(9900);
  assert.deepEqual(socket.sentOf("ping"), []);
  await pass(200);
  assert.equal(socket.sentOf("ping").length, 1);
  socket.gives({ type: "pong", nonce: null, server_ts: "" });
  await pass(10_100);
  assert.equal(socket.sentOf("ping").length, 2);
  assert.equal(session.state, "live");
  await pass(5100);
  assert.equal(socket.closedWith, 3000);
  assert.ok(await nextSocket());
});

test("a dial that nobody answers is given up", async () => {
  const { socket } = await dial({ dialMs: 3000 });
  await pass(2900);
  assert.equal(socket.closedWith, null);
  await pass(200);
  assert.equal(socket.closedWith, 3000);
});

// --- order --------------------------------------------------------------------------------

test("each event is applied once, whatever comes twice", async () => {
  const { session, socket } = await started();
  socket.gives(token(4, "a"), token(4, "a"), ...opening(), token(5, "b"));
  assert.equal(shownNow(session), "ab");
  assert.equal(session.counts.doubles, 4);
  assert.deepEqual(session.log.map(({ seq }) => seq), [1, 2, 3, 4, 5]);
});

test("what is missing is fetched, and nothing behind it is applied before", async () => {
  const { session, socket } = await started();
  socket.gives(token(5, "b"), token(4, "a"));
  assert.equal(session.seq, 3);
  assert.equal(session.counts.gaps, 1);
  const next = await nextSocket();
  socket.gives(token(4, "late talk of a connection that was given up"));
  assert.match(next.url.search, /after=3/);
  next.gives(resumed(3, { replay_to: 5 }), token(4, "a"), token(5, "b"), live(5));
  assert.equal(shownNow(session), "ab");
});

for (const [name, frame] of [
  ["live", live(4)],
  ["caught_up", { type: "caught_up", seq: 4 }],
]) {
  test(`a ${name} ahead of its events is a gap`, async () => {
    const { session, socket } = await started();
    socket.gives(frame);
    assert.equal(session.counts.gaps, 1);
    assert.ok(await nextSocket());
  });
}

test("a reply ahead of its events is a gap, and its answer comes again", async () => {
  const { session, socket } = await started();
  const answer = session.say("x");
  socket.gives(reply(socket.sent[0], { turn_id: "turn_2" }, 4));
  await settle();
  assert.equal(session.waiting, 1);
  const next = await nextSocket();
  next.gives(resumed(3), token(4, "a"), live(4));
  next.gives(reply(next.sent[0], { turn_id: "turn_2" }, 4));
  assert.deepEqual(await answer, { turn_id: "turn_2" });
  assert.deepEqual(next.sent[0], socket.sent[0]);
});

test("a merged frame stands for all that it says", async () => {
  const { session, socket } = await started();
  socket.gives(token(7, "abcd", "turn_1", { first_seq: 4 }));
  assert.equal(session.seq, 7);
  socket.gives(token(9, "cd e", "turn_1", { first_seq: 6 }));
  assert.equal(session.counts.gaps, 1, "half of it is known: it can't be split");
  assert.equal(shownNow(session), "abcd");
});

test("frames and fields that nobody knows are ignored", async () => {
  const { session, socket } = await started();
  socket.gives({ type: "weather" }, event(4, "mood.changed", { mood: 1 }, "turn_1", { new: 1 }));
  socket.gives({ type: "toString" }, event(5, "toString", {}, "turn_1"));
  socket.onmessage({ data: "{no json" });
  assert.equal(session.seq, 5);
  assert.equal(session.state, "live");
});

// --- interrupts ---------------------------------------------------------------------------

test("a flush is handled at once, and late tokens are kept and not shown", async () => {
  const { session, socket } = await started();
  const heard = [];
  const flushed = [];
  session.on("model.token", ({ payload }) => heard.push(payload.text));
  session.on("flush", ({ turn_id }) => flushed.push(turn_id));
  socket.gives(token(4, "shown "), { type: "flush", turn_id: "turn_1", seq: 6 });
  assert.deepEqual(flushed, ["turn_1"]);
  socket.gives(token(5, "late "));
  assert.deepEqual(heard, ["shown "]);
  assert.equal(shownNow(session), "shown ");
  assert.equal(session.log.at(-1).payload.text, "late ");
  assert.equal(session.counts.late, 1);
  const frozen = { target: "transcript", outcome: "frozen", text: "shown late ", heard: "sho" };
  socket.gives(event(6, "cancel.requested", {}, "turn_1"));
  socket.gives(event(7, "cancel.stage", frozen, "turn_1"));
  assert.equal(shownNow(session), "sho");
  assert.equal(session.view.transcript.turns[0].generated, "shown late ");
});

test("a turn that was flushed and never stored is shown when its id is given again", async () => {
  const { session, socket } = await started();
  socket.gives({ type: "flush", turn_id: "turn_2", seq: 4 });
  socket.closes(1006);
  const next = await nextSocket();
  const again = event(4, "input.text", { text: "Again", command_id: null }, "turn_2");
  next.gives(resumed(3), live(3), again, event(5, "turn.start", { input: "Again" }, "turn_2"));
  next.gives(token(6, "seen", "turn_2"));
  assert.equal(shownNow(session), "seen");
  assert.equal(session.counts.late, 0);
});

test("an interrupt names the turn that is open, and is one however often it is asked", async () => {
  const { session, socket } = await started();
  const [one, two] = [session.interrupt(), session.interrupt()];
  const [command, ...more] = socket.sentOf("interrupt");
  assert.equal(command.turn_id, "turn_1");
  assert.deepEqual(more, []);
  socket.gives(reply(command, { interrupted: true, turn_id: "turn_1" }));
  assert.deepEqual(await one, await two);
  session.interrupt();
  assert.equal(socket.sentOf("interrupt").length, 2);
});

test("an interrupt behind words on their way stops what becomes of them", async () => {
  const { session, socket } = await started();
  const said = session.say("Something else");
  session.interrupt();
  assert.deepEqual(socket.sent.map(({ type }) => type), ["say", "interrupt"]);
  assert.ok(!("turn_id" in socket.sent[1]), "the open turn is not the one that it means");
  socket.gives(reply(socket.sent[0], { turn_id: "turn_2" }, 3));
  await said;
  session.interrupt();
  assert.equal(socket.sentOf("interrupt")[1].turn_id, "turn_1");
});

test("what was shown is reported, not too often, and told to who interrupts", async () => {
  const { session, socket } = await started({ shownEveryMs: 250 });
  socket.gives(token(4, "é😀 and more"));
  for (const chars of [1, 2, 3]) session.shown("turn_1", chars);
  session.shown("turn_1", "é😀 a");
  assert.deepEqual(socket.sentOf("playback.progress").map(({ chars }) => chars), [1]);
  await pass(300);
  assert.deepEqual(socket.sentOf("playback.progress").map(({ chars }) => chars), [1, 4]);
  await pass(5000);
  assert.equal(socket.sentOf("playback.progress").length, 2);
  session.shown("turn_1", 6);
  session.shown("turn_1", 7);
  session.interrupt();
  assert.deepEqual(socket.sentOf("interrupt")[0].heard, { chars: 7 });
  session.say("Stop");
  assert.deepEqual(socket.sentOf("say")[0].heard, { chars: 7 });
  socket.gives({ type: "flush", turn_id: "turn_1", seq: 5 });
  session.shown("turn_1", 9);
  await pass(1000);
  assert.deepEqual(socket.sentOf("playback.progress").map(({ chars }) => chars), [1, 4, 6]);
});

test("a report is said again on the next connection while its turn is open", async () => {
  const { session, socket } = await started();
  session.shown("turn_1", 5);
  socket.closes(1006);
  await pass(1000);
  const next = sockets.at(-1);
  next.gives(resumed(3), live(3));
  assert.deepEqual(next.sentOf("playback.progress").map(({ chars }) => chars), [5]);
});

// --- commands -----------------------------------------------------------------------------

test("a command is kept and sent again, the same, until it is answered", async () => {
  const { session, socket } = await started();
  const answer = session.say("Hello", { whenBusy: "queue" });
  const [command] = socket.sent;
  assert.equal(command.when_busy, "queue");
  assert.match(command.id, /^[\w.-]{1,64}$/);
  socket.closes(1006);
  const next = await nextSocket();
  assert.deepEqual(next.sent, [], "nothing is said before hello");
  next.gives(resumed(3));
  assert.deepEqual(next.sent, [command]);
  next.gives(live(3), reply(command, { turn_id: "turn_2" }, 3));
  next.gives(reply(command, { turn_id: "twice" }, 3));
  assert.deepEqual(await answer, { turn_id: "turn_2" });
  assert.equal(session.waiting, 0);
});

test("what is said offline waits, in order, and only so much of it", async () => {
  const { session, socket } = await started({ queueMost: 3 });
  socket.closes(1006);
  const said = ["one", "two", "three"].map((text) => session.say(text, { whenBusy: "queue" }));
  for (const one of said) one.catch(() => {});
  await assert.rejects(session.say("four"), QueueFull);
  const next = await nextSocket();
  next.gives(resumed(3), live(3));
  assert.deepEqual(next.sent.map(({ text }) => text), ["one", "two", "three"]);
});

test("what the server can't take now is sent again after a while, under the same id", async () => {
  const { session, socket } = await started();
  const answer = session.say("x");
  socket.gives(refusal(socket.sent[0], "rate_limited", true));
  await pass(900);
  assert.equal(socket.sent.length, 1);
  await pass(200);
  assert.deepEqual(socket.sent[1], socket.sent[0]);
  socket.gives(reply(socket.sent[1], { turn_id: "turn_2" }, 3));
  assert.deepEqual(await answer, { turn_id: "turn_2" });
});

test("what stays impossible is said after a few tries", async () => {
  const { session, socket } = await started({}, opening(), QUIET);
  const answer = session.say("x");
  answer.catch(() => {});
  for (let turn = 0; turn < 6; turn++) {
    socket.gives(refusal(socket.sent.at(-1), "store_unavailable", true));
    await pass(31_000);
  }
  await assert.rejects(answer, { code: "store_unavailable", retryable: true });
  assert.equal(socket.sentOf("say").length, 6);
});

for (const [code, retryable] of [["busy", true], ["stale", false], ["quota_exceeded", true]]) {
  test(`${code} is for the user to decide on`, async () => {
    const { session, socket } = await started();
    const answer = session.say("x", { whenBusy: "reject" });
    socket.gives(refusal(socket.sent[0], code, retryable));
    await assert.rejects(answer, { name: "CommandRefused", code, retryable, command: "say" });
  });
}

test("a client that says very much does not say it faster than the server takes", async () => {
  const { session, socket } = await started();
  for (let number = 0; number < 100; number++) session.say(`${number}`).catch(() => {});
  assert.equal(socket.sent.length, 40);
  session.interrupt();
  assert.equal(socket.sentOf("interrupt").length, 0, "it means what will be running then");
  session.interrupt({ turnId: "turn_1" });
  assert.equal(socket.sentOf("interrupt").length, 1, "who names a turn waits for nobody");
  await pass(2000);
  assert.equal(socket.sentOf("say").length, 70);
  await pass(2100);
  const texts = socket.sentOf("say").map(({ text }) => Number(text));
  assert.deepEqual(texts, [...Array(100).keys()]);
});

test("ids of two clients never meet", async () => {
  const ids = new Set();
  for (let number = 0; number < 20; number++) {
    const { session, socket } = await started({ random: Math.random });
    session.say("x").catch(() => {});
    ids.add(socket.sent[0].id);
    session.disconnect();
  }
  assert.equal(ids.size, 20);
});

test("who closes a session that is closed already has what was wanted", async () => {
  const { session, socket } = await started();
  const closing = session.close();
  socket.closes(4102);
  await closing;
});

test("every command has its fields", async () => {
  const { session, socket } = await started();
  const asked = [
    session.confirm("conf_1", { args: { guests: 3 } }),
    session.reject("conf_2", { reason: "no" }),
    session.revert("act_1"),
    session.configure({ on_disconnect: "cancel" }),
    session.history({ after: 2, limit: 5 }),
    session.send("projection", { name: "plan" }),
    session.close(),
  ];
  const sent = socket.sent.map(({ id, ...rest }) => rest);
  assert.deepEqual(sent, [
    { type: "confirm", confirmation_id: "conf_1", args: { guests: 3 } },
    { type: "reject", confirmation_id: "conf_2", reason: "no" },
    { type: "revert", action_id: "act_1" },
    { type: "configure", on_disconnect: "cancel" },
    { type: "history", after: 2, limit: 5 },
    { type: "projection", name: "plan" },
    { type: "close" },
  ]);
  for (const command of socket.sent) socket.gives(reply(command, { of: command.type }, 3));
  const answers = await Promise.all(asked);
  assert.deepEqual(answers[0], { of: "confirm" });
});

test("an error that no command asked for is told", async () => {
  const { session, socket } = await started();
  const refused = [];
  session.on("refused", ({ code }) => refused.push(code));
  socket.gives(refusal(null, "store_unavailable", true), refusal(null, "stale", false));
  assert.deepEqual(refused, ["store_unavailable"]);
});

// --- signals and ends ---------------------------------------------------------------------

test("a signal leaves the session, and what waits is told", async () => {
  const leaving = new AbortController();
  const { session, socket } = await started({ signal: leaving.signal });
  const answer = session.say("x");
  leaving.abort();
  await assert.rejects(answer, SessionEnded);
  assert.equal(socket.closedWith, 1000);
  assert.equal(await nextSocket(60_000), null);
  await assert.rejects(session.say("y"), SessionEnded);
});

test("a signal ends the wait for a connection with its own reason", async () => {
  const leaving = new AbortController();
  const { connecting } = await dial({ signal: leaving.signal });
  leaving.abort(new Error("changed my mind"));
  await assert.rejects(connecting, /changed my mind/);
  await assert.rejects(
    connect("ws://localhost", { WebSocket: FakeSocket, signal: leaving.signal }),
    /changed my mind/,
  );
});

test("a signal takes one command back that was not sent yet", async () => {
  const { session, socket } = await started();
  socket.closes(1006);
  const never = new AbortController();
  const answer = session.say("x", { signal: never.signal });
  never.abort(new Error("never mind"));
  await assert.rejects(answer, /never mind/);
  (await nextSocket()).gives(resumed(3), live(3));
  assert.deepEqual(sockets.at(-1).sent, []);
});

test("nothing is left of a command on a signal that lives on", async () => {
  const { session, socket } = await started();
  const { signal } = new AbortController();
  const answered = session.say("x", { signal });
  const left = session.confirm("conf_1", { signal });
  assert.equal(getEventListeners(signal, "abort").length, 2);
  socket.gives(reply(socket.sent[0], { turn_id: "turn_2" }, 3));
  await answered;
  assert.equal(getEventListeners(signal, "abort").length, 1);
  session.disconnect();
  await assert.rejects(left, SessionEnded);
  assert.equal(getEventListeners(signal, "abort").length, 0);
});

// --- reading ------------------------------------------------------------------------------

test("a reader reads every event from the first, as slowly as it likes", async () => {
  const { session, socket } = await started();
  const read = [];
  const reading = (async () => {
    for await (const { seq } of session) {
      read.push(seq);
      if (seq === 6) break;
    }
  })();
  socket.gives(token(4, "a"), token(5, "b"), token(6, "c"), token(7, "d"));
  await reading;
  assert.deepEqual(read, [1, 2, 3, 4, 5, 6]);
  const later = session.events({ after: 5 });
  assert.equal((await later.next()).value.seq, 6);
  const waiting = [later.next(), later.next()];
  await later.return();
  assert.deepEqual((await waiting[1]).done, true);
});

test("a reader that is too slow costs no memory, and is told", async () => {
  const { session, socket } = await started({ keepEvents: 100 });
  const slow = session[Symbol.asyncIterator]();
  assert.equal((await slow.next()).value.seq, 1);
  for (let seq = 4; seq <= 1000; seq++) socket.gives(token(seq, "x"));
  assert.ok(session.log.length <= 125);
  await assert.rejects(slow.next(), { name: "ReaderBehind" });
  assert.deepEqual((await slow.next()).done, true);
  assert.equal(shownNow(session).length, 997, "the view has all of it");
});

test("readers end with the session, with its reason where it was none of ours", async () => {
  for (const [code, fails] of [[4102, false], [4103, true]]) {
    const { session, socket } = await started();
    const reader = session.events({ after: 3 });
    const next = reader.next();
    socket.closes(code, "why");
    if (fails) await assert.rejects(next, { code });
    else assert.equal((await next).done, true);
  }
});

test("a view is told of once for all that came together, and not in mid-replay", async () => {
  const { connecting, socket } = await dial({ sessionId: "sess_1" });
  socket.gives(hello({ replay_to: 3 }), ...opening(), live(3));
  const session = await connecting;
  await settle();
  let told = 0;
  session.on("view", () => told++);
  socket.gives(token(4, "a"), token(5, "b"));
  await settle();
  assert.equal(told, 1);
  socket.closes(1006);
  const next = await nextSocket();
  next.gives(resumed(5, { replay_to: 7 }), token(6, "c"), token(7, "d"));
  await settle();
  assert.equal(told, 1);
  next.gives(live(7));
  await settle();
  assert.equal(told, 2);
});

test("what did not change is the same object", async () => {
  const { session, socket } = await started();
  const { transcript } = session.view;
  assert.equal(session.view.transcript, transcript);
  socket.gives(
    event(4, "turn.trace", { spans: [], total_ms: 1 }, "turn_1"),
    event(5, "turn.start", { input: "Next" }, "turn_2"),
  );
  const [first] = session.view.transcript.turns;
  socket.gives(token(6, "x", "turn_2"));
  assert.notEqual(session.view.transcript, transcript);
  assert.equal(session.view.transcript.turns[0], first);
});

test("a listener that throws disturbs nobody", async () => {
  const { session, socket } = await started();
  const later = [];
  mock.method(globalThis, "queueMicrotask", (task) => later.push(task));
  const heard = [];
  session.on("model.token", () => {
    throw new Error("mine");
  });
  const off = session.on("model.token", ({ seq }) => heard.push(seq));
  socket.gives(token(4, "a"));
  off();
  socket.gives(token(5, "b"));
  assert.deepEqual(heard, [4]);
  assert.equal(session.seq, 5);
  assert.throws(() => later.forEach((task) => task()), /mine/);
});
