// A server of a few lines and a clock of our own, for facts about the SDK alone.
import { mock } from "node:test";

import { connect } from "../../sdk/javascript/src/index.js";

/** Every socket that was opened, in order. */
export const sockets = [];

export class FakeSocket {
  readyState = 0;
  sent = [];
  closedWith = null;
  onmessage = null;
  onclose = null;
  onerror = null;

  constructor(url, protocols) {
    this.url = new URL(url);
    this.protocols = protocols;
    sockets.push(this);
  }

  send(text) {
    this.sent.push(JSON.parse(text));
  }

  close(code) {
    this.closedWith = code;
    this.readyState = 3;
  }

  // --- the server's side ---

  gives(...frames) {
    this.readyState = 1;
    for (const frame of frames) this.onmessage?.({ data: JSON.stringify(frame) });
  }

  closes(code, reason = "") {
    this.readyState = 3;
    this.onclose?.({ code, reason });
  }

  sentOf(type) {
    return this.sent.filter((command) => command.type === type);
  }
}

export function hello(more = {}) {
  return {
    type: "hello",
    protocol: "bargein.v1",
    server: "test",
    session_id: "sess_1",
    epoch: "e1",
    resumed: false,
    replay_from: 1,
    replay_to: 0,
    heartbeat_s: 20,
    limits: {},
    you: { principal: "anonymous", role: "drive", tier: "" },
    ...more,
  };
}

export const live = (seq) => ({ type: "live", seq });

export function event(seq, type, payload = {}, turn_id = null, more = {}) {
  const ts = "2026-11-21T10:12:33.120Z";
  const envelope = { session_id: "sess_1", seq, event_id: `evt_${seq}`, ts, type, turn_id };
  return { ...envelope, parent_event_id: null, payload, ...more };
}

export const token = (seq, text, turn_id = "turn_1", more = {}) =>
  event(seq, "model.token", { text, n: 1 }, turn_id, more);

/** Events that open the first turn, up to seq 3. */
export const opening = () => [
  event(1, "session.opened", { agent: "a", config: {} }),
  event(2, "input.text", { text: "Hi", command_id: null }, "turn_1"),
  event(3, "turn.start", { input: "Hi" }, "turn_1"),
];

export const reply = (command, result = {}, at_seq = 0) => ({
  type: "reply",
  command_id: command.id,
  result,
  at_seq,
});

export const refusal = (command, code, retryable) => ({
  type: "error",
  command_id: command?.id ?? null,
  error: { code, message: code, retryable, param: null },
});

let nowMs = 0;

/** Stop all clocks; `pass` moves them. */
export function stopTime() {
  mock.timers.enable({ apis: ["setTimeout", "Date"], now: 1_795_219_200_000 });
  mock.method(performance, "now", () => nowMs);
}

/** Let a while pass, a little at a time, so that what follows from it happens when it should. */
export async function pass(ms) {
  for (let left = ms; left > 0; left -= 10) {
    nowMs += Math.min(10, left);
    mock.timers.tick(Math.min(10, left));
    await settle();
  }
}

/** Let all that waits for nothing but its turn happen. */
export async function settle() {
  for (let round = 0; round < 20; round++) await null;
}

/** Connect through fake sockets, with the longest jitter. */
export async function dial(options = {}, address = "ws://localhost") {
  sockets.length = 0;
  const connecting = connect(address, { WebSocket: FakeSocket, random: () => 0.999, ...options });
  connecting.catch(() => {}); // who awaits it sees it; nobody else has to
  await settle();
  return { connecting, socket: sockets.at(-1) };
}

/** Connect and be live, behind the given events. */
export async function started(options = {}, events = opening(), hi = {}) {
  const { connecting, socket } = await dial(options);
  socket.gives(hello(hi), live(0), ...events);
  return { session: await connecting, socket };
}

/** Wait as long as a dial may be put off, and return the socket that is dialed then. */
export async function nextSocket(ms = 1000) {
  const before = sockets.length;
  for (let waited = 0; waited < ms && sockets.length === before; waited += 10) await pass(10);
  return sockets.length > before ? sockets.at(-1) : null;
}
