// The list of recordings at the left, and the line above the stage that says what is shown.

import { address, frameOf, request } from "./api.js";
import { $, $$, breakable, fill, icon, keyed, make } from "./dom.js";
import { open } from "./open.js";
import { on, phaseAt, recording, set, state } from "./state.js";
import { clock, confidenceWord, phaseName } from "./words.js";

const PICTURE_S = 0.4; // share of the recording at which its picture is taken
const filter = { text: "", sort: "" };

let reading = null;

/** Read the list again after a change; what was asked for before it may be late, and waits for it. */
export function readRecordings() {
  const mine = request(address(["recordings"])).then((recordings) =>
    mine === reading ? set({ recordings }) : reading,
  );
  reading = mine;
  return mine;
}

/** A strip of the phases as colours, which stands for the recording at a glance. */
export function strip(row) {
  if (!row.strip.length) return null;
  const parts = row.strip.map(([start_s, end_s, kind]) =>
    make(`i.c${kind % 7}`, {
      style: { left: `${(100 * start_s) / row.duration_s}%`, width: `${(100 * (end_s - start_s)) / row.duration_s}%` },
    }),
  );
  return make("span.strip", { "aria-hidden": "true" }, parts);
}

export const picture = (row, height_px) =>
  row.state === "failed" || row.state === "missing"
    ? make("span.no-picture", { "aria-hidden": "true" })
    : make("img", { src: frameOf(row.id, PICTURE_S * row.duration_s, height_px), alt: "", loading: "lazy" });

/** Where a recording stands, in a few words; empty if all is done. */
export function stateWords(row) {
  if (row.state === "failed") return `cannot be read: ${row.problem}`;
  if (row.state === "missing") return "the file is gone";
  const share = row.progress ? ` ${Math.round(100 * row.progress)} %` : "";
  return (
    { waiting: `waiting to be read${share}`, coarse: `reading${share}, can be searched`, embedded: row.problem }[
      row.state
    ] ?? ""
  );
}

export function progressBar(row) {
  if (row.state !== "waiting" && row.state !== "coarse") return null;
  return make("progress", { max: 1, value: row.progress ?? 0, "aria-label": `Reading ${row.title}` });
}

function element(row) {
  const said = stateWords(row);
  const { date, surgeon } = row.details;
  const facts = [date, surgeon, row.num_clips ? `★ ${row.num_clips}` : ""].filter(Boolean).join(" · ");
  return make(
    `li.case.${row.state}`,
    { data: { id: row.id } },
    make(
      "button",
      {
        type: "button",
        title: [row.title, said].filter(Boolean).join("\n"),
        "aria-current": row.id === state.current ? "true" : null,
        onclick: () => (open(row.id), closeCases()),
      },
      make("span.picture", {}, picture(row, 96), row.duration_s > 0 && make("time", {}, clock(row.duration_s))),
      make(
        "span.text",
        {},
        make("b", {}, breakable(row.title)),
        make("span.facts", {}, facts),
        said && make("span.said", {}, said),
        strip(row) ?? progressBar(row),
      ),
    ),
  );
}

const elements = keyed(element);

function shown() {
  const words = filter.text.toLowerCase().split(/\s+/).filter(Boolean);
  const text = (row) =>
    [
      row.title,
      row.id,
      row.details.procedure,
      row.details.date,
      row.details.surgeon,
      row.details.notes,
      ...row.details.tags,
    ]
      .join(" ")
      .toLowerCase();
  const rows = state.recordings.filter((row) => words.every((word) => text(row).includes(word)));
  const by = {
    date: (one, other) => other.details.date.localeCompare(one.details.date),
    title: (one, other) => one.title.localeCompare(other.title, undefined, { numeric: true }),
    long: (one, other) => other.duration_s - one.duration_s,
  }[filter.sort];
  return by ? rows.sort(by) : rows;
}

function draw() {
  if (!state.archive) return;
  const rows = shown();
  $("#cases-list").removeAttribute("aria-busy");
  $("#cases-count").textContent =
    rows.length === state.recordings.length ? String(rows.length) : `${rows.length} of ${state.recordings.length}`;
  const empty = state.recordings.length ? "No recording with these words" : "No recordings yet";
  fill($("#cases-list"), rows.length ? elements(rows) : make("li.soft.none", {}, state.archive ? empty : ""));
}

function closeCases() {
  $("#cases").classList.remove("open");
  $("#open-cases").setAttribute("aria-expanded", "false");
}

/** The line above the stage. */
function drawTitle() {
  const row = recording();
  $("#title").textContent = row?.title ?? (state.archive ? "No recording" : " ");
  $("#title").title = row?.title ?? "";
  const { procedure = "", date = "", surgeon = "" } = row?.details ?? {};
  $("#facts").textContent = [procedure, date, surgeon].filter(Boolean).join(" · ");
  $("#foreign").hidden = !row?.is_foreign;
  $("#foreign").title = row?.is_foreign ?? "";
  fill($("#foreign"), icon("warning"), make("span", {}, row?.is_foreign ?? ""));
  document.title = row ? `${row.title} · surgvl` : "surgvl";
}

/** What the model says of the moment in the player. */
function drawSays() {
  const phase = phaseAt(state.time_s);
  // It keeps its place while a timeline is read.
  $("#says").style.visibility = phase ? "visible" : "hidden";
  if (!phase) return;
  const word = confidenceWord(phase.confidence);
  const text = `${phase.name} ${word}`;
  if ($("#says").dataset.text === text) return;
  $("#says").dataset.text = text;
  fill($("#says"), "Model: ", make("b", {}, phaseName(phase.name)), ` · ${word}`);
}

export function mountRecordings() {
  $("#cases-filter").addEventListener("input", (event) => ((filter.text = event.target.value), draw()));
  $("#cases-sort").addEventListener("change", (event) => ((filter.sort = event.target.value), draw()));
  $("#open-cases").addEventListener("click", () => {
    const isOpen = $("#cases").classList.toggle("open");
    $("#open-cases").setAttribute("aria-expanded", String(isOpen));
    if (isOpen) $("#cases-filter").focus();
  });
  $("#close-cases").addEventListener("click", () => (closeCases(), $("#open-cases").focus()));
  $("#cases").addEventListener(
    "keydown",
    (event) => {
      if (event.key !== "Escape" || !$("#cases").classList.contains("open")) return;
      closeCases();
      $("#open-cases").focus();
      event.stopPropagation();
    },
  );
  on("recordings archive", draw);
  on("current recordings", () => {
    for (const item of $$("#cases-list > [data-id]")) {
      if (item.dataset.id === state.current) item.firstChild.setAttribute("aria-current", "true");
      else item.firstChild.removeAttribute("aria-current");
    }
  });
  on("current", () => $("#cases-list [aria-current]")?.scrollIntoView({ block: "nearest" }));
  on("current recordings archive", drawTitle);
  on("time_s timeline", drawSays);
}
