// The SDK on the sockets, timers and network events of a real browser.
import assert from "node:assert/strict";
import { fileURLToPath } from "node:url";

import { ask, browserTest, WS } from "./browser.mjs";
import { served } from "./files.mjs";

const origin = await served({
  "/": { text: "<!doctype html><title>The SDK</title>" },
  "/sdk/": fileURLToPath(new URL("../../sdk/javascript/src/", import.meta.url)),
});
const guarded = `ws://127.0.0.1:${await ask("guarded")}`;
const NO_SOCKET = /WebSocket connection to 'ws:\/\/127\.0\.0\.1/;

/** Open a page that has the SDK, and tools of the test. */
async function blank(page) {
  await page.goto(`${origin}/`);
  await page.evaluate(async () => {
    window.sdk = await import("/sdk/index.js");
    window.join = async (address, options) =>
      (window.session = await window.sdk.connect(address, options));
    /** Wait for the nth event of a type that has these fields. */
    window.until = async (type, fields = {}, count = 1) => {
      const fits = (event) =>
        event.type === type &&
        Object.entries(fields).every(
          ([key, value]) => (event[key] ?? event.payload[key]) === value,
        );
      for await (const event of window.session) if (fits(event) && --count === 0) return event;
    };
    window.seqs = () =>
      window.session.log.flatMap(({ seq, first_seq: first = seq }) =>
        Array.from({ length: seq - first + 1 }, (_, place) => first + place),
      );
  });
}

/** Every event once, in order, and the server's. */
async function whole(page) {
  const { seqs, history } = await page.evaluate(async () => {
    const { session } = window;
    const history = [];
    for (let after = 0; after !== null;) {
      const { events, next } = await session.history({ after, limit: 1000 });
      history.push(...events.map(({ seq, type }) => [seq, type]));
      after = next;
    }
    return { seqs: window.seqs(), history };
  });
  assert.deepEqual(
    seqs,
    Array.from(seqs, (_, place) => place + 1),
  );
  assert.deepEqual(history.map(([seq]) => seq).slice(0, seqs.length), seqs);
}

browserTest("it talks, is interrupted, and says what was shown", async ({ page }) => {
  await blank(page);
  const seen = await page.evaluate(async (address) => {
    const { until } = window;
    const session = await window.join(address);
    const flushes = [];
    session.on("flush", ({ turn_id: turnId }) => flushes.push(turnId));
    const long = await session.say("A long story");
    await until("model.token", {}, 5);
    session.shown(long.turn_id, "w0 w1");
    const stopped = await session.interrupt();
    const again = await session.interrupt();
    const brief = await session.say("Brief, please");
    await until("turn.trace", { turn_id: brief.turn_id });
    return { long, stopped, again, flushes, turns: session.view.transcript.turns };
  }, WS);
  assert.equal(seen.stopped.interrupted, true);
  assert.equal(seen.again.interrupted, false);
  assert.deepEqual(seen.flushes, [seen.long.turn_id]);
  const [long, brief] = seen.turns;
  assert.deepEqual([long.status, long.assistant], ["cancelled", "w0 w1"]);
  assert.ok(long.generated.startsWith("w0 w1 w2"));
  assert.deepEqual([brief.status, brief.assistant], ["completed", "Very well."]);
  await whole(page);
});

browserTest(
  "while the network is away, words wait; when it is back, they go at once",
  async ({ page, context, tolerate }) => {
    tolerate(NO_SOCKET);
    tolerate(/ERR_INTERNET_DISCONNECTED/);
    await blank(page);
    await page.evaluate(async (address) => {
      // Half an hour between dials: what comes back earlier does so because the browser is online.
      const backoff = { baseMs: 1_800_000, mostMs: 1_800_000 };
      await window.join(address, { backoff, random: () => 1 });
      await window.session.say("A long story");
      await window.until("model.token", {}, 5);
      window.waits = new Promise((tell) =>
        window.session.on("connection", ({ state }) => state === "waiting" && tell()),
      );
    }, WS);
    await context.setOffline(true);
    await ask("kill"); // a socket that is open outlives `setOffline`
    await page.evaluate(async () => {
      await window.waits;
      window.answer = window.session.say("Brief, please");
    });
    await ask("start");
    await context.setOffline(false);
    const { answer, counts, turns } = await page.evaluate(async () => {
      const { session } = window;
      const answer = await window.answer;
      await window.until("turn.trace", { turn_id: answer.turn_id });
      return { answer, counts: session.counts, turns: session.view.transcript.turns };
    });
    assert.equal(counts.connections, 2);
    assert.equal(answer.outcome, "started");
    assert.deepEqual(
      turns.map(({ status }) => status),
      ["failed", "completed"],
    );
    await whole(page);
  },
);

browserTest(
  "a failed turn is taken up, and a page that is loaded anew goes on with all of it",
  async ({ page, tolerate }) => {
    tolerate(NO_SOCKET);
    await blank(page);
    await page.evaluate(async (address) => {
      await window.join(address, { backoff: { baseMs: 50, mostMs: 200 } });
      await window.session.say("A long story");
      await window.until("model.token", {}, 5);
    }, WS);
    await ask("kill");
    await ask("start");
    const before = await page.evaluate(async () => {
      const { session, until } = window;
      const failed = await until("error", { code: "server_restarted" });
      const again = await session.say("", { resume: failed.payload.recover.resume_token });
      const start = await until("turn.start", { turn_id: again.turn_id });
      await session.interrupt();
      await session.say("Brief, please", { whenBusy: "queue" });
      await until("response.end", { status: "completed" });
      await until("turn.trace", {}, 3);
      const { id, view } = session;
      return {
        id,
        continues: start.payload.continues,
        failed: failed.turn_id,
        turns: view.transcript.turns,
      };
    });
    assert.equal(before.continues, before.failed);
    await blank(page);
    const turns = await page.evaluate(
      async ([address, sessionId]) => {
        const { view } = await window.join(address, { sessionId });
        return view.transcript.turns;
      },
      [WS, before.id],
    );
    assert.deepEqual(turns, before.turns);
    await whole(page);
  },
);

browserTest(
  "a token comes as a subprotocol; one that is no good is told with 4100",
  async ({ page }) => {
    await blank(page);
    const [good, old, other] = await Promise.all([
      ask("token", { sub: "ann", for_s: 3600 }),
      ask("token", { sub: "ann", for_s: -3600 }),
      ask("token", { sub: "bob", for_s: 3600 }),
    ]);
    const seen = await page.evaluate(
      async ([address, good, old, other]) => {
        const { connect, SessionEnded } = window.sdk;
        const why = (promise) =>
          promise.then(
            () => "it was let in",
            (error) => (error instanceof SessionEnded ? error.code : String(error)),
          );
        const refused = await why(connect(address, { token: old }));
        const alwaysOld = await why(connect(address, { token: () => old }));
        const given = [old, good, good];
        const asked = [];
        const session = await window.join(address, {
          token: async () => (asked.push(1), given.shift() ?? null),
        });
        const { principal } = session.hello.you;
        await session.say("Brief, please");
        await window.until("turn.trace");
        const stranger = await why(connect(address, { token: other, sessionId: session.id }));
        await session.authenticate(good);
        return { refused, alwaysOld, stranger, principal, asked: asked.length };
      },
      [guarded, good, old, other],
    );
    assert.deepEqual(seen, {
      refused: 4100,
      alwaysOld: 4100,
      stranger: 4104,
      principal: "ann",
      asked: 2,
    });
    await whole(page);
  },
);
