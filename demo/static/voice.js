// What is said: to a screen reader, and as short notes at the edge of the page.

import { Refused } from "./api.js";
import { $, make, iconButton, icon } from "./dom.js";

const NOTE_MS = 6000;

/** Say a line to who listens, without showing it. */
export function say(text) {
  $("#voice").textContent = text;
}

/** Show a line for a while; an error stays until it is closed. */
export function note(text, { isError = false, action = null } = {}) {
  for (const old of $("#notes").children) if (!isError || old.textContent === text) old.remove();
  const shown = make(
    `p.note${isError ? ".error" : ""}`,
    { role: isError ? "alert" : null },
    isError && icon("warning"),
    make("span", {}, text),
  );
  if (action)
    shown.append(make("button.plain", { type: "button", onclick: () => (shown.remove(), action.call()) }, action.text));
  shown.append(iconButton("close", "Close this note", () => shown.remove()));
  $("#notes").append(shown);
  if (!isError) setTimeout(() => shown.remove(), NOTE_MS);
}

/** Run work that a person asked for; what is refused becomes a note. */
export async function attempt(work) {
  try {
    return await work();
  } catch (error) {
    if (error.name === "AbortError") return undefined;
    note(error.message, { isError: true });
    if (!(error instanceof Refused)) throw error;
    return undefined;
  }
}
