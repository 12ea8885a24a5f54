// Small clips that play in a loop: those in sight, a few at a time; a picture stands for each that does not play.

import { frameOf, videoOf } from "./api.js";
import { isCalm, make, oncePerFrame } from "./dom.js";
import { recording } from "./state.js";

// A browser has six connections to a server: the player and the events of this page take one each.
const NUM_AT_ONCE = 2;
const MIN_LOOP_S = 2;
const inSight = new Set();
let pointed = null;

/** A looping clip of a segment; it starts when it is in sight. */
export function loop(id, start_s, end_s, height_px = 160) {
  const place = make(
    "div.loop",
    { data: { loop: "" } },
    make("img", { src: frameOf(id, (start_s + end_s) / 2, height_px), alt: "", loading: "lazy" }),
  );
  place.clip = { id, start_s, end_s: Math.max(end_s, start_s + MIN_LOOP_S) };
  place.addEventListener("pointerenter", () => point(place));
  place.addEventListener("pointerleave", () => point(null));
  sight.observe(place);
  return place;
}

/** Let the clip of the pointed or focused place play first. */
export function point(place) {
  pointed = place;
  choose();
}

const sight = new IntersectionObserver((changes) => {
  for (const { target, isIntersecting } of changes) {
    if (isIntersecting) inSight.add(target);
    else inSight.delete(target);
  }
  choose();
});

const isCovered = () => document.hidden || Boolean(document.querySelector("dialog[open]"));

// Later, because a clip may be left while it is taken off the page.
const choose = oncePerFrame(() => {
  for (const place of inSight) if (!place.isConnected) inSight.delete(place);
  const inOrder = [...inSight].sort((one, other) =>
    one.compareDocumentPosition(other) & Node.DOCUMENT_POSITION_FOLLOWING ? -1 : 1,
  );
  const wanted = new Set(isCalm() || isCovered() ? [] : inOrder.slice(0, NUM_AT_ONCE));
  if (pointed?.isConnected && !isCovered()) wanted.add(pointed);
  for (const place of document.querySelectorAll("[data-loop]")) {
    if (wanted.has(place)) begin(place);
    else end(place);
  }
});

function begin(place) {
  if (place.querySelector("video") || !recording(place.clip.id)?.is_playable) return;
  const { id, start_s, end_s } = place.clip;
  const video = make("video", {
    src: `${videoOf(id)}#t=${start_s.toFixed(2)}`,
    muted: true,
    playsinline: true,
    preload: "auto",
    tabindex: -1,
    "aria-hidden": "true",
  });
  video.addEventListener("loadeddata", () => video.play().catch(() => end(place)));
  video.addEventListener("playing", () => place.classList.add("playing"));
  video.addEventListener("timeupdate", () => {
    place.style.setProperty("--passed", Math.min(1, Math.max(0, (video.currentTime - start_s) / (end_s - start_s))));
    if (video.currentTime >= end_s || video.ended) video.currentTime = start_s;
  });
  place.append(video);
}

function end(place) {
  const video = place.querySelector("video");
  if (!video) return;
  place.classList.remove("playing");
  video.removeAttribute("src");
  video.load();
  video.remove();
}

document.addEventListener("visibilitychange", choose);
document.addEventListener("surgvl:dialog", choose);
