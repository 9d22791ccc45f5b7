/** Say how long something took, as short as it can be said well. @param {number} ms */
export function duration(ms) {
  if (!Number.isFinite(ms)) return "";
  if (ms < 10) return `${ms.toFixed(1)} ms`;
  if (ms < 1000) return `${Math.round(ms)} ms`;
  if (ms < 60_000) return `${(ms / 1000).toFixed(ms < 10_000 ? 2 : 1)} s`;
  const seconds = Math.round(ms / 1000);
  return `${Math.floor(seconds / 60)} min ${seconds % 60} s`;
}

/** Say a place in a recording, such as 2:07. @param {number} ms */
export function place(ms) {
  const seconds = Math.floor(ms / 1000);
  const rest = String(seconds % 60).padStart(2, "0");
  const minutes = Math.floor(seconds / 60);
  if (minutes < 60) return `${minutes}:${rest}`;
  return `${Math.floor(minutes / 60)}:${String(minutes % 60).padStart(2, "0")}:${rest}`;
}

const UNITS = /** @type {const} */ ([
  ["year", 31_536_000],
  ["month", 2_592_000],
  ["day", 86_400],
  ["hour", 3600],
  ["minute", 60],
]);
const RELATIVE = new Intl.RelativeTimeFormat("en", { numeric: "auto", style: "short" });

/**
 * Say when something was, from now.
 *
 * @param {string} ts
 * @param {number} [nowMs]
 */
export function ago(ts, nowMs = Date.now()) {
  const seconds = (Date.parse(ts) - nowMs) / 1000;
  if (Number.isNaN(seconds)) return "";
  for (const [unit, length] of UNITS) {
    if (Math.abs(seconds) >= length) return RELATIVE.format(Math.round(seconds / length), unit);
  }
  return "just now";
}

const CLOCK = new Intl.DateTimeFormat(undefined, { timeStyle: "medium" });

/** Say at what time of the day something was. @param {string} ts */
export function clock(ts) {
  const ms = Date.parse(ts);
  return Number.isNaN(ms) ? "" : CLOCK.format(ms);
}

/**
 * Say a count with its noun.
 *
 * @param {number} n
 * @param {string} noun
 */
export const count = (n, noun) => `${n.toLocaleString("en")} ${noun}${n === 1 ? "" : "s"}`;

/** Say a JSON value in one line of at most so many characters. @param {unknown} value */
export function brief(value, most = 120) {
  const text = typeof value === "string" ? value : (JSON.stringify(value) ?? "");
  const line = text.slice(0, most * 2).replace(/\s+/g, " ").trim();
  return line.length > most ? `${line.slice(0, most - 1)}…` : line;
}

/** Return the median of some numbers; null of none. @param {number[]} numbers */
export function median(numbers) {
  if (numbers.length === 0) return null;
  const sorted = [...numbers].sort((a, b) => a - b);
  const middle = sorted.length >> 1;
  const upper = sorted[middle] ?? 0;
  return sorted.length % 2 ? upper : (upper + (sorted[middle - 1] ?? 0)) / 2;
}
