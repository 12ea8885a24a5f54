// Long work: its progress in the header, and the queue with cancel and resume.

import { address, newest, request } from "./api.js";
import { $, fill, make } from "./dom.js";
import { dialog } from "./sheet.js";
import { on, set, state } from "./state.js";
import { attempt } from "./voice.js";
import { clock, remaining } from "./words.js";

const UNFINISHED = new Set(["waiting", "running"]);
const STORE = "surgvl.failures";

const signal = newest();

/** Read the queue; what was asked for before it may be late, and is given up. */
export const readJobs = () =>
  attempt(async () => set({ jobs: await request(address(["jobs"]), { signal: signal() }) }));

/** Take the queue from the server's report of a change, instead of what was asked for before it. */
export function hearJobs(jobs) {
  signal();
  set({ jobs });
}

const share = (job) => (job.total ? Math.min(1, job.done / job.total) : 0);
const amount = (job) =>
  job.unit === "s" ? `${clock(job.done)} of ${clock(job.total)} of video` : `${job.done} of ${job.total}`;

function words(job) {
  if (job.state === "running")
    return [job.total ? amount(job) : "beginning", job.remaining_s ? remaining(job.remaining_s) : ""]
      .filter(Boolean)
      .join(" · ");
  return {
    waiting: "waiting for its turn",
    // Files may have been set aside.
    done: job.problem || "done",
    cancelled: "cancelled",
    failed: job.problem,
  }[job.state];
}

async function act(job, what) {
  await attempt(async () => {
    await request(address(["jobs", job.id, what]), { method: "POST" });
    await readJobs();
  });
}

function element(job) {
  const button = UNFINISHED.has(job.state)
    ? ["cancel", "Cancel"]
    : ["cancelled", "failed"].includes(job.state)
      ? ["resume", job.state === "failed" ? "Try again" : "Resume"]
      : null;
  return make(
    `li.job.${job.state}`,
    {},
    make(
      "div",
      {},
      make("b", {}, job.title),
      make("span.soft", {}, words(job)),
      job.state === "running" &&
        make("progress", { max: 1, value: job.total ? share(job) : null, "aria-label": job.title }),
    ),
    button &&
      make(
        "button.outlined",
        {
          type: "button",
          "aria-label": `${button[1]}: ${job.title}`,
          data: { job: job.id, act: button[0] },
          onclick: () => act(job, button[0]),
        },
        button[1],
      ),
  );
}

// Failures, and files set aside, that the queue has shown in this browser; one that fails again is another one.
const failures = () => state.jobs.filter((job) => job.state === "failed" || (job.state === "done" && job.problem));
const keyOf = (job) => `${job.id} ${job.ended_s}`;
const seen = () => new Set(JSON.parse(localStorage.getItem(STORE) ?? "[]"));

function drawPill() {
  const busy = state.jobs.filter((job) => UNFINISHED.has(job.state));
  const running = busy.find((job) => job.state === "running") ?? busy[0];
  const known = seen();
  const fresh = failures().filter((job) => !known.has(keyOf(job)));
  const failed = fresh.filter((job) => job.state === "failed").length;
  $("#work").hidden = !state.jobs.length;
  $("#work").classList.toggle("failed", !running && fresh.length > 0);
  $("#work").textContent = running
    ? `${running.title} · ${Math.round(100 * share(running))} %`
    : fresh.length
      ? failed
        ? `${failed} failed`
        : "Files set aside"
      : failures().length
        ? "Work"
        : "All done";
  $("#work").title = running ? words(running) : "";
  $("#work").style.setProperty("--share", running ? share(running) : 1);
}

let list = null;

function drawList() {
  if (!list?.isConnected) return;
  localStorage.setItem(STORE, JSON.stringify(failures().map(keyOf)));
  const focused = document.activeElement?.dataset?.job;
  const jobs = [...state.jobs].sort(
    (one, other) => UNFINISHED.has(other.state) - UNFINISHED.has(one.state) || other.id - one.id,
  );
  fill(list, jobs.length ? jobs.map(element) : make("li.soft", {}, "Nothing to do"));
  if (focused) $(`[data-job="${focused}"]`, list)?.focus();
}

/** Show the queue. */
export function openWork() {
  list = make("ul.jobs");
  dialog("Work", {}, list);
  drawList();
  drawPill();
}

export function mountJobs() {
  $("#work").addEventListener("click", openWork);
  on("jobs", () => {
    drawList();
    drawPill();
  });
  // Another window has shown them.
  window.addEventListener("storage", (event) => event.key === STORE && drawPill());
}
