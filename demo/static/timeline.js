// The timeline: the whole recording with a window, and below it the lanes of that window.

import { boxesInto, curveInto } from "./boxes.js";
import { $, fill, icon, iconButton, make, oncePerFrame } from "./dom.js";
import { dragLanes, dragOverview } from "./drag.js";
import { lanes, modelPhases } from "./lanes.js";
import { choices, load } from "./reading.js";
import { menu } from "./sheet.js";
import { duration, on, recording, set, state } from "./state.js";
import { clock } from "./words.js";

const MIN_VIEW_S = 2;
const TICKS_S = [0.1, 0.2, 0.5, 1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600];
const elements = {};

/** Show a part of the recording; never less than MIN_VIEW_S, never beyond its ends. */
export function show(start_s, end_s) {
  const whole = duration();
  const length = Math.min(whole, Math.max(Math.min(MIN_VIEW_S, whole), end_s - start_s));
  const from = Math.min(Math.max(0, start_s), whole - length);
  set({ view: { start_s: from, end_s: from + length } });
}

/** Zoom by a factor about a time. */
export function zoom(factor, about_s = state.time_s) {
  const { start_s, end_s } = state.view;
  const middle = about_s >= start_s && about_s <= end_s ? about_s : (start_s + end_s) / 2;
  show(middle - (middle - start_s) / factor, middle + (end_s - middle) / factor);
}

export const fit = () => show(0, duration());

function laneElement(lane) {
  const name = make("span.name", { title: lane.name }, lane.name);
  const track = make("div.track", { role: "img" });
  return make(`div.lane.${lane.kind}`, { data: { lane: lane.key } }, name, track);
}

function drawLanes() {
  const wanted = lanes();
  const rows = new Map([...elements.rows.children].map((row) => [row.dataset.lane, row]));
  fill(
    elements.rows,
    wanted.map((lane) => rows.get(lane.key) ?? laneElement(lane)),
  );
  const width = elements.over.clientWidth;
  wanted.forEach((lane, place) => {
    const track = elements.rows.children[place].lastChild;
    track.setAttribute("aria-label", lane.spoken);
    boxesInto(track, lane.boxes, state.view, width);
    if (lane.kind === "moments") curveInto(track, lane.curve, state.view, width);
  });
}

function drawAxis() {
  const { start_s, end_s } = state.view;
  const step_s =
    TICKS_S.find((each) => (end_s - start_s) / each <= Math.max(3, elements.over.clientWidth / 90)) ?? 3600;
  const ticks = [];
  if (!duration()) return fill(elements.axis);
  for (let at = Math.ceil(start_s / step_s) * step_s; at <= end_s + 1e-9; at += step_s) {
    const share = (at - start_s) / (end_s - start_s);
    const edge = share < 0.02 ? "first" : share > 0.96 ? "last" : "";
    ticks.push(make("time", { class: edge || null, style: { left: `${100 * share}%` } }, clock(at, step_s < 1)));
  }
  return fill(elements.axis, ticks);
}

function drawOverview() {
  const whole = { start_s: 0, end_s: duration() || 1 };
  boxesInto(
    elements.overview,
    state.timeline ? modelPhases().boxes.map((box) => ({ ...box, label: "" })) : [],
    whole,
    elements.overview.clientWidth,
  );
  elements.window.style.left = `${(100 * state.view.start_s) / whole.end_s}%`;
  elements.window.style.width = `${(100 * (state.view.end_s - state.view.start_s)) / whole.end_s}%`;
  elements.window.classList.toggle("whole", state.view.end_s - state.view.start_s > 0.995 * whole.end_s);
}

