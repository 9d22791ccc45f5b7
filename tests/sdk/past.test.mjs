// How the past of a long session comes in pages, fact by fact, against a server of a few lines.
import assert from "node:assert/strict";
import { afterEach, beforeEach, mock, test } from "node:test";

import { connect } from "../../sdk/javascript/src/index.js";
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
  stopTime,
  token,
} from "./wire.mjs";

beforeEach(stopTime);
afterEach(() => {
  mock.timers.reset();
  mock.restoreAll();
});

const LONG = 2000;
/** All events of a session, as long as a test likes. */
const timeline = Array.from({ length: 6000 }, (_, place) =>
  place < 3 ? opening()[place] : token(place + 1, `w${place} `),
);
const from = (first, last) => timeline.slice(first - 1, last);
const seqsOf = (events) => events.map(({ seq }) => seq);
const upTo = (last) => Array.from({ length: last }, (_, place) => place + 1);
const attached = (after, last = after, more = {}) =>
  hello({ resumed: true, replay_from: after + 1, replay_to: last, ...more });
const asked = (socket) => socket.sentOf("history").map(({ after, limit }) => [after, limit]);

/** Answer a page that was asked for, as the server does. */
function answer(socket, command, most = Infinity) {
  const { after, limit } = command;
  const events = from(after + 1, Math.min(after + limit, after + most));
  socket.gives(reply(command, { events, next: after + events.length }, LONG));
}

/** Answer every page that is asked for, until none is. */
async function answerAll(socket, most = Infinity) {
  for (let place = 0; place < socket.sentOf("history").length; place++) {
    answer(socket, socket.sentOf("history")[place], most);
    await settle();
  }
}

/** Dial a session of which it is known how far it goes, and be greeted there. */
async function greeted(options = {}, hi = attached(LONG)) {
  const { connecting, socket } = await dial({ sessionId: "sess_1", lastSeq: LONG, ...options });
  socket.gives(hi);
  return { connecting, socket };
}

/** A session is exactly what a replay of the same events would have made of it. */
async function likeReplayed(session, last) {
  const { connecting, socket } = await dial({ sessionId: "sess_1" });
  socket.gives(hello({ replay_to: last }), ...from(1, last), live(last));
  const replayed = await connecting;
  assert.deepEqual(session.log, replayed.log);
  assert.equal(session.seq, replayed.seq);
  for (const name of ["transcript", "plan", "actions", "latency", "session"]) {
    assert.deepEqual(session.view[name], replayed.view[name]);
  }
}

test("a long session is begun at its end, and its past comes in pages", async () => {
  const { connecting, socket } = await greeted();
  assert.equal(socket.url.search, `?after=${LONG}`);
  assert.deepEqual(asked(socket), [[0, 800], [800, 800], [1600, 400]]);
  await answerAll(socket);
  socket.gives(live(LONG));
  const session = await connecting;
  assert.deepEqual(seqsOf(session.log), upTo(LONG));
  assert.equal(session.state, "live");
  assert.deepEqual(session.counts, { connections: 1, gaps: 0, doubles: 0, late: 0, resets: 0 });
  await likeReplayed(session, LONG);
});

for (const [name, options] of [
  ["nobody says how far it goes", {}],
  ["it is short", { lastSeq: 499 }],
  ["what is said is no number", { lastSeq: NaN }],
]) {
  test(`a session is replayed where ${name}`, async () => {
    const { socket } = await dial({ sessionId: "sess_1", ...options });
    assert.equal(socket.url.search, "");
  });
}

test("a new session has no past", async () => {
  const { socket } = await dial({ lastSeq: LONG });
  assert.equal(socket.url.href, "ws://localhost/v1/session");
});

