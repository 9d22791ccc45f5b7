// A user of the SDK whose way to the server breaks again and again. Asked on stdin, a line each.
import { createInterface } from "node:readline";

import { connect } from "../../sdk/javascript/src/index.js";
import { chance } from "./chance.mjs";
import { done, meddlingWith } from "./meddling.mjs";

const [url, seed] = process.argv.slice(2);
const random = chance(Number(seed));
const session = await connect(url, {
  WebSocket: meddlingWith(random),
  backoff: { baseMs: 20, mostMs: 200 },
  dialMs: 1000,
  shownEveryMs: 20,
  random,
});

const read = [];
const listened = [];
session.on("*", (event) => listened.push(event.seq));
const reader = (async () => {
  for await (const event of session) read.push(event);
})();

// What a page would do: report what it shows, which is never more than the view has.
session.on("view", () => {
  const turn = session.view.transcript.turns.at(-1);
  if (turn?.status === "open") session.shown(turn.turn_id, turn.assistant);
});

const PATIENCE_MS = 15_000;
const MODES = ["interrupt", "interrupt", "queue", "rollback", "steer"];

/** Say on the other stream what there is, if an answer takes too long. */
function complain() {
  const { id, seq, state, counts, waiting, view, log } = session;
  const turns = view.transcript.turns.slice(-4);
  const latest = log.slice(-8).map((event) => `${event.seq} ${event.type} ${event.turn_id}`);
  const found = { id, seq, state, counts, waiting, done, turns, latest, session: view.session };
  process.stderr.write(`${JSON.stringify(found, null, 1)}\n`);
}

async function until(reached) {
  while (!reached()) await new Promise((wake) => setTimeout(wake, 5));
}

async function trip({ words }) {
  const whenBusy = MODES[Math.floor(random() * MODES.length)];
  const said = session.say(words, { whenBusy });
  const stopped = random() < 0.4 ? session.interrupt() : null;
  const result = await said;
  const interrupt = await stopped;
  if (random() < 0.3) await session.interrupt();
  const ended = () => ["open", "queued"].every((status) => status !== statusOf(result.turn_id));
  await until(ended);
  return { result, interrupt };
}

function statusOf(turnId) {
  // A steered word belongs to a turn that may be long over.
  return session.view.transcript.turns.find((turn) => turn.turn_id === turnId)?.status ?? "open";
}

async function report() {
  await until(() => session.state === "live");
  // Its reply comes after all that was there before.
  await session.send("ping");
  const { log, counts, view, id } = session;
  const events = [...log];
  const transcript = structuredClone(view.transcript);
  session.disconnect();
  await reader;
  return { id, log: events, read, listened, counts, transcript, done };
}

const asked = { trip, report };
for await (const line of createInterface({ input: process.stdin })) {
  const question = JSON.parse(line);
  const late = setTimeout(complain, PATIENCE_MS);
  process.stdout.write(`${JSON.stringify(await asked[question.do](question))}\n`);
  clearTimeout(late);
}
