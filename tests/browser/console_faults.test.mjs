// The web console where things break, are large, or are not meant well.
import assert from "node:assert/strict";
import { describe } from "node:test";

import { ask, browserTest, HTTP, WAIT_MS } from "./browser.mjs";

const words = (page) => page.getByRole("textbox", { name: "Message" });
const LOST = /WebSocket connection to|Failed to load resource: net::ERR/;

async function say(page, text) {
  await words(page).fill(text);
  await words(page).press("Enter");
}

const answered = (page) => page.locator(".answer", { hasText: /^Very well\.$/ }).waitFor();

/** Keep the page waiting for its list, and with it for everything else, until it is let go. */
async function heldBack(page) {
  const held = [];
  let free = false;
  let asked;
  const first = new Promise((resolve) => (asked = resolve));
  await page.route("**/v1/sessions?*", (route) => {
    if (free) return route.continue();
    asked(held.push(route));
  });
  return async (/** @type {object | undefined} */ answer) => {
    await first;
    free = true;
    // One that the page gave up meanwhile wants no answer.
    const go = (route) => (answer ? route.fulfill(answer) : route.continue());
    for (const route of held) await go(route).catch(() => {});
  };
}

const HOSTILE = '<script>alert(1)</script><img src=x onerror="alert(2)">';

