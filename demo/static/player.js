// The recording on the stage: a video, or still frames where the browser cannot play the file.

import { frameOf, videoOf } from "./api.js";
import { $, fill, icon, iconButton, isCalm, make } from "./dom.js";
import { duration, frame_s, on, recording, set, state } from "./state.js";
import { note } from "./voice.js";
import { clock } from "./words.js";

const SPEEDS = [0.25, 0.5, 1, 1.5, 2, 4];
const STILLS_S = 0.5; // between still frames while they play
let video = null;
let still = null;
let pending_s = null; // a time that waits for the video's length
let backwards = 0; // factor of reverse play; 0 if it plays forwards or is paused
let ticker = 0;

const showsStills = () => still !== null && !still.hidden;
export const now = () => state.time_s;
export const isPlaying = () => state.isPlaying;

/** Show a time; the player stays as it is, playing or paused. */
export function seek(time_s) {
  const to = Math.min(Math.max(0, time_s), Math.max(0, duration() - 0.5 * frame_s()));
  if (showsStills()) showStill(to);
  else if (video && video.readyState >= 1) video.currentTime = to;
  else pending_s = to;
  set({ time_s: to });
}

export function step(num_frames) {
  pause();
  // The middle of a frame, so that rounding never shows its neighbour.
  const frame = Math.floor(state.time_s / frame_s() + 1e-3);
  seek((frame + num_frames + 0.5) * frame_s());
}

export function pause() {
  backwards = 0;
  clearInterval(ticker);
  video?.pause();
  // Of reverse play and of stills, the video reports no end.
  set({ isPlaying: false });
}

export function play() {
  backwards = 0;
  clearInterval(ticker);
  if (showsStills()) {
    set({ isPlaying: true });
    ticker = setInterval(() => {
      if (hasLooped(state.time_s + STILLS_S)) return;
      if (state.time_s + STILLS_S >= duration()) pause();
      else if ($("img", still).complete) seek(state.time_s + STILLS_S);
    }, 1000 * STILLS_S);
  } else {
    video?.play().catch(() => set({ isPlaying: false }));
  }
}

export const toggle = () => (state.isPlaying ? pause() : play());

/** Faster with each call, as editors do with L. */
export function faster() {
  if (!state.isPlaying || backwards) {
    setSpeed(1);
    return play();
  }
  return setSpeed(SPEEDS[Math.min(SPEEDS.length - 1, SPEEDS.indexOf(video.playbackRate) + 1)]);
}

/** Reverse play by seeking, as editors do with J: browsers play forwards only. */
export function reverse() {
  const factor = Math.min(8, backwards ? 2 * backwards : 1);
  pause();
  backwards = factor;
  set({ isPlaying: true });
  ticker = setInterval(() => {
    if (state.time_s <= 0) return pause();
    if (showsStills() ? $("img", still).complete : !video.seeking) seek(state.time_s - 0.1 * backwards);
    return undefined;
  }, 100);
}

export function setSpeed(rate) {
  if (video) video.playbackRate = rate;
  $("#speed").value = String(rate);
}

export function fullScreen() {
  if (document.fullscreenElement) document.exitFullscreen();
  else $("#stage").requestFullscreen?.();
}

function showStill(time_s) {
  $("img", still).src = frameOf(state.current, time_s, 720);
}

/** Bring the stage into sight where the page scrolls. */
export function reveal() {
  const box = $("#stage").getBoundingClientRect();
  if (box.top >= -40 && box.top < window.innerHeight - 120) return;
  $("#stage").scrollIntoView({ block: "start", behavior: isCalm() ? "auto" : "smooth" });
}

/** Play the marked range again and again, or no longer. */
export function loopRange() {
  if (!state.range) return note("Mark a range first: drag on the timeline, or press I and O");
  set({ isLooping: !state.isLooping });
  if (!state.isLooping) return undefined;
  if (state.time_s < state.range.start_s || state.time_s >= state.range.end_s) seek(state.range.start_s);
  if (!state.isPlaying || backwards) play();
  return undefined;
}

