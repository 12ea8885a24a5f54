// Changes that the server reports, as server-sent events.
//
// A stream holds a connection, and over HTTP/1.1 a browser has six of them for all its tabs: only tabs that are seen
// have a stream, and one that comes back asks for what it has missed.

import { address } from "./api.js";

/**
 * Follow the events.
 * @param {object} hear what to do with each kind of event, given its value.
 * @param {object} missed called after a time without a stream, or if there were events since the page asked for what it
 *   shows, when there had been `since()`; `reach` is called when the stream breaks and when it is back.
 */
export function follow(hear, { missed, reach, since }) {
  let events = null;
  let isBehind = false;
  const open = () => {
    events = new EventSource(address(["events"], { since: since() }));
    events.addEventListener("missed", missed);
    for (const [kind, call] of Object.entries(hear)) {
      events.addEventListener(kind, (event) => call(JSON.parse(event.data)));
    }
    events.addEventListener("error", () => ((isBehind = true), reach()));
    events.addEventListener("open", () => {
      if (isBehind) missed();
      isBehind = false;
      reach();
    });
  };
  const close = () => {
    events?.close();
    events = null;
    isBehind = true;
  };
  const choose = () => {
    if (document.hidden) close();
    else if (!events) open();
  };
  document.addEventListener("visibilitychange", choose);
  choose();
}
