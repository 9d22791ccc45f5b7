/** @import {Scene} from "./scene.js" */
/** @import {TurnRow} from "./turn_row.js" */
/** @import {Theme} from "./theme.js" */

import { Breakdown } from "./breakdown.js";
import { part } from "./dom.js";
import { EventList } from "./event_list.js";
import { Inspector } from "./inspector.js";
import { LatencyStrip } from "./latency.js";
import { Palette } from "./palette.js";
import { Waterfall } from "./waterfall.js";

/** @typedef {"turn" | "events"} Tab */

/** The timeline: the waterfall, and below it one turn, its events, and one event. */
export class Timeline {
  /** @type {TurnRow | null} */
  #row = null;
  /** Whether the latest turn is shown, whichever that is. */
  #follows = true;
  /** @type {number | null} */
  #seq = null;
  /** @type {Tab} */
  #tab = "turn";
  /** @type {Scene | null} */
  #scene = null;
  #restarts = 0;
  #tabs = {
    turn: part("tab-turn", HTMLButtonElement),
    events: part("tab-events", HTMLButtonElement),
  };

  /**
   * @param {Theme} theme
   * @param {() => void} changed
   * @param {{chosen: (seq: number | null) => void, linkTo: (seq: number) => string}} address
   */
  constructor(theme, changed, address) {
    this.changed = changed;
    this.address = address;
    const palette = new Palette(part("colour-probe", HTMLElement));
    theme.onChange(() => {
      palette.read();
      changed();
    });
    this.latency = new LatencyStrip();
    this.waterfall = new Waterfall(palette, (row, seq) => this.#chooseRow(row, seq), changed);
    this.breakdown = new Breakdown((seq) => this.choose(seq));
    this.events = new EventList((seq) => this.choose(seq), changed);
    this.inspector = new Inspector({
      choose: (seq) => this.choose(seq),
      linkTo: address.linkTo,
    });
    for (const [name, tab] of Object.entries(this.#tabs)) {
      tab.addEventListener("click", () => this.#open(/** @type {Tab} */ (name)));
      tab.addEventListener("keydown", ({ key }) => {
        if (key !== "ArrowLeft" && key !== "ArrowRight") return;
        this.#open(this.#tab === "turn" ? "events" : "turn");
        this.#tabs[this.#tab].focus();
      });
    }
  }

  /** @param {Scene | null} scene @returns {boolean} Whether something moves by itself. */
  draw(scene) {
    const restarts = scene?.chronicle.restarts ?? 0;
    if (scene !== this.#scene) {
      this.#scene = scene;
      this.#row = null;
      this.#follows = true;
    }
    if (restarts !== this.#restarts) {
      this.#restarts = restarts;
      this.#row = scene?.chronicle.row(this.#row?.turnId ?? null) ?? null;
    }
    const latest = scene?.chronicle.rows.at(-1) ?? null;
    if (this.#follows) this.#row = latest;
    this.latency.draw(scene);
    this.waterfall.draw(scene, this.#row);
    this.breakdown.draw(scene, this.#row, this.#tab === "turn");
    this.events.draw(scene, this.#row, this.#seq, this.#tab === "events");
    this.inspector.draw(scene, this.#seq);
    return latest?.open === true;
  }

  /** Show one event, or none. @param {number | null} seq */
  choose(seq) {
    const event = seq === null ? undefined : this.#scene?.chronicle.event(seq);
    if (seq !== null && !event) return;
    this.#seq = event?.seq ?? null;
    const row = this.#scene?.chronicle.row(event?.turn_id ?? null);
    if (row) {
      this.#row = row;
      this.#follows = false;
      this.waterfall.reveal(row);
    }
    this.address.chosen(this.#seq);
    this.draw(this.#scene);
    if (this.#seq !== null) this.events.reveal(this.#seq);
    this.changed();
  }

  /** Show one turn. @param {string} turnId */
  showTurn(turnId) {
    const row = this.#scene?.chronicle.row(turnId);
    if (!row) return;
    this.#chooseRow(row, null);
    this.waterfall.reveal(row);
    this.#open("turn");
  }

  /**
   * @param {TurnRow} row
   * @param {number | null} seq
   */
  #chooseRow(row, seq) {
    this.#row = row;
    this.#follows = row === this.#scene?.chronicle.rows.at(-1);
    if (seq !== null) this.choose(seq);
    this.changed();
  }

  /** @param {Tab} tab */
  #open(tab) {
    this.#tab = tab;
    for (const [name, press] of Object.entries(this.#tabs)) {
      press.setAttribute("aria-selected", String(name === tab));
      press.tabIndex = name === tab ? 0 : -1;
    }
    this.changed();
  }
}
