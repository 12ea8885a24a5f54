// The library: all recordings as cards, with case details, the state of their embedding, and what is stored.

import { address, request } from "./api.js";
import { $, fill, icon, iconButton, keyed, make } from "./dom.js";
import { editDetails } from "./details.js";
import { open } from "./open.js";
import { openWork, readJobs } from "./jobs.js";
import { picture, progressBar, stateWords, strip } from "./recordings.js";
import { chooseModel } from "./reindex.js";
import { confirm } from "./sheet.js";
import { on, state } from "./state.js";
import { openAdd } from "./upload.js";
import { attempt, note } from "./voice.js";
import { bytes, clock, hours, plural } from "./words.js";

/** A warning that all recordings with vectors share, which then stands once above them. */
function sharedWarning() {
  const lines = new Set(state.recordings.filter((row) => row.state === "embedded").map((row) => row.is_foreign));
  return lines.size === 1 && state.recordings.length > 1 ? [...lines][0] : "";
}

const STORED = { recordings: "recordings", vectors: "vectors", index: "search index", thumbnails: "pictures" };

async function remove(row) {
  const isSure = await confirm(
    "Remove a recording",
    `${row.title} leaves the archive, with its labels and saved clips. The file itself stays where it is.`,
    "Remove",
  );
  if (!isSure) return;
  await attempt(async () => {
    await request(address(["recordings", row.id]), { method: "DELETE" });
    await readJobs();
    note(`${row.title} is being removed`);
  });
}

function card(row) {
  const { details } = row;
  const facts = [
    ["Procedure", details.procedure],
    ["Date", details.date],
    ["Surgeon", details.surgeon],
    ["Tags", details.tags.join(", ")],
    ["Notes", details.notes],
  ].filter(([, value]) => value);
  const said = stateWords(row);
  const size = [
    row.duration_s ? clock(row.duration_s) : "",
    row.width ? `${row.width}\u00a0×\u00a0${row.height}` : "",
    row.fps ? `${Math.round(100 * row.fps) / 100}\u00a0fps` : "",
    row.size ? bytes(row.size) : "",
  ]
    .filter(Boolean)
    .join(" · ");
  return make(
    `li.card.${row.state}`,
    {},
    make(
      "button.opener",
      { type: "button", "aria-label": `Watch ${row.title}`, onclick: () => open(row.id) },
      picture(row, 240),
      strip(row),
    ),
    make(
      "div.card-text",
      {},
      make("h2", { title: row.title }, row.title),
      make("p.soft", {}, size),
      said && make("p.said", {}, said),
      progressBar(row),
      row.warning && make("p.foreign", {}, row.warning),
      facts.length > 0 &&
        make(
          "dl",
          {},
          facts.map(([name, value]) => make("div", {}, make("dt", {}, name), make("dd", {}, value))),
        ),
    ),
    state.archive.can.edit &&
      make(
        "div.acts",
        {},
        iconButton("pencil", `Case details of ${row.title}`, () => editDetails(row.id), {
          text: "Details",
          tag: "button.plain",
        }),
        iconButton("trash", `Remove ${row.title}`, () => remove(row)),
      ),
  );
}

/** A button that reads what waits, unless something is being done. */
function readButton(recordings) {
  const waiting = recordings.filter((row) => row.state === "waiting" || row.state === "coarse").length;
  const isBusy = state.jobs.some((job) => ["waiting", "running"].includes(job.state));
  if (!waiting || isBusy || !state.archive.can.edit) return null;
  const begin = () =>
    attempt(async () => {
      await request(address(["jobs"]), { method: "POST", body: { kind: "update" } });
      await readJobs();
    });
  return make("button.outlined", { type: "button", onclick: begin }, `Read what is waiting (${waiting})`);
}

const cards = keyed(card);

function draw() {
  if (!state.archive || state.page !== "library") return;
  const { archive, recordings } = state;
  const embedded = recordings.filter((row) => row.state === "embedded").length;
  const stored = Object.entries(STORED).filter(([name]) => archive.storage?.[name] !== undefined);
  const shared = sharedWarning();
  const rows = recordings.map((row) => ({ ...row, warning: row.is_foreign === shared ? "" : row.is_foreign }));
  const length_s = recordings.reduce((sum, row) => sum + row.duration_s, 0);
  fill(
    $("#library"),
    make(
      "div.sheet-head",
      {},
      make("h1", {}, archive.name || "Library"),
      make(
        "p.soft",
        {},
        `${plural(recordings.length, "recording")}, ${hours(length_s / 3600)}; ${embedded === recordings.length ? "all can be searched" : `${embedded} read completely`}.${archive.temporary ? " This archive is temporary: it is deleted when surgvl stops." : ""}`,
      ),
      // A small screen has no room for it at the top.
      state.jobs.length > 0 &&
        make("button.outlined", { type: "button", "aria-haspopup": "dialog", onclick: openWork }, "Work"),
      readButton(recordings),
      archive.can.reindex &&
        recordings.length > 0 &&
        make("button.outlined", { type: "button", onclick: chooseModel }, "Another model"),
      archive.can.edit && make("button.primary", { type: "button", onclick: () => openAdd() }, "Add recordings"),
    ),
    stored.length > 0 &&
      make(
        "dl.tiles",
        {},
        stored.map(([name, title]) =>
          make("div", {}, make("dt", {}, title), make("dd", {}, bytes(archive.storage[name]))),
        ),
      ),
    shared && make("p.doubt", {}, icon("warning"), make("span", {}, shared)),
    recordings.length ? make("ul.cards", {}, cards(rows)) : make("p.hint", {}, "Nothing here yet."),
  );
}

export function mountLibrary() {
  on("recordings archive page jobs", draw);
}
