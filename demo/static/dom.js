// Elements: text is always inserted as text, so that no name of a recording can be markup.

const SVG = "http://www.w3.org/2000/svg";
const PROPERTIES = new Set(["value", "checked", "disabled", "hidden", "muted", "selected", "open", "textContent"]);
const FOCUSABLE = "button, a, input, select, summary";

export const $ = (selector, root = document) => root.querySelector(selector);
export const $$ = (selector, root = document) => [...root.querySelectorAll(selector)];

/**
 * An element.
 * @param {string} tag its name and classes, such as `p.soft`.
 * @param {object} attributes attributes; `onclick` and the like are listeners, `style` and `data` are objects.
 * @param {...*} children elements, texts, or arrays of them; null and false are left out.
 */
export function make(tag, attributes = {}, ...children) {
  const [name, ...classes] = tag.split(".");
  const element = document.createElement(name);
  if (classes.length) element.className = classes.join(" ");
  for (const [key, value] of Object.entries(attributes)) {
    if (value === null || value === undefined || value === false) continue;
    if (key.startsWith("on")) element.addEventListener(key.slice(2), value);
    else if (key === "style")
      for (const [property, text] of Object.entries(value)) element.style.setProperty(property, text);
    else if (key === "data") Object.assign(element.dataset, value);
    else if (PROPERTIES.has(key)) element[key] = value;
    else element.setAttribute(key, value === true ? "" : value);
  }
  element.append(...children.flat(2).filter((child) => child !== null && child !== undefined && child !== false));
  return element;
}

/** The name of a file, which may be broken after its underscores, dots and dashes rather than within a word. */
export const breakable = (name) => name.split(/(?<=[_.-])/).flatMap((part, at) => (at ? [make("wbr"), part] : [part]));

export function icon(name) {
  const svg = document.createElementNS(SVG, "svg");
  svg.setAttribute("class", "icon");
  svg.setAttribute("aria-hidden", "true");
  const use = document.createElementNS(SVG, "use");
  use.setAttribute("href", `#i-${name}`);
  svg.append(use);
  return svg;
}

/** A shape of an SVG picture. */
export function shape(name, attributes) {
  const element = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
  return element;
}

/** A button with an icon, whose name is spoken and shown as a tooltip; `key` is the key that does the same. */
export function iconButton(name, label, onclick, { key = "", text = "", tag = "button.icon-button" } = {}) {
  const shown = key ? `${label} (${key})` : label;
  return make(
    tag,
    { type: "button", title: shown, "aria-label": text ? null : label, "aria-keyshortcuts": key || null, onclick },
    name && icon(name),
    text && make("span", {}, text),
  );
}

/** Replace what is in an element; what had the focus keeps it, or else what now stands in its place. */
export function fill(element, ...children) {
  const focused = element.contains(document.activeElement) ? document.activeElement : null;
  const find = focused && successor(element, focused);
  element.replaceChildren(
    ...children.flat(2).filter((child) => child !== null && child !== undefined && child !== false),
  );
  if (!focused || document.activeElement === focused) return element;
  (focused.isConnected ? focused : find())?.focus({ preventScroll: true });
  return element;
}

/** How to find what stands for a part that was made anew: in the same row at the same place, else by its name. */
function successor(element, part) {
  const row = rowOf(part);
  const place = row ? $$(FOCUSABLE, row).indexOf(part) : -1;
  const name = nameOf(part);
  return () => {
    if (!row) return $$(FOCUSABLE, element).find((each) => name && nameOf(each) === name);
    const next = $$("*", element).find((each) => each.rowId === row.rowId);
    return next && $$(FOCUSABLE, next)[place];
  };
}

const nameOf = (part) => part.getAttribute("aria-label") ?? part.textContent;

/** The row of `keyed` that an element lies in. */
const rowOf = (element) => (!element || element.rowId !== undefined ? element : rowOf(element.parentElement));

/** Elements of rows, each made again only when its row has changed, so that focus and pictures stay. */
export function keyed(element) {
  let kept = new Map();
  return (rows) => {
    const before = kept;
    kept = new Map(
      rows.map((row) => {
        const text = JSON.stringify(row);
        const old = before.get(row.id);
        if (old?.text === text) return [row.id, old];
        return [row.id, { text, element: Object.assign(element(row), { rowId: row.id }) }];
      }),
    );
    return [...kept.values()].map((each) => each.element);
  };
}

/** Whether animations are unwanted. */
export const isCalm = () => window.matchMedia("(prefers-reduced-motion: reduce)").matches;

/** Call at most once a frame. */
export function oncePerFrame(call) {
  let asked = false;
  return () => {
    if (asked) return;
    asked = true;
    requestAnimationFrame(() => {
      asked = false;
      call();
    });
  };
}

/** Call when nothing was asked for a while. */
export function afterPause(call, wait_ms) {
  let timer = 0;
  return (...given) => {
    clearTimeout(timer);
    timer = setTimeout(() => call(...given), wait_ms);
  };
}
