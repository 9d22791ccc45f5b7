// The parts of the SDK's voice, each alone: who speaks, what was said, what was heard of it.
import assert from "node:assert/strict";
import { afterEach, beforeEach, mock, test } from "node:test";

import {
  BrowserRecogniser,
  Player,
  SynthesiserSpeaker,
  TimedSpeaker,
  VoiceActivity,
} from "../../sdk/javascript/src/voice.js";
import { Utterances } from "../../sdk/javascript/src/voice_utterances.js";
import { pass, stopTime } from "./wire.mjs";

beforeEach(stopTime);
afterEach(() => {
  mock.timers.reset();
  mock.restoreAll();
});

// --- a voice, the room, the agent ----------------------------------------------------------

const FRAME_MS = 20;

/** Let it hear a level for a while; say what became of the voice, and when. */
function hears(activity, levelDb, ms, playing = 0) {
  const became = [];
  for (let at = FRAME_MS; at <= ms; at += FRAME_MS) {
    const what = activity.hear(levelDb, FRAME_MS, playing);
    if (what) became.push([what, at]);
  }
  return became;
}

test("a voice in a quiet room begins and ends, a click does not", () => {
  const activity = new VoiceActivity();
  assert.deepEqual(hears(activity, -70, 1000), []);
  assert.deepEqual(hears(activity, -20, 40), []);
  assert.deepEqual(hears(activity, -70, 100), []);
  assert.deepEqual(hears(activity, -25, 500), [["began", 60]]);
  assert.deepEqual(hears(activity, -70, 280), [], "a pause between syllables");
  assert.deepEqual(hears(activity, -25, 100), []);
  assert.deepEqual(hears(activity, -70, 400), [["ended", 300]]);
});

test("a fan that is switched on becomes a part of the room", () => {
  const activity = new VoiceActivity();
  assert.equal(hears(activity, -44, 100)[0][0], "began");
  assert.equal(hears(activity, -44, 30_000)[0][0], "ended");
  assert.deepEqual(hears(activity, -44, 10_000), []);
  assert.deepEqual(hears(activity, -20, 100), [["began", 60]]);
});

test("the agent's echo is no voice, and a voice over it has to be louder, and longer", () => {
  const activity = new VoiceActivity();
  hears(activity, -70, 1000);
  assert.deepEqual(hears(activity, -33, 3000, 1), []);
  assert.deepEqual(hears(activity, -30, 500, 1), [], "what would do in silence does not here");
  assert.deepEqual(hears(activity, -18, 100, 1), [], "a cough");
  hears(activity, -33, 100, 1);
  assert.deepEqual(hears(activity, -18, 300, 1), [["began", 120]]);
});

test("a room keeps ringing for a moment when the agent has stopped", () => {
  const activity = new VoiceActivity();
  hears(activity, -33, 2000, 1);
  assert.deepEqual(hears(activity, -33, 240), []);
  hears(activity, -70, 500);
  assert.deepEqual(hears(activity, -33, 100), [["began", 60]]);
});

test("where no echo comes back, a soft voice is enough to cut in", () => {
  const activity = new VoiceActivity();
  assert.deepEqual(hears(activity, -34, 300, 1), [], "before that is known");
  hears(activity, -75, 5000, 1);
  assert.deepEqual(hears(activity, -34, 300, 1), [["began", 120]]);
});

test("what turned out to be an echo is not taken for a voice again", () => {
  const activity = new VoiceActivity();
  assert.deepEqual(hears(activity, -16, 300, 1), [["began", 120]]);
  hears(activity, -70, 400);
  activity.wasEcho();
  assert.deepEqual(hears(activity, -16, 300, 1), []);
  assert.deepEqual(hears(activity, -6, 300, 1), [["began", 120]], "somebody may still shout");
});

test("an agent that is half as loud echoes half as loud", () => {
  const activity = new VoiceActivity();
  hears(activity, -34, 2000, 1);
  const loud = activity.thresholdDb;
  activity.hear(-40, FRAME_MS, 0.5);
  assert.ok(Math.abs(loud - 6 - activity.thresholdDb) < 0.5);
});

