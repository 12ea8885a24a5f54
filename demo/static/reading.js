// Reading the timeline of the recording on the stage, and the choices it is read with.

import { address, newest, request } from "./api.js";
import { make } from "./dom.js";
import { duration, recording, set, state } from "./state.js";

const SMOOTHINGS_S = [0, 5, 15, 30];
const chosen = { phase: "", triplet: "", smooth_s: 5 };
const signal = newest();

/** Parameters of the shown timeline, for its downloads. */
export const parameters = () => ({
  phase: chosen.phase || state.archive?.sets.phase,
  triplet: chosen.triplet || state.archive?.sets.triplet,
  smooth_s: chosen.smooth_s,
});

/** Read the timeline of the recording on the stage. */
export async function load() {
  const shown = recording();
  set({ timeline: null, timelineProblem: "", view: { start_s: 0, end_s: duration() || 1 } });
  if (!shown || !state.archive) return;
  if (!state.archive.can.timeline) {
    // The first recordings of an archive are read before its sentences are.
    if (state.jobs.some((job) => ["waiting", "running"].includes(job.state))) return;
    set({ timelineProblem: "This archive has no prompt sets to compare its recordings with, so there is no timeline." });
    return;
  }
  const stop = signal();
  try {
    const found = await request(address(["recordings", shown.id, "timeline"], parameters()), { signal: stop });
    if (state.current === shown.id) set({ timeline: found, view: { start_s: 0, end_s: found.duration_s } });
  } catch (error) {
    if (error.name !== "AbortError") set({ timelineProblem: error.message });
  }
}

/** Choices of the sentences that a recording is compared with, and of the smoothing. */
export function choices() {
  const choice = (label, values, selected, onchange) =>
    make(
      "label",
      {},
      make("span", {}, label),
      make(
        "select",
        { onchange },
        values.map(([value, text]) => make("option", { value, selected: String(value) === String(selected) }, text)),
      ),
    );
  const sets = (task, label) => {
    const names = state.archive.prompt_sets[task] ?? [];
    return (
      names.length > 1 &&
      choice(
        label,
        names.map((name) => [name, name.replaceAll("_", " ")]),
        parameters()[task],
        (event) => ((chosen[task] = event.target.value), load()),
      )
    );
  };
  return [
    sets("phase", "Phases"),
    sets("triplet", "Actions"),
    choice(
      "Smoothing",
      SMOOTHINGS_S.map((each) => [each, each ? `${each} s` : "none"]),
      chosen.smooth_s,
      (event) => ((chosen.smooth_s = Number(event.target.value)), load()),
    ),
  ];
}
