// Two moments side by side, which play and step together.

import { frameOf, videoOf } from "./api.js";
import { $$, fill, icon, iconButton, make } from "./dom.js";
import { open } from "./open.js";
import { pause } from "./player.js";
import { here } from "./search.js";
import { dialog } from "./sheet.js";
import { recording, state } from "./state.js";
import { note } from "./voice.js";
import { clock, span } from "./words.js";

const MIN_LENGTH_S = 4;

function pane({ recording: id, start_s, end_s }, close) {
  const row = recording(id);
  const to_s = Math.max(end_s, start_s + MIN_LENGTH_S);
  const time = make("span.timecode", {}, clock(start_s, true));
  const video = row.is_playable
    ? make("video", {
        src: videoOf(id),
        poster: frameOf(id, start_s, 480),
        preload: "auto",
        muted: true,
        playsinline: true,
        "aria-label": `${row.title} at ${clock(start_s)}`,
      })
    : make("img", { src: frameOf(id, (start_s + end_s) / 2, 480), alt: `${row.title} at ${clock(start_s)}` });
  if (row.is_playable) {
    video.addEventListener("loadedmetadata", () => (video.currentTime = start_s), { once: true });
    video.addEventListener("timeupdate", () => {
      time.textContent = clock(video.currentTime, true);
      if (video.currentTime >= to_s) video.currentTime = start_s;
    });
    video.frame_s = 1 / (row.fps || 25);
  }
  return make(
    "figure",
    {},
    video,
    make(
      "figcaption",
      {},
      make("b", {}, row.title),
      make("span.soft", {}, end_s > start_s ? span(start_s, end_s) : clock(start_s)),
      time,
      make("button.plain", { type: "button", onclick: () => (close(), open(id, start_s)) }, "Open"),
    ),
  );
}

/** Show a hit beside the marked range, or beside the moment in the player. */
export function compare(hit) {
  if (!state.current || !recording(hit.recording)) return note("Open a recording first");
  pause();
  const videos = () => $$("video", element);
  const playing = iconButton(
    "play",
    "Play or pause both",
    () => {
      const isPaused = videos().every((video) => video.paused);
      for (const video of videos()) isPaused ? video.play().catch(() => {}) : video.pause();
      fill(playing, icon(isPaused ? "pause" : "play"));
    },
    { key: "Space" },
  );
  const step = (by) => {
    for (const video of videos()) {
      video.pause();
      video.currentTime += by * video.frame_s;
    }
    fill(playing, icon("play"));
  };
  const close = () => element.close();
  const element = dialog(
    "Two moments side by side",
    { kind: "wide" },
    make("div.beside", {}, pane(here(), close), pane(hit, close)),
    make(
      "div.dialog-foot",
      {},
      playing,
      iconButton("previous", "Previous frame of both", () => step(-1), { key: "," }),
      iconButton("next", "Next frame of both", () => step(1), { key: "." }),
    ),
  );
  element.addEventListener("keydown", (event) => {
    if (event.key === " " && !event.target.closest("button")) playing.click();
    else if (event.key === ",") step(-1);
    else if (event.key === ".") step(1);
    else return;
    event.preventDefault();
  });
  playing.focus();
  return undefined;
}