test("a soft agent is no louder to itself: its echo is learnt against its loudness", () => {
  for (const [loudness, echoDb] of [[0.5, -40], [0.3, -40], [0.2, -45]]) {
    const activity = new VoiceActivity();
    hears(activity, -70, 2000);
    assert.deepEqual(hears(activity, echoDb, 60_000, loudness), [], `at ${loudness}`);
    const over = Math.round(activity.thresholdDb - echoDb);
    assert.equal(over, activity.options.overDb, `at ${loudness}`);
    assert.deepEqual(hears(activity, echoDb + 12, 300, loudness), [["began", 120]]);
  }
});

test("an echo of a soft agent that was taken for a voice once is not, at any loudness", () => {
  const activity = new VoiceActivity();
  assert.deepEqual(hears(activity, -30, 300, 0.25), [["began", 120]]);
  hears(activity, -70, 600);
  activity.wasEcho();
  assert.deepEqual(hears(activity, -30, 300, 0.25), []);
  assert.deepEqual(hears(activity, -18, 300, 1), [], "four times as loud");
});

test("what was said when the agent was silent again is not what its echo is learnt from", () => {
  const activity = new VoiceActivity();
  hears(activity, -16, 140, 1);
  hears(activity, -70, 260);
  hears(activity, -3, 300);
  hears(activity, -70, 400);
  activity.wasEcho();
  assert.ok(activity.thresholdDb < -3);
  activity.hear(-70, FRAME_MS, 1);
  assert.ok(Math.abs(activity.thresholdDb - (-16 + activity.options.overDb)) < 1);
});

// --- utterances ----------------------------------------------------------------------------

function reporting() {
  const sent = [];
  const send = (type, fields) => {
    sent.push([type, ...Object.values(fields).filter((one) => one !== undefined)]);
    return Promise.resolve();
  };
  return { sent, utterances: new Utterances(send, () => 0.5) };
}

test("a voice and its words are one utterance, in revisions, until they are final", () => {
  const { sent, utterances } = reporting();
  utterances.voiceBegan();
  utterances.words({ key: 1, text: "Only", final: false });
  utterances.words({ key: 1, text: "Only", final: false });
  utterances.voiceEnded();
  utterances.words({ key: 1, text: "Only the cheap ones.", final: true, confidence: 0.9 });
  utterances.voiceBegan();
  const [one, two] = ["i-1", "i-2"];
  assert.deepEqual(sent, [
    ["speech.start", one],
    ["asr.partial", one, 0, "Only"],
    ["speech.stop", one],
    ["asr.final", one, 1, "Only the cheap ones.", 0.9],
    ["speech.start", two],
  ]);
});

test("what is said after a turn took the words is another utterance, late words are not", () => {
  const { sent, utterances } = reporting();
  utterances.voiceBegan();
  utterances.words({ key: 1, text: "Show me", final: false });
  utterances.took(["i-1"]);
  utterances.voiceBegan();
  utterances.words({ key: 1, text: "Show me the funds", final: true });
  utterances.words({ key: 2, text: "Stop", final: false });
  assert.deepEqual(sent.slice(2), [
    ["speech.start", "i-2"],
    ["asr.final", "i-1", 1, "Show me the funds"],
    ["asr.partial", "i-2", 0, "Stop"],
  ]);
});

test("the end of a turn is reported where something was said, and was not answered", () => {
  const { sent, utterances } = reporting();
  utterances.voiceBegan();
  utterances.end();
  utterances.words({ key: 1, text: "Vienna", final: false });
  utterances.end();
  utterances.took(["i-1"]);
  utterances.end();
  assert.deepEqual(sent.filter(([type]) => type === "turn.end"), [["turn.end", "i-1"]]);
});

// --- the player ----------------------------------------------------------------------------

/** A speaker that says what the test lets it. */
class Mouth {
  loudness = 1;
  texts = [];
  stopped = 0;

  speak(text, listener) {
    this.texts.push(text);
    this.listener = listener;
    return () => this.stopped++;
  }
}

