// A spoken conversation over a server of a few lines: who falls silent when, and what is reported.
import assert from "node:assert/strict";
import { afterEach, beforeEach, mock, test } from "node:test";

import { Conversation, MicrophoneRefused } from "../../sdk/javascript/src/voice.js";
import { event, nextSocket, pass, refusal, reply, settle, started, stopTime } from "./wire.mjs";

beforeEach(stopTime);
afterEach(() => {
  mock.timers.reset();
  mock.restoreAll();
});

class Mouth {
  loudness = 1;
  texts = [];

  speak(text, listener) {
    this.texts.push(text);
    this.listener = listener;
    return () => {};
  }
}

class Ear {
  starts = 0;
  stops = 0;
  key = 1;

  start(listener) {
    this.starts++;
    this.listener = listener;
  }

  stop() {
    this.stops++;
  }

  hears(text, final = false) {
    this.listener.words({ key: this.key, text, final });
    if (final) this.key++;
  }
}

const QUIET = { heartbeat_s: 1000 };

/** A conversation in which the first turn is open and says something. */
async function talking(more = {}) {
  const { session, socket } = await started({}, undefined, QUIET);
  const [mouth, ear] = [new Mouth(), new Ear()];
  const talk = new Conversation(session, { recogniser: ear, speaker: mouth, random: () => 0.5 });
  const told = [];
  for (const type of ["state", "held", "released", "mute", "refused"])
    talk.on(type, (value) => told.push([type, value.by ?? value.message ?? value]));
  const begun = talk.start(null);
  await settle();
  socket.gives(reply(socket.sent.at(-1), {}, 3));
  await begun;
  const chunk = { chunk_id: "c1", text: "One two three.", start: 0, end: 14, ...more };
  socket.gives(event(4, "model.token", { text: chunk.text, n: 3 }, "turn_1"));
  socket.gives(event(5, "tts.chunk", chunk, "turn_1"));
  mouth.listener.word(4);
  await settle();
  told.length = socket.sent.length = 0;
  return { session, socket, talk, mouth, ear, told };
}

/** A voice for a while, then silence for a while. */
function voice(talk, ms, silentMs = 0) {
  for (let at = 0; at < ms; at += 20) talk.hear(-10, 20);
  for (let at = 0; at < silentMs; at += 20) talk.hear(-80, 20);
}

const sent = ({ socket }) => socket.sent.map(({ type }) => type);
const answer = ({ socket }, type, seq = 5) => {
  const command = socket.sentOf(type).at(-1);
  socket.gives(reply(command, {}, seq));
};

test("a voice over the agent silences it, and only then is anybody told", async () => {
  const world = await talking();
  voice(world.talk, 140);
  assert.equal(world.talk.player.loudness, 0);
  assert.equal(world.talk.state, "paused");
  assert.deepEqual(sent(world), ["playback.progress", "speech.start"]);
  const [progress] = world.socket.sentOf("playback.progress");
  assert.deepEqual(
    [progress.turn_id, progress.chunk_id, progress.chars],
    ["turn_1", "c1", 3],
  );
});

test("it goes on where it was when the server says that this was no interruption", async () => {
  const world = await talking();
  const { socket, talk, mouth, told } = world;
  voice(talk, 140);
  socket.gives({ type: "pause", turn_id: "turn_1" });
  answer(world, "speech.start");
  await settle();
  assert.equal(talk.player.state, "paused");
  voice(talk, 0, 320);
  assert.equal(talk.state, "deciding");
  socket.gives({ type: "unpause", turn_id: "turn_1" });
  assert.equal(talk.state, "speaking");
  assert.deepEqual(mouth.texts, ["One two three.", "two three."]);
  assert.deepEqual(told, [
    ["state", "paused"],
    ["held", "voice"],
    ["held", "server"],
    ["state", "deciding"],
    ["released", "server"],
    ["state", "speaking"],
    ["released", "voice"],
  ]);
});

test("a flush ends what was being said, for good", async () => {
  const world = await talking();
  const { socket, talk, mouth, ear } = world;
  talk.press();
  talk.release();
  voice(talk, 140);
  socket.gives({ type: "pause", turn_id: "turn_1" });
  ear.hears("Only the cheap ones");
  socket.gives({ type: "flush", turn_id: "turn_1", seq: 6 });
  socket.gives({ type: "unpause", turn_id: "turn_1" });
  await pass(10_000);
  assert.equal(talk.player.state, "silent");
  assert.deepEqual(mouth.texts, ["One two three."]);
});

