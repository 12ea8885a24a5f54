// Begins the page: mounts its parts, reads the archive, follows the server's events.

import { keepAddress, read, write } from "./address.js";
import { address, request } from "./api.js";
import { mountAnswers } from "./ask.js";
import { bannerText, mountCard } from "./card.js";
import { mountClips, readClips, saveMarked } from "./clips.js";
import { $, $$, afterPause, fill, make } from "./dom.js";
import { follow } from "./events.js";
import { mountField, search } from "./field.js";
import { hearJobs, mountJobs, readJobs } from "./jobs.js";
import { mountKeys } from "./keys.js";
import { mountLibrary } from "./library.js";
import { changeLabel, markBox, markIn, markOut, mountPalette, readLabels } from "./marks.js";
import { mountPlayer, now, seek } from "./player.js";
import { load } from "./reading.js";
import { mountRecordings, readRecordings } from "./recordings.js";
import { mountResults } from "./results.js";
import { again, followSearch, openHit } from "./search.js";
import { mountScores } from "./scores.js";
import { on, recording, set, state } from "./state.js";
import { mountTakeaway } from "./takeaway.js";
import { mountTimeline } from "./timeline.js";
import { addForm, mountUpload } from "./upload.js";
import { mountUser } from "./user.js";
import { hours, plural } from "./words.js";

const REACH_MS = 3000;
const REFRESH_MS = 300;
const PAGES = ["watch", "library", "scores", "model"];

/** What a click on a box of the timeline does; false if the click seeks. */
function openBox(box) {
  if (!box?.act) return false;
  if (box.act.hit) openHit(box.act.hit);
  else markBox(box);
  return !box.act.label;
}

function mountTransport() {
  const textButton = (text, label, key, onclick) =>
    make(
      "button.small.stepping",
      { type: "button", title: `${label} (${key})`, "aria-label": label, "aria-keyshortcuts": key, onclick },
      text,
    );
  const save = make(
    "button.primary.small.stepping",
    { type: "button", title: "Save the marked range (S)", "aria-keyshortcuts": "S", onclick: saveMarked },
    "Save clip",
  );
  on("archive", () => (save.hidden = !state.archive.can.edit));
  mountPlayer([textButton("[ In", "Mark in", "I", markIn), textButton("Out ]", "Mark out", "O", markOut), save]);
}

/** Which of the views is shown. */
function drawPage() {
  for (const name of PAGES) $(`#${name}`).hidden = state.page !== name;
  for (const link of $$("#views a")) link.toggleAttribute("aria-current", link.dataset.view === state.page);
  for (const link of $$("#views a[aria-current]")) link.setAttribute("aria-current", "page");
  if (state.page !== "watch") window.scrollTo(0, 0);
}

function drawArchive() {
  const { archive } = state;
  $("#banner").lastElementChild.textContent = bannerText(archive.model);
  $("#model-line").textContent = [
    archive.name,
    `${plural(archive.num_recordings, "recording")}, ${hours(archive.hours)}`,
    archive.model.title || archive.model.name,
  ]
    .filter(Boolean)
    .join(" · ");
  $("#model-line").title = $("#model-line").textContent;
  $("#add").hidden = !archive.can.edit;
  drawModels();
}

function drawModels() {
  const { models_state: found, notice } = state.archive;
  $("#status").className = `status ${found}`;
  $("#status").lastElementChild.textContent = {
    loading: "Models are loading",
    ready: "Models are ready",
    failed: notice || "The models could not be loaded",
  }[found];
}

/** The stage where there is no recording to show: some are about to be read, or are asked for. */
function drawEmpty() {
  const isEmpty = Boolean(state.archive) && !state.recordings.length;
  $("#watch").classList.toggle("empty", isEmpty);
  const adding = state.jobs.find((job) => job.kind === "add" && ["waiting", "running"].includes(job.state));
  const kind = adding ? "reading" : "asking";
  // What is written or sent there is not drawn over.
  if (!isEmpty || $(`#stage .welcome.${kind}`)) return;
  if (adding) {
    const name = adding.title.replace(/^Add /, "");
    const words = "Recordings appear here in a moment. They are read one after the other, and can be played meanwhile.";
    fill(
      $("#stage"),
      make(
        "div.welcome.reading",
        {},
        make("h2", {}, `Reading ${name}`),
        make("p", {}, words),
        make("progress", { "aria-label": `Reading ${name}` }),
      ),
    );
    return;
  }
  fill(
    $("#stage"),
    make(
      "div.welcome.asking",
      {},
      make("h2", {}, "This archive is empty"),
      make(
        "p",
        {},
        "Add recordings: they are read one after the other, and what has been read can be searched at once.",
      ),
      state.archive.can.edit ? addForm(() => {}) : null,
    ),
  );
}