function playing() {
  const sent = [];
  const mouth = new Mouth();
  const reports = {
    send: (type, fields) => sent.push([type, fields.chunk_id, fields.chars]),
    shown: (turnId, chars) => sent.push(["shown", turnId, chars]),
  };
  const player = new Player(reports, mouth);
  const add = (turn_id, chunk_id, text, start) =>
    player.add({ type: "tts.chunk", turn_id, payload: { chunk_id, text, start } });
  return { sent, mouth, player, add };
}

test("chunks are played one after the other, and reported to the word", () => {
  const { sent, mouth, player, add } = playing();
  add("turn_1", "c1", "Well 🚆 done.", 0);
  add("turn_1", "c2", "Bye.", 13);
  mouth.listener.word(0);
  mouth.listener.word(8);
  assert.equal(player.heardChars, 6, "code points, of whole words");
  mouth.listener.ended();
  mouth.listener.ended();
  assert.deepEqual(mouth.texts, ["Well 🚆 done.", "Bye."]);
  assert.deepEqual(sent, [
    ["playback.start", "c1", undefined],
    ["shown", "turn_1", 0],
    ["shown", "turn_1", 6],
    ["shown", "turn_1", 12],
    ["playback.stop", "c1", 12],
    ["playback.start", "c2", undefined],
    ["shown", "turn_1", 17],
    ["playback.stop", "c2", 17],
  ]);
  assert.equal(player.state, "silent");
});

test("it is silent while anything holds it, and goes on at the word that was cut", () => {
  const { sent, mouth, player, add } = playing();
  add("turn_1", "c1", "One two three.", 5);
  mouth.listener.word(4);
  player.hold("voice");
  player.hold("server");
  assert.deepEqual([player.state, player.loudness, mouth.stopped], ["paused", 0, 1]);
  assert.deepEqual(sent.at(-1), ["playback.progress", "c1", 8]);
  player.release("voice");
  assert.equal(player.state, "paused");
  player.release("server");
  assert.deepEqual(mouth.texts, ["One two three.", "two three."]);
  mouth.listener.word(4);
  assert.equal(player.heardChars, 12);
  assert.deepEqual(sent.filter(([type]) => type === "playback.start").length, 1);
});

test("what is dropped is silent at once, and another turn is played without delay", () => {
  const { mouth, player, add } = playing();
  add("turn_1", "c1", "One two.", 0);
  player.hold("voice");
  player.drop((turnId) => turnId === "turn_1");
  assert.equal(player.state, "silent");
  add("turn_2", "c2", "Other.", 0);
  assert.deepEqual(mouth.texts, ["One two.", "Other."]);
  assert.equal(player.state, "speaking");
});

test("where a speaker fails, the words go on in their time from where they were", async () => {
  const { sent, mouth, player, add } = playing();
  add("turn_1", "c1", "One two three.", 0);
  mouth.listener.word(4);
  mouth.listener.failed(new Error("no voice"));
  assert.equal(player.loudness, 0, "what makes no sound has no echo");
  await pass(3000);
  assert.deepEqual(sent.at(-1), ["playback.stop", "c1", 14]);
});

test("words without a voice take their time, and another speaker takes over in mid-sentence", async () => {
  const { mouth, player, add } = playing();
  player.speaker = new TimedSpeaker();
  add("turn_1", "c1", "One two three four.", 0);
  await pass(400);
  const heard = player.heardChars;
  assert.ok(heard > 0 && heard < 19, String(heard));
  player.speaker = mouth;
  assert.ok("One two three four.".endsWith(mouth.texts[0]));
});

// --- the browser's synthesiser and recogniser ----------------------------------------------

class Utterance {
  constructor(text) {
    this.text = text;
  }
}

function synthesiser() {
  const queue = [];
  const synthesis = { speak: (one) => queue.push(one), cancel: mock.fn() };
  const told = [];
  const listener = {
    word: (at) => told.push(at),
    ended: () => told.push("ended"),
    failed: (error) => told.push(error.message),
  };
  const speaker = new SynthesiserSpeaker({ volume: 0.5 }, synthesis, Utterance);
  return { queue, synthesis, told, listener, speaker };
}