test("what happens meanwhile comes behind the past, and nobody is told before", async () => {
  const { connecting, socket } = await greeted();
  let connected = false;
  connecting.then(() => (connected = true));
  const [first, second, third] = socket.sentOf("history");
  socket.gives(live(LONG), timeline[LONG]);
  answer(socket, first);
  socket.gives(timeline[LONG + 1], { type: "flush", turn_id: "turn_1", seq: LONG + 4 });
  answer(socket, third);
  socket.gives(timeline[LONG + 2]);
  await settle();
  assert.equal(connected, false);
  answer(socket, second);
  const session = await connecting;
  assert.deepEqual(seqsOf(session.log), upTo(LONG));
  await pass(10);
  assert.deepEqual(seqsOf(session.log), upTo(LONG + 3));
  assert.equal(session.counts.late, 1, "that which the flush overtook");
  const read = [];
  for await (const { seq } of session) {
    read.push(seq);
    if (seq === LONG + 2) break;
  }
  assert.deepEqual(read, upTo(LONG + 2));
  assert.equal(session.view.transcript.turns[0].assistant.split(" ").length - 1, LONG - 1);
});

/** A session that is there, while events and an answer that came behind `live` still wait. */
async function justThere() {
  const { connecting, socket } = await greeted();
  socket.gives(timeline[LONG], live(LONG + 1), timeline[LONG + 1]);
  await answerAll(socket);
  const session = await connecting;
  const heard = [];
  session.on("*", ({ seq }) => heard.push(seq));
  assert.equal(session.seq, LONG + 1, "as far as `live` said, and no further");
  return { session, socket, heard };
}

test("who listens as soon as it is there misses nothing that came behind `live`", async () => {
  const { session, socket, heard } = await justThere();
  const saying = session.say("Hi").then(({ turn_id: id }) => heard.push(id));
  const answered = reply(socket.sentOf("say")[0], { turn_id: "turn_2" }, LONG + 3);
  socket.gives(timeline[LONG + 2], answered);
  await settle();
  assert.deepEqual(heard, []);
  await pass(10);
  await saying;
  assert.deepEqual(heard, [LONG + 2, LONG + 3, "turn_2"]);
  socket.gives(timeline[LONG + 3]);
  assert.deepEqual(heard.slice(3), [LONG + 4], "nothing waits any more");
  await likeReplayed(session, LONG + 4);
});

test("what waits behind `live` comes again where the connection breaks", async () => {
  const { session, socket, heard } = await justThere();
  socket.closes(1006);
  await pass(10);
  assert.deepEqual(heard, []);
  const next = await nextSocket();
  assert.equal(next.url.search, `?after=${LONG + 1}&epoch=e1`);
  next.gives(attached(LONG + 1, LONG + 2), timeline[LONG + 1], live(LONG + 2), timeline[LONG + 2]);
  assert.deepEqual(heard, [LONG + 2, LONG + 3]);
  await likeReplayed(session, LONG + 3);
});

test("what waits behind `live` is there where the server ends it", async () => {
  const { session, socket, heard } = await justThere();
  socket.closes(4102);
  assert.equal(session.state, "ended");
  assert.deepEqual(heard, [LONG + 2]);
  await pass(10);
  await likeReplayed(session, LONG + 2);
});

test("who leaves while something waits behind `live` hears no more", async () => {
  const { session, heard } = await justThere();
  session.disconnect();
  await pass(10);
  assert.deepEqual([heard, session.seq], [[], LONG + 1]);
});

const acked = (socket) => socket.sentOf("ack").map(({ seq }) => seq);

test("while its past is on its way a driver says what of it is there", async () => {
  const { connecting, socket } = await greeted();
  assert.deepEqual(socket.sent[0], { type: "ack", seq: 0 }, "before it asks for anything");
  answer(socket, socket.sentOf("history")[0]);
  await settle();
  assert.deepEqual(acked(socket), [0]);
  await pass(250);
  assert.deepEqual(acked(socket), [0, 800]);
  await pass(1000);
  assert.deepEqual(acked(socket), [0, 800], "nothing is said twice");
  await answerAll(socket);
  socket.gives(live(LONG));
  await connecting;
  assert.deepEqual(acked(socket), [0, 800, LONG]);
});

