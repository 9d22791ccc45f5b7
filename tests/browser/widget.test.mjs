// The widget of examples/widget, in the hands of somebody who cuts in, confirms and loses the network.
import assert from "node:assert/strict";
import { once } from "node:events";
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { createServer } from "node:net";
import { join } from "node:path";
import { describe } from "node:test";
import { fileURLToPath, pathToFileURL } from "node:url";

import { accessible } from "./axe.mjs";
import { ask, browserTest, picture, WAIT_MS, WS } from "./browser.mjs";
import { served } from "./files.mjs";

const WIDGET = new URL("../../examples/widget/", import.meta.url);
const built = String(process.env.BUILT);
const POLICY =
  "default-src 'none'; script-src 'self'; style-src 'self'; img-src data:; connect-src ws://127.0.0.1:*";

/** An origin whose page talks to the server on that port. */
const pageFor = (port) => {
  const text = readFileSync(join(built, "index.html"), "utf8").replace(
    'id="page"',
    `id="page" data-address="ws://127.0.0.1:${port}"`,
  );
  return served(
    { "/": { text }, "/assets/": join(built, "assets") + "/" },
    {
      "Content-Security-Policy": POLICY,
    },
  );
};
const talk = await pageFor(process.env.SERVER_PORT);
const booking = await pageFor(await ask("port", { app: "booking" }));
const bank = await pageFor(await ask("port", { app: "finserve" }));

const PASSING = [
  ".bargein-plan li[data-state=active]",
  ".bargein-plan li[data-state=pending]",
  ".bargein-stop",
  ".bargein-tool[data-state=running] progress",
];
const BOOK = "Book a table for two tonight at eight";
const words = (page) => page.getByRole("textbox", { name: "Your words" });
const dock = (page) => page.getByRole("region", { name: "To be decided" });

async function say(page, text) {
  await words(page).fill(text);
  await words(page).press("Enter");
}

/** A port on which nobody listens any more. */
async function vacant() {
  const server = createServer().listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = /** @type {import("node:net").AddressInfo} */ (server.address());
  server.close();
  await once(server, "close");
  return port;
}

/** Wait until the latest exchange shows this. */
const latest = (page, text) =>
  page.locator(".bargein-turn").last().getByText(text).first().waitFor({ timeout: WAIT_MS });
const action = (page, state) =>
  page.locator(`.bargein-action[data-state=${state}]`).last().waitFor({ timeout: WAIT_MS });
const left = (page) => page.locator(".bargein-send:has-text('Send')").waitFor();

