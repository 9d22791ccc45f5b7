/** @import {Exchange} from "/sdk/protocol.js" */
/** @import {Heard, Spoken} from "./heard.js" */

import { made } from "./dom.js";

/** @typedef {{text: string, kind: "heard" | "now" | "ahead" | "cut" | "withheld", notice: boolean}} Run */

const CAUSES = /** @type {Record<string, string>} */ ({
  backchannel: "you said, and let it go on",
  noise: "a noise, nothing more",
  echo: "its own words, heard again",
  protected: "this part has to be heard to its end",
});
const CUT_SHOWN = 90;
const LET_READ_MS = 6000;

/** The conversation as it was heard: what was said, what was cut off, what is still to come. */
export class TranscriptList {
  /** @type {Map<string, {key: string, item: HTMLLIElement}>} */
  #items = new Map();
  #coming = made("li", "turn coming");
  #readMs = -LET_READ_MS;
  #list;
  #scroller;
  #heard;

  /**
   * @param {HTMLElement} list
   * @param {HTMLElement} scroller
   * @param {Heard} heard
   */
  constructor(list, scroller, heard) {
    this.#list = list;
    this.#scroller = scroller;
    this.#heard = heard;
    list.replaceChildren();
    for (const type of ["wheel", "touchmove", "keydown"])
      scroller.addEventListener(type, () => (this.#readMs = performance.now()), { passive: true });
  }

  /**
   * @param {readonly Exchange[]} turns
   * @param {readonly {utterance_id: string, text: string, final: boolean}[]} unanswered
   */
  show(turns, unanswered) {
    for (const turn of turns) this.#showTurn(turn, turn === turns.at(-1));
    const gone = new Set(this.#items.keys());
    for (const { turn_id: id } of turns) gone.delete(id);
    for (const id of gone) {
      this.#items.get(id)?.item.remove();
      this.#items.delete(id);
    }
    this.#showComing(unanswered);
    if (performance.now() - this.#readMs > LET_READ_MS) this.#follow();
  }

  /** Keep the word that is spoken in sight, or the end; who reads elsewhere is left alone. */
  #follow() {
    const now = this.#list.querySelector(".now");
    const { top, height } = this.#scroller.getBoundingClientRect();
    const place = now ? (now.getBoundingClientRect().top - top) / height : 1;
    if (!now) this.#scroller.scrollTop = this.#scroller.scrollHeight;
    else if (place < 0.1 || place > 0.75) now.scrollIntoView({ block: "center" });
  }

  /** @param {Exchange} turn @param {boolean} isLast */
  #showTurn(turn, isLast) {
    const spoken = this.#heard.of(turn.turn_id);
    const key = JSON.stringify([turn, spoken, isLast]);
    const known = this.#items.get(turn.turn_id);
    if (known?.key === key) return;
    const item = this.#turn(turn, spoken, isLast);
    if (known) known.item.replaceWith(item);
    else this.#list.insertBefore(item, this.#coming.parentNode ? this.#coming : null);
    this.#items.set(turn.turn_id, { key, item });
  }

  /** @param {Exchange} turn @param {Spoken} spoken @param {boolean} isLast */
  #turn(turn, spoken, isLast) {
    const revised = (turn.utterances ?? []).some((one) => this.#heard.wasRevised(one.utterance_id));
    const item = made(
      "li",
      "turn",
      made(
        "p",
        "user",
        turn.user,
        revised && made("small", "", "understood after a correction"),
        turn.corrects && made("small", "", "what you had really said"),
      ),
    );
    item.dataset["turn"] = turn.turn_id;
    item.dataset["status"] = turn.status;
    const runs = runsOf(turn, spoken, isLast);
    const isCut = turn.interrupted || runs.some(({ kind }) => kind === "cut");
    const parts = runs.map(drawn);
    const at = runs.findIndex(({ kind }) => kind === "cut");
    if (isCut) parts.splice(at < 0 ? parts.length : at, 0, made("small", "mark", "you cut in here"));
    if (runs.length) item.append(made("p", "agent", ...parts));
    for (const line of notesOf(turn, spoken)) item.append(line);
    return item;
  }

  /** @param {readonly {text: string, final: boolean, utterance_id: string}[]} unanswered */
  #showComing(unanswered) {
    const words = unanswered.map(({ text, final, utterance_id: id }) => {
      const word = made("span", final ? "final" : "partial", `${text} `);
      if (this.#heard.wasRevised(id)) word.classList.add("revised");
      return word;
    });
    if (words.length === 0) this.#coming.remove();
    else {
      this.#coming.replaceChildren(made("p", "user", ...words));
      this.#list.append(this.#coming);
    }
  }
}

/**
 * Cut an answer into runs by what became of them.
 *
 * @param {Exchange} turn
 * @param {Spoken} spoken
 * @param {boolean} isLast Of a later one's answer, no more is to come.
 * @returns {Run[]}
 */
export function runsOf(turn, spoken, isLast) {
  const all = [...(turn.generated ?? turn.assistant)];
  const { to, rest } = extent(turn, spoken, all, isLast);
  /** @type {Run[]} */
  const runs = [];
  const from = blanksEnd(all, to);
  const now = rest === "ahead" ? wordEnd(all, from) : to;
  all.forEach((char, at) => {
    const notice = spoken.notices.some(({ start, end }) => at >= start && at < end);
    /** @type {Run["kind"]} */
    let kind = at < to || (at < from && now > from) ? "heard" : at < now ? "now" : rest;
    if (spoken.withheld.some(([start, end]) => at >= start && at < end)) kind = "withheld";
    const last = runs.at(-1);
    if (last && last.kind === kind && last.notice === notice) last.text += char;
    else runs.push({ text: char, kind, notice });
  });
  return runs;
}

/**
 * @param {Exchange} turn
 * @param {Spoken} spoken
 * @param {string[]} all
 * @param {boolean} isLast
 * @returns {{to: number, rest: "ahead" | "cut"}}
 */
function extent(turn, spoken, all, isLast) {
  if (turn.interrupted) return { to: spoken.chars ?? [...turn.assistant].length, rest: "cut" };
  if (turn.status !== "open" && spoken.chars === null) return { to: all.length, rest: "ahead" };
  const rest = isLast || turn.status === "open" ? "ahead" : "cut";
  return { to: Math.min(spoken.chars ?? 0, all.length), rest };
}

/** @param {string[]} all @param {number} from */
function blanksEnd(all, from) {
  let at = from;
  while (at < all.length && /\s/.test(all[at] ?? "")) at++;
  return at;
}

/** @param {string[]} all @param {number} from */
function wordEnd(all, from) {
  let at = from;
  while (at < all.length && !/\s/.test(all[at] ?? "")) at++;
  return at;
}

/** @param {Run} run */
function drawn({ text, kind, notice }) {
  const tag = kind === "cut" || kind === "withheld" ? "s" : "span";
  const run = made(tag, kind, kind === "cut" ? shortened(text) : text);
  if (notice) run.classList.add("protected");
  return run;
}

/** Nobody heard it: its beginning says enough. @param {string} text */
function shortened(text) {
  const whole = text.trim();
  if (whole.length <= CUT_SHOWN * 1.5) return whole;
  const shown = whole.slice(0, whole.lastIndexOf(" ", CUT_SHOWN));
  const rest = whole.slice(shown.length).trim().split(/\s+/).length;
  return `${shown} … and ${rest} words more`;
}

/** @param {Exchange} turn @param {Spoken} spoken */
function* notesOf(turn, spoken) {
  if (spoken.notices.length) yield made("p", "note lock", "Speech does not interrupt this notice.");
  for (const { words, cause } of spoken.asides) {
    yield made("p", "note", words && made("q", "", words), ` ${CAUSES[cause] ?? cause}`);
  }
  if (spoken.withheld.length) yield made("p", "note", "Left unsaid: nothing that it looked up supports it.");
  const sources = [...new Set(spoken.sources)];
  if (sources.length) yield made("p", "note", `From the conditions of carriage: ${sources.join(", ")}`);
  if (turn.status === "failed") yield made("p", "note", "The answer broke off.");
}