test("who said once what is there goes on, now and then and before it interrupts", async () => {
  const { connecting, socket } = await greeted();
  await answerAll(socket);
  socket.gives(live(LONG));
  const session = await connecting;
  await pass(1000);
  for (const next of from(LONG + 1, LONG + 100)) {
    socket.gives(next);
    await pass(20);
  }
  await pass(500);
  const said = acked(socket).slice(acked(socket).indexOf(LONG) + 1);
  assert.ok(said.length >= 6 && said.length <= 9, `${said.length} in 2 s`);
  assert.equal(said.at(-1), LONG + 100);
  for (const [name, asks] of [
    ["interrupt", () => session.interrupt()],
    ["say", () => session.say("Hi")],
  ]) {
    socket.gives(timeline[session.seq]);
    asks().catch(() => {});
    const [before, last] = socket.sent.slice(-2);
    assert.deepEqual([before, last.type], [{ type: "ack", seq: session.seq }, name]);
  }
  socket.gives(timeline[session.seq]);
  session.disconnect();
  assert.deepEqual(socket.sent.at(-1), { type: "ack", seq: session.seq });
});

test("a connection that gives all that is missing needs no word of what is there", async () => {
  const { connecting, socket } = await greeted();
  const [first, second] = socket.sentOf("history");
  answer(socket, first);
  answer(socket, second);
  await settle();
  socket.closes(1006);
  const next = await nextSocket();
  next.gives(attached(1600, LONG), ...from(1601, LONG), live(LONG));
  await connecting;
  await pass(1000);
  assert.deepEqual(next.sent, []);
});

test("over a new connection it is said again, as far as it is true", async () => {
  const { connecting, socket } = await greeted();
  answer(socket, socket.sentOf("history")[0]);
  await settle();
  socket.closes(1006);
  const next = await nextSocket();
  next.gives(attached(LONG), live(LONG));
  assert.deepEqual(acked(next), [800]);
  await answerAll(next);
  await connecting;
  assert.deepEqual(acked(next), [800, LONG]);
});

test("who watches says nothing: what it has counts for nobody", async () => {
  const you = { principal: "anonymous", role: "watch", tier: "" };
  const { connecting, socket } = await greeted({ role: "watch" }, attached(LONG, LONG, { you }));
  await answerAll(socket);
  socket.gives(live(LONG));
  await connecting;
  await pass(1000);
  assert.deepEqual(acked(socket), []);
});

test("of a session that is much longer by now, pages give the rest too", async () => {
  const { connecting, socket } = await greeted({ lastSeq: 3000 }, attached(3000, 5049));
  assert.equal(socket.closedWith, 3000);
  assert.deepEqual(asked(socket), [], "answers would be behind 2,049 events");
  const next = await nextSocket(20);
  assert.equal(next.url.search, "?after=5049&epoch=e1");
  next.gives(attached(5049, 5051), ...from(5050, 5051), live(5051));
  await answerAll(next);
  assert.equal(asked(next).length, 7);
  await likeReplayed(await connecting, 5051);
});

test("of a session that is somewhat longer by now, the rest is waited for", async () => {
  const { connecting, socket } = await greeted({ lastSeq: 3000 }, attached(3000, 5048));
  socket.gives(...from(3001, 5048), live(5048));
  await answerAll(socket);
  const session = await connecting;
  assert.equal(session.counts.connections, 1);
  await likeReplayed(session, 5048);
});

test("a session that has become much longer in mid-fetch is fetched up to its new end", async () => {
  const { connecting, socket } = await greeted();
  answer(socket, socket.sentOf("history")[0]);
  await settle();
  socket.closes(1006);
  const next = await nextSocket();
  next.gives(attached(LONG, 5000));
  const third = await nextSocket(20);
  assert.equal(third.url.search, "?after=5000&epoch=e1");
  third.gives(attached(5000), live(5000));
  assert.deepEqual(asked(third), [[800, 800], [1600, 800], [2400, 800]]);
  await answerAll(third);
  await likeReplayed(await connecting, 5000);
});

test("three pages are on their way at once, and no more", async () => {
  const { connecting, socket } = await greeted({ lastSeq: 6000 }, attached(6000));
  assert.equal(asked(socket).length, 3);
  answer(socket, socket.sentOf("history")[1]);
  await settle();
  assert.equal(asked(socket).length, 3, "the first is still to come");
  await answerAll(socket);
  assert.equal(asked(socket).length, 8);
  socket.gives(live(6000));
  assert.deepEqual(seqsOf((await connecting).log), upTo(6000));
});

