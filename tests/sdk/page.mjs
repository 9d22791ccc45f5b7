// Runs the script of a page, with as much of a document as it touches; its form is sent from stdin.
import { createRequire } from "node:module";
import { createInterface } from "node:readline";
import { pathToFileURL } from "node:url";

const require = createRequire(new URL("../../sdk/javascript/package.json", import.meta.url));
globalThis.WebSocket ??= require("ws");

const main = { textContent: "" };
const form = { words: { value: "" }, reset: () => (form.words.value = "") };
globalThis.document = { forms: [form], querySelector: (name) => (name === "main" ? main : null) };

await import(pathToFileURL(process.argv[2]).href);

for await (const line of createInterface({ input: process.stdin })) {
  const { say, shows } = JSON.parse(line);
  if (say !== undefined) {
    form.words.value = say;
    form.onsubmit({ preventDefault: () => {} });
  }
  while (!main.textContent.includes(shows)) await new Promise((wake) => setTimeout(wake, 5));
  process.stdout.write(`${JSON.stringify({ text: main.textContent, left: form.words.value })}\n`);
}
process.exit(0);
