// The hook in the real React, and without any.
import assert from "node:assert/strict";
import { createRequire } from "node:module";
import { afterEach, beforeEach, mock, test } from "node:test";

import { useBargein } from "../../sdk/javascript/src/react.js";
import { FakeSocket, hello, live, opening, settle, sockets, stopTime, token } from "./wire.mjs";

const require = createRequire(new URL("../../sdk/javascript/package.json", import.meta.url));
globalThis.IS_REACT_ACT_ENVIRONMENT = true;
const React = require("react");
const { act, create } = require("react-test-renderer");

beforeEach(() => {
  stopTime();
  mock.method(console, "error", () => {}); // that the renderer is deprecated
  sockets.length = 0;
});
afterEach(() => {
  mock.timers.reset();
  mock.restoreAll();
});

const drawn = [];

function Chat({ address }) {
  const now = useBargein(React, address, { WebSocket: FakeSocket });
  drawn.push(now);
  return now.view?.transcript.turns.map((turn) => turn.assistant).join() ?? now.state;
}

const inAct = (work) => act(async () => (await work(), await settle()));
const element = (address) => React.createElement(Chat, { address });

async function appear(strict = false) {
  let page;
  await inAct(() => {
    const chat = element("ws://localhost");
    page = create(strict ? React.createElement(React.StrictMode, null, chat) : chat);
  });
  return page;
}

test("a component shows the session as it goes", async () => {
  const page = await appear();
  assert.equal(page.toJSON(), "connecting");
  const [socket] = sockets;
  await inAct(() => socket.gives(hello(), live(0), ...opening()));
  await inAct(() => socket.gives(token(4, "Hel"), token(5, "lo")));
  assert.equal(page.toJSON(), "Hello");
  await inAct(() => socket.closes(1006));
  assert.equal(drawn.at(-1).state, "waiting");
  await inAct(() => page.unmount());
});

test("a component that goes leaves the session", async () => {
  const page = await appear();
  const [socket] = sockets;
  await inAct(() => socket.gives(hello(), live(0), ...opening()));
  await inAct(() => page.unmount());
  assert.equal(socket.closedWith, 1000);
});

test("another address is another session", async () => {
  const page = await appear();
  await inAct(() => page.update(element("ws://localhost/v1/session/sess_7")));
  assert.equal(sockets[0].closedWith, 1000);
  assert.equal(sockets[1].url.pathname, "/v1/session/sess_7");
  await inAct(() => page.unmount());
});

test("strict mode opens one session", async () => {
  const page = await appear(true);
  assert.equal(sockets.length, 1);
  await inAct(() => page.unmount());
});

test("why there is no session can be shown", async () => {
  const page = await appear();
  await inAct(() => sockets[0].closes(4100, "no"));
  assert.equal(drawn.at(-1).error.code, 4100);
  assert.equal(drawn.at(-1).state, "ended");
  await inAct(() => page.unmount());
});
