// Saved clips: ranges that a person keeps, of any recording, with a title; each can be taken away as mp4.

import { address, frameOf, newest, request } from "./api.js";
import { $, fill, icon, iconButton, keyed, make } from "./dom.js";
import { undo } from "./marks.js";
import { open } from "./open.js";
import { dialog } from "./sheet.js";
import { canBeCut, on, recording, set, state } from "./state.js";
import { attempt, note } from "./voice.js";
import { clock, plural, span } from "./words.js";

const signal = newest();

/** Read the clips again after a change; what was asked for before it may be late, and is given up. */
export const readClips = () =>
  attempt(async () => set({ clips: await request(address(["clips"]), { signal: signal() }) }));

/** Keep a range of a recording. */
export async function saveClip({ recording: id = state.current, start_s, end_s }) {
  await attempt(async () => {
    const body = { recording: id, start_s, end_s };
    await request(address(["clips"]), { method: "POST", body });
    await readClips();
    note(`Saved ${span(start_s, end_s)} as a clip`, { action: { text: "Undo", call: undo } });
  });
}

/** Save the marked range; without one, say how to mark. */
export function saveMarked() {
  if (!state.range) return note("Mark a range first: drag on the timeline, or press I and O");
  return saveClip({ recording: state.current, ...state.range });
}

async function removeClip(clip) {
  await attempt(async () => {
    await request(address(["clips", clip.id]), { method: "DELETE" });
    await readClips();
    note("The clip is removed", { action: { text: "Undo", call: undo } });
  });
}

/** Give a clip a title, and a note of any length. */
function editClip(clip) {
  const title = make("input", { type: "text", name: "title", value: clip.title, maxlength: 200 });
  const words = make("textarea", { name: "note", rows: 4, maxlength: 2000, value: clip.note });
  const save = (event) => {
    event.preventDefault();
    return attempt(async () => {
      const body = { title: title.value, note: words.value };
      await request(address(["clips", clip.id]), { method: "PATCH", body });
      await readClips();
      sheet.close();
    });
  };
  const sheet = dialog(
    "Saved clip",
    { kind: "slim" },
    make(
      "form.details",
      { onsubmit: save },
      make("label", {}, make("span", {}, "Title"), title),
      make("label", {}, make("span", {}, "Note"), words),
      make(
        "div.dialog-foot",
        {},
        make("button.outlined", { type: "button", onclick: () => sheet.close() }, "Cancel"),
        make("button.primary", { type: "submit" }, "Save"),
      ),
    ),
  );
  words.focus();
}

function element(clip) {
  const { of } = clip;
  const when = span(clip.start_s, clip.end_s);
  const name = clip.title || `${of} ${when}`;
  return make(
    "li.clip",
    {},
    make(
      "button.opener",
      {
        type: "button",
        "aria-label": `Show ${name}`,
        onclick: () => open(clip.recording, clip.start_s, { range: { start_s: clip.start_s, end_s: clip.end_s } }),
      },
      make("img", { src: frameOf(clip.recording, (clip.start_s + clip.end_s) / 2, 96), alt: "", loading: "lazy" }),
      make(
        "span",
        {},
        make("b", { title: name }, clip.title || of),
        make("time", { title: clip.title ? of : null }, when),
        clip.note && make("span.note-text", { title: clip.note }, clip.note),
        !canBeCut(clip) && make("span.note-text", {}, `longer than ${clock(state.archive.limits.cut_s)}: no mp4`),
      ),
    ),
    state.archive?.can.edit && iconButton("pencil", `Title and note of ${name}`, () => editClip(clip)),
    canBeCut(clip) &&
      make(
        "a.icon-button",
        {
          href: `api/clips/${clip.id}.mp4`,
          download: true,
          title: "Save as mp4",
          "aria-label": `Save ${name} as mp4`,
        },
        icon("save"),
      ),
    iconButton("trash", `Remove ${name}`, () => removeClip(clip)),
  );
}

const elements = keyed(element);

export function mountClips() {
  on("clips recordings", () => {
    const total_s = state.clips.reduce((sum, clip) => sum + clip.end_s - clip.start_s, 0);
    const titled = state.clips.map((clip) => ({ ...clip, of: recording(clip.recording)?.title ?? clip.recording }));
    const list = elements(titled);
    fill(
      $("#clips"),
      make(
        "summary",
        {},
        "Saved clips",
        make("span.soft", {}, state.clips.length ? `${state.clips.length} · ${clock(total_s)}` : ""),
      ),
      list.length
        ? make("ul", { "aria-label": plural(list.length, "saved clip") }, list)
        : make("p.soft", {}, "Mark a range and press S to keep it here."),
    );
  });
}