test("a page that was cut to its size is asked for the rest", async () => {
  const { connecting, socket } = await greeted();
  await answerAll(socket, 300);
  const rests = asked(socket).slice(3).sort(([one], [other]) => one - other);
  assert.deepEqual(rests, [[300, 500], [600, 200], [1100, 500], [1400, 200], [1900, 100]]);
  socket.gives(live(LONG));
  await likeReplayed(await connecting, LONG);
});

test("events that are too large for pages are replayed", async () => {
  const { connecting, socket } = await greeted();
  socket.gives(live(LONG));
  for (let place = 0; place < 40; place++) {
    answer(socket, socket.sentOf("history")[place], 20);
    await settle();
  }
  assert.equal(asked(socket).length, 40, "a server takes so many at once");
  const next = await nextSocket();
  assert.match(next.url.search, /^\?after=\d+&epoch=e1$/);
  const after = Number(next.url.searchParams.get("after"));
  next.gives(attached(after, LONG), ...from(after + 1, LONG), live(LONG));
  await likeReplayed(await connecting, LONG);
});

test("where the connection breaks between pages it goes on from there", async () => {
  const { connecting, socket } = await greeted();
  answer(socket, socket.sentOf("history")[0]);
  await settle();
  socket.gives(live(LONG), timeline[LONG]);
  socket.closes(1006);
  const next = await nextSocket();
  assert.equal(next.url.search, `?after=${LONG}&epoch=e1`);
  next.gives(attached(LONG, LONG + 1), timeline[LONG], live(LONG + 1));
  assert.deepEqual(asked(next), [[800, 800], [1600, 400]]);
  await answerAll(next);
  const session = await connecting;
  assert.deepEqual(session.counts, { connections: 2, gaps: 0, doubles: 0, late: 0, resets: 0 });
  await likeReplayed(session, LONG + 1);
});

/** Give one page, if any, to a connection that is greeted; then it breaks. */
async function breaksBehind(socket, pages, code) {
  const at = Number(socket.url.searchParams.get("after"));
  socket.gives(attached(at));
  for (const command of socket.sentOf("history").slice(0, pages)) answer(socket, command);
  await settle();
  socket.closes(code);
  return nextSocket(30_000);
}

for (const code of [1009, 1006, 4001]) {
  test(`where every page breaks the connection (${code}) all is replayed`, async () => {
    const { connecting, socket } = await dial({ sessionId: "sess_1", lastSeq: LONG });
    const second = await breaksBehind(socket, 0, code);
    assert.equal(second.url.search, `?after=${LONG}&epoch=e1`);
    const third = await breaksBehind(second, 0, code);
    assert.equal(third.url.search, `?after=${LONG}&epoch=e1`, "once may be chance");
    third.gives(attached(LONG));
    assert.equal(third.closedWith, 3000);
    assert.deepEqual(asked(third), []);
    const last = await nextSocket();
    assert.equal(last.url.search, "?after=0&epoch=e1");
    last.gives(hello({ replay_to: LONG }), ...from(1, LONG), live(LONG));
    assert.deepEqual(asked(last), []);
    await likeReplayed(await connecting, LONG);
  });
}

test("connections that break again and again, each behind a page, are no reason to replay", async () => {
  const options = { sessionId: "sess_1", lastSeq: 6000, connectMs: 10 ** 6 };
  const { connecting, socket } = await dial(options);
  let next = socket;
  for (const pages of [0, 1, 0, 1, 1, 0]) next = await breaksBehind(next, pages, 1006);
  assert.equal(next.url.search, "?after=6000&epoch=e1");
  next.gives(attached(6000), live(6000));
  assert.deepEqual(asked(next)[0], [2400, 800]);
  await answerAll(next);
  await likeReplayed(await connecting, 6000);
});

test("where little is missing when it breaks, that is replayed", async () => {
  const { connecting, socket } = await greeted();
  const [first, second] = socket.sentOf("history");
  answer(socket, first);
  answer(socket, second);
  await settle();
  socket.closes(1006);
  const next = await nextSocket();
  assert.equal(next.url.search, "?after=1600&epoch=e1");
  next.gives(attached(1600, LONG), ...from(1601, LONG), live(LONG));
  assert.deepEqual(asked(next), []);
  await likeReplayed(await connecting, LONG);
});

