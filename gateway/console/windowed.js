import { el } from "./dom.js";

const BEYOND = 4;
const PAGE_KEYS = /** @type {Record<string, number>} */ ({ ArrowDown: 1, ArrowUp: -1 });

/**
 * A list of any length that has elements for what is in sight only. All rows are of one height.
 *
 * To a screen reader it is a list of options, of which one is chosen; keys move the choice.
 */
export class Windowed {
  #scroller;
  #room = el("div", { role: "presentation", class: "room" });
  /** @type {HTMLElement[]} */
  #elements = [];
  #count = 0;
  #chosen = -1;
  #atEnd = true;
  #drawn = "";

  /**
   * @param {HTMLElement} scroller
   * @param {object} options
   * @param {number} options.rowPx
   * @param {(root: HTMLElement) => void} options.make Fills an empty row with its parts.
   * @param {(root: HTMLElement, place: number) => void} options.fill
   * @param {(place: number) => void} options.choose
   * @param {() => void} options.changed Called when it is to be drawn again.
   */
  constructor(scroller, { rowPx, make, fill, choose, changed }) {
    this.#scroller = scroller;
    this.rowPx = rowPx;
    this.make = make;
    this.fill = fill;
    this.choose = choose;
    scroller.setAttribute("role", "listbox");
    scroller.tabIndex = 0;
    scroller.append(this.#room);
    scroller.addEventListener("keydown", (event) => this.#key(event));
    scroller.addEventListener("scroll", () => {
      const { scrollTop, clientHeight, scrollHeight } = scroller;
      this.#atEnd = scrollTop + clientHeight >= scrollHeight - rowPx;
      changed();
    });
    new ResizeObserver(() => {
      if (this.#atEnd) this.toEnd();
      changed();
    }).observe(scroller);
  }

  /** The first row in sight, and the one behind the last. */
  get inSight() {
    const { scrollTop, clientHeight } = this.#scroller;
    const from = Math.max(0, Math.floor(scrollTop / this.rowPx));
    const to = Math.min(this.#count, Math.ceil((scrollTop + clientHeight) / this.rowPx));
    return { from, to, offsetPx: scrollTop };
  }

  /**
   * @param {number} count
   * @param {number} chosen -1 for none.
   * @param {string} version Of what the rows show.
   */
  draw(count, chosen, version) {
    if (count !== this.#count) {
      this.#count = count;
      this.#room.style.setProperty("height", `${count * this.rowPx}px`);
      if (this.#atEnd) this.toEnd();
    }
    this.#chosen = chosen;
    const { from, to } = this.inSight;
    const first = Math.max(0, from - BEYOND);
    const last = Math.min(count, to + BEYOND);
    const drawn = `${first} ${last} ${count} ${chosen} ${version}`;
    if (drawn === this.#drawn) return;
    this.#drawn = drawn;
    while (this.#elements.length < last - first) this.#add();
    this.#elements.forEach((element, number) => {
      const place = first + number;
      element.hidden = place >= last;
      if (element.hidden) return;
      element.style.setProperty("transform", `translateY(${place * this.rowPx}px)`);
      element.id = `${this.#scroller.id}-${place}`;
      element.dataset["place"] = String(place);
      element.setAttribute("aria-selected", String(place === chosen));
      element.setAttribute("aria-posinset", String(place + 1));
      element.setAttribute("aria-setsize", String(count));
      this.fill(element, place);
    });
    if (chosen >= first && chosen < last) {
      this.#scroller.setAttribute("aria-activedescendant", `${this.#scroller.id}-${chosen}`);
    } else this.#scroller.removeAttribute("aria-activedescendant");
  }

  /** Scroll so that a row is in sight. @param {number} place */
  reveal(place) {
    const top = place * this.rowPx;
    const { scrollTop, clientHeight } = this.#scroller;
    if (top < scrollTop) this.#scroller.scrollTop = top;
    else if (top + this.rowPx > scrollTop + clientHeight) {
      this.#scroller.scrollTop = top + this.rowPx - clientHeight;
    }
  }

  toEnd() {
    this.#atEnd = true;
    this.#scroller.scrollTop = this.#scroller.scrollHeight;
  }

  #add() {
    const root = el("div", { role: "option", class: "row" });
    root.style.setProperty("height", `${this.rowPx}px`);
    this.make(root);
    root.addEventListener("click", () => this.choose(Number(root.dataset["place"])));
    this.#elements.push(root);
    this.#room.append(root);
  }

  /** @param {KeyboardEvent} event */
  #key(event) {
    const page = Math.max(1, Math.floor(this.#scroller.clientHeight / this.rowPx) - 1);
    const { key } = event;
    let next = this.#chosen;
    if (key in PAGE_KEYS) next += PAGE_KEYS[key] ?? 0;
    else if (key === "PageDown") next += page;
    else if (key === "PageUp") next -= page;
    else if (key === "Home") next = 0;
    else if (key === "End") next = this.#count - 1;
    else return;
    event.preventDefault();
    next = Math.min(this.#count - 1, Math.max(0, next));
    if (this.#count === 0) return;
    this.reveal(next);
    this.choose(next);
  }
}
