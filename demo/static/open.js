// Opening a moment of any recording on the stage.

import { reveal, seek } from "./player.js";
import { recording, set, state } from "./state.js";
import { note } from "./voice.js";

/** Show a recording at a time; the page goes to the stage if it shows something else. */
export function open(id, time_s = 0, { range = null } = {}) {
  const found = recording(id);
  if (!found) return note("This recording is no longer in the archive", { isError: true });
  const isOther = state.current !== id;
  set({
    page: "watch",
    current: id,
    range: range ?? (isOther ? null : state.range),
    chosen: range || isOther ? null : state.chosen,
    marked_s: null,
    ...(isOther ? { time_s, hit: null } : {}),
  });
  seek(time_s);
  reveal();
  return undefined;
}