// Those that kill the server one after the other; the others have servers of their own.
describe("the console", { concurrency: 2 }, () => {
  describe("on one server", { concurrency: 1 }, () => {
    browserTest("a server killed in mid-answer is come back to, and the rest is shown once", async ({ page, tolerate }) => {
      tolerate(LOST);
      await page.goto("/");
      await say(page, "A long story");
      await page.getByText("w0 w1 w2").waitFor();
      await ask("kill");
      await page.getByText(/The connection is lost/).waitFor();
      await say(page, "Brief, please");
      await ask("start");
      await answered(page);
      await page.locator("#state", { hasText: "Live" }).waitFor();
      await page.getByText(/The connection is lost/).waitFor({ state: "hidden" });
      const said = await page.locator(".turn .words").allTextContents();
      assert.deepEqual(said, ["A long story", "Brief, please"]);
      const [first, second] = await page.locator(".turn .answer").allTextContents();
      const told = first.trim().split(" ");
      assert.deepEqual(told, told.map((_, place) => `w${place}`), "each word once");
      assert.equal(second, "Very well.");
      await page.reload();
      await answered(page);
      assert.equal(await page.locator(".turn").count(), 2);
    });

    browserTest("a turn that the crash broke off is taken up again", async ({ page, tolerate }) => {
      tolerate(LOST);
      await page.goto("/");
      await say(page, "A long story");
      await page.getByText("w0 w1 w2").waitFor();
      await ask("kill");
      await ask("start");
      await page.getByRole("button", { name: "Take it up again" }).click();
      await page.locator(".turn[data-status=open] .answer", { hasText: "w0 w1" }).waitFor();
      await page.getByRole("button", { name: "Stop" }).click();
      await page.locator(".turn[data-status=cancelled]").waitFor();
    });

    browserTest("words said before there is a session all go to one, in order", async ({ page }) => {
      const stored = async () => (await (await fetch(`${HTTP}/v1/sessions?limit=200`)).json()).sessions;
      const before = (await stored()).length;
      const sockets = [];
      page.on("websocket", (socket) => sockets.push(socket.url()));
      let letGo = await heldBack(page);
      await page.goto("/");
      await say(page, "A long story");
      await say(page, "Brief, please");
      await letGo();
      await answered(page);
      await page.locator(".turn[data-status=cancelled]").waitFor();
      const said = page.locator(".turn .words");
      assert.deepEqual(await said.allTextContents(), ["A long story", "Brief, please"]);
      assert.equal((await stored()).length, before + 1);
      assert.equal(sockets.length, 1);
      // Nor is one that is being opened dialled again for what is said meanwhile.
      letGo = await heldBack(page);
      await page.reload();
      await say(page, "Brief, again");
      await letGo();
      await page.locator(".turn .answer", { hasText: "Very well." }).nth(1).waitFor();
      assert.deepEqual(await said.allTextContents(), ["A long story", "Brief, please", "Brief, again"]);
      assert.equal((await stored()).length, before + 1);
      assert.equal(sockets.length, 2);
    });

    browserTest("words that were not taken come back before what was written since", async ({ page, tolerate }) => {
      tolerate(/Failed to load resource: the server responded with a status of 401/);
      const letGo = await heldBack(page);
      await page.goto("/");
      await say(page, "First");
      await say(page, "Second");
      await words(page).fill("Third");
      await letGo({ status: 401, body: "Who is there?" });
      await page.getByText("Who is there?").waitFor();
      await page.waitForFunction(() => document.querySelector("#words").value === "First\nSecond\nThird");
    });

    browserTest("a session of 10,000 events is there at once", async ({ page }) => {
      const { sessionId, events } = await ask("many");
      let frames = 0;
      page.on("websocket", (socket) => socket.on("framereceived", () => frames++));
      await page.goto("/");
      await page.getByRole("link", { name: /A long story/ }).first().waitFor();
      // Of the page's own thread: how long it waits for others says how busy the machine is.
      const devtools = await page.context().newCDPSession(page);
      await devtools.send("Performance.enable", { timeDomain: "threadTicks" });
      const workedMs = async () => {
        const { metrics } = await devtools.send("Performance.getMetrics");
        return metrics.find(({ name }) => name === "TaskDuration").value * 1000;
      };
      const beforeMs = await workedMs();
      const tookMs = await page.evaluate(async (id) => {
        const from = performance.now();
        location.hash = `#${id}`;
        const there = () => document.querySelectorAll(".turn").length > 10 && document.querySelector("#waterfall .row");
        while (!there()) await new Promise(requestAnimationFrame);
        await new Promise(requestAnimationFrame);
        return performance.now() - from;
      }, sessionId);
      const cpuMs = (await workedMs()) - beforeMs;
      const figures = `${Math.round(tookMs)} ms, of which the page worked ${Math.round(cpuMs)} ms`;
      process.stdout.write(`opened ${events} events in ${figures}\n`);
      assert.ok(cpuMs > 10, "it was measured");
      assert.ok(cpuMs < 5000, figures);
      assert.ok(frames < events / 100, `${frames} messages: its past came in pages`);
      await page.getByRole("tab", { name: "Events" }).click();
      await page.locator("#event-tally", { hasText: /^10,\d{3} events$/ }).waitFor();
      assert.ok((await page.locator("#events .row").count()) < 60, "only what is in sight is there");
      assert.ok((await page.locator(".turn").count()) <= 60);
      await page.getByRole("button", { name: "Show earlier turns" }).click();
      await page.waitForFunction(() => document.querySelectorAll(".turn").length > 60);
      await page.locator("#events").focus();
      await page.keyboard.press("Home");
      await page.getByRole("heading", { name: "session.opened" }).waitFor();
      await say(page, "Brief, please");
      await page.locator(".turn").last().getByText("Very well.").waitFor();
    });
  });

  describe("on other servers", { concurrency: 1 }, () => {
    browserTest("markup in words, answers, tool results, sources and titles is text", async ({ page }) => {
      page.on("dialog", () => assert.fail("a script ran"));
      for (const [app, shown] of [["quoting", "That is all."], ["finserve", "ask me about"]]) {
        await page.goto(`http://127.0.0.1:${await ask("port", { app })}/`);
        await say(page, app === "quoting" ? HOSTILE : `Hello ${HOSTILE}`);
        await page.locator(".answer", { hasText: new RegExp(shown, "i") }).waitFor();
        await page.locator(".words", { hasText: HOSTILE }).waitFor();
        const title = page.getByRole("heading", { level: 1 });
        await title.filter({ hasText: "<script>alert(1)</script>" }).waitFor();
        await page.locator(".session-title", { hasText: "<script>" }).first().waitFor();
        if (app === "quoting") {
          await page.locator(".answer", { hasText: '<script>alert("costs")</script><img' }).waitFor();
          const links = await page.locator(".sources a").evaluateAll((all) => all.map((a) => a.href));
          assert.deepEqual(links, ["https://example.com/handbook?a=1&b=2"]);
        }
        await page.getByRole("tab", { name: "Events" }).click();
        await page.getByRole("searchbox").fill("input.text");
        await page.locator("#events .row:not([hidden])").first().click();
        await page.getByLabel("JSON").filter({ hasText: "onerror=" }).waitFor();
        const made = await page.locator("main script, main img, header img, nav img").count();
        assert.equal(made, 0);
      }
    });

    browserTest("a server with auth asks for a token, and the tab keeps it out of the address", async ({ page, tolerate }) => {
      tolerate(/Failed to load resource: the server responded with a status of 401/);
      const { port, token } = await ask("guarded");
      await page.goto(`http://127.0.0.1:${port}/`);
      const door = page.getByRole("dialog", { name: "This server wants a token" });
      await door.getByLabel("Token", { exact: true }).fill("not.a.token");
      await door.getByRole("button", { name: "Come in" }).click();
      await door.getByRole("button", { name: "Come in" }).waitFor({ timeout: WAIT_MS });
      await door.getByLabel("Token", { exact: true }).fill(token);
      await door.getByRole("button", { name: "Come in" }).click();
      await door.waitFor({ state: "hidden" });
      await say(page, "Brief, please");
      await answered(page);
      await page.reload();
      await answered(page);
      assert.ok(!page.url().includes(token.slice(0, 10)));
      assert.deepEqual(await page.evaluate(() => Object.keys(localStorage)), []);
      await page.getByRole("button", { name: "Token" }).click();
      await door.getByRole("button", { name: "Forget the token" }).click();
      await door.getByLabel("Token", { exact: true }).waitFor();
      assert.equal(await page.evaluate(() => sessionStorage.length), 0);
    });

    browserTest("nothing is left of one person when another comes in", async ({ page, tolerate }) => {
      tolerate(/Failed to load resource: the server responded with a status of 401/);
      const { port, token, another } = await ask("guarded", { name: "guarded for two" });
      const door = page.getByRole("dialog", { name: "This server wants a token" });
      const comeIn = async (who) => {
        await door.getByLabel("Token", { exact: true }).fill(who);
        await door.getByRole("button", { name: "Come in" }).click();
        await door.waitFor({ state: "hidden" });
      };
      const entries = page.locator(".session", { hasText: "Brief, please" });
      const turns = page.locator(".turn");
      await page.goto(`http://127.0.0.1:${port}/`);
      await comeIn(token);
      await say(page, "Brief, please");
      await answered(page);
      await entries.waitFor();
      await words(page).fill("A draft");
      await page.getByRole("button", { name: "Token" }).click();
      await comeIn(another);
      await page.getByText("There is no such session, or it is somebody else's.").waitFor();
      await page.getByText("No sessions yet.").waitFor();
      assert.deepEqual([await entries.count(), await turns.count()], [0, 0]);
      // The one before comes back to what is hers, and leaves it for good.
      await page.getByRole("button", { name: "Token" }).click();
      await comeIn(token);
      await answered(page);
      await entries.waitFor();
      await page.getByRole("button", { name: "Token" }).click();
      await door.getByRole("button", { name: "Forget the token" }).click();
      await door.getByText(/token/i).first().waitFor();
      await turns.waitFor({ state: "detached" });
      assert.equal(await entries.count(), 0);
      assert.equal(await words(page).inputValue(), "");
    });
  });
});
