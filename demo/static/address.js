// The address of the page holds what it shows, so that refresh, Back and a link to a colleague work.

import { afterPause } from "./dom.js";
import { on, state } from "./state.js";

const PAUSE_MS = 400;

/** What an address asks for. */
export function read() {
  const given = new URLSearchParams(window.location.search);
  const number = (name) =>
    given.has(name) && Number.isFinite(Number(given.get(name))) ? Number(given.get(name)) : null;
  const [start_s, end_s] = [number("from"), number("to")];
  return {
    current: given.get("r") ?? "",
    time_s: number("t") ?? 0,
    text: given.get("q") ?? "",
    range: start_s !== null && end_s !== null && start_s < end_s ? { start_s, end_s } : null,
    page: ["library", "scores", "model"].includes(given.get("view")) ? given.get("view") : "watch",
  };
}

/** The address of what is shown; of a moment, if a recording and a time are given. */
export function write(id = state.current, time_s = state.time_s, range = state.range) {
  const query = new URLSearchParams();
  if (state.page !== "watch") query.set("view", state.page);
  if (id) query.set("r", id);
  if (time_s) query.set("t", time_s.toFixed(1));
  if (state.search?.query.text) query.set("q", state.search.query.text);
  if (range) {
    query.set("from", range.start_s.toFixed(2));
    query.set("to", range.end_s.toFixed(2));
  }
  return query.size ? `?${query}` : window.location.pathname;
}

/** Keep the address: another recording, search or view is a step of the history, another time is not. */
export function keepAddress(restore) {
  let isRestoring = false;
  const step = () => isRestoring || write() === window.location.search || window.history.pushState(null, "", write());
  on("current search page", step);
  const replace = afterPause(() => window.history.replaceState(null, "", write()), PAUSE_MS);
  on("time_s range", () => state.isPlaying || isRestoring || replace());
  window.addEventListener("popstate", async () => {
    isRestoring = true;
    await restore(read());
    isRestoring = false;
  });
}
