// Keys: one table, from which the keyboard and the list of keys are made.

import { $, make } from "./dom.js";
import { copyLink } from "./takeaway.js";
import { faster, fullScreen, loopRange, pause, reverse, seek, setSpeed, step, toggle } from "./player.js";
import { accept, markIn, markOut, removeLabel, setPhase, undo, unmark } from "./marks.js";
import { findLike, go, here, judge } from "./search.js";
import { saveMarked } from "./clips.js";
import { dialog } from "./sheet.js";
import { state } from "./state.js";
import { fit, zoom } from "./timeline.js";

/** Seek to the next phase of the model, or to the previous one. */
function segment(by) {
  const starts = (state.timeline?.phases ?? []).map((phase) => phase.start_s);
  const to = by > 0 ? starts.find((at) => at > state.time_s + 0.05) : starts.findLast((at) => at < state.time_s - 0.5);
  if (to !== undefined) seek(to);
}

const KEYS = [
  [
    "Player",
    [
      [" ", "Space", "play or pause", toggle],
      ["j", "J", "backwards, faster with each press", reverse],
      ["k", "K", "pause, at normal speed", () => (pause(), setSpeed(1))],
      ["l", "L", "forwards, faster with each press", faster],
      [",", ",", "previous frame", () => step(-1)],
      [".", ".", "next frame", () => step(1)],
      ["ArrowLeft", "←", "5 seconds back", () => seek(state.time_s - 5)],
      ["ArrowRight", "→", "5 seconds forward", () => seek(state.time_s + 5)],
      ["ArrowUp", "↑", "previous phase", () => segment(-1)],
      ["ArrowDown", "↓", "next phase", () => segment(1)],
      ["f", "F", "full screen", fullScreen],
    ],
  ],
  [
    "Moments",
    [
      ["/", "/", "to the field", () => ($("#text").focus(), $("#text").select())],
      ["m", "M", "find more like this moment or range", () => state.current && findLike(here())],
      ["n", "N", "next moment found", () => go(1)],
      ["p", "P", "previous moment found", () => go(-1)],
      ["g", "G", "good: more like the open one", () => judge(state.hit, "good")],
      ["b", "B", "bad: less like the open one", () => judge(state.hit, "bad")],
    ],
  ],
  [
    "Timeline",
    [
      ["+", "+", "zoom in", () => zoom(2)],
      ["-", "−", "zoom out", () => zoom(1 / 2)],
      ["0", "0", "whole recording", fit],
    ],
  ],
  [
    "Page",
    [
      ["c", "C", "copy a link to this moment", copyLink],
      ["?", "?", "this list", help],
    ],
  ],
  [
    "Range and labels",
    [
      ["i", "I", "mark in", markIn],
      ["o", "O", "mark out", markOut],
      ["r", "R", "repeat the range, or no longer", loopRange],
      ["s", "S", "save the range as a clip", saveMarked],
      ["1…9", "1–9", "set the phase on the range, or on the model's segment", null],
      ["Enter", "Enter", "accept the model's phase, go on to the next", accept],
      ["t", "T", "tag the range", () => $("#tag").focus()],
      ["Delete", "Delete", "remove the label that is marked, or yours at the playhead", removeLabel],
      ["Escape", "Escape", "clear the range", unmark],
      ["Control+z", "Ctrl Z", "undo your last change", undo],
    ],
  ],
];
const ACTIONS = new Map(KEYS.flatMap(([, keys]) => keys.map(([key, , , act]) => [key, act])));
// Keys that go on while they are held; a held key must not set ten labels.
const HELD = new Set(["ArrowLeft", "ArrowRight", "ArrowUp", "ArrowDown", ",", ".", "n", "p", "+", "=", "-"]);
const STORE = "surgvl.keys";
const areOn = () => localStorage.getItem(STORE) !== "off";

export function help() {
  const list = ([title, keys]) =>
    make(
      "section",
      {},
      make("h3", {}, title),
      make(
        "dl",
        {},
        keys.map(([, shown, text]) => make("div", {}, make("dt", {}, make("kbd", {}, shown)), make("dd", {}, text))),
      ),
    );
  const box = make("input", {
    type: "checkbox",
    checked: areOn(),
    onchange: (event) => localStorage.setItem(STORE, event.target.checked ? "on" : "off"),
  });
  dialog(
    "Keys",
    { kind: "keys" },
    make("div.key-lists", {}, KEYS.map(list)),
    make(
      "p.soft",
      {},
      "On the timeline: a click seeks, a drag marks a range, a double click marks a segment; Ctrl and the wheel, or two fingers, zoom.",
    ),
    make("label.check", {}, box, "Keyboard shortcuts are on (switch them off for dictation software)"),
  );
}

/** Whether a key belongs to the element that has the focus. */
function isTaken(event) {
  const { target, key } = event;
  if (target.closest("input:not([type=radio]):not([type=checkbox]), textarea, select, [contenteditable]")) return true;
  if (document.querySelector("dialog[open]")) return true;
  if (target.closest("button, a, summary, input") && [" ", "Enter"].includes(key)) return true;
  return target.matches("[type=radio]") && key.startsWith("Arrow");
}

export function mountKeys() {
  document.addEventListener("keydown", (event) => {
    if (state.page !== "watch" || !state.archive || event.defaultPrevented) return;
    if (event.target.id === "text" && event.key === "Escape") event.target.blur();
    if (isTaken(event) || event.altKey || !areOn()) return;
    const key = event.key.length === 1 ? event.key.toLowerCase() : event.key;
    const isUndo = (event.ctrlKey || event.metaKey) && key === "z" && !event.shiftKey;
    if ((event.ctrlKey || event.metaKey) && !isUndo) return;
    const act = isUndo ? undo : key === "=" ? ACTIONS.get("+") : ACTIONS.get(key);
    const number = /^[1-9]$/.test(key) ? Number(key) : 0;
    if (!act && !number) return;
    event.preventDefault();
    if (event.repeat && !HELD.has(key)) return;
    if (number) setPhase(number);
    else act();
  });
  $("#help").addEventListener("click", help);
}
