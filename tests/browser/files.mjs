// A server of files on loopback, for pages that the bargein server does not serve itself.
import { createReadStream } from "node:fs";
import { stat } from "node:fs/promises";
import { createServer } from "node:http";
import { extname, join, normalize } from "node:path";

const TYPES = {
  ".css": "text/css; charset=utf-8",
  ".html": "text/html; charset=utf-8",
  ".js": "text/javascript; charset=utf-8",
  ".svg": "image/svg+xml",
};

/**
 * Serve directories by the path that they are under, and single pages as text.
 *
 * @param {Record<string, string | {text: string}>} tree
 * @param {Record<string, string>} [headers] Of every answer.
 * @returns {Promise<string>} The origin. It does not keep the process alive.
 */
export async function served(tree, headers = {}) {
  const directories = Object.entries(tree).flatMap(([prefix, there]) =>
    typeof there === "string" ? [/** @type {const} */ ([prefix, there])] : [],
  );
  const server = createServer(async (request, response) => {
    const path = normalize(decodeURIComponent(new URL(request.url ?? "/", "http://here").pathname));
    const say = (/** @type {number} */ status, /** @type {string} */ type) =>
      response.writeHead(status, { "Content-Type": type, ...headers });
    const whole = tree[path];
    if (typeof whole === "object") {
      say(200, TYPES[".html"]).end(whole.text);
      return;
    }
    const [under, directory] = directories.find(([prefix]) => path.startsWith(prefix)) ?? ["", ""];
    const file = directory && join(directory, path.slice(under.length) || "index.html");
    const found = file && (await stat(file).catch(() => null));
    if (file && found && found.isFile()) {
      createReadStream(file).pipe(say(200, TYPES[extname(file)] ?? "application/octet-stream"));
    } else if (path === "/favicon.ico") say(204, "image/x-icon").end();
    else say(404, "text/plain").end("not here");
  });
  await new Promise((ready) => server.listen(0, "127.0.0.1", () => ready(null)));
  server.unref();
  const address = server.address();
  return `http://127.0.0.1:${typeof address === "object" && address?.port}`;
}
