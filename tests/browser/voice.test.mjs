// The voice example, used by voice: a file is the microphone, and plays a voice again and again.
import assert from "node:assert/strict";
import { describe } from "node:test";

import { accessible } from "./axe.mjs";
import { browserTest, picture, WAIT_MS } from "./browser.mjs";
import { scriptedRecogniser, scriptedSynthesiser } from "./scripted_voice.mjs";

const PAGE = "/app/";
const JOURNEY = "Tell me about the journey.";
const HEARS = { permissions: ["microphone"] };

/** Note in the page what the conversation tells, in the order in which it does. */
function noting() {
  const notes = [];
  globalThis.notes = notes;
  const timer = setInterval(() => {
    const { nightline } = globalThis;
    if (!nightline) return;
    clearInterval(timer);
    const { conversation, session } = nightline;
    const { player } = conversation;
    const note = (what, more = {}) => {
      const { turnId = null, isProtected = false } = player.playing ?? {};
      const place = { turnId, isProtected, heard: player.heardChars, sounds: player.loudness };
      notes.push({ what, state: player.state, ...place, ...more });
    };
    conversation.on("held", ({ by }) => note(`held by ${by}`));
    conversation.on("released", ({ by }) => note(`released by ${by}`));
    for (const type of ["pause", "unpause", "flush"]) {
      session.on(type, ({ turn_id: id }) => note(type, { turnId: id }));
    }
  }, 1);
}

/** What went over the wire, both ways. */
function wire(page) {
  const frames = [];
  page.on("websocket", (socket) => {
    const keep = (way) => ({ payload }) => frames.push({ way, ...JSON.parse(String(payload)) });
    socket.on("framesent", keep("sent"));
    socket.on("framereceived", keep("received"));
  });
  return frames;
}

async function opened(page, ...scripts) {
  for (const script of [scriptedRecogniser, noting, ...scripts]) await page.addInitScript(script);
  const frames = wire(page);
  await page.goto(PAGE);
  return frames;
}

const state = (page, ...names) =>
  page.waitForFunction((all) => all.includes(document.body.dataset.state), names, {
    timeout: WAIT_MS,
  });
const saysNext = (page, fields) => page.evaluate((more) => Object.assign(script, more), fields);
const notes = (page) => page.evaluate(() => globalThis.notes);
const turns = (page) => page.evaluate(() => nightline.session.view.transcript.turns);
const agent = (page) => page.locator(".turn .agent");
const start = (page) => page.getByRole("button", { name: "Start talking" }).click();

/** The first place of this, behind another place. */
const after = (all, from, what, more = {}) => {
  const is = (one) => Object.entries(more).every(([key, value]) => one[key] === value);
  const at = all.findIndex((one, place) => place > from && one.what === what && is(one));
  assert.ok(at > from, `${what} after ${from} in ${JSON.stringify(all)}`);
  return at;
};

