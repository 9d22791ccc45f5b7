/** @import {Scene} from "./scene.js" */

import { part, say } from "./dom.js";
import { duration, median } from "./format.js";

/** How fast it was: of the latest turn, and the median of the latest ones. */
export class LatencyStrip {
  #drawn = "";
  #figures = /** @type {const} */ (["first", "total", "ack"]).map((name) => ({
    now: part(`latency-${name}`, HTMLElement),
    usual: part(`latency-${name}-median`, HTMLElement),
  }));

  /** @param {Scene | null} scene */
  draw(scene) {
    const turns = scene?.view.latency.turns ?? [];
    const latest = scene?.chronicle.rows.at(-1);
    const drawn = `${turns.length} ${turns.at(-1)?.turn_id} ${turns.at(-1)?.cancel_ms} ${latest?.firstTokenMs}`;
    if (drawn === this.#drawn) return;
    this.#drawn = drawn;
    const firsts = (scene?.chronicle.rows ?? []).slice(-200).flatMap((row) => {
      const { firstTokenMs, startMs } = row;
      return firstTokenMs !== null && startMs !== null ? [firstTokenMs - startMs] : [];
    });
    const totals = turns.flatMap(({ total_ms: ms }) => (ms > 0 ? [ms] : []));
    const acks = turns.flatMap(({ cancel_ms: ms }) => (ms === null ? [] : [ms]));
    [firsts, totals, acks].forEach((all, place) => {
      const figure = this.#figures[place];
      if (!figure) return;
      const now = all.at(-1);
      const usual = median(all);
      say(figure.now, now === undefined ? "–" : duration(now));
      say(figure.usual, usual === null || all.length < 2 ? "" : `median ${duration(usual)}`);
    });
  }
}
