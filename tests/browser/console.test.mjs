// The web console on the restaurant of examples/booking.py, as people use it.
import assert from "node:assert/strict";
import { describe } from "node:test";

import { accessible } from "./axe.mjs";
import { ask, browserTest, picture } from "./browser.mjs";

const BOOK = "Book a table for two tonight at eight";
const words = (page) => page.getByRole("textbox", { name: "Message" });
const action = (page, state) => page.locator(`.action[data-state=${state}]`).first();
const turn = (page, status) => page.locator(`.turn[data-status=${status}]`);
const stop = (page) => page.getByRole("button", { name: "Stop", exact: true });
const sessionIn = (page) => /#(sess_\w+)/.exec(page.url())?.[1];

async function say(page, text) {
  await words(page).fill(text);
  await words(page).press("Enter");
}

/** A page with a session in which something was proposed. */
async function proposed(page) {
  await page.goto("/");
  await say(page, BOOK);
  await action(page, "proposed").waitFor();
}

/** All events of the page's session as the list shows them, while it has few. */
async function typesOf(page, wanted) {
  await page.getByRole("tab", { name: "Events" }).click();
  await page.getByRole("searchbox", { name: "Filter by type" }).fill(wanted);
  return page.locator("#events .row:not([hidden]) .event-type").allTextContents();
}

