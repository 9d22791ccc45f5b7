const SVG = "http://www.w3.org/2000/svg";

/**
 * Make an element. Whatever `text` is, it becomes text.
 *
 * @template {keyof HTMLElementTagNameMap} K
 * @param {K} tag
 * @param {{class?: string, text?: string, [attribute: string]: string | boolean | undefined}} [has]
 * @param {(Node | string)[]} children
 * @returns {HTMLElementTagNameMap[K]}
 */
export function el(tag, has = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(has)) {
    if (name === "text") made.textContent = String(value);
    else if (value !== undefined && value !== false) {
      made.setAttribute(name, value === true ? "" : value);
    }
  }
  made.append(...children);
  return made;
}

/**
 * Find a part of the page that has to be there.
 *
 * @template {Element} T
 * @param {string} id
 * @param {new () => T} kind
 * @returns {T}
 */
export function part(id, kind) {
  const found = document.getElementById(id);
  if (!(found instanceof kind)) throw new Error(`the page has no ${kind.name} called ${id}`);
  return found;
}

/** Draw one of the icons of the page. @param {string} name */
export function icon(name) {
  const svg = document.createElementNS(SVG, "svg");
  svg.setAttribute("class", "icon");
  svg.setAttribute("aria-hidden", "true");
  const use = document.createElementNS(SVG, "use");
  use.setAttribute("href", `#icon-${name}`);
  svg.append(use);
  return svg;
}

/**
 * Make a button.
 *
 * @param {string} text What it says, also where only an icon is shown.
 * @param {() => void} press
 * @param {{class?: string, icon?: string, bare?: boolean}} [look] `bare`: the icon alone.
 */
export function button(text, press, look = {}) {
  const made = el("button", { type: "button", class: look.class ?? "button" });
  if (look.icon) made.append(icon(look.icon));
  if (look.bare) {
    made.setAttribute("aria-label", text);
    made.title = text;
  } else made.append(el("span", { text }));
  made.addEventListener("click", press);
  return made;
}

/**
 * Set what an element says, unless it says so already.
 *
 * @param {Element} element
 * @param {string} text
 */
export function say(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

/**
 * Show or hide an element.
 *
 * @param {HTMLElement} element
 * @param {boolean} shown
 */
export function show(element, shown) {
  if (element.hidden === shown) element.hidden = !shown;
}

/**
 * Bring the children of an element up to a list, by key; what is there already stays itself.
 *
 * @template T
 * @param {Element} parent
 * @param {readonly T[]} items
 * @param {Map<string, {root: HTMLElement, draw: (item: T) => void}>} kept
 * @param {(item: T) => string} keyOf
 * @param {(item: T) => {root: HTMLElement, draw: (item: T) => void}} make
 */
export function arrange(parent, items, kept, keyOf, make) {
  const keys = new Set(items.map(keyOf));
  for (const [key, child] of kept) {
    if (keys.has(key)) continue;
    child.root.remove();
    kept.delete(key);
  }
  /** @type {Element | null} */
  let place = parent.firstElementChild;
  for (const item of items) {
    const key = keyOf(item);
    let child = kept.get(key);
    if (!child) kept.set(key, (child = make(item)));
    if (child.root === place) place = place.nextElementSibling;
    else parent.insertBefore(child.root, place);
    child.draw(item);
  }
}
