// Looks for what keeps people out: names that a screen reader misses, colours that nobody can tell.
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";

const AXE = readFileSync(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");
const LEVELS = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"];

/**
 * Hold a page, as it is now, against the rules of WCAG 2.2 (levels A and AA) and good practice.
 *
 * @param {import("playwright-core").Page} page
 */
export async function accessible(page) {
  const devtools = await page.context().newCDPSession(page);
  const { frameTree } = await devtools.send("Page.getFrameTree");
  // Beside the page's own scripts, so that its content security policy has no say in it.
  const world = { frameId: frameTree.frame.id };
  const { executionContextId } = await devtools.send("Page.createIsolatedWorld", world);
  const run = async (/** @type {string} */ expression) => {
    const { result, exceptionDetails } = await devtools.send("Runtime.evaluate", {
      expression,
      contextId: executionContextId,
      awaitPromise: true,
      returnByValue: true,
    });
    assert.equal(exceptionDetails, undefined);
    return result.value;
  };
  await run(AXE);
  const { violations, passes } = await run(`axe.run({ runOnly: ${JSON.stringify(LEVELS)} })`);
  await devtools.detach();
  assert.ok(passes.length > 5, "there was something to look at");
  const told = violations.flatMap(({ id, impact, nodes }) =>
    nodes.map(({ target, failureSummary }) => `${impact} ${id} ${target}: ${failureSummary}`),
  );
  assert.deepEqual(told, []);
}
