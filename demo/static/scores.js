// Evaluation: the tables of the runs found beside the archive, each score with its interval, control and blind baseline.

import { address, request } from "./api.js";
import { $, fill, make } from "./dom.js";
import { on, state } from "./state.js";
import { attempt } from "./voice.js";
import { plural } from "./words.js";

let runs = null;

function plot(marks) {
  return make(
    "div.plot",
    { "aria-hidden": "true" },
    marks.map((mark) =>
      make(`i.${mark.kind}`, {
        style: {
          left: `${mark.left.toFixed(1)}%`,
          ...(mark.width === null ? {} : { width: `${mark.width.toFixed(1)}%` }),
        },
      }),
    ),
  );
}

function table(rows, title) {
  const line = (row) =>
    make(
      "tr",
      { title: row.warning || null },
      make("th", { scope: "row" }, row.name, row.warning && " (!)"),
      make("td", {}, row.plot?.length > 0 && plot(row.plot)),
      make("td", {}, make("b", {}, row.value), row.interval && make("small", {}, row.interval)),
      make("td", {}, row.control),
      make("td", {}, row.blind),
    );
  return make(
    "div.scrolls",
    { role: "region", tabindex: 0, "aria-label": `Scores of ${title}` },
    make(
      "table",
      {},
      make(
        "thead",
        {},
        make(
          "tr",
          {},
          ["metric", "0 to 1", "model", "control", "blind"].map((text) => make("th", { scope: "col" }, text)),
        ),
      ),
      make("tbody", {}, rows.map(line)),
    ),
  );
}

function task(found, name) {
  return [
    make(
      "h3",
      {},
      found.title,
      make(
        "small",
        {},
        `${plural(found.num_videos, "video")}, ${plural(found.num_clips, "clip")}, encoder ${found.encoder}`,
      ),
    ),
    table(found.main, `${found.title}, run ${name}`),
    found.more.length > 0 &&
      make(
        "details",
        {},
        make("summary", {}, plural(found.more.length, "more metric")),
        table(found.more, `${found.title}, run ${name}, further metrics`),
      ),
  ];
}

const run = (found) =>
  make(
    "section.card.scores",
    {},
    make("h2", {}, found.name),
    found.tasks.map((each) => task(each, found.name)),
  );

async function draw() {
  if (state.page !== "scores" || !state.archive) return;
  if (!runs) runs = (await attempt(() => request(address(["runs"])))) ?? null;
  const key = make(
    "p.key",
    {},
    make("span.k-model", {}, "model, with 95 % interval over videos"),
    make("span.k-control", {}, "control: same training, random frozen encoder"),
    make("span.k-blind", {}, "blind: best baseline without the video"),
  );
  fill(
    $("#scores"),
    make(
      "div.sheet-head",
      {},
      make("h1", {}, "Scores"),
      make("p.soft", {}, "Of the runs found beside this archive, on held-out videos."),
    ),
    runs?.length
      ? [key, runs.map(run)]
      : make(
          "p.hint",
          {},
          runs
            ? "No run with scores lies beside this archive: surgvl eval makes one."
            : "The scores could not be read.",
        ),
  );
}

export function mountScores() {
  on("page archive", draw);
}