// Most of their time they wait for somebody to finish a sentence.
describe("the console", { concurrency: 3 }, () => {
  browserTest("an answer streams, words cut in, and what was shown is told", async ({ page }) => {
    const reports = [];
    page.on("websocket", (socket) =>
      socket.on("framesent", ({ payload }) => {
        const { type, heard } = JSON.parse(String(payload));
        if (type === "playback.progress" || heard) reports.push({ type, heard });
      }),
    );
    await page.goto("/");
    assert.match(page.url(), /\/$/, "a session is opened by the first words, not by a visit");
    await say(page, "Hello");
    await page.locator(".answer", { hasText: "Good evening!" }).waitFor();
    await stop(page).waitFor();
    await say(page, "What is free?");
    await turn(page, "completed").getByText(/Free at eight: table 1/).waitFor();
    const cut = turn(page, "cancelled");
    await cut.getByText(/^Interrupted/).waitFor();
    const text = await cut.locator(".answer").textContent();
    assert.match(text, /^Good evening! /);
    assert.doesNotMatch(text, /w1999/, "it was cut off");
    assert.ok(reports.some(({ type }) => type === "playback.progress"), "reported as it came");
    const cutting = reports.find(({ type, heard }) => type === "say" && heard);
    assert.ok(cutting.heard.chars > 0, "the words that cut in say what was shown");
    assert.match(page.url(), /#sess_\w+$/);
  });

  browserTest("Stop and Escape stop it, and the ladder is in the timeline", async ({ page }) => {
    await page.goto("/");
    await say(page, "Hello");
    await page.locator(".answer", { hasText: "Good evening!" }).waitFor();
    await stop(page).click();
    await turn(page, "cancelled").first().waitFor();
    await stop(page).waitFor({ state: "hidden" });
    await say(page, "Hello again");
    await page.locator(".answer", { hasText: "Good evening!" }).nth(1).waitFor();
    await page.keyboard.press("Escape");
    await turn(page, "cancelled").nth(1).waitFor();
    const ladder = page.locator(".ladder");
    await ladder.getByText("Acknowledged").waitFor();
    await ladder.getByRole("button", { name: /^Model stopped/ }).click();
    const inspector = page.getByRole("region", { name: "Event" });
    await inspector.getByRole("heading", { name: "cancel.stage" }).waitFor();
    const json = JSON.parse(await inspector.getByLabel("JSON").textContent());
    assert.deepEqual([json.type, json.payload.target], ["cancel.stage", "model"]);
    assert.ok(page.url().endsWith(`:${json.seq}`), "the address leads to this event");
    await page.reload();
    await inspector.getByRole("heading", { name: "cancel.stage" }).waitFor();
    assert.notEqual(await page.locator("#latency-ack").textContent(), "–");
  });

  browserTest("a proposal is confirmed with edited arguments, and undone", async ({ page }) => {
    await proposed(page);
    const card = page.locator(".action");
    await card.getByRole("heading", { name: "Book a table for 2, tonight at 20:00" }).waitFor();
    const args = card.getByRole("textbox", { name: "Arguments" });
    await args.fill("{ guests: 4 }");
    await card.getByText("Arguments are one JSON object").waitFor();
    await card.getByRole("button", { name: "Confirm" }).click();
    assert.equal(await card.getAttribute("data-state"), "proposed", "bad JSON goes nowhere");
    await args.fill('{"guests": 4, "day": "tomorrow", "time": "19:00"}');
    await card.getByRole("button", { name: "Confirm" }).click();
    await action(page, "committed").waitFor();
    const made = (await ask("booked")).filter(({ time }) => time === "19:00");
    assert.deepEqual(made, [{ guests: 4, time: "19:00", cancelled: false }]);
    await card.getByText("Arguments, as edited").waitFor();
    await card.getByRole("button", { name: "Undo" }).click();
    await action(page, "reverted").waitFor();
    const [undone] = (await ask("booked")).filter(({ time }) => time === "19:00");
    assert.equal(undone.cancelled, true);
  });

  browserTest("two tabs confirm the same proposal: one effect, and both show it", async ({ page, context }) => {
    await page.goto("/");
    await say(page, "Book a table for three tomorrow at eight");
    await action(page, "proposed").waitFor();
    const other = await context.newPage();
    await other.goto(page.url());
    await action(other, "proposed").waitFor();
    // Pressed at once, and by whoever does not yet see that the other was faster.
    const confirm = (tab) => tab.locator(".action .primary").evaluate((press) => press.click());
    await Promise.all([confirm(page), confirm(other)]);
    for (const tab of [page, other]) {
      await action(tab, "committed").waitFor();
      await tab.getByText(/^table \d+ on .* at 20:00$/).waitFor();
    }
    await page.getByText("2 devices").waitFor();
    const made = (await ask("booked")).filter(({ guests }) => guests === 3);
    assert.equal(made.length, 1);
  });

  browserTest("a session is found in the list, watched live, and rejected where one drives", async ({ page, open }) => {
    await proposed(page);
    const sessionId = sessionIn(page);
    const away = await (await open({})).newPage();
    await away.goto("/");
    const entry = away.locator(".session", { has: away.locator(`a[href="#${sessionId}"]`) });
    await entry.getByText(BOOK).waitFor();
    await entry.hover();
    await entry.getByRole("link", { name: /^Watch/ }).click();
    await away.locator("#badge", { hasText: "Watching" }).waitFor();
    await action(away, "proposed").waitFor();
    assert.equal(await away.getByRole("button", { name: "Confirm" }).count(), 0);
    assert.equal(await words(away).isVisible(), false);
    await page.getByRole("button", { name: "Reject" }).click();
    await action(away, "rejected").waitFor();
    await say(page, "Thanks");
    await away.locator(".words", { hasText: "Thanks" }).waitFor();
    await away.getByRole("link", { name: "Take part" }).click();
    await words(away).waitFor();
    await away.locator("#badge").waitFor({ state: "hidden" });
    assert.equal(sessionIn(away), sessionId);
  });

  browserTest("a stored session is replayed at any speed and changes nothing", async ({ page }) => {
    await page.goto("/");
    await say(page, "What is free?");
    await turn(page, "completed").waitFor();
    const sessionId = sessionIn(page);
    await page.goto(`/#${sessionId}/replay`);
    const bar = page.getByRole("group", { name: "Replay" });
    await bar.waitFor();
    await page.locator("#badge", { hasText: "Replay" }).waitFor();
    await bar.getByText("20×").click();
    await bar.getByRole("button", { name: "Play again" }).waitFor();
    await turn(page, "completed").getByText(/Free at eight/).waitFor();
    const scrub = bar.getByRole("slider", { name: "Place in the replay" });
    await scrub.fill("0");
    await page.locator(".turn").waitFor({ state: "detached" });
    const most = await scrub.getAttribute("max");
    await page.goto(`/#${sessionId}/replay:8`);
    await turn(page, "open").waitFor();
    await page.getByRole("region", { name: "Event" }).getByText(/^#8 /).waitFor();
    await scrub.fill(most);
    await turn(page, "completed").waitFor();
    const said = await typesOf(page, "input.text");
    assert.deepEqual(said, ["input.text"], "nothing was said again");
  });

  browserTest("a replay that is turned back keeps nothing that has not happened yet", async ({ page }) => {
    await page.goto("/");
    await say(page, "What is free?");
    await turn(page, "completed").waitFor();
    const tools = page.locator(".turn .tool");
    assert.equal(await tools.count(), 1);
    await page.getByRole("tab", { name: "Events" }).click();
    await page.getByRole("searchbox", { name: "Filter by type" }).fill("turn.start");
    const seqs = page.locator("#events .row:not([hidden]) .event-seq");
    await page.locator("#event-tally", { hasText: /^1 / }).waitFor();
    const start = Number((await seqs.first().textContent()).replaceAll(/\D/g, ""));
    await page.goto(`/#${sessionIn(page)}/replay`);
    const bar = page.getByRole("group", { name: "Replay" });
    await bar.getByText("20×").click();
    await bar.getByRole("button", { name: "Play again" }).waitFor();
    await tools.waitFor({ state: "attached" });
    await page.goto(`/#${sessionIn(page)}/replay:${start}`);
    await turn(page, "open").waitFor();
    // The model takes its time before it calls one.
    assert.equal(await tools.count(), 0);
  });

  browserTest("all of it works from the keyboard", async ({ page }) => {
    await page.goto("/");
    await page.keyboard.type(BOOK);
    await page.keyboard.press("Enter");
    await action(page, "proposed").waitFor();
    const reach = async (key, role, name) => {
      for (let steps = 0; steps < 40; steps++) {
        const at = page.locator(":focus");
        const here = page.getByRole(role, { name });
        if ((await at.count()) && (await here.and(at).count())) return;
        await page.keyboard.press(key);
      }
      assert.fail(`${name} can't be reached`);
    };
    await reach("Shift+Tab", "button", "Confirm");
    await page.keyboard.press("Enter");
    await action(page, "committed").waitFor();
    await reach("Tab", "listbox", "Turns, one row each");
    await page.keyboard.press("Home");
    await page.locator("#waterfall .row[aria-selected=true]").waitFor();
    await reach("Tab", "tab", "Turn");
    await page.keyboard.press("ArrowRight");
    await reach("Tab", "listbox", "Events");
    await page.keyboard.press("Home");
    await page.getByRole("heading", { name: "session.opened" }).waitFor();
    await page.keyboard.press("ArrowDown");
    await page.getByRole("heading", { name: "session.attached" }).waitFor();
    const ring = await page.locator("#events").evaluate((list) => getComputedStyle(list).outlineStyle);
    assert.equal(ring, "solid", "the focus is to be seen");
  });

  for (const colorScheme of ["light", "dark"]) {
    browserTest(`nobody is kept out: ${colorScheme}`, async ({ page }) => {
      await proposed(page);
      await turn(page, "completed").waitFor();
      await accessible(page);
      await say(page, "Hello");
      await page.locator(".answer", { hasText: "Good evening!" }).waitFor();
      await stop(page).click();
      await turn(page, "cancelled").waitFor();
      await page.locator(".ladder button").first().click();
      await accessible(page);
      await typesOf(page, "");
      await accessible(page);
      await page.setViewportSize({ width: 380, height: 800 });
      await page.getByRole("button", { name: "Timeline", exact: true }).click();
      await accessible(page);
      const wide = await page.evaluate(() => document.documentElement.scrollWidth);
      assert.ok(wide <= 380, `${wide} px wide`);
    }, { colorScheme });
  }

  browserTest("the answer is read out by sentences", async ({ page }) => {
    await page.goto("/");
    await say(page, "Hello");
    const spoken = page.getByRole("log", { name: "Answer" }).locator("p");
    await spoken.first().waitFor({ state: "attached" });
    assert.equal(await spoken.first().textContent(), "Good evening!");
    await page.keyboard.press("Escape");
    await spoken.last().filter({ hasText: "Interrupted." }).waitFor({ state: "attached" });
    assert.ok((await spoken.count()) < 8, "not a token at a time");
  });
});
