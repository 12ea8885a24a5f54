// Adding recordings: files from this computer, or a path on the machine that serves the page.

import { address, request, upload } from "./api.js";
import { $, fill, icon, make } from "./dom.js";
import { readJobs } from "./jobs.js";
import { dialog } from "./sheet.js";
import { state } from "./state.js";
import { attempt, note } from "./voice.js";
import { bytes, plural } from "./words.js";

const SUFFIXES = ".mp4,.mov,.avi,.mkv,.m4v,.mpg,.mpeg,.ts,.webm,.wmv,video/*";

/** Files that are too large are named before anything is sent. */
function tooLarge(files) {
  const limit = 1e6 * (state.archive.limits?.upload_mb ?? Infinity);
  return files.filter((file) => file.size > limit);
}

async function send(files, shown, close) {
  const large = tooLarge(files);
  if (large.length) {
    fill(
      shown,
      make(
        "p.doubt.error",
        { role: "alert" },
        `${large[0].name} is ${bytes(large[0].size)}, and the limit is ${state.archive.limits.upload_mb} MB: ${state.archive.can.paths ? "give its path below, or use" : "add it on the machine of this page with"} surgvl archive add`,
      ),
    );
    return;
  }
  const stop = new AbortController();
  const bar = make("progress", { max: 1, value: 0, "aria-label": "Upload" });
  const line = make("p", {}, `Sending ${files.length === 1 ? files[0].name : plural(files.length, "file")}`);
  fill(shown, line, bar, make("button.plain", { type: "button", onclick: () => stop.abort() }, "Cancel"));
  const form = new FormData();
  for (const file of files) form.append("files", file);
  const progress = (done, total) => {
    bar.value = done / total;
    line.textContent = `Sending ${bytes(done)} of ${bytes(total)}`;
  };
  try {
    await upload(address(["recordings"]), form, progress, stop.signal);
    close();
    note(`${plural(files.length, "recording")} received: reading begins`);
    await readJobs();
  } catch (error) {
    const text = error.name === "AbortError" ? "Cancelled: nothing was added" : error.message;
    fill(shown, make("p.doubt.error", { role: "alert" }, text));
  }
}

/** Accept files that are dropped on an element. */
export function takesFiles(element, take) {
  const over = (isOver) => element.classList.toggle("dropping", isOver);
  element.addEventListener("dragover", (event) => {
    if (![...event.dataTransfer.types].includes("Files")) return;
    event.preventDefault();
    over(true);
  });
  element.addEventListener("dragleave", (event) => element.contains(event.relatedTarget) || over(false));
  element.addEventListener("drop", (event) => {
    event.preventDefault();
    over(false);
    if (event.dataTransfer.files.length) take([...event.dataTransfer.files]);
  });
}

/** The place where files are dropped or chosen, and paths are written. */
export function addForm(close) {
  const { limits, can } = state.archive;
  const shown = make("div.sending", { "aria-live": "polite" });
  const take = (files) => send(files, shown, close);
  const input = make("input.unseen", {
    type: "file",
    multiple: true,
    accept: SUFFIXES,
    "aria-label": "Choose recordings",
    onchange: (event) => event.target.files.length && take([...event.target.files]),
  });
  const zone = make(
    "label.drop",
    {},
    input,
    icon("add"),
    make("b", {}, "Drop recordings here, or choose files"),
    limits &&
      make(
        "span.soft",
        {},
        `Up to ${limits.upload_mb} MB and ${limits.upload_minutes} minutes each; they stay on the machine that serves this page${state.archive.temporary ? " and are deleted when it stops" : ""}.`,
      ),
  );
  takesFiles(zone, take);
  const path = make("input", {
    type: "text",
    placeholder: "/data/recordings/2024",
    "aria-label": "File or folder on this machine",
    required: true,
  });
  const addPath = async (event) => {
    event.preventDefault();
    await attempt(async () => {
      await request(address(["recordings"]), { method: "POST", body: { paths: [path.value.trim()] } });
      close();
      note("Reading begins; what has been read can be searched at once");
      await readJobs();
    });
  };
  return [
    zone,
    shown,
    can.paths &&
      make(
        "form.path",
        { onsubmit: addPath },
        make("label", {}, make("span", {}, "Or a file or folder on this machine: nothing is copied"), path),
        make("button.outlined", { type: "submit" }, "Add"),
      ),
  ];
}

export function openAdd(files = []) {
  const element = dialog("Add recordings", {}, ...addForm(() => element.close()).filter(Boolean));
  if (files.length) send(files, $(".sending", element), () => element.close());
}

export function mountUpload() {
  $("#add").addEventListener("click", () => openAdd());
  takesFiles(
    document.body,
    (files) => state.archive?.can.edit && !document.querySelector("dialog[open]") && openAdd(files),
  );
}