/** The playhead and the marked range. */
function drawMarks() {
  const { start_s, end_s } = state.view;
  const share = (time_s) => `${Math.min(100, Math.max(0, (100 * (time_s - start_s)) / (end_s - start_s)))}%`;
  const isIn = state.time_s >= start_s && state.time_s <= end_s;
  elements.head.hidden = !isIn || !duration();
  elements.head.style.left = share(state.time_s);
  elements.wholeHead.style.left = `${Math.min(100, (100 * state.time_s) / (duration() || 1))}%`;
  elements.overview.setAttribute("aria-valuemax", Math.round(duration()));
  elements.overview.setAttribute("aria-valuenow", Math.round(state.time_s));
  elements.overview.setAttribute("aria-valuetext", clock(state.time_s));
  const range =
    state.range ??
    (state.marked_s === null
      ? null
      : { start_s: Math.min(state.marked_s, state.time_s), end_s: Math.max(state.marked_s, state.time_s) });
  elements.range.hidden = !range || range.end_s < start_s || range.start_s > end_s;
  elements.range.classList.toggle("open", !state.range);
  if (!range) return;
  elements.range.style.left = share(range.start_s);
  elements.range.style.right = `calc(100% - ${share(range.end_s)})`;
  elements.range.classList.toggle("cut-left", range.start_s < start_s);
  elements.range.classList.toggle("cut-right", range.end_s > end_s);
}

/** While zoomed in, the window goes with the playhead. */
function followHead() {
  const { start_s, end_s } = state.view;
  if (state.time_s >= start_s && state.time_s <= end_s) return;
  const length = end_s - start_s;
  const from = state.isPlaying ? state.time_s - 0.1 * length : state.time_s - 0.5 * length;
  show(from, from + length);
}

function drawState() {
  const waits = Boolean(recording()) && !state.timeline && !state.timelineProblem;
  elements.rows.classList.toggle("waiting", waits);
  const remark = state.timelineProblem || state.timeline?.remark || "";
  elements.remark.hidden = !remark;
  elements.remark.textContent = remark;
  elements.remark.classList.toggle("same", remark === recording()?.is_foreign);
}

export function mountTimeline(actions) {
  const part = (name, element) => (elements[name] = element);
  const zooming = [
    iconButton("minus", "Zoom out", () => zoom(1 / 2), { key: "-" }),
    iconButton("add", "Zoom in", () => zoom(2), { key: "+" }),
    iconButton("fit", "Whole recording", fit, { key: "0" }),
    menu(
      icon("settings"),
      () => [make("h3", {}, "The recording is compared with the sentences of"), make("div.fields", {}, choices())],
      { label: "Prompt sets and smoothing" },
    ),
  ];
  $("#timeline").append(
    make(
      "div.lane.overview",
      {},
      make("span.name", {}, "Whole recording"),
      part(
        "overview",
        make(
          "div.track",
          { role: "slider", tabindex: 0, "aria-label": "Position in the recording", "aria-valuemin": 0 },
          part(
            "window",
            make(
              "div.window",
              {},
              make("i.grip", { data: { edge: "start" } }),
              make("i.grip", { data: { edge: "end" } }),
            ),
          ),
          part("wholeHead", make("i.head")),
        ),
      ),
    ),
    make(
      "div.lane.axis",
      {},
      make("div.zoom", { role: "group", "aria-label": "Zoom" }, zooming),
      part("axis", make("div.ticks", { "aria-hidden": "true" })),
    ),
    part(
      "scroller",
      make(
        "div.tl-scroll",
        { tabindex: 0, role: "group", "aria-label": "Lanes" },
        part("remark", make("p.doubt", { role: "status", hidden: true })),
        make(
          "div.tl-lanes",
          {},
          part("rows", make("div.rows")),
          part(
            "over",
            make(
              "div.over",
              {},
              part(
                "range",
                make(
                  "div.range",
                  { hidden: true },
                  make("i.edge", { data: { edge: "start" } }),
                  make("i.edge", { data: { edge: "end" } }),
                ),
              ),
              part("head", make("i.head", { hidden: true })),
            ),
          ),
        ),
      ),
    ),
  );
  const drawAll = oncePerFrame(() => (drawState(), drawOverview(), drawAxis(), drawLanes(), drawMarks()));
  on("timeline timelineProblem view search hit curve clips archive recordings", drawAll);
  on("time_s range marked_s", oncePerFrame(drawMarks));
  on("time_s", followHead);
  on("current", load);
  new ResizeObserver(drawAll).observe($("#timeline"));
  dragLanes(elements, { show, zoom, ...actions });
  dragOverview(elements, { show });
}
