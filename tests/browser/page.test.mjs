// The page of docs/sdk.md, as its readers have it: in a browser, from a server of files.
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";

import { ask, browserTest, WAIT_MS } from "./browser.mjs";
import { served } from "./files.mjs";

const ROOT = new URL("../../", import.meta.url);
const docs = readFileSync(new URL("docs/sdk.md", ROOT), "utf8");
const [, html] = /<!-- page -->\n```html\n([^]*?)```/.exec(docs);
const port = String(process.env.SERVER_PORT);

const origin = await served({
  "/page.html": { text: html.replaceAll("8710", port) },
  "/sdk/javascript/src/": fileURLToPath(new URL("sdk/javascript/src/", ROOT)),
});

const say = async (page, words) => {
  await page.fill("input[name=words]", words);
  await page.keyboard.press("Enter");
};
const shows = (page, pattern) =>
  page.waitForFunction(
    ([source]) => new RegExp(source).test(document.querySelector("main").textContent),
    [pattern.source],
    { timeout: WAIT_MS },
  );

browserTest(
  "an answer streams, stops when words cut in, and the next one comes",
  async ({ page }) => {
    await page.goto(`${origin}/page.html`);
    await say(page, "A long story");
    await shows(page, /> A long story\nw0 w1 w2/);
    assert.equal(await page.inputValue("input[name=words]"), "");
    await say(page, "Brief, please");
    await shows(page, /> Brief, please\nVery well\.\n$/);
    const text = await page.textContent("main");
    assert.doesNotMatch(text, /w999/, "it was stopped");
    assert.match(text, /^> A long story\nw0 w1 [w0-9 ]*\n\n> Brief, please\nVery well\.\n$/);
  },
);

browserTest("a server restarted in mid-answer is come back to", async ({ page, tolerate }) => {
  tolerate(/WebSocket connection to 'ws:\/\/127\.0\.0\.1/);
  await page.goto(`${origin}/page.html`);
  await say(page, "A long story");
  await shows(page, /w0 w1 w2/);
  await ask("kill");
  await say(page, "Brief, please");
  await ask("start");
  await shows(page, /> A long story\nw0 w1 [w0-9 ]*\n\n> Brief, please\nVery well\.\n$/);
});