/** Show what an address asks for. */
async function restore(asked) {
  const id = recording(asked.current)
    ? asked.current
    : (state.recordings.find((row) => row.state === "embedded") ?? state.recordings[0])?.id;
  set({ page: asked.page, current: id ?? "", time_s: asked.time_s, range: asked.range, marked_s: null, chosen: null });
  seek(asked.time_s);
  if (asked.text !== (state.search?.query.text ?? "")) await search(asked.text);
}

/** Say when the server does not answer, until it does; of several answers, that to the newest question counts. */
function watchReach() {
  let timer = 0;
  let newest = 0;
  const check = async () => {
    const mine = ++newest;
    const isThere = await fetch("alive", { cache: "no-store" })
      .then((answer) => answer.ok)
      .catch(() => false);
    if (mine !== newest) return;
    $("#reach").hidden = isThere;
    $("#reach").textContent = isThere
      ? ""
      : "The server does not answer. What is shown stays; it goes on when the server is back.";
    clearTimeout(timer);
    timer = setTimeout(check, REACH_MS);
  };
  document.addEventListener("surgvl:reach", check);
  for (const name of ["online", "offline"]) window.addEventListener(name, check);
  return check;
}

function followEvents(check) {
  let turn = 0;
  let heard = {};
  const refresh = afterPause(async () => {
    const mine = ++turn;
    heard = {};
    const before = { state: recording()?.state, model: state.archive.model.hash };
    const archive = await request(address(["archive"]));
    // What was asked for or heard of since is newer.
    if (mine !== turn) return;
    set({ archive: { ...archive, ...heard } });
    await readRecordings();
    const isOther = before.model !== state.archive.model.hash;
    // The sentences that a timeline needs may have been embedded since.
    const isDue = !state.timeline && !state.timelineProblem;
    if (!recording()) await restore(read());
    else if (isOther || isDue || before.state !== recording().state) load();
    if (isOther) again();
  }, REFRESH_MS);
  const labels = (changed) => {
    // Without a recording, any may have changed.
    const id = changed?.recording ?? state.current;
    if (id && id === state.current && state.timeline) readLabels(id);
  };
  follow(
    {
      jobs: hearJobs,
      models: (found) => {
        heard = { ...heard, ...found };
        set({ archive: { ...state.archive, ...found } });
      },
      recordings: refresh,
      clips: readClips,
      labels,
    },
    {
      missed: () => (refresh(), readClips(), readJobs(), labels(null)),
      reach: check,
      since: () => state.archive.num_events,
    },
  );
}

function mountViews() {
  for (const link of $$("#views a, .mark")) {
    link.addEventListener("click", (event) => {
      if (event.ctrlKey || event.metaKey || event.shiftKey) return;
      event.preventDefault();
      set({ page: link.dataset.view ?? "watch" });
    });
  }
  $("#theme").addEventListener("click", () => {
    const isDark = document.documentElement.dataset.theme === "dark";
    localStorage.setItem("surgvl.theme", isDark ? "light" : "dark");
    document.dispatchEvent(new Event("surgvl:theme"));
  });
  on("page", drawPage);
  on("archive", drawArchive);
  on("recordings archive jobs", drawEmpty);
}

async function begin() {
  mountViews();
  mountTransport();
  mountTimeline({ openBox, changeLabel, markBox });
  for (const mount of [
    mountPalette,
    mountRecordings,
    mountField,
    mountResults,
    mountAnswers,
    mountClips,
    mountTakeaway,
    mountJobs,
    mountUpload,
    mountLibrary,
    mountScores,
    mountCard,
    mountUser,
    mountKeys,
    followSearch,
  ])
    mount();
  drawPage();
  const check = watchReach();
  // First, as it says how many events there had been: of what changes in the others' answers since, the stream tells.
  const archive = await request(address(["archive"]));
  const [recordings, jobs] = await Promise.all(["recordings", "jobs"].map((part) => request(address([part]))));
  set({ archive, recordings, jobs });
  await restore(read());
  window.history.replaceState(null, "", write());
  keepAddress(restore);
  followEvents(check);
  readClips();
}

begin().catch((error) => {
  $("#status").className = "status failed";
  $("#status").lastElementChild.textContent = error.message;
  throw error;
});

// For the browser's console, and for tests.
window.surgvl = { now, seek, set, state };