test("a session that is shorter than was said is replayed", async () => {
  const { connecting, socket } = await greeted({}, hello({ replay_to: 1500 }));
  socket.gives(...from(1, 1500), live(1500));
  assert.deepEqual(asked(socket), []);
  await likeReplayed(await connecting, 1500);
});

test("another history in mid-fetch begins anew", async () => {
  const { connecting, socket } = await greeted();
  const [first, second] = socket.sentOf("history");
  answer(socket, first);
  await settle();
  socket.closes(1006);
  const next = await nextSocket();
  next.gives(hello({ epoch: "e2", replay_to: 600 }), ...from(1, 10));
  next.gives(reply(second, { events: from(801, 1600), next: 1600 }, 0));
  await settle();
  next.closes(1006);
  const third = await nextSocket();
  assert.equal(third.url.search, "?after=10&epoch=e2", "what was known is of another history");
  third.gives(attached(10, 600, { epoch: "e2" }), ...from(11, 600), live(600));
  const session = await connecting;
  assert.equal(session.counts.resets, 1);
  await likeReplayed(session, 600);
});

test("a page that is refused for now is asked for again", async () => {
  const { connecting, socket } = await greeted();
  socket.gives(live(LONG));
  const [first, second, third] = socket.sentOf("history");
  socket.gives(refusal(first, "rate_limited", true));
  answer(socket, second);
  answer(socket, third);
  await pass(900);
  assert.equal(asked(socket).length, 3);
  await pass(200);
  assert.deepEqual(asked(socket)[3], asked(socket)[0]);
  answer(socket, socket.sentOf("history")[3]);
  const session = await connecting;
  assert.equal(session.counts.connections, 1);
  await likeReplayed(session, LONG);
});

test("where pages are refused again and again it is replayed, before that costs a strike", async () => {
  const { connecting, socket } = await greeted();
  socket.gives(live(LONG));
  for (let place = 0; place < socket.sentOf("history").length; place++) {
    socket.gives(refusal(socket.sentOf("history")[place], "rate_limited", true));
    if (place % 3 === 2) await pass(1100);
  }
  assert.equal(asked(socket).length, 6);
  const next = sockets.at(-1);
  assert.equal(next.url.search, "?after=0&epoch=e1");
  next.gives(hello({ replay_to: LONG }), ...from(1, LONG), live(LONG));
  assert.deepEqual(asked(next), []);
  await likeReplayed(await connecting, LONG);
});

test("where pages are refused for good it is replayed, once", async () => {
  const { connecting, socket } = await greeted();
  socket.gives(live(LONG));
  socket.gives(refusal(socket.sentOf("history")[0], "forbidden", false));
  const next = await nextSocket();
  assert.equal(next.url.search, "?after=0&epoch=e1");
  next.gives(hello({ replay_to: LONG }), ...from(1, LONG), live(LONG));
  assert.deepEqual(asked(next), []);
  await likeReplayed(await connecting, LONG);
});

for (const [name, events] of [
  ["of other events", from(2, 801)],
  ["of nothing", []],
]) {
  test(`a page ${name} is not taken`, async () => {
    const { connecting, socket } = await greeted();
    socket.gives(reply(socket.sentOf("history")[0], { events, next: null }));
    const next = await nextSocket();
    assert.equal(next.url.search, "?after=0&epoch=e1");
    next.gives(hello({ replay_to: LONG }), ...from(1, LONG), live(LONG));
    await likeReplayed(await connecting, LONG);
  });
}

test("a closed session answers nobody, and is replayed at once", async () => {
  const { connecting, socket } = await greeted();
  socket.gives(live(LONG));
  socket.closes(4102);
  const next = await nextSocket(20);
  assert.equal(next.url.search, "?after=0&epoch=e1");
  next.gives(hello({ replay_to: LONG }), ...from(1, LONG), live(LONG));
  next.closes(4102);
  const session = await connecting;
  assert.equal(session.state, "ended");
  await likeReplayed(session, LONG);
});

test("a session that is closed when all of it has come is over", async () => {
  const { connecting, socket } = await greeted();
  await answerAll(socket);
  socket.gives(live(LONG));
  socket.closes(4102);
  assert.equal((await connecting).state, "ended");
  assert.equal(await nextSocket(60_000), null);
});