describe("the desk", { concurrency: 2 }, () => {
  browserTest(
    "a voice takes a turn, an aside only pauses, and words cut the answer where it was heard",
    async ({ page }) => {
      const frames = await opened(page);
      await saysNext(page, { turn: JOURNEY });
      await start(page);
      await page.locator(".turn:not(.coming) .user", { hasText: JOURNEY }).waitFor();
      await state(page, "speaking");
      const [{ turn_id: journey }] = await turns(page);
      await page.locator(".note", { hasText: "mhm" }).first().waitFor();
      await state(page, "speaking");
      await saysNext(page, { over: "Only the breakfast." });
      await page.getByText("you cut in here").waitFor();
      await page.locator(".turn").nth(1).getByText(/Breakfast is served/).waitFor();

      const all = await notes(page);
      const first = after(all, -1, "held by voice", { turnId: journey });
      assert.equal(all[first].state, "paused");
      assert.equal(all[first].sounds, 0);
      const paused = after(all, first, "pause", { turnId: journey });
      const goesOn = after(all, paused, "unpause", { turnId: journey });
      const flushed = after(all, goesOn, "flush", { turnId: journey });
      const held = all.slice(0, flushed).findLastIndex((one) => one.what === "held by voice");
      assert.ok(held > goesOn, "it was silent again before the server said so");

      const [cut] = await turns(page);
      const heard = [...cut.assistant].length;
      assert.equal(cut.interrupted, true);
      assert.equal(heard, all[held].heard, "exactly what was played when the voice began");
      assert.match(cut.generated.slice(cut.assistant.length), /^\s/, "whole words");
      assert.ok(cut.assistant.startsWith("Let me look at the route for you."), cut.assistant);
      const shown = await agent(page).first().locator(".heard").allInnerTexts();
      const plain = (text) => text.replace(/\s+/g, " ").trim();
      assert.equal(plain(shown.join("")), plain(cut.assistant));

      const sent = frames.filter(({ way }) => way === "sent").map(({ type }) => type);
      for (const type of ["speech.start", "speech.stop", "asr.partial", "asr.final"])
        assert.ok(sent.includes(type), type);
      const begun = frames.filter(({ type, way }) => type === "playback.start" && way === "sent");
      assert.ok(begun.length >= 2, "each chunk is reported");
      const ended = frames.find(({ type, way }) => type === "turn.end" && way === "received");
      assert.equal(ended.payload.by, "endpoint");
      const cancel = frames.find(({ type }) => type === "cancel.requested");
      assert.equal(cancel.payload.by, "speech");
    },
    HEARS,
  );

  browserTest(
    "a notice is heard to its end, a booking waits for a yes, a claim without support is unsaid",
    async ({ page }) => {
      const frames = await opened(page);
      await saysNext(page, { turn: "Book a berth to Vienna." });
      await page.evaluate(() => Object.defineProperty(script, "over", { get: () => "", set() {} }));
      await start(page);
      await page.waitForFunction(() => document.body.dataset.locked === "true");
      await page.getByText("This has to be heard to its end.").waitFor();
      await page.getByRole("button", { name: "Yes" }).waitFor();
      await page.getByText("Book a berth to Vienna, tonight?").waitFor();
      await page.waitForFunction(() => document.body.dataset.locked === "false");
      const held = (await notes(page)).filter((one) => one.isProtected && /^held/.test(one.what));
      assert.deepEqual(held, [], "no voice holds the notice");
      const notice = ({ type, chunk_id: id }, wanted) =>
        type === wanted && /^chunk_1_[23]$/.test(id ?? "");
      const sent = frames.filter(({ way }) => way === "sent");
      const from = sent.findIndex((frame) => notice(frame, "playback.start"));
      const to = sent.findLastIndex((frame) => notice(frame, "playback.stop"));
      const over = sent.slice(from, to).filter(({ type }) => type === "speech.start");
      assert.ok(over.length > 0, "a voice was heard over it");
      await page.getByRole("button", { name: "Yes" }).click();
      await page.getByText(/^Done: berth 11 to Vienna\.$/).waitFor();
      await state(page, "listening");
      await saysNext(page, { turn: "Is it ever late?" });
      await page.getByText("Left unsaid: nothing that it looked up supports it.").waitFor();
      await page.locator("s.withheld", { hasText: "97 percent" }).waitFor();
      await accessible(page);
    },
    HEARS,
  );

  browserTest(
    "the browser's synthesiser falls silent at once, and goes on at the word that was cut",
    async ({ page }) => {
      await opened(page, scriptedSynthesiser);
      await saysNext(page, { turn: { first: "Tell me about the journal", final: JOURNEY } });
      await start(page);
      await state(page, "speaking");
      await page.locator(".note", { hasText: "mhm" }).first().waitFor();
      await state(page, "speaking");
      await page.getByText("understood after a correction").waitFor();
      const all = await notes(page);
      const held = all.find(({ what }) => what === "held by voice");
      assert.equal(held.sounds, 0);
      const { texts, cancelled } = await page.evaluate(() => globalThis.spoken);
      assert.ok(cancelled > 0);
      const [{ assistant }] = await turns(page);
      const rest = [...assistant].slice(held.heard).join("").trimStart();
      assert.ok(
        texts.some((text) => rest.startsWith(text)),
        `${JSON.stringify(texts)} has what was left: ${rest}`,
      );
    },
    HEARS,
  );

  browserTest(
    "who is refused the microphone holds a key to talk, and to cut in",
    async ({ page }) => {
      const frames = await opened(page);
      await start(page);
      await page.getByRole("alert").getByText("The microphone was refused.").waitFor();
      await page.getByText("Hold the space bar to talk.").waitFor();
      await saysNext(page, { turn: JOURNEY });
      const key = page.getByRole("button", { name: "Hold to talk" });
      await key.hover();
      await page.mouse.down();
      await state(page, "hearing");
      await page.waitForTimeout(300);
      await page.mouse.up();
      await page.locator(".turn:not(.coming) .user", { hasText: JOURNEY }).waitFor();
      await state(page, "speaking");
      await saysNext(page, { over: "When does the train to Vienna leave?" });
      await page.locator("#talk").focus();
      await page.keyboard.down("Space");
      await state(page, "paused");
      await page.keyboard.up("Space");
      await page.getByText("you cut in here").waitFor();
      await page.locator(".turn").nth(1).getByText(/nine forty in the evening/).waitFor();
      const ends = frames.filter(({ type, way }) => type === "turn.end" && way === "received");
      assert.equal(ends.length, 2);
      assert.ok(frames.some(({ type, way }) => type === "turn.end" && way === "sent"));
      await state(page, "speaking");
      await page.getByRole("button", { name: "Stop" }).click();
      await page.locator(".turn").nth(1).getByText("you cut in here").waitFor();
      await state(page, "listening");
    },
  );

  browserTest(
    "who can't hold the key presses it once to talk, and once more when all is said",
    async ({ page }) => {
      await opened(page);
      await page.getByRole("button", { name: "Without a microphone" }).click();
      await saysNext(page, { turn: "Thank you" });
      const key = page.getByRole("button", { name: "Hold to talk" });
      await key.focus();
      await page.keyboard.press("Enter");
      await state(page, "hearing");
      assert.equal(await key.getAttribute("aria-pressed"), "true");
      await page.waitForTimeout(300);
      await key.evaluate((button) => button.click()); // as screen readers do
      assert.equal(await key.getAttribute("aria-pressed"), "false");
      await page.locator(".turn").getByText("Sleep well on board.").waitFor();
      await state(page, "listening");
      await page.locator("#told").getByText("Sleep well on board.").waitFor();
      await key.focus();
      await page.keyboard.down("Space");
      await state(page, "hearing");
      await page.keyboard.up("Space");
      await state(page, "listening");
      assert.equal(await key.getAttribute("aria-pressed"), "false", "letting go is no click");
    },
  );

  browserTest(
    "who is refused the microphone types, where the recogniser would need it",
    async ({ page }) => {
      const needy = () => Object.assign(globalThis.recogniser, { needsNoMicrophone: false });
      await opened(page, needy);
      await start(page);
      await page.getByRole("alert").getByText("The microphone was refused. Type instead.").waitFor();
      const key = page.getByRole("button", { name: "Hold to talk" });
      assert.equal(await key.isDisabled(), true);
      await page.getByText("Type to talk.").waitFor();
      await page.context().grantPermissions(["microphone"]);
      await page.getByRole("button", { name: "Microphone" }).click();
      await page.getByRole("alert").waitFor({ state: "hidden" });
      assert.equal(await key.isDisabled(), false, "now it has one");
    },
  );

  browserTest(
    "a browser whose recogniser has no service says so, and takes typed words",
    async ({ page }) => {
      await page.goto(PAGE);
      await start(page);
      await page.getByText("This browser understands no speech here. Type instead.").waitFor();
      assert.equal(await page.getByRole("button", { name: "Hold to talk" }).isDisabled(), true);
      await page.getByRole("textbox", { name: "Your words" }).fill("Thank you");
      await page.keyboard.press("Enter");
      await page.locator(".turn").getByText("Sleep well on board.").waitFor();
    },
    HEARS,
  );

  browserTest(
    "without a recogniser words are typed; at a phone's width nothing is cut off",
    async ({ page, tolerate }) => {
      tolerate(/net::ERR_/);
      await page.addInitScript(() => {
        for (const name of ["SpeechRecognition", "webkitSpeechRecognition"])
          Object.defineProperty(globalThis, name, { value: undefined });
      });
      await page.setViewportSize({ width: 320, height: 640 });
      await page.goto(PAGE);
      await accessible(page);
      await page.getByRole("button", { name: "Without a microphone" }).click();
      await page.getByText("This browser understands no speech. Type instead.").waitFor();
      assert.equal(await page.getByRole("button", { name: "Hold to talk" }).isDisabled(), true);
      await accessible(page);
      const words = page.getByRole("textbox", { name: "Your words" });
      await page.getByRole("button", { name: JOURNEY }).click();
      await state(page, "speaking");
      await agent(page).locator(".now").waitFor();
      await words.fill("Thank you");
      await words.press("Enter");
      await page.getByText("you cut in here").waitFor();
      await page.locator(".turn").nth(1).getByText("Sleep well on board.").waitFor();
      const [cut] = await turns(page);
      assert.ok(cut.assistant.length < cut.generated.length);
      for (const colorScheme of /** @type {const} */ (["dark", "light"])) {
        await page.emulateMedia({ colorScheme });
        await accessible(page);
      }
      const wide = () => document.documentElement.scrollWidth;
      assert.equal(await page.evaluate(wide), 320, "nothing has to be scrolled sideways");
      await page.reload();
      // The first; the second may have been left in the middle, and is cut by that.
      await page.locator(".turn").first().getByText("you cut in here").waitFor();
      await words.fill("Book a berth to Vienna.");
      await words.press("Enter");
      await page.getByRole("button", { name: "Yes" }).waitFor();
      const waits = await page.locator("#told").getByText(/waits for your yes or no/).innerText();
      assert.match(waits, /Book a berth to Vienna/);
      for (const part of ["#talk", "#dock", "#proposals"]) {
        const over = (box) => box.scrollWidth - box.clientWidth;
        assert.equal(await page.locator(part).evaluate(over), 0, `${part} is not scrolled sideways`);
      }
      assert.equal(await page.evaluate(wide), 320);
      await accessible(page);
    },
  );
});

if (process.env.BARGEIN_PICTURES) {
  browserTest(
    "a picture for the documentation",
    async ({ page }) => {
      await page.setViewportSize({ width: 720, height: 840 });
      await page.emulateMedia({ colorScheme: "dark" });
      await opened(page);
      await saysNext(page, { turn: JOURNEY });
      await start(page);
      await page.locator(".note", { hasText: "mhm" }).first().waitFor();
      await state(page, "speaking");
      await saysNext(page, { over: "When does the train to Vienna leave?" });
      await page.getByText("you cut in here").waitFor();
      await page.locator(".heard", { hasText: "leaves at nine" }).waitFor();
      await picture(page, "voice.png");
    },
    HEARS,
  );
}
