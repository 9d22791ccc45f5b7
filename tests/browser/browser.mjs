// What tests of pages share: one Chromium for a file, a context of its own for each test, and the
// one who started the server, who is asked over stdin and stdout (see tests/browser/driver.py).
//
//   import { browserTest, ask } from "./browser.mjs";
//
//   browserTest("the page greets", async ({ page, tolerate }) => {
//     await page.goto("/");                   // of the server that is tested
//     tolerate(/WebSocket connection to/);    // a console error that is meant to come
//     await ask("kill");
//   });
import assert from "node:assert/strict";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { test } from "node:test";

import { chromium } from "playwright-core";

/** Where the server is, as a page names it: `ws:` is the same with another name. */
export const HTTP = `http://127.0.0.1:${process.env.SERVER_PORT}`;
export const WS = HTTP.replace("http", "ws");
export const WAIT_MS = 60_000;
const TEST_MS = 240_000;

const FLAGS = [
  "--no-sandbox", // of a process that shows nothing but pages of our own
  "--disable-gpu",
  "--disable-quic",
  "--no-first-run",
  "--disable-background-networking",
  "--disable-component-update",
  "--disable-sync",
  "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1, EXCLUDE localhost",
  ...JSON.parse(process.env.CHROMIUM_FLAGS ?? "[]"), // of one file of tests
];
const LOOPBACK = /^(https?|wss?):\/\/(127\.0\.0\.1|localhost)(:\d+)?(\/|$)/;
const INSIDE = /^(about|blob|data):/;

// --- the one who started this -------------------------------------------------------

const answers = createInterface({ input: process.stdin });
const asked = new Map();
let questions = 0;
answers.on("line", (line) => {
  const { id, result, error } = JSON.parse(line);
  const { resolve, reject } = asked.get(id);
  asked.delete(id);
  if (error === undefined) resolve(result);
  else reject(new Error(error));
});

/**
 * Ask whoever started the test: `kill` and `start` are the server's, the rest a test's own.
 *
 * @param {string} what
 * @param {Record<string, any>} [fields]
 */
export function ask(what, fields = {}) {
  const id = ++questions;
  const answer = new Promise((resolve, reject) => asked.set(id, { resolve, reject }));
  process.stdout.write(`ask:${JSON.stringify({ id, ask: what, ...fields })}\n`);
  return answer;
}

// --- the browser --------------------------------------------------------------------

let launched;
let left = 0;

/** The Chromium of this file, started when it is first needed. */
function browser() {
  launched ??= chromium.launch({
    executablePath: process.env.CHROMIUM,
    args: FLAGS,
    // Where /dev/shm is small, Debian's launcher knows; /tmp is not everywhere a place for it.
    ignoreDefaultArgs: ["--disable-dev-shm-usage"],
    timeout: 2 * WAIT_MS,
    handleSIGINT: false,
  });
  return launched;
}

/** The last test is over: nothing may keep this process alive. */
async function quit() {
  answers.close();
  process.stdin.destroy();
  await (await launched)?.close();
}

/**
 * A context that shares nothing with others, and what went wrong in it.
 *
 * @param {import("playwright-core").BrowserContextOptions} options
 */
async function opened(options) {
  const context = await (
    await browser()
  ).newContext({
    baseURL: HTTP,
    viewport: { width: 1280, height: 800 },
    reducedMotion: "reduce",
    ...options,
  });
  context.setDefaultTimeout(WAIT_MS);
  /** @type {string[]} */
  const wrong = [];
  const leave = (url) => LOOPBACK.test(url) || INSIDE.test(url) || wrong.push(`left for ${url}`);
  context.on("request", (request) => leave(request.url()));
  context.on("weberror", (error) => wrong.push(`uncaught: ${error.error().stack}`));
  context.on("console", (said) => {
    if (said.type() === "error") wrong.push(`console: ${said.text()} (${said.location().url})`);
  });
  context.on("page", (page) => page.on("websocket", (socket) => leave(socket.url())));
  // The console tells of some breaches only; a document is told of each.
  await context.addInitScript(() =>
    addEventListener("securitypolicyviolation", ({ violatedDirective, blockedURI }) =>
      console.error(`content security policy: ${violatedDirective} ${blockedURI}`),
    ),
  );
  return { context, wrong };
}

/**
 * A test with a page; what fails in the page, or leaves this machine, fails the test.
 *
 * The body is given `page`, its `context`, `open(options)` for a context beside it (another
 * person), and `tolerate(pattern)` for errors that are meant to come, those before it too.
 *
 * @param {string} name
 * @param {(world: any) => Promise<void>} body
 * @param {import("playwright-core").BrowserContextOptions} [options] Of its first context.
 */
export function browserTest(name, body, options = {}) {
  left++;
  test(name, async () => {
    const all = [];
    const open = async (more = {}) => {
      const one = await opened(more);
      all.push(one);
      return one.context;
    };
    const meant = [];
    const tolerate = (/** @type {RegExp} */ pattern) => meant.push(pattern);
    try {
      const context = await open(options);
      const page = await context.newPage();
      await inTime(body({ page, context, open, tolerate }));
      const wrong = all.flatMap((one) => one.wrong);
      assert.deepEqual(
        wrong.filter((line) => !meant.some((pattern) => pattern.test(line))),
        [],
      );
    } catch (error) {
      await leaveTraces(name, all);
      throw error;
    } finally {
      for (const one of all) await one.context.close();
      if (--left === 0) await quit();
    }
  });
}

/** Not the runner's own limit: that one forgets the test, and nothing is told of its pages. */
async function inTime(work) {
  let timer;
  const late = new Promise((_, reject) => {
    timer = setTimeout(() => reject(new Error(`not over after ${TEST_MS} ms`)), TEST_MS);
  });
  await Promise.race([work, late]).finally(() => clearTimeout(timer));
}

/** Say what the pages of a failed test showed, and keep pictures of them. */
async function leaveTraces(name, all) {
  for (const [number, { context, wrong }] of all.entries()) {
    for (const page of context.pages()) {
      const text = await page.evaluate(() => document.body?.innerText).catch(String);
      process.stderr.write(`\n--- ${name}: ${page.url()}\n${text}\n${wrong.join("\n")}\n---\n`);
      const file = `${name.replaceAll(/\W+/g, "_")}-${number}.png`;
      await page.screenshot({ path: join(process.env.TRACES, file) }).catch(() => {});
    }
  }
}

/**
 * Take a picture for the documentation, where BARGEIN_PICTURES says that they are wanted.
 *
 * @param {import("playwright-core").Page} page
 * @param {string} name Of the file in that directory.
 */
export async function picture(page, name) {
  const directory = process.env.BARGEIN_PICTURES;
  if (directory) await page.screenshot({ path: join(directory, name) });
}