// Most of their time they wait for somebody to finish a sentence.
describe("the widget", { concurrency: 3 }, () => {
  browserTest("words cut in, Escape stops, and what was heard is marked", async ({ page }) => {
    const sent = [];
    page.on("websocket", (socket) =>
      socket.on("framesent", ({ payload }) => sent.push(JSON.parse(String(payload)))),
    );
    await page.goto(talk);
    await say(page, "Go on");
    await latest(page, /w0 w1 w2 w3/);
    await page.getByRole("button", { name: "Stop" }).waitFor();
    await say(page, "Brief, please");
    await latest(page, "Very well.");
    const first = page.locator(".bargein-turn").first();
    await first.getByText("You cut in here").waitFor();
    const heard = await first.locator(".bargein-answer > p").first().innerText();
    assert.match(heard, /^I go on\. w0 w1 w2 w3[w0-9 ]*$/);
    const reports = sent.filter(({ type }) => type === "playback.progress");
    assert.ok(reports.length > 0, "what is shown is reported");
    const cut = sent.find(({ text }) => text === "Brief, please");
    const space = cut.heard.chars - [...heard].length;
    assert.ok(space === 0 || space === 1, "it ends where the words came");
    await say(page, "Go on again");
    await latest(page, /I go on/);
    await page.keyboard.press("Escape");
    await latest(page, "You cut in here");
    await left(page);
  });

  browserTest("what is confirmed is done as it was edited, by keyboard alone", async ({ page }) => {
    const entries = async (...guests) =>
      (await ask("booked")).filter((entry) => guests.includes(entry.guests));
    await page.goto(booking);
    await page.locator("textarea:enabled").focus();
    await page.keyboard.type(BOOK);
    await page.keyboard.press("Enter");
    await dock(page).getByText("Book a table for 2, tonight at 20:00").waitFor();
    await page
      .getByRole("timer")
      .filter({ hasText: /^\d:\d\d$/ })
      .waitFor();
    assert.deepEqual(await entries(2, 3), []);
    await left(page); // its answer is over
    await page.keyboard.press("Shift+Tab"); // to Reject, and on to Change
    await page.keyboard.press("Shift+Tab");
    await page.keyboard.press("Enter");
    const dialog = page.getByRole("dialog", { name: "Book a table for 2, tonight at 20:00" });
    await dialog.waitFor();
    await accessible(page);
    await page.keyboard.press("Escape");
    await dialog.waitFor({ state: "detached" });
    await page.waitForFunction(() => document.activeElement?.textContent === "Change…");
    await page.keyboard.press("Enter");
    await dialog.waitFor();
    await dialog.getByLabel("guests").focus();
    await page.keyboard.press("Control+A");
    await page.keyboard.type("many");
    await page.keyboard.press("Enter");
    await dialog.getByText("A number, please.").waitFor();
    await page.keyboard.press("Control+A");
    await page.keyboard.type("40");
    await page.keyboard.press("Enter");
    await dialog.getByRole("alert").waitFor(); // the server knows that twelve is the most
    await page.keyboard.press("Control+A");
    await page.keyboard.type("3");
    await page.keyboard.press("Enter");
    await action(page, "committed");
    await dialog.waitFor({ state: "detached" });
    assert.deepEqual(await entries(2, 3), [{ guests: 3, time: "20:00", cancelled_with: null }]);
    await page.waitForFunction(() => document.activeElement?.tagName === "TEXTAREA");
    await page.getByRole("button", { name: "Undo" }).click();
    await action(page, "reverted");
    assert.notEqual((await entries(3))[0].cancelled_with, null);
  });

  browserTest(
    "what is rejected is not done, and what is asked in the meantime is answered",
    async ({ page }) => {
      await page.goto(booking);
      await say(page, "Book a table for five tonight at eight");
      await dock(page).waitFor();
      await left(page);
      await say(page, "Is it booked?");
      await latest(page, /I still wait for your yes/);
      await dock(page).getByRole("button", { name: "Reject" }).click();
      await action(page, "rejected");
      await dock(page).waitFor({ state: "detached" });
      const booked = await ask("booked");
      assert.deepEqual(
        booked.filter(({ guests }) => guests === 5),
        [],
      );
    },
  );

  browserTest(
    "a plan is ticked off, and sources are named; in light and dark all can be read",
    async ({ page }) => {
      await page.setViewportSize({ width: 760, height: 900 });
      await page.goto(bank);
      // What comes and goes is noted by the page itself: whoever asks may be too late.
      await page.evaluate((wanted) => {
        window.seen = new Set();
        new MutationObserver(() => {
          for (const one of wanted) if (document.querySelector(one)) window.seen.add(one);
        }).observe(document.body, { subtree: true, childList: true, attributes: true });
      }, PASSING);
      await say(page, "List the top-performing ETFs in my portfolio");
      await page.locator(".bargein-plan li").nth(4).waitFor();
      for (const colorScheme of /** @type {const} */ (["dark", "light"])) {
        await page.emulateMedia({ colorScheme });
        await accessible(page);
      }
      await page.getByText("5 of 5").waitFor();
      await latest(page, /did best in the last twelve months/);
      await left(page);
      assert.deepEqual(await page.evaluate(() => [...window.seen].sort()), PASSING);
      await page
        .getByRole("region", { name: "Sources" })
        .getByText("How performance is measured")
        .first()
        .waitFor();
      await page.getByRole("heading", { name: "How the portfolio performs" }).waitFor();
      assert.equal(await page.title(), "How the portfolio performs");
      const read = await page.getByRole("log").locator("p").allInnerTexts();
      assert.equal(read[0], "Sure, let me fetch your portfolio and analyze the ETF performance.");
      await page.setViewportSize({ width: 320, height: 640 });
      await accessible(page);
      const wide = () => document.documentElement.scrollWidth;
      assert.equal(await page.evaluate(wide), 320, "nothing has to be scrolled sideways");
    },
  );

  browserTest(
    "what others write is text: no tag of it is one, and no script is a link",
    async ({ page }) => {
      page.on("dialog", () => assert.fail("a script ran"));
      await page.goto(talk);
      await say(page, "<script>alert('me')</script><b>bold</b>");
      await latest(page, /That is all\./);
      await left(page);
      const turn = page.locator(".bargein-turn").last();
      await turn.locator(".bargein-tool summary").click();
      const text = await turn.innerText();
      for (const said of [
        "<script>alert('me')</script><b>bold</b>",
        '<script>alert("costs")</script>',
        "It costs <b>",
      ]) {
        assert.ok(text.includes(said), said);
      }
      assert.equal(await turn.locator("script, b, img").count(), 0);
      const links = await turn
        .locator("a")
        .evaluateAll((all) => all.map((a) => [a.textContent, a.href]));
      const handbook = "https://example.com/handbook?a=1&b=2";
      assert.deepEqual(links, [
        ["[1]", handbook],
        ["The handbook", handbook],
      ]);
      await accessible(page);
    },
  );

  browserTest("npm run dev serves the same page", async ({ page }) => {
    process.env.VITE_BARGEIN_ADDRESS = WS;
    const vite = createRequire(new URL("package.json", WIDGET)).resolve("vite");
    const { createServer: developed } = await import(pathToFileURL(vite).href);
    const root = fileURLToPath(WIDGET);
    const cacheDir = join(built, "..", "vite");
    const dev = await developed({ root, cacheDir, logLevel: "error" });
    await dev.listen();
    await page.goto(dev.resolvedUrls.local[0]);
    await say(page, "Brief, please");
    await latest(page, "Very well.");
    await dev.close();
  });

  browserTest(
    "why there is no conversation is told, and what can be done",
    async ({ page, tolerate }) => {
      tolerate(/WebSocket connection to 'ws:\/\/127\.0\.0\.1/);
      await page.goto(talk);
      await page.waitForFunction(() => sessionStorage.getItem("bargein.session")); // its own, first
    await page.evaluate(() => sessionStorage.setItem("bargein.session", "sess_never_was"));
      await page.reload();
      await page.getByText("This conversation is not there any more.").waitFor();
      assert.equal(await words(page).isDisabled(), true);
      await page.getByRole("button", { name: "Begin a new one" }).click();
      await say(page, "Brief, please");
      await latest(page, "Very well.");
      await page.clock.install();
      await page.goto(await pageFor(await vacant()));
      await page.getByText("Connecting…").waitFor();
      await page.clock.fastForward("01:00");
      await page.getByText(/^There is no connection: /).waitFor();
      await page.getByRole("button", { name: "Try again" }).click();
      await page.getByText("Connecting…").waitFor();
    },
  );
});

browserTest(
  "a server that is killed is come back to, with what was said in between",
  async ({ page, tolerate }) => {
    tolerate(/WebSocket connection to 'ws:\/\/127\.0\.0\.1/);
    await page.goto(talk);
    await say(page, "Go on");
    await latest(page, /I go on/);
    await ask("kill");
    await page.getByText("The connection is gone. Coming back…").waitFor();
    await say(page, "Brief, please");
    await page.getByText("What you said is kept, and sent then.").waitFor();
    await ask("start");
    await latest(page, "Very well.");
    await page.locator(".bargein-turn").first().locator(".bargein-note").waitFor();
    await page.getByText("The connection is gone").waitFor({ state: "detached" });
    await left(page);
    const before = await page.locator(".bargein-transcript ol").first().innerText();
    await page.reload();
    await latest(page, "Very well.");
    assert.equal(await page.locator(".bargein-transcript ol").first().innerText(), before);
  },
);

browserTest("an answer that broke off is taken up on demand", async ({ page, tolerate }) => {
  tolerate(/WebSocket connection to 'ws:\/\/127\.0\.0\.1/);
  await page.goto(talk);
  await say(page, "Go on");
  await latest(page, /I go on/);
  await ask("kill");
  await ask("start");
  const note = page.getByRole("alert").filter({ hasText: "restarted" });
  await note.getByRole("button", { name: "Go on" }).click();
  await page.locator(".bargein-turn").nth(1).waitFor();
  await latest(page, /I go on/);
  assert.equal(await page.getByRole("button", { name: "Go on" }).count(), 0);
});

if (process.env.BARGEIN_PICTURES) {
  browserTest("a picture for the documentation", async ({ page }) => {
    await page.setViewportSize({ width: 720, height: 1060 });
    await page.goto(bank);
    await say(page, "List the top-performing ETFs in my portfolio");
    await page.locator(".bargein-plan li[data-state=done]").nth(1).waitFor();
    await say(page, "Just show me the ones with expense ratios below 0.2%");
    await page.locator(".bargein-turn").last().getByText("3 of 3").waitFor();
    await left(page);
    await picture(page, "widget.png");
  });
}
