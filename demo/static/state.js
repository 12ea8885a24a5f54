// What the page knows, in one object; whoever shows a part of it is called when that part changes.

export const state = {
  archive: null, // api/archive
  recordings: [], // api/recordings
  current: "", // id of the recording on the stage
  timeline: null, // of the recording on the stage; null while it is read
  timelineProblem: "", // why there is none
  time_s: 0, // of the player
  range: null, // {start_s, end_s}: the marked range
  marked_s: null, // the in mark, while there is no out mark
  chosen: null, // one's own label that the range stands for
  view: { start_s: 0, end_s: 1 }, // the part of the recording that the timeline shows
  search: null, // {query, name, reply}: the last search
  hit: null, // the hit that is open
  curve: null, // score curve of the last search in the recording on the stage
  answers: [], // newest first
  clips: [], // saved clips of all recordings
  jobs: [],
  page: "watch", // watch, library, scores, model
  isPlaying: false,
  isLooping: false, // whether play repeats the marked range
  isSearching: false,
  showsWeak: false, // whether hits that are no better than chance are unfolded
  side: "results", // results or answers
};

const listeners = [];

/** Call `call` after any of the named parts has changed. */
export function on(names, call) {
  listeners.push([new Set(names.split(" ")), call]);
}

/** Change parts of the state, then call each listener once. */
export function set(parts) {
  const changed = Object.keys(parts).filter((name) => state[name] !== parts[name]);
  Object.assign(state, parts);
  for (const [names, call] of listeners) if (changed.some((name) => names.has(name))) call();
}

export const recording = (id = state.current) => state.recordings.find((each) => each.id === id) ?? null;
export const duration = () => state.timeline?.duration_s || recording()?.duration_s || 0;
/** Whether the server cuts a range out as a file: one that is too long would have to be encoded for hours. */
export const canBeCut = ({ start_s, end_s }) => end_s - start_s <= (state.archive?.limits.cut_s ?? Infinity);
export const frame_s = () => 1 / (recording()?.fps || 25);

/** The model's phase at a time, or null. */
export function phaseAt(time_s) {
  return state.timeline?.phases.find((each) => each.start_s <= time_s && time_s < each.end_s) ?? null;
}

/** Colour of a phase: its place in the prompt set, or in the archive's default set. */
export function colourOf(name) {
  const classes = state.timeline?.classes.length ? state.timeline.classes : (state.archive?.strip_classes ?? []);
  const at = classes.indexOf(name);
  return at < 0 ? -1 : at % 7;
}