test("nothing holds a passage that speech does not interrupt, and it is reported all the same", async () => {
  const world = await talking({ protected: true });
  voice(world.talk, 200);
  assert.equal(world.talk.state, "speaking");
  assert.deepEqual(sent(world), ["speech.start"]);
  world.socket.gives({ type: "pause", turn_id: "turn_1" }); // another passage, for the server
  assert.equal(world.talk.state, "paused");
});

test("where the server does not pause its open turn, the agent goes on", async () => {
  const world = await talking();
  voice(world.talk, 140);
  answer(world, "speech.start");
  await settle();
  assert.equal(world.talk.state, "speaking");
});

const over = ({ socket }) =>
  socket.gives(
    event(6, "response.end", { status: "completed", text: "One two three." }, "turn_1"),
    event(7, "turn.trace", { spans: [], total_ms: 1 }, "turn_1"),
  );

test("over the tail of an answer that is over for the server, words end it", async () => {
  const world = await talking();
  over(world);
  voice(world.talk, 140);
  answer(world, "speech.start", 7);
  await settle();
  assert.equal(world.talk.state, "paused");
  world.talk.press(); // the recogniser runs
  world.ear.hears("Stop");
  await settle();
  assert.equal(world.talk.player.playing, null);
  const [stop] = world.socket.sentOf("playback.stop");
  assert.equal(stop.chars, 3);
});

test("and a cough does not", async () => {
  const world = await talking();
  over(world);
  voice(world.talk, 140);
  answer(world, "speech.start", 7);
  await settle();
  voice(world.talk, 0, 320);
  assert.equal(world.talk.state, "deciding");
  await pass(800);
  assert.equal(world.talk.state, "speaking");
});

test("a pause of which nothing more is heard is none", async () => {
  const world = await talking();
  world.socket.gives({ type: "pause", turn_id: "turn_1" });
  assert.equal(world.talk.player.state, "paused");
  await pass(8100);
  assert.equal(world.talk.player.state, "speaking");
});

test("whoever holds the key has the floor, whatever the server thinks of the silence", async () => {
  const world = await talking();
  const { socket, talk, ear } = world;
  talk.press();
  assert.equal(talk.state, "paused");
  assert.equal(ear.starts, 1);
  socket.gives({ type: "pause", turn_id: "turn_1" });
  socket.gives({ type: "unpause", turn_id: "turn_1" });
  assert.equal(talk.player.state, "paused");
  talk.release();
  assert.equal(ear.stops, 1);
  await pass(1600);
  assert.equal(talk.player.state, "speaking", "nothing was said");
  assert.deepEqual(socket.sentOf("turn.end"), []);
});

test("the turn ends with the last words after the key, and not before", async () => {
  const world = await talking();
  const { socket, talk, ear } = world;
  over(world);
  talk.press();
  ear.hears("To Vien");
  talk.release();
  await pass(300);
  assert.deepEqual(socket.sentOf("turn.end"), []);
  ear.hears("To Vienna", true);
  await pass(300);
  assert.deepEqual(socket.sentOf("turn.end"), [], "there may be more of them");
  ear.listener.done();
  await settle();
  assert.deepEqual(sent(world).slice(-2), ["asr.final", "turn.end"]);
  const [final] = socket.sentOf("asr.final");
  assert.equal(socket.sentOf("turn.end")[0].utterance_id, final.utterance_id);
});

test("what was cut by the key is not taken up before the server stops it", async () => {
  const world = await talking();
  const { socket, talk, mouth, ear } = world;
  talk.press();
  ear.hears("To Vienna", true);
  talk.release();
  ear.listener.done();
  await settle();
  assert.equal(socket.sentOf("turn.end").length, 1);
  assert.equal(talk.player.state, "paused");
  socket.gives({ type: "flush", turn_id: "turn_1", seq: 6 });
  assert.deepEqual([...talk.player.holds], [], "the next answer is heard");
  assert.deepEqual(mouth.texts, ["One two three."]);
});

test("a voice after the key, before its last words, leaves no hold behind", async () => {
  const world = await talking();
  const { socket, talk } = world;
  talk.press();
  talk.release();
  voice(talk, 200);
  assert.deepEqual([...talk.player.holds], ["voice"]);
  socket.gives({ type: "unpause", turn_id: "turn_1" });
  assert.equal(talk.player.state, "speaking");
});

