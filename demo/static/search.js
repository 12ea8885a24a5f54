// The last search: asking, asking again when a filter or a mark changes, and the moment that is open.

import { address, newest, Refused, request } from "./api.js";
import { open } from "./open.js";
import { on, recording, set, state } from "./state.js";
import { attempt, note, say } from "./voice.js";
import { clock, plural, span } from "./words.js";

const NUM_HITS = 24;
const signal = newest();
const curveSignal = newest();

/** What narrows the search; the side's filters change it. */
export const where = {
  recordings: [],
  procedure: [],
  source: [],
  tags: [],
  surgeon: [],
  phase: [],
  date_from: "",
  date_to: "",
};
/** More of the query: what moments should not be like. */
export const more = { minus: "" };

const filled = (parts) =>
  Object.fromEntries(Object.entries(parts).filter(([, value]) => (Array.isArray(value) ? value.length : value)));

/** Search; `query` is {text, like, image, good, bad}. */
export async function find(query, name) {
  const stop = signal();
  set({ isSearching: true });
  try {
    await attempt(async () => {
      const body = { ...filled({ ...query, ...more }), where: filled(where), k: NUM_HITS };
      const reply = await request(address(["search"]), { method: "POST", body, signal: stop });
      reply.hits = grouped(reply.hits);
      const kept = reply.hits.find((hit) => state.hit && same(hit, state.hit)) ?? null;
      set({ search: { query, name, reply, body }, hit: kept, curve: null, side: "results", showsWeak: false });
      const clear = reply.hits.filter((hit) => hit.word !== "weak").length;
      say(clear ? `${plural(clear, "moment")} like ${name}` : `Nothing stands out for ${name}`);
      readCurve();
    });
  } finally {
    // A newer search has taken over.
    if (!stop.aborted) set({ isSearching: false });
  }
}

/** Hits of one recording stand together, in the order of its best. */
function grouped(hits) {
  const by = new Map();
  for (const hit of hits) by.set(hit.recording, [...(by.get(hit.recording) ?? []), hit]);
  return [...by.values()].flat();
}

export const findText = (text) => find({ text }, `“${text.trim().replace(/\s+/g, " ")}”`);

/** Moments like a segment: a hit, the marked range, or the frame in the player. */
export function findLike(segment, text = "") {
  const title = recording(segment.recording)?.title ?? segment.recording;
  const when = segment.end_s > segment.start_s ? span(segment.start_s, segment.end_s) : clock(segment.start_s);
  return find({ text, like: segment }, `${title} at ${when}${text ? ` and “${text}”` : ""}`);
}

/** The segment that stands for "this": the marked range, or the moment in the player. */
export function here() {
  const { start_s, end_s } = state.range ?? { start_s: state.time_s, end_s: state.time_s };
  return { recording: state.current, start_s, end_s };
}

/** The same search again, because a filter has changed. */
export function again() {
  if (state.search) find(state.search.query, state.search.name);
}

const same = (one, other) =>
  one.recording === other.recording && one.start_s === other.start_s && one.end_s === other.end_s;
const segment = ({ recording: id, start_s, end_s }) => ({ recording: id, start_s, end_s });

export const verdict = (hit) => {
  const { good = [], bad = [] } = state.search?.query ?? {};
  return good.some((each) => same(each, hit)) ? "good" : bad.some((each) => same(each, hit)) ? "bad" : "";
};

/** Mark a hit as good or bad, or take the mark back, and search again with all marks. */
export function judge(hit, word) {
  if (!hit || !state.search) return note("Open one of the moments found, then mark it");
  const { query, name } = state.search;
  const without = (list = []) => list.filter((each) => !same(each, hit));
  const marks = { good: without(query.good), bad: without(query.bad) };
  if (verdict(hit) !== word) marks[word].push(segment(hit));
  return find({ ...query, ...marks }, name);
}

/** Open a hit in the player. */
export function openHit(hit) {
  open(hit.recording, hit.start_s);
  set({ hit });
}

/** The next hit, or the previous one, in the order in which they are shown. */
export function go(by) {
  const hits = (state.search?.reply.hits ?? []).filter(
    (hit) => state.showsWeak || hit.word !== "weak" || hit === state.hit,
  );
  if (!hits.length) return;
  const at = hits.indexOf(state.hit);
  openHit(hits[at < 0 ? (by > 0 ? 0 : hits.length - 1) : (at + by + hits.length) % hits.length]);
}

async function readCurve() {
  const { search, current } = state;
  if (!search || !current) return set({ curve: null });
  const asked = search.reply.id ? { search: search.reply.id } : { q: search.query.text };
  if (!asked.search && !asked.q) return set({ curve: null });
  try {
    const curve = await request(address(["recordings", current, "curve"], asked), { signal: curveSignal() });
    if (state.current === current && state.search === search) set({ curve });
  } catch (error) {
    // A recording that waits for its vectors has no curve; its lane then shows the hits alone.
    if (!(error instanceof Refused) && error.name !== "AbortError") throw error;
  }
  return undefined;
}

export function followSearch() {
  on("current", () => {
    set({ curve: null });
    readCurve();
  });
}
