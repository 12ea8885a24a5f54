// Boxes and the score curve on a track of the timeline. Positions are pixels of the part that is shown; boxes outside
// of it have no element.

import { make, shape } from "./dom.js";

const MIN_BOX_PX = 3;
const CHARACTER_PX = 6.4;

/** Show boxes on a track, in elements that are used again. */
export function boxesInto(track, boxes, { start_s, end_s }, width_px) {
  const scale = width_px / (end_s - start_s);
  const shown = boxes.filter((box) => box.end_s > start_s && box.start_s < end_s);
  // The shortest come last and lie on top, so that none is covered.
  shown.sort((one, other) => other.end_s - other.start_s - (one.end_s - one.start_s));
  const old = [...track.children].filter((child) => child.matches("span.box"));
  shown.forEach((box, place) => {
    const element = old[place] ?? track.appendChild(make("span.box", {}, make("em"), make("i")));
    const left = Math.max(0, (box.start_s - start_s) * scale);
    const width = Math.max(MIN_BOX_PX, Math.min(width_px, (box.end_s - start_s) * scale) - left);
    const label = box.label.length * CHARACTER_PX + 12 <= width ? box.label : "";
    element.className = `box ${box.kind}${width < 6 ? " slim" : ""}`;
    element.title = box.title;
    element.style.left = `${Math.min(left, width_px - MIN_BOX_PX)}px`;
    element.style.width = `${width}px`;
    element.firstChild.textContent = label;
    element.lastChild.style.height = box.share === undefined ? "" : `${Math.round(10 * box.share)}px`;
    element.box = box;
  });
  old.slice(shown.length).forEach((element) => element.remove());
}

/** The score curve as a filled shape; of several points in a pixel, the highest. */
export function curveInto(track, curve, { start_s, end_s }, width_px) {
  track.querySelector("svg")?.remove();
  if (!curve?.times.length) return;
  const high = Math.max(...curve.scores);
  const low = Math.min(...curve.scores);
  const columns = new Map();
  curve.times.forEach((time_s, place) => {
    if (time_s < start_s || time_s > end_s) return;
    const x = Math.round(((time_s - start_s) / (end_s - start_s)) * width_px);
    columns.set(x, Math.max(columns.get(x) ?? 0, (curve.scores[place] - low) / (high - low || 1)));
  });
  const points = [...columns].map(([x, y]) => `${x},${(1 - y).toFixed(3)}`);
  const svg = shape("svg", {
    viewBox: `0 0 ${width_px} 1`,
    preserveAspectRatio: "none",
    class: "curve",
    "aria-hidden": "true",
  });
  svg.append(shape("polygon", { points: `0,1 ${points.join(" ")} ${width_px},1` }));
  track.prepend(svg);
}
