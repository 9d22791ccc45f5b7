// A session of the SDK that is driven from outside: a question on each line of stdin.
import { createRequire } from "node:module";
import { createInterface } from "node:readline";

import { connect } from "../../sdk/javascript/src/index.js";

const [url, given = "{}"] = process.argv.slice(2);
const { builtIn, ...options } = JSON.parse(given);
const require = createRequire(new URL("../../sdk/javascript/package.json", import.meta.url));

const problem = ({ name, code, message }) => ({ error: { name, code, message } });
const outcome = (promise) =>
  promise.then((result) => ({ result: result ?? null }), problem);

let session;
const begun = new Map();

const asked = {
  /** Connect; the other questions need it. */
  connect: async () => {
    const more = builtIn ? {} : { WebSocket: require("ws") };
    const connecting = connect(url, {
      backoff: { baseMs: 20, mostMs: 200 },
      dialMs: 2000,
      ...more,
      ...options,
    });
    return outcome(connecting.then((found) => ((session = found), found.hello)));
  },
  /** Do something, and wait for what comes of it. */
  call: ({ method, args = [] }) => outcome(Promise.resolve(session[method](...args))),
  /** Do something, and wait later. */
  begin: ({ method, args = [], as }) => {
    begun.set(as, outcome(Promise.resolve(session[method](...args))));
    return {};
  },
  answer: ({ as }) => begun.get(as),
  /** Wait for an event of a type with these fields, of the payload or its own. */
  until: async ({ type, more = {}, count = 1 }) => {
    const fits = (event) =>
      event.type === type &&
      Object.entries(more).every(([key, value]) => (event[key] ?? event.payload[key]) === value);
    for await (const event of session) if (fits(event) && --count === 0) return event;
    throw new Error("the session is over");
  },
  /** Wait until the view shows this of the latest turn. */
  shows: async ({ text }) => {
    const there = () => session.view.transcript.turns.at(-1)?.assistant === text;
    while (!there()) await new Promise((wake) => session.on("view", wake));
    return {};
  },
  see: () => {
    const { id, seq, epoch, state, log, counts, view } = session;
    const { transcript, plan, actions, latency } = view;
    const views = { transcript, plan, actions, latency, session: view.session };
    return { id, seq, epoch, state, log, counts, views };
  },
};

for await (const line of createInterface({ input: process.stdin })) {
  const question = JSON.parse(line);
  process.stdout.write(`${JSON.stringify(await asked[question.do](question))}\n`);
}
session?.disconnect();
