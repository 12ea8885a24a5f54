// Marking a range, and labels on it: phases by number keys, tags, the model's own segments, undo.

import { address, newest, request } from "./api.js";
import { $, fill, iconButton, make } from "./dom.js";
import { seek } from "./player.js";
import { duration, frame_s, on, phaseAt, set, state } from "./state.js";
import { attempt, note, say } from "./voice.js";
import { className, clock, phaseName, span } from "./words.js";

const signal = newest();

const whole = () => state.range ?? null;

export function markIn() {
  const at = state.time_s;
  if (state.range && at < state.range.end_s) set({ range: { start_s: at, end_s: state.range.end_s } });
  else set({ range: null, marked_s: at, chosen: null });
  say(`In at ${clock(at, true)}`);
}

export function markOut() {
  const at = state.time_s;
  const from = state.marked_s ?? state.range?.start_s ?? Math.max(0, at - 5);
  if (at === from) return;
  set({ range: { start_s: Math.min(from, at), end_s: Math.max(from, at) }, marked_s: null });
  say(`Marked ${span(state.range.start_s, state.range.end_s, true)}`);
}

export function unmark() {
  set({ range: null, marked_s: null, chosen: null });
}

/** Mark what a box of the timeline covers. */
export function markBox(box) {
  const range = { start_s: box.start_s, end_s: Math.min(box.end_s, duration()) };
  set({ range, marked_s: null, chosen: box.act?.label ?? null });
}

/** Read the labels of the recording on the stage again; what was asked for before may be late, and is given up. */
export const readLabels = (id) =>
  attempt(async () => {
    const labels = await request(address(["recordings", id, "labels"]), { signal: signal() });
    if (state.current === id && state.timeline) set({ timeline: { ...state.timeline, labels } });
  });

/** Set a label on the marked range, or on a span that is given. */
async function label(track, name, { start_s, end_s }) {
  const id = state.current;
  await attempt(async () => {
    await request(address(["recordings", id, "labels"]), { method: "POST", body: { track, name, start_s, end_s } });
    await readLabels(id);
    note(`${className(track, name)} set on ${span(start_s, end_s)}`, { action: { text: "Undo", call: undo } });
  });
}

/** Set the phase with this number on the marked range, or on the model's segment at the playhead. */
export async function setPhase(number) {
  const name = state.timeline?.classes[number - 1];
  const where = whole() ?? phaseAt(state.time_s);
  if (!name || !where) return;
  await label("phase", name, where);
  unmark();
}

/** Accept the model's phase at the playhead, and go on to its next one. */
export async function accept() {
  const phase = phaseAt(state.time_s);
  if (!phase) return;
  await label("phase", phase.name, phase);
  if (!state.isPlaying) seek(phase.end_s + frame_s());
}

export async function setTag(name) {
  const where = whole();
  if (!where) return note("Mark a range first: drag on the timeline, or press I and O");
  return label("tag", name, where);
}

/** After the edges of a range were dragged: one's own label that it stands for goes with them. */
export async function changeLabel() {
  if (!state.chosen || !state.range) return;
  const { id, track, name } = state.chosen;
  const recordingId = state.current;
  const { start_s, end_s } = state.range;
  await attempt(async () => {
    await request(address(["labels", id]), { method: "DELETE" });
    const chosen = await request(address(["recordings", recordingId, "labels"]), {
      method: "POST",
      body: { track, name, start_s, end_s },
    });
    set({ chosen });
    await readLabels(recordingId);
  });
}

/** One's own label at the playhead, the latest of several, or undefined. */
const ownAt = (time_s) =>
  state.timeline?.labels.findLast((each) => each.is_mine && each.start_s <= time_s && time_s < each.end_s);

/** Remove the label that the range stands for, or else one's own at the playhead. */
export async function removeLabel() {
  const label = state.chosen ?? ownAt(state.time_s);
  if (!label) return;
  await attempt(async () => {
    await request(address(["labels", label.id]), { method: "DELETE" });
    await readLabels(state.current);
    unmark();
    note("The label is removed", { action: { text: "Undo", call: undo } });
  });
}

export async function undo() {
  await attempt(async () => {
    const { said } = await request(address(["undo"]), { method: "POST" });
    if (state.current) await readLabels(state.current);
    note(said ? `Undone: ${said}` : "There is nothing of yours to undo");
  });
}

/** The row below the timeline: the marked range, the phases with their keys, tags. */
export function mountPalette() {
  const read = make("p.range-read");
  $("#transport .timecode").after(read);
  const phases = make("div.phases", { role: "group", "aria-label": "Set the phase" });
  const tag = make("input", {
    id: "tag",
    type: "text",
    placeholder: "Tag",
    maxlength: 60,
    "aria-label": "Tag of the marked range",
    "aria-keyshortcuts": "T",
  });
  const form = make(
    "form.tag",
    {
      hidden: true,
      onsubmit: (event) => {
        event.preventDefault();
        if (tag.value.trim()) setTag(tag.value.trim());
        tag.value = "";
        tag.blur();
      },
    },
    tag,
  );
  const remove = iconButton("trash", "Remove this label", removeLabel, { key: "Delete" });
  remove.hidden = true;
  const clear = iconButton("close", "Clear the marked range", unmark, { key: "Escape" });
  $("#palette").append(phases, form, remove, clear);
  on("timeline archive", () => {
    // While a timeline is read, the phases of the archive stand for its own.
    const known = state.timeline?.classes ?? state.archive?.strip_classes ?? [];
    const classes = state.archive?.can.edit ? known : [];
    form.hidden = !state.archive?.can.edit;
    fill(
      phases,
      classes.map((name, place) => {
        const key = place < 9 ? String(place + 1) : "";
        return make(
          `button.phase.c${place % 7}`,
          {
            type: "button",
            "aria-keyshortcuts": key || null,
            title: `Set ${phaseName(name)} on the marked range, or on the model's segment at the playhead`,
            onclick: () => setPhase(place + 1),
          },
          make("i", { "aria-hidden": "true" }, key),
          phaseName(name),
        );
      }),
    );
  });
  on("range marked_s chosen timeline current", () => {
    const range = state.range;
    read.classList.toggle("soft", !range);
    fill(
      read,
      range
        ? [
            make("span", {}, span(range.start_s, range.end_s, true)),
            make("span", {}, " · "),
            make("span", {}, `${(range.end_s - range.start_s).toFixed(1)} s`),
          ]
        : state.marked_s === null
          ? "Drag, or I and O, to mark"
          : `In at ${clock(state.marked_s, true)}`,
    );
    read.title = read.textContent;
    clear.disabled = !range && state.marked_s === null;
    remove.hidden = !state.chosen;
  });
}