/** Whether play has come to the end of the range that it repeats; it then begins again. */
function hasLooped(time_s) {
  if (!state.isLooping || time_s < state.range.end_s) return false;
  seek(state.range.start_s);
  return true;
}

function follow() {
  if (!video || video.paused) return;
  if (!video.seeking && !hasLooped(video.currentTime)) set({ time_s: video.currentTime });
  requestAnimationFrame(follow);
}

function show() {
  pause();
  const shown = recording();
  pending_s = null;
  video = still = null;
  // Where there is no recording at all, the stage says what to do.
  if (!shown) return state.recordings.length ? fill($("#stage")) : undefined;
  const source = videoOf(shown.id);
  still = make(
    "div.stills",
    { hidden: shown.is_playable },
    make("img", { alt: `Frame of ${shown.title}` }),
    make("p", {}, "This browser cannot play the file, so still frames are shown."),
  );
  video = make("video", {
    src: shown.is_playable ? source : null,
    poster: frameOf(shown.id, state.time_s, 480),
    preload: "metadata",
    playsinline: true,
    hidden: !shown.is_playable,
    "aria-label": `Recording ${shown.title}`,
    onloadedmetadata: () => {
      if (pending_s === null) return;
      video.currentTime = pending_s;
      pending_s = null;
    },
    onplay: () => (set({ isPlaying: true }), follow()),
    onpause: () => backwards || set({ isPlaying: false }),
    onended: () => hasLooped(Infinity) && video.play(),
    onseeked: (event) => event.target === video && set({ time_s: video.currentTime }),
    onclick: toggle,
    onerror: (event) => {
      if (event.target !== video) return;
      video.hidden = true;
      still.hidden = false;
      showStill(state.time_s);
    },
  });
  if (state.time_s) pending_s = state.time_s;
  if (!shown.is_playable) showStill(state.time_s);
  return fill($("#stage"), video, still);
}

/** Put the player's buttons in place; `extra` are further ones at the right. */
export function mountPlayer(extra) {
  const playing = iconButton("play", "Play or pause", toggle, { key: "Space" });
  const speed = make("select", {
    id: "speed",
    "aria-label": "Speed",
    onchange: (event) => setSpeed(Number(event.target.value)),
  });
  speed.append(...SPEEDS.map((rate) => make("option", { value: rate, selected: rate === 1 }, `${rate}×`)));
  const seconds = (by, label, key) =>
    make(
      "button.small.jump",
      { type: "button", title: `${label} (${key})`, "aria-keyshortcuts": key, onclick: () => seek(state.time_s + by) },
      by < 0 ? "−5 s" : "+5 s",
    );
  const frame = (by, label, key) =>
    iconButton(by < 0 ? "previous" : "next", label, () => step(by), { key, tag: "button.icon-button.stepping.frame" });
  const again = iconButton("loop", "Repeat the marked range", loopRange, { key: "R", tag: "button.icon-button.stepping" });
  again.disabled = true;
  const time = make("b");
  const total = make("span.soft");
  $("#transport").append(
    playing,
    seconds(-5, "5 seconds back", "ArrowLeft"),
    seconds(5, "5 seconds forward", "ArrowRight"),
    frame(-1, "Previous frame", ","),
    frame(1, "Next frame", "."),
    make("p.timecode", {}, time, total),
    ...extra,
    again,
    speed,
    iconButton("full", "Full screen", fullScreen, { key: "F" }),
  );
  on("current", show);
  on("time_s current timeline recordings", () => {
    time.textContent = clock(state.time_s, true);
    total.textContent = ` / ${clock(duration())}`;
  });
  on("range", () => state.range || set({ isLooping: false }));
  on("range isLooping", () => {
    again.disabled = !state.range;
    again.setAttribute("aria-pressed", String(state.isLooping));
  });
  on("isPlaying", () => fill(playing, icon(state.isPlaying ? "pause" : "play")));
}