test("what is missing among what waited is fetched", async () => {
  const { connecting, socket } = await greeted();
  socket.gives(live(LONG), timeline[LONG + 1], timeline[LONG]);
  await answerAll(socket);
  const session = await connecting;
  await pass(10);
  assert.equal(session.counts.gaps, 1);
  const next = await nextSocket();
  assert.equal(next.url.search, `?after=${LONG}&epoch=e1`);
  next.gives(attached(LONG, LONG + 2), timeline[LONG], timeline[LONG + 1], live(LONG + 2));
  await likeReplayed(session, LONG + 2);
});

test("what waits has a bound, and beyond it all comes by a replay", async () => {
  const { connecting, socket } = await greeted({ lastSeq: 600 }, attached(600, 600));
  socket.gives(live(600), ...from(601, 4695));
  assert.equal(socket.closedWith, null);
  socket.gives(timeline[4695]);
  assert.equal(socket.closedWith, 3000);
  const next = await nextSocket();
  assert.equal(next.url.search, "?after=0&epoch=e1");
  next.gives(hello({ replay_to: 5000 }), ...from(1, 5000), live(5000));
  await likeReplayed(await connecting, 5000);
});

test("a token is renewed in mid-fetch", async () => {
  const jwt = () => `x.${btoa(JSON.stringify({ exp: Date.now() / 1000 + 300 }))}.y`;
  const { connecting, socket } = await greeted(
    { token: async () => jwt(), connectMs: 10 ** 6 },
    attached(LONG, LONG, { heartbeat_s: 1000 }),
  );
  socket.gives(live(LONG));
  await pass(241_000);
  socket.gives(reply(socket.sentOf("auth")[0], {}, LONG));
  await answerAll(socket);
  await likeReplayed(await connecting, LONG);
});

test("a server that goes away in mid-fetch is left alone for as long as it said", async () => {
  const { socket } = await greeted();
  socket.gives({ type: "go_away", reason: "drain", reconnect_after_ms: 5000 });
  socket.closes(4000);
  await pass(4990);
  assert.equal(sockets.length, 1);
  const next = await nextSocket();
  next.gives(attached(LONG));
  assert.deepEqual(asked(next), [[0, 800], [800, 800], [1600, 400]]);
});

test("who leaves in mid-fetch is gone", async () => {
  const leaving = new AbortController();
  const { connecting, socket } = await greeted({ signal: leaving.signal });
  answer(socket, socket.sentOf("history")[0]);
  await settle();
  leaving.abort(new Error("changed my mind"));
  await assert.rejects(connecting, /changed my mind/);
  assert.equal(socket.closedWith, 1000);
  assert.equal(await nextSocket(60_000), null);
});

test("a session of which the log holds a part begins where it would", async () => {
  const options = { WebSocket: FakeSocket, keepEvents: 1000, sessionId: "sess_1" };
  sockets.length = 0;
  const both = [options, { ...options, lastSeq: LONG }].map((one) => connect("ws://localhost", one));
  await settle();
  const [replayed, paged] = sockets;
  replayed.gives(hello({ replay_to: LONG }), ...from(1, LONG), live(LONG));
  paged.gives(attached(LONG), live(LONG));
  await answerAll(paged);
  const [one, other] = await Promise.all(both);
  assert.ok(one.log.length < LONG);
  assert.deepEqual(other.log, one.log);
  assert.equal(other.view.transcript.turns[0].assistant, one.view.transcript.turns[0].assistant);
});

test("events that merge others wait like all", async () => {
  const { connecting, socket } = await greeted();
  const merged = event(LONG + 3, "model.token", { text: "abc", n: 3 }, "turn_1", {
    first_seq: LONG + 1,
  });
  socket.gives(live(LONG), { type: "lagging", behind: 300 }, merged);
  socket.gives({ type: "caught_up", seq: LONG + 3 });
  await answerAll(socket);
  const session = await connecting;
  await pass(10);
  assert.equal(session.seq, LONG + 3);
  assert.equal(session.counts.gaps, 0);
  assert.ok(session.view.transcript.turns[0].assistant.endsWith("abc"));
});
