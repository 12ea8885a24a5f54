// The lanes of the timeline, from top to bottom: what each shows, as boxes in time. No elements here.

import { colourOf, state } from "./state.js";
import { actionName, className, confidenceWord, phaseName, plural, span, UNSURE } from "./words.js";

const NUM_INSTRUMENTS = 6;

/**
 * A box: {start_s, end_s, label, title, kind (classes), share (height of a bar, 0 to 1), act ({hit, clip, label})}.
 * A lane: {key, name, spoken, kind, boxes, curve}.
 */
export function lanes() {
  if (!state.timeline) return [];
  return [modelPhases(), ...people(), ...found(), ...instruments(), ...tracks(), savedClips()];
}

/** What a screen reader says of a lane. */
const spoken = (name, boxes) => `${name}: ${plural(boxes.length, "segment")}`;
const lane = (key, name, kind, boxes, more = {}) => ({ key, name, kind, boxes, spoken: spoken(name, boxes), ...more });

const percent = (share) => `${Math.round(100 * share)} %`;

export function modelPhases() {
  const boxes = state.timeline.phases.map((each) => ({
    ...each,
    label: phaseName(each.name),
    title: `${phaseName(each.name)}, ${span(each.start_s, each.end_s)}, ${confidenceWord(each.confidence)} (${percent(each.confidence)} among all phases)`,
    kind: `c${colourOf(each.name)}${each.confidence < UNSURE ? " unsure" : ""}`,
    share: each.confidence,
  }));
  const said = boxes.slice(0, 40).map((each) => `${each.label} ${span(each.start_s, each.end_s)}`);
  return lane("phase", "Phase (model)", "phase", boxes, { spoken: `Phases of the model: ${said.join(", ")}` });
}

/** Phases that people, or a data set, have set: one's own first. */
function people() {
  const own = [];
  const others = new Map();
  for (const label of state.timeline.labels) {
    if (label.track !== "phase") continue;
    const box = {
      ...label,
      label: phaseName(label.name),
      title: `${phaseName(label.name)}, ${span(label.start_s, label.end_s)}, set by ${label.is_mine ? "you" : label.who}`,
      kind: `c${colourOf(label.name)}${label.is_mine ? " mine" : ""}`,
      act: label.is_mine ? { label } : null,
    };
    if (label.is_mine) own.push(box);
    else others.set(label.who, [...(others.get(label.who) ?? []), box]);
  }
  const mine = state.archive?.can.edit || own.length ? [lane("mine", "Phase (you)", "people", own)] : [];
  return [...mine, ...[...others].map(([who, boxes]) => lane(`by ${who}`, `Phase (${who})`, "people", boxes))];
}

/** One lane an instrument, the busiest first; a line below marks what a data set says. */
function instruments() {
  const by = new Map();
  for (const each of state.timeline.actions) by.set(each.instrument, [...(by.get(each.instrument) ?? []), each]);
  const length_s = (boxes) => boxes.reduce((sum, each) => sum + each.end_s - each.start_s, 0);
  return [...by]
    .sort((one, other) => length_s(other[1]) - length_s(one[1]))
    .slice(0, NUM_INSTRUMENTS)
    .map(([instrument, boxes]) => {
      const shown = boxes.map((each) => ({
        ...each,
        label: actionName(each.name, instrument),
        title: `${actionName(each.name)}, ${span(each.start_s, each.end_s)}, ${percent(each.confidence)}`,
        kind: `action s${Math.min(4, Math.floor(5 * each.confidence))}`,
      }));
      const truth = state.timeline.labels
        .filter((each) => each.track === "triplet" && each.name.split(",")[0] === instrument)
        .map((each) => ({ ...each, label: "", title: `${each.who}: ${actionName(each.name)}`, kind: "truth" }));
      return lane(`does ${instrument}`, instrument.replaceAll("_", " "), "action", [...shown, ...truth]);
    });
}

/** Boxes without the labels of those that overlap another: one would cut off the other's. */
function uncluttered(boxes) {
  let until_s = -Infinity;
  const sorted = [...boxes].sort((one, other) => one.start_s - other.start_s);
  return sorted.map((box, place) => {
    const isFree = box.start_s >= until_s && (sorted[place + 1]?.start_s ?? Infinity) >= box.end_s;
    until_s = Math.max(until_s, box.end_s);
    return isFree ? box : { ...box, label: "" };
  });
}

/** Labels of other tracks, such as tags. */
function tracks() {
  const by = new Map();
  for (const label of state.timeline.labels) {
    // That a data set has looked at a moment is for tests of models, and not to be seen.
    if (["phase", "triplet"].includes(label.track) || label.track.endsWith("_rated")) continue;
    const box = {
      ...label,
      label: className(label.track, label.name),
      title: `${className(label.track, label.name)}, ${span(label.start_s, label.end_s)}, by ${label.is_mine ? "you" : label.who}`,
      kind: label.is_mine ? "note mine" : "note theirs",
      act: label.is_mine ? { label } : null,
    };
    const name = label.track === "tag" ? "Tags" : label.track.replaceAll("_", " ");
    by.set(name, [...(by.get(name) ?? []), box]);
  }
  return [...by].map(([name, boxes]) => lane(`track ${name}`, name, "note", uncluttered(boxes)));
}

function found() {
  if (!state.search) return [];
  const boxes = state.search.reply.hits
    .filter((hit) => hit.recording === state.current)
    .map((hit) => ({
      ...hit,
      label: hit.word,
      title: `${hit.word}, ${span(hit.start_s, hit.end_s)}`,
      kind: `found ${hit.word}${hit === state.hit ? " open" : ""}`,
      act: { hit },
    }));
  return [lane("found", "Found", "moments", boxes, { curve: state.curve })];
}

function savedClips() {
  const boxes = state.clips
    .filter((clip) => clip.recording === state.current)
    .map((clip) => ({
      ...clip,
      label: clip.title || "clip",
      title: [`${clip.title || "Saved clip"}, ${span(clip.start_s, clip.end_s)}`, clip.note].filter(Boolean).join("\n"),
      kind: "note clip",
      act: { clip },
    }));
  return lane("clips", "Clips", "note", boxes);
}
