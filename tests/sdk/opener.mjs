// A user of the SDK who opens a long session again and again. Asked on stdin, a line each.
import { createRequire } from "node:module";
import { createInterface } from "node:readline";

import { connect } from "../../sdk/javascript/src/index.js";
import { chance } from "./chance.mjs";
import { done, meddlingWith } from "./meddling.mjs";

const [url, seed] = process.argv.slice(2);
const require = createRequire(new URL("../../sdk/javascript/package.json", import.meta.url));
const random = chance(Number(seed));
let session;
let read;
let listened;
let reader;

const where = () => ({ seq: session.seq, state: session.state, from: session.hello.replay_from });

async function open({ meddles, ...options }) {
  for (const name of Object.keys(done)) done[name] = 0;
  session = await connect(url, {
    WebSocket: meddles ? meddlingWith(random, 12) : require("ws"),
    backoff: { baseMs: 20, mostMs: 200 },
    dialMs: 2000,
    connectMs: 90_000,
    random,
    ...options,
  });
  read = [];
  listened = [];
  session.on("*", ({ seq }) => listened.push(seq));
  reader = (async () => {
    for await (const { seq } of session) read.push({ seq });
  })();
  return where();
}

/** Wait until it has all up to an event, and leave with what it has by then. */
async function report({ upTo }) {
  // Its reply comes behind all that was there before; if that was lost, it shows.
  await session.send("ping").catch(() => {});
  while (session.seq < upTo) await new Promise((wake) => setTimeout(wake, 5));
  const { log, counts, view, id } = session;
  const found = { id, log: [...log], listened: [...listened], counts: { ...counts }, done };
  found.transcript = structuredClone(view.transcript);
  session.disconnect();
  await reader;
  return { ...found, read };
}

const asked = { open, report };
for await (const line of createInterface({ input: process.stdin })) {
  const question = JSON.parse(line);
  const complain = () => process.stderr.write(`${JSON.stringify(session && where())}\n`);
  const late = setTimeout(complain, 20_000);
  process.stdout.write(`${JSON.stringify(await asked[question.do](question))}\n`);
  clearTimeout(late);
}
