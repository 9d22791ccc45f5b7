// What the server serves to browsers: the page of the README, and the policy of the console.
import assert from "node:assert/strict";
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { pathToFileURL } from "node:url";

import { browserTest, HTTP, WAIT_MS, WS } from "./browser.mjs";
import { served } from "./files.mjs";

const readme = readFileSync(new URL("../../README.md", import.meta.url), "utf8");
const [, shown] = /<!-- page -->\n```html\n([^]*?)```/.exec(readme);
const html = shown.replaceAll("8710", String(process.env.SERVER_PORT));

const said = (page, pattern) =>
  page.waitForFunction(
    ([source]) => new RegExp(source).test(document.querySelector("main").textContent),
    [pattern.source],
    { timeout: WAIT_MS },
  );

browserTest("the page of the README talks, interrupts and shows what comes", async ({ page }) => {
  const script = /<script type="module">\n([^]*?)<\/script>/.exec(html)[1];
  assert.ok(script.trim().split("\n").length <= 15, "it is said to be short");
  const origin = await served({ "/page.html": { text: html } });
  await page.goto(`${origin}/page.html`);
  await page.fill("input[name=words]", "A long story");
  await page.click("button");
  await said(page, /> A long story\nw0 w1 w2/);
  await page.fill("input[name=words]", "Brief, please");
  await page.click("button");
  await said(page, /> Brief, please\nVery well\.\n$/);
  assert.doesNotMatch(await page.textContent("main"), /w999/, "it was stopped");
});

browserTest("the same page from the disk gets the SDK and no session", async ({ page, tolerate }) => {
  tolerate(/^left for file:/);
  tolerate(/WebSocket connection to .* 403/);
  const file = join(String(process.env.TRACES), "page.html");
  writeFileSync(file, html);
  const refused = page.waitForEvent("console", {
    predicate: (line) => /WebSocket connection to .* 403/.test(line.text()),
    timeout: WAIT_MS,
  });
  await page.goto(pathToFileURL(file).href);
  await refused;
  assert.equal(await page.textContent("main"), "");
});

// With the names of the page's own origin, and with a name that is another origin to the browser.
const reach = (page, url) =>
  page.evaluate(
    (where) =>
      new Promise((tell) => {
        const socket = new WebSocket(where, ["bargein.v1"]);
        socket.onmessage = ({ data }) => (tell(JSON.parse(data).type), socket.close());
        socket.onerror = () => tell("refused");
      }),
    url,
  );

browserTest("the console may reach its own origin and nothing else", async ({ page, tolerate }) => {
  tolerate(/content security policy|Content Security Policy|Content-Security-Policy/i);
  tolerate(/violates the following/);
  tolerate(/Failed to (load resource|fetch)|Refused to|net::ERR_/);
  const elsewhere = await served({ "/page.html": { text: "hello" } });
  const away = HTTP.replace("127.0.0.1", "localhost");
  const answer = await page.goto(`${HTTP}/`);
  assert.equal(answer.status(), 200);
  assert.match(answer.headers()["content-security-policy"], /^default-src 'none'; script-src 'self';/);
  assert.equal(await reach(page, `${WS}/v1/session`), "hello", "'self' is its WebSocket, too");
  const fetched = (url) =>
    page.evaluate((where) => fetch(where).then((a) => a.status, () => "refused"), url);
  assert.equal(await fetched(`${HTTP}/v1/sessions`), 200);
  assert.equal(await fetched(`${elsewhere}/page.html`), "refused");
  assert.equal(await fetched(`${away}/healthz`), "refused");
  assert.equal(await reach(page, `${away.replace("http", "ws")}/v1/session`), "refused");
  const ran = await page.evaluate(() => {
    const script = document.createElement("script");
    script.textContent = "window.ran = true";
    document.head.append(script);
    return window.ran === true;
  });
  assert.equal(ran, false, "no script but what is served");
});

browserTest("no page of another origin reads the list of sessions or frames the console", async ({
  page,
  tolerate,
}) => {
  tolerate(/CORS policy|net::ERR_|frame-ancestors|Framing/i);
  const frame = `<!doctype html><iframe src="${HTTP}/"></iframe>`;
  const origin = await served({ "/page.html": { text: frame } });
  await page.goto(`${origin}/page.html`);
  const read = await page.evaluate(
    (where) => fetch(where).then((answer) => answer.text(), () => "refused"),
    `${HTTP}/v1/sessions`,
  );
  assert.equal(read, "refused");
  const framed = page.frames().find((each) => each !== page.mainFrame());
  assert.ok(framed);
  await framed.waitForURL(/chrome-error:/, { timeout: WAIT_MS });
});
