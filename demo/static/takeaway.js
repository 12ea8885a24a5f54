// What can be taken away from a recording: a clip, its timeline in any format, a report, a link to the moment.

import { write } from "./address.js";
import { address } from "./api.js";
import { $, icon, make } from "./dom.js";
import { menu } from "./sheet.js";
import { canBeCut, on, recording, state } from "./state.js";
import { parameters } from "./reading.js";
import { note } from "./voice.js";
import { clock, span } from "./words.js";

export async function copyLink() {
  const link = new URL(write(), window.location.href).href;
  try {
    await navigator.clipboard.writeText(link);
    note(
      state.range
        ? "The link opens this recording with the marked range"
        : `The link opens this recording at ${clock(state.time_s)}`,
    );
  } catch {
    // Without a secure address a browser gives no clipboard: the link is shown to be copied.
    note(link);
  }
}

const entry = (href, title, purpose, tail = "") =>
  make(
    "li",
    {},
    make(
      "a",
      { href, download: true },
      make("b", {}, title),
      make("span", {}, purpose),
      tail && make("code", {}, tail),
    ),
  );

const tooLong = ({ start_s, end_s }) =>
  `An mp4 may last ${clock(state.archive.limits.cut_s)}, and the marked range lasts ${clock(end_s - start_s, true)}: mark a shorter one.`;

function content(close) {
  const id = state.current;
  const { range } = state;
  const formats = state.archive.formats.map((each) =>
    entry(address(["recordings", id, `timeline.${each.name}`], parameters()), each.title, each.purpose, each.suffix),
  );
  return [
    make("h3", {}, "Clip"),
    make(
      "ul",
      {},
      range && canBeCut(range)
        ? entry(
            address(["recordings", id, "cut.mp4"], {
              start_s: range.start_s.toFixed(3),
              end_s: range.end_s.toFixed(3),
            }),
            "mp4",
            `the marked range, ${span(range.start_s, range.end_s, true)}`,
            ".mp4",
          )
        : make("li.soft", {}, range ? tooLong(range) : "Mark a range to save it as mp4."),
    ),
    make("h3", {}, "This recording"),
    make(
      "ul",
      {},
      entry(
        address(["recordings", id, "report.html"], parameters()),
        "Report",
        "phases, actions, key frames and saved clips, on one page",
        ".html",
      ),
      make(
        "li",
        {},
        make(
          "button",
          { type: "button", onclick: () => (close(), copyLink()) },
          make("b", {}, "Link"),
          make("span", {}, "opens this moment"),
        ),
      ),
    ),
    state.timeline && make("h3", {}, "Timeline: phases, actions and labels, exact to the frame"),
    state.timeline && make("ul", {}, formats),
  ].filter(Boolean);
}

export function mountTakeaway() {
  const place = menu([icon("save"), "Take away"], content);
  $("#take").append(place);
  on("current recordings", () => ($("#take").hidden = !recording()));
}
