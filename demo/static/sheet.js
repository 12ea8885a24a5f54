// Dialogs, and menus that open from a button: both close with Escape and give the focus back.

import { iconButton, make } from "./dom.js";

const tell = () => document.dispatchEvent(new Event("surgvl:dialog"));

/** A modal dialog with a title; it is removed when it closes. */
export function dialog(title, { kind = "", onclose = () => {} } = {}, ...content) {
  const element = make(`dialog${kind ? `.${kind}` : ""}`, {
    "aria-label": title,
    onclose: () => (onclose(), element.remove(), tell()),
  });
  element.append(
    make(
      "div.dialog-head",
      {},
      make("h2", {}, title),
      iconButton("close", "Close", () => element.close()),
    ),
    ...content,
  );
  // A press outside of it closes it; a text that is selected beyond its edge does not.
  element.addEventListener("pointerdown", (event) => event.target === element && element.close());
  document.body.append(element);
  element.showModal();
  tell();
  return element;
}

/** Ask before something that cannot be undone; resolves to whether it was confirmed. */
export function confirm(title, text, action) {
  return new Promise((resolve) => {
    let isSure = false;
    const element = dialog(
      title,
      { kind: "slim", onclose: () => resolve(isSure) },
      make("p", {}, text),
      make(
        "div.dialog-foot",
        {},
        make("button.outlined", { type: "button", onclick: () => element.close() }, "Cancel"),
        make("button.danger", { type: "button", onclick: () => ((isSure = true), element.close()) }, action),
      ),
    );
  });
}

/** A menu below a button: `content` is called each time it opens. */
export function menu(text, content, { label = "" } = {}) {
  const box = make("div.menu");
  const element = make(
    "details.menu-of",
    { ontoggle: () => element.open && box.replaceChildren(...content(() => (element.open = false))) },
    make("summary", { "aria-label": label || null }, text),
    box,
  );
  element.addEventListener("keydown", (event) => {
    if (event.key !== "Escape" || !element.open) return;
    element.open = false;
    element.querySelector("summary").focus();
    event.stopPropagation();
  });
  // Whoever leaves it by Tab does not see what it covers.
  element.addEventListener("focusout", (event) => {
    if (event.relatedTarget && !element.contains(event.relatedTarget)) element.open = false;
  });
  document.addEventListener("click", (event) => {
    if (!element.contains(event.target) || event.target.closest("a")) element.open = false;
  });
  return element;
}