test("words that never become final end the turn after a while", async () => {
  const world = await talking();
  world.talk.press();
  world.ear.hears("To Vienna");
  world.talk.release();
  await pass(1600);
  assert.equal(world.socket.sentOf("turn.end").length, 1);
});

test("an echo, as the server hears it, is learnt", async () => {
  const world = await talking();
  voice(world.talk, 140);
  const utterance = world.socket.sentOf("speech.start")[0].utterance_id;
  const resumed = { cause: "echo", utterances: [utterance], waited_ms: 400 };
  voice(world.talk, 0, 320);
  world.socket.gives(event(6, "playback.resumed", resumed, "turn_1"));
  assert.equal(world.talk.state, "speaking");
  voice(world.talk, 400);
  assert.equal(world.talk.state, "speaking", "so loud an echo is known now");
});

test("reports that come too late are no fault, others are", async () => {
  const world = await talking();
  const { socket, told } = world;
  world.talk.press();
  await settle();
  const start = socket.sentOf("speech.start")[0];
  socket.gives(refusal(start, "stale", false));
  await settle();
  world.ear.hears("So much");
  socket.gives(refusal(socket.sentOf("asr.partial")[0], "quota_exceeded", false));
  await settle();
  assert.deepEqual(told.filter(([type]) => type === "refused").length, 1);
});

test("without a connection only what matters later is kept", async () => {
  const world = await talking();
  const { socket, talk, ear, session } = world;
  over(world);
  talk.press();
  socket.closes(1006);
  ear.hears("Good");
  ear.hears("Good evening", true);
  talk.release();
  ear.listener.done();
  await settle();
  const next = await nextSocket();
  next.gives(
    { type: "hello", protocol: "bargein.v1", server: "test", session_id: session.id, epoch: "e1",
      resumed: true, replay_from: 8, replay_to: 7, heartbeat_s: 1000, limits: {},
      you: { principal: "anonymous", role: "drive", tier: "" } },
    { type: "live", seq: 7 },
  );
  await settle();
  const again = next.sent.map(({ type }) => type);
  assert.ok(again.includes("asr.final") && again.includes("turn.end"), String(again));
  assert.ok(!again.includes("asr.partial"), String(again));
});

test("a recogniser that gives up leaves typing, and a stopped answer is told as it was heard", async () => {
  const world = await talking();
  const { socket, talk, ear, told } = world;
  talk.press();
  ear.listener.failed("network");
  talk.release();
  assert.deepEqual(told.find(([type]) => type === "mute"), ["mute", "network"]);
  talk.interrupt();
  await settle();
  assert.equal(talk.player.state, "silent");
  assert.deepEqual(socket.sentOf("playback.stop"), [], "the turn is stopped, and not over");
  const [interrupt] = socket.sentOf("interrupt");
  assert.deepEqual([interrupt.turn_id, interrupt.heard], ["turn_1", { chars: 3 }]);
});

test("where there is no microphone it says why, and the key works", async () => {
  const world = await talking();
  await assert.rejects(world.talk.listen(), (error) => {
    assert.ok(error instanceof MicrophoneRefused);
    assert.equal(error.reason, "unsupported");
    return true;
  });
  world.talk.press();
  assert.equal(world.talk.state, "paused");
});

test("after its end nothing is spoken, heard, or told", async () => {
  const world = await talking();
  world.talk.stop();
  const before = world.told.length;
  voice(world.talk, 200);
  world.socket.gives(event(6, "tts.chunk", { chunk_id: "c2", text: "More." }, "turn_1"));
  await pass(100);
  assert.deepEqual(world.mouth.texts, ["One two three."]);
  assert.equal(world.told.length, before);
  assert.equal(world.talk.state, "off");
});

/** A conversation in which the first turn is open, and nothing is said yet. */
async function thinking() {
  const { session, socket } = await started({}, undefined, QUIET);
  const [mouth, ear] = [new Mouth(), new Ear()];
  const talk = new Conversation(session, { recogniser: ear, speaker: mouth, random: () => 0.5 });
  const begun = talk.start(null);
  await settle();
  socket.gives(reply(socket.sent.at(-1), {}, 3));
  await begun;
  socket.sent.length = 0;
  const says = (more = {}) => {
    const chunk = { chunk_id: "c1", text: "One two.", start: 0, end: 8, ...more };
    socket.gives(event(session.seq + 1, "tts.chunk", chunk, "turn_1"));
  };
  return { session, socket, talk, mouth, ear, says };
}