test("the synthesiser tells where words begin, and nothing after it was stopped", () => {
  const { queue, synthesis, told, listener, speaker } = synthesiser();
  const stop = speaker.speak("One two.", listener);
  queue[0].onstart();
  queue[0].onboundary({ name: "sentence", charIndex: 0 });
  queue[0].onboundary({ name: "word", charIndex: 4 });
  stop();
  assert.equal(synthesis.cancel.mock.callCount(), 1);
  queue[0].onerror({ error: "canceled" });
  queue[0].onend();
  assert.deepEqual(told, [4]);
  assert.equal(speaker.loudness, 0.5);
});

test("a synthesiser that stays silent, or never ends, has failed", async () => {
  const { queue, told, listener, speaker } = synthesiser();
  speaker.speak("One.", listener);
  await pass(4100);
  assert.deepEqual(told.splice(0), ["the synthesiser failed: silent"]);
  speaker.speak("Two.", listener);
  queue[1].onstart();
  await pass(4000);
  assert.deepEqual(told, []);
  await pass(1000);
  assert.deepEqual(told, ["the synthesiser failed: silent"]);
});

class Recognition {
  static all = [];
  stopped = false;

  start() {
    Recognition.all.push(this);
  }

  stop() {
    this.stopped = true;
  }

  understands(resultIndex, ...results) {
    const of = ([transcript, isFinal]) => ({ 0: { transcript, confidence: 0.8 }, isFinal });
    this.onresult({ resultIndex, results: results.map(of) });
  }
}

function recognising(more = () => ({})) {
  Recognition.all = [];
  const told = [];
  const recogniser = new BrowserRecogniser(Recognition, "en");
  const listener = {
    words: ({ key, text, final, confidence }) => told.push([key, text, final, confidence]),
    failed: (reason) => told.push(reason),
    ...more(told),
  };
  recogniser.start(listener);
  return { told, recogniser };
}

test("the recogniser is kept listening, and its stretches do not mix", async () => {
  const { told, recogniser } = recognising();
  const [first] = Recognition.all;
  first.understands(0, [" Show", false]);
  first.understands(0, ["Show me.", true], [" And", false]);
  await pass(2000);
  first.onerror({ error: "no-speech" });
  first.onend();
  assert.equal(Recognition.all.length, 2);
  Recognition.all[1].understands(0, ["Bye", false]);
  recogniser.stop();
  assert.equal(Recognition.all[1].stopped, true);
  Recognition.all[1].understands(0, ["Bye.", true]);
  Recognition.all[1].onend();
  assert.equal(Recognition.all.length, 2, "nobody wants it any more");
  assert.deepEqual(told, [
    ["1.0", "Show", false, undefined],
    ["1.0", "Show me.", true, 0.8],
    ["1.1", "And", false, undefined],
    ["2.0", "Bye", false, undefined],
    ["2.0", "Bye.", true, 0.8],
  ]);
});

test("it says that it is done when its last words are there", () => {
  const { told, recogniser } = recognising((all) => ({ done: () => all.push("done") }));
  Recognition.all[0].understands(0, ["Bye", false]);
  recogniser.stop();
  Recognition.all[0].understands(0, ["Bye.", true]);
  assert.ok(!told.includes("done"));
  Recognition.all[0].onend();
  assert.equal(told.at(-1), "done");
  recogniser.stop();
  assert.equal(told.filter((one) => one === "done").length, 2, "there is nothing to wait for");
});

test("a recogniser without its service says so, once", async () => {
  const { told } = recognising();
  Recognition.all[0].onerror({ error: "network" });
  Recognition.all[0].onend();
  assert.deepEqual(told, ["network"]);
  assert.equal(Recognition.all.length, 1);
});

test("one that was not allowed to listen listens when it is started again", async () => {
  const { told, recogniser } = recognising();
  Recognition.all[0].onerror({ error: "not-allowed" });
  Recognition.all[0].onend();
  const words = ({ text }) => told.push(text);
  recogniser.start({ words, failed: (reason) => told.push(reason) });
  Recognition.all[1].understands(0, ["Good evening", false]);
  assert.deepEqual(told, ["not-allowed", "Good evening"]);
});

test("one that ends as soon as it has begun is given up", () => {
  const { told } = recognising();
  for (let round = 0; round < 3; round++) Recognition.all[round].onend();
  assert.deepEqual(told, ["ended"]);
  assert.equal(Recognition.all.length, 3);
});
