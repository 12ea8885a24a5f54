// The moments of the last search, grouped by recording; weak ones are folded away.

import { address, saveReply } from "./api.js";
import { compare } from "./compare.js";
import { saveClip } from "./clips.js";
import { $, fill, iconButton, make } from "./dom.js";
import { filters } from "./filters.js";
import { loop, point } from "./loops.js";
import { findLike, findText, judge, openHit, verdict } from "./search.js";
import { on, recording, set, state } from "./state.js";
import { attempt } from "./voice.js";
import { elapsed, plural, span } from "./words.js";

const MEANING = {
  strong: "far above what random pairs of this archive reach",
  maybe: "above most random pairs of this archive",
  weak: "no better than random pairs of this archive",
};

function hitElement(hit) {
  const when = span(hit.start_s, hit.end_s);
  const title = recording(hit.recording)?.title ?? hit.title;
  const odds = hit.odds ? `1 in ${Math.round(hit.odds).toLocaleString("en")}` : "";
  const mark = verdict(hit);
  const judging = (word, label, key) => {
    const button = iconButton(word, label, () => judge(hit, word), { key });
    button.setAttribute("aria-pressed", String(mark === word));
    return button;
  };
  const opener = make(
    "button.opener",
    { type: "button", "aria-label": `Show ${title} at ${when}, ${hit.word}`, onclick: () => openHit(hit) },
    loop(hit.recording, hit.start_s, hit.end_s),
    make("time", {}, when),
  );
  const element = make(
    `li.hit.${hit.word}${mark ? `.${mark}` : ""}`,
    {
      "aria-current": hit === state.hit ? "true" : null,
      onfocusin: () => point(opener.firstChild),
      onfocusout: () => point(null),
    },
    opener,
    make(
      "p.score",
      {
        title: `Similarity ${hit.score.toFixed(2)}${odds ? `: ${odds} random pairs of this archive are as near` : ""}`,
      },
      make(`span.word.${hit.word}`, { title: MEANING[hit.word] }, hit.word),
      odds && make("span.soft", {}, odds),
    ),
    make(
      "div.acts",
      {},
      judging("good", "Good: more like this one", "G"),
      judging("bad", "Bad: less like this one", "B"),
      iconButton("like", "Find more like this", () =>
        findLike({ recording: hit.recording, start_s: hit.start_s, end_s: hit.end_s }),
      ),
      iconButton("beside", "Show beside the recording on the stage", () => compare(hit)),
      state.archive?.can.edit && iconButton("star", "Save as a clip", () => saveClip(hit)),
    ),
  );
  element.hit = hit;
  return element;
}

function groups(hits) {
  const list = make("ol.groups");
  let inner = null;
  for (const hit of hits) {
    if (inner?.dataset.of !== hit.recording) {
      inner = make("ol.hits", { data: { of: hit.recording } });
      const title = recording(hit.recording)?.title ?? hit.title;
      const count = hits.filter((each) => each.recording === hit.recording).length;
      list.append(
        make(
          "li",
          {},
          make("h3", { title }, make("span", {}, title), count > 1 && make("small", {}, plural(count, "moment"))),
          inner,
        ),
      );
    }
    inner.append(hitElement(hit));
  }
  return list;
}

function summary(hits) {
  const count = (word) => hits.filter((hit) => hit.word === word).length;
  return ["strong", "maybe", "weak"]
    .filter(count)
    .map((word) => `${count(word)} ${word}`)
    .join(" · ");
}

function empty() {
  const { examples, can } = state.archive;
  if (!state.recordings.length)
    return make("div.hint", {}, make("p", {}, "What you search for appears here, once the archive has recordings."));
  if (!can.search)
    return make(
      "div.hint",
      {},
      make("p", {}, "This archive cannot be searched by sentences: its model reads no text."),
    );
  return make(
    "div.hint",
    {},
    make("p", {}, "Describe what a clip should show, or pause anywhere and press “Find like this”."),
    examples.sentences.length > 0 && make("p.soft", {}, "For example"),
    make(
      "ul.chips",
      {},
      examples.sentences
        .slice(0, 6)
        .map((text) =>
          make(
            "li",
            {},
            make("button.chip", { type: "button", onclick: () => (($("#text").value = text), findText(text)) }, text),
          ),
        ),
    ),
  );
}

function draw() {
  if (!state.archive) return;
  const { search } = state;
  if (!search) return fill($("#results"), state.isSearching ? waiting() : empty());
  const { hits, remark, elapsed_s } = search.reply;
  const clear = hits.filter((hit) => hit.word !== "weak");
  const weak = hits.filter((hit) => hit.word === "weak");
  fill(
    $("#results"),
    make(
      "div.summary",
      {},
      make("p", {}, make("b", { title: search.name }, search.name)),
      make("p.soft", {}, `${summary(hits) || "nothing"} · ${elapsed(elapsed_s)}`),
    ),
    make(
      "div.tools",
      {},
      filters(),
      make(
        "button.plain",
        {
          type: "button",
          disabled: !hits.length,
          onclick: () => attempt(() => saveReply(address(["search.csv"]), { method: "POST", body: search.body })),
        },
        "Save as CSV",
      ),
    ),
    remark && make("p.doubt", {}, remark),
    !clear.length &&
      make(
        "p.unknown",
        {},
        hits.length
          ? "Nothing stands out. The nearest moments are no nearer than random ones of this archive."
          : "Nothing is left with these filters.",
      ),
    groups(clear),
    weak.length > 0 &&
      make(
        "details.weak",
        {
          open: state.showsWeak,
          ontoggle: (event) => event.target.open !== state.showsWeak && set({ showsWeak: event.target.open }),
        },
        make("summary", {}, `${plural(weak.length, "weak one")}: no better than chance`),
        state.showsWeak && groups(weak),
      ),
  );
}

const waiting = () =>
  make(
    "ul.ghosts",
    { "aria-hidden": "true" },
    Array.from({ length: 5 }, () => make("li", {}, make("i"), make("span"))),
  );

/** Mark the open hit without drawing the others again, so that their clips play on. */
function markOpen() {
  for (const element of document.querySelectorAll(".hit")) {
    if (element.hit === state.hit) {
      element.setAttribute("aria-current", "true");
      element.scrollIntoView({ block: "nearest" });
    } else element.removeAttribute("aria-current");
  }
}

export function mountResults() {
  on("search showsWeak", draw);
  on("archive recordings", () => state.search || draw());
  on("hit", markOpen);
  on("isSearching", () => {
    $("#results").setAttribute("aria-busy", String(state.isSearching));
    if (!state.search) draw();
  });
  on("search answers side archive", () => {
    const tab = (name, text, count) =>
      make(
        "button.tab",
        { type: "button", "aria-pressed": String(state.side === name), onclick: () => set({ side: name }) },
        text,
        count > 0 && make("span.count", {}, String(count)),
      );
    fill(
      $("#side-tabs"),
      tab("results", "Moments", state.search?.reply.hits.length ?? 0),
      state.archive?.can.ask && tab("answers", "Answers", state.answers.length),
    );
    $("#results").hidden = state.side !== "results";
    $("#answers").hidden = state.side !== "answers";
  });
}