test("a pause that comes before the first words of an answer holds them", async () => {
  const world = await thinking();
  const { socket, talk, mouth, says } = world;
  voice(talk, 100);
  socket.gives({ type: "pause", turn_id: "turn_1" });
  answer(world, "speech.start", 3);
  await settle();
  says();
  assert.deepEqual([talk.state, mouth.texts], ["paused", []]);
  socket.gives({ type: "unpause", turn_id: "turn_1" });
  assert.deepEqual(mouth.texts, ["One two."]);
});

test("so does a voice that the server has not decided about, and none that it lets pass", async () => {
  const world = await thinking();
  voice(world.talk, 100);
  world.says();
  assert.deepEqual(world.mouth.texts, []);
  answer(world, "speech.start", 4);
  await settle();
  assert.deepEqual(world.mouth.texts, ["One two."]);
  const other = await thinking();
  voice(other.talk, 100);
  answer(other, "speech.start", 3);
  await settle();
  other.says();
  assert.deepEqual(other.mouth.texts, ["One two."]);
});

test("a pause without words ends with its turn, and holds no passage that nothing interrupts", async () => {
  const { socket, talk, mouth, says } = await thinking();
  socket.gives({ type: "pause", turn_id: "turn_1" }, { type: "flush", turn_id: "turn_1", seq: 4 });
  assert.deepEqual([...talk.player.holds], []);
  const other = await thinking();
  voice(other.talk, 100);
  other.says({ protected: true });
  assert.deepEqual(other.mouth.texts, ["One two."]);
  socket.gives({ type: "pause", turn_id: "turn_0" });
  says();
  assert.deepEqual(mouth.texts, [], "the turn was stopped");
});

/** A browser whose user is asked for the microphone, and says yes when the test does. */
function microphones() {
  const [tracks, contexts, asked] = [[], [], []];
  class AudioContext {
    state = "running";
    static { this.prototype.audioWorklet = null; }

    constructor() {
      contexts.push(this);
      Object.defineProperty(this, "audioWorklet", { value: { addModule: async () => {} } });
    }

    async resume() {}

    async close() {
      this.state = "closed";
    }

    createMediaStreamSource() {
      return { connect() {} };
    }
  }
  class AudioWorkletNode {
    port = {};

    connect() {}
  }
  const getUserMedia = () =>
    new Promise((given) => {
      asked.push(() => {
        const track = { live: true, stop: () => (track.live = false), addEventListener() {} };
        tracks.push(track);
        given({ getTracks: () => [track] });
      });
    });
  const parts = { AudioContext, AudioWorkletNode, navigator: { mediaDevices: { getUserMedia } } };
  const before = Object.keys(parts).map((name) => [
    name,
    Object.getOwnPropertyDescriptor(globalThis, name),
  ]);
  for (const [name, value] of Object.entries(parts))
    Object.defineProperty(globalThis, name, { value, configurable: true, writable: true });
  const leave = () => {
    for (const [name, known] of before) {
      if (known) Object.defineProperty(globalThis, name, known);
      else delete globalThis[name];
    }
  };
  const on = () => [
    tracks.filter(({ live }) => live).length,
    contexts.filter(({ state }) => state !== "closed").length,
  ];
  return { asked, on, leave, grant: () => asked.splice(0).forEach((yes) => yes()) };
}

for (const end of ["stop", "deafen"]) {
  test(`a microphone that is granted after ${end} is let go of`, async () => {
    const { talk, ear } = await thinking();
    const { on, leave, grant } = microphones();
    try {
      const listening = talk.listen();
      await settle();
      talk[end]();
      grant();
      await listening;
      assert.deepEqual([on(), talk.handsFree, ear.starts], [[0, 0], false, 0]);
    } finally {
      leave();
    }
  });
}

test("asked for twice it is one microphone, and asked for again after a no another one", async () => {
  const { talk } = await thinking();
  const { asked, on, leave, grant } = microphones();
  try {
    const both = [talk.listen(), talk.listen()];
    await settle();
    assert.equal(asked.length, 1);
    talk.deafen();
    both.push(talk.listen());
    grant();
    await Promise.all(both);
    assert.deepEqual([on(), talk.handsFree], [[1, 1], true]);
    talk.stop();
    assert.deepEqual(on(), [0, 0]);
  } finally {
    leave();
  }
});

