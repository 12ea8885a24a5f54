// The model card: what the model was trained on, how, under which licence, and what it says nothing about.

import { $, fill, make } from "./dom.js";
import { on, state } from "./state.js";
import { hours, plural } from "./words.js";

const SPLITS = { train: "training", val: "validation", test: "test (held out)", "": "no split" };

/** What the banner says, on every view. */
export const bannerText = ({ trained_on }) =>
  `Research prototype. ${trained_on ? `Trained on ${trained_on}. ` : ""}Not for clinical use.`;

function firstWords({ model, num_recordings: count }) {
  const { num_rendered: rendered = 0, trained_on: trained = "" } = model;
  return make(
    "section.card.plain",
    {},
    make("h2", {}, "Read this first"),
    rendered > 0 &&
      make(
        "p",
        {},
        rendered === count ? "The recordings" : `${rendered} of the ${count} recordings`,
        " on this page are ",
        make("b", {}, "rendered"),
        ": a program draws tissue, instruments and smoke, so every label is known exactly. They exist to check that the software works.",
      ),
    make(
      "p",
      {},
      trained && `The model was trained on ${trained}. `,
      (rendered > 0 || trained.startsWith("rendered")) && [
        "Numbers on rendered video ",
        make("b", {}, "say nothing about patients"),
        ". ",
      ],
      "Nothing here has been tested on people, nothing here is a medical device, and nothing here is for clinical use.",
    ),
  );
}

function draw() {
  if (state.page !== "model" || !state.archive) return;
  const { model } = state.archive;
  const facts = [
    ["Source", model.source],
    ["Licence", model.licence],
    ["Trained on", model.trained_on],
  ].filter(([, value]) => value);
  fill(
    $("#model"),
    make(
      "div.sheet-head",
      {},
      make("h1", {}, model.title || model.name || "Model"),
      model.name && model.title !== model.name && make("p.soft", {}, model.name),
    ),
    firstWords(state.archive),
    facts.length > 0 &&
      make(
        "dl.tiles",
        {},
        facts.map(([name, value]) => make("div", {}, make("dt", {}, name), make("dd", {}, value))),
      ),
    Object.keys(model.splits ?? {}).length > 0 &&
      make(
        "section.card",
        {},
        make("h2", {}, "Videos"),
        make(
          "dl.tiles",
          {},
          Object.entries(model.splits).map(([split, [count, length_h]]) =>
            make(
              "div",
              {},
              make("dt", {}, SPLITS[split] ?? split),
              make("dd", {}, plural(count, "video"), make("small", {}, hours(length_h))),
            ),
          ),
        ),
        model.sources?.length > 0 &&
          make(
            "p.soft",
            {},
            `Sources: ${model.sources.map(([name, licence]) => (licence ? `${name} (licence: ${licence})` : name)).join("; ")}.`,
          ),
      ),
    model.stages?.some((stage) => Object.keys(stage.facts).length) &&
      make(
        "section.card",
        {},
        make("h2", {}, "How it was trained"),
        make(
          "ol.stages",
          {},
          model.stages.map((stage) =>
            make(
              "li",
              {},
              make("h3", {}, stage.name),
              make("p", {}, stage.purpose),
              make(
                "dl",
                {},
                Object.entries(stage.facts).map(([name, value]) =>
                  make("div", {}, make("dt", {}, name), make("dd", {}, value)),
                ),
              ),
            ),
          ),
        ),
      ),
  );
}

export function mountCard() {
  on("page archive", draw);
}