test("nobody is asked for a microphone before the start, or after the end", async () => {
  const { talk } = await thinking();
  const { asked, leave } = microphones();
  try {
    talk.stop();
    await assert.rejects(talk.listen(), { reason: "stopped" });
    assert.equal(asked.length, 0);
  } finally {
    leave();
  }
});

test("with the line down a voice cuts in by any words, and the server is told when it is back", async () => {
  const world = await talking();
  const { socket, session, talk, mouth, ear } = world;
  talk.press(); // the recogniser runs
  talk.release();
  await pass(1600);
  socket.closes(1006);
  voice(talk, 140);
  await settle();
  assert.equal(talk.state, "paused", "nobody has let it go on");
  ear.hears("Only the cheap ones");
  await settle();
  assert.equal(talk.player.state, "silent");
  const next = await nextSocket();
  const chunk = { chunk_id: "c2", text: " Four.", start: 14, end: 20 };
  next.gives(
    { type: "hello", protocol: "bargein.v1", server: "test", session_id: session.id, epoch: "e1",
      resumed: true, replay_from: 6, replay_to: 6, heartbeat_s: 1000, limits: {},
      you: { principal: "anonymous", role: "drive", tier: "" } },
    event(6, "tts.chunk", chunk, "turn_1"),
    { type: "live", seq: 6 },
  );
  await settle();
  const [interrupt] = next.sentOf("interrupt");
  assert.deepEqual([interrupt.turn_id, interrupt.heard], ["turn_1", { chars: 3 }]);
  assert.deepEqual(mouth.texts.filter((text) => text === " Four."), [], "it was cut off");
});

test("with the line down a cough does not cut in", async () => {
  const { socket, talk } = await talking();
  socket.closes(1006);
  voice(talk, 140, 320);
  assert.equal(talk.state, "deciding");
  await pass(800);
  assert.equal(talk.state, "speaking");
});

test("a line that breaks while the server holds the agent leaves nothing held", async () => {
  const { socket, talk } = await talking();
  voice(talk, 140, 320);
  socket.gives({ type: "pause", turn_id: "turn_1" });
  socket.closes(1006);
  assert.deepEqual([...talk.player.holds], ["voice"]);
  await pass(800);
  assert.equal(talk.state, "speaking");
});

test("a server that does not answer is not waited for, and decides again when it does", async () => {
  const world = await talking();
  const { socket, talk, ear } = world;
  talk.press();
  talk.release();
  await pass(1600);
  voice(talk, 140);
  await pass(1100);
  socket.gives({ type: "pause", turn_id: "turn_1" });
  ear.hears("mhm");
  assert.equal(talk.player.state, "paused", "that is for the server to say");
  socket.gives({ type: "unpause", turn_id: "turn_1" });
  voice(talk, 0, 320);
  voice(talk, 140);
  await pass(1100);
  ear.hears("mhm, only the cheap ones");
  await settle();
  assert.equal(talk.player.state, "silent");
});

/** The server hears a noise and no words, and lets the agent go on. */
function goesOn({ socket, session }) {
  const [{ utterance_id: id }] = socket.sentOf("speech.start").slice(-1);
  const payload = { cause: "noise", utterances: [id], waited_ms: 600 };
  socket.gives(event(session.seq + 1, "playback.resumed", payload, "turn_1"));
}

test("noises without words that hold the agent again and again are its own echo", async () => {
  const world = await talking();
  const { talk, socket } = world;
  for (let round = 0; round < 2; round++) {
    voice(talk, 140, 320);
    goesOn(world);
  }
  assert.equal(socket.sentOf("speech.start").length, 2);
  voice(talk, 400);
  assert.equal(talk.state, "speaking", "so loud an echo is known now");
});

test("noises between which somebody speaks are not", async () => {
  const world = await talking();
  const { talk, socket, ear } = world;
  talk.press();
  talk.release();
  await pass(1600);
  for (let round = 0; round < 3; round++) {
    voice(talk, 140, 320);
    goesOn(world);
    ear.hears(`mhm ${round}`, true);
  }
  assert.equal(socket.sentOf("speech.start").length, 4, "the key, and three voices");
});

for (const reason of ["not-allowed", "audio-capture"]) {
  test(`a recogniser that fails with ${reason} is tried again with the microphone`, async () => {
    const { talk, ear } = await thinking();
    const told = [];
    talk.on("mute", (why) => told.push(why));
    talk.press();
    ear.listener.failed(reason);
    assert.deepEqual(told, [reason]);
    const { leave, grant } = microphones();
    try {
      const listening = talk.listen();
      await settle();
      grant();
      await listening;
      assert.equal(ear.starts, 2);
    } finally {
      leave();
    }
  });
}

test("one that has no service is not", async () => {
  const { talk, ear } = await thinking();
  talk.press();
  ear.listener.failed("network");
  talk.release();
  talk.press();
  assert.equal(ear.starts, 1);
});

test("a key that is held when the recogniser fails holds the agent no longer", async () => {
  const { talk, ear } = await talking();
  talk.press();
  ear.listener.failed("not-allowed");
  await pass(1600);
  assert.equal(talk.state, "speaking");
});

test("an answer that is left in the middle is stopped where it was heard", async () => {
  const world = await talking();
  const { socket, talk } = world;
  const chunk = { chunk_id: "c2", text: " Four.", start: 14, end: 20 };
  socket.gives(event(6, "tts.chunk", chunk, "turn_1"));
  talk.stop();
  await settle();
  const [{ turn_id: turnId, heard }] = socket.sentOf("interrupt");
  assert.deepEqual([turnId, heard], ["turn_1", { chars: 3 }]);
  assert.deepEqual(socket.sentOf("playback.stop"), [], "that would say that it was heard to its end");
});

test("the tail of one that is over ends with what was heard, one that is not spoken goes on", async () => {
  const world = await talking();
  over(world);
  world.talk.stop();
  await settle();
  assert.deepEqual(sent(world), ["playback.stop"]);
  assert.equal(world.socket.sent[0].chars, 3);
  const silent = await thinking();
  silent.talk.stop();
  await settle();
  assert.deepEqual(sent(silent), []);
});

test("an answer that a page before this one spoke is stopped where that page was", async () => {
  const { session, socket } = await started({}, undefined, QUIET);
  const chunk = { chunk_id: "c1", text: "One two three.", start: 0, end: 14 };
  socket.gives(
    event(4, "tts.chunk", chunk, "turn_1"),
    event(5, "playback.progress", { chunk_id: "c1", chars: 7, offset_ms: 600 }, "turn_1"),
  );
  const mouth = new Mouth();
  const talk = new Conversation(session, { speaker: mouth });
  talk.start(null).catch(() => {});
  await settle();
  const [{ turn_id: turnId, heard }] = socket.sentOf("interrupt");
  assert.deepEqual([turnId, heard], ["turn_1", { chars: 7 }]);
  const more = { chunk_id: "c2", text: " Four.", start: 14, end: 20 };
  socket.gives(event(6, "tts.chunk", more, "turn_1"));
  assert.deepEqual(mouth.texts, [], "nobody begins in the middle of it");
});

test("a second sentence that is understood after the key belongs to the same turn", async () => {
  const world = await thinking();
  const { socket, talk, ear } = world;
  talk.press();
  ear.hears("Book a berth.", true);
  talk.release();
  await settle();
  assert.deepEqual(socket.sentOf("turn.end"), [], "the recogniser is not done");
  ear.hears("To Vienna.", true);
  ear.listener.done();
  await settle();
  const said = sent(world).filter((type) => /^(asr|turn)/.test(type));
  assert.deepEqual(said, ["asr.final", "asr.final", "turn.end"]);
  const last = socket.sentOf("asr.final")[1];
  assert.equal(socket.sentOf("turn.end")[0].utterance_id, last.utterance_id);
});

test("a turn that the server has begun by itself is heard without waiting for last words", async () => {
  const { socket, talk, mouth, ear, session } = await thinking();
  talk.press();
  ear.hears("Good evening.", true);
  talk.release();
  const [{ utterance_id: id }] = socket.sentOf("asr.final");
  const taken = { input: "Good evening.", utterances: [{ utterance_id: id, revision: 0 }] };
  const chunk = { chunk_id: "c1", text: "Hello.", start: 0, end: 6 };
  socket.gives(
    event(session.seq + 1, "turn.start", taken, "turn_2"),
    event(session.seq + 2, "tts.chunk", chunk, "turn_2"),
  );
  assert.deepEqual(mouth.texts, ["Hello."]);
  assert.deepEqual(socket.sentOf("turn.end"), []);
});
