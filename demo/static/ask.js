// Questions about a moment, the marked range or the whole recording; answers stay, the newest first.

import { address, newest, request } from "./api.js";
import { $, fill, make } from "./dom.js";
import { open } from "./open.js";
import { on, recording, set, state } from "./state.js";
import { attempt, note, say } from "./voice.js";
import { answerText, clock, elapsed, span } from "./words.js";

const NUM_KEPT = 30;
const signal = newest();
let number = 0;

/** Ask about a span of the recording on the stage; a moment is a span without length. */
export async function ask(question, { start_s, end_s }) {
  const shown = recording();
  if (!shown) return note("Open a recording first");
  const card = {
    key: ++number,
    recording: shown.id,
    title: shown.title,
    start_s,
    end_s,
    question: question.trim(),
    reply: null,
    problem: "",
  };
  const others = state.answers.filter((each) => each.reply);
  set({ answers: [card, ...others].slice(0, NUM_KEPT), side: "answers" });
  const replace = (parts) =>
    set({ answers: state.answers.map((each) => (each.key === card.key ? { ...each, ...parts } : each)) });
  try {
    const reply = await request(address(["ask"]), {
      method: "POST",
      body: { recording: shown.id, start_s, end_s, question },
      signal: signal(),
    });
    replace({ reply });
    say(`Answer: ${reply.answer ? answerText(reply.answer) : "the model gave none"}`);
  } catch (error) {
    if (error.name !== "AbortError") replace({ problem: error.message });
  }
  return undefined;
}

const when = (card) => (card.end_s > card.start_s ? span(card.start_s, card.end_s) : clock(card.start_s, true));

function frames(card) {
  const at = card.reply.at_s ?? (card.start_s + card.end_s) / 2;
  const nearest = card.reply.frames.reduce(
    (best, each) => (Math.abs(each.time_s - at) < Math.abs(best.time_s - at) ? each : best),
    card.reply.frames[0],
  );
  return card.reply.frames.map((frame) => {
    const time = clock(frame.time_s, true);
    return make(
      `li${frame === nearest ? ".nearest" : ""}`,
      {},
      make(
        "button",
        {
          type: "button",
          "aria-label": `Show ${time} in the player`,
          onclick: () => open(card.recording, frame.time_s),
        },
        make("img", { src: `data:image/jpeg;base64,${frame.jpeg}`, alt: "" }),
        make("time", {}, time),
      ),
    );
  });
}

function bars(probabilities) {
  return make(
    "ol.bars",
    {},
    probabilities
      .slice(0, 5)
      .map(([text, share]) =>
        make(
          "li",
          {},
          make("span", {}, answerText(text)),
          make("i", {}, make("b", { style: { width: `${(100 * share).toFixed(1)}%` } })),
          make("em", {}, `${Math.round(100 * share)} %`),
        ),
      ),
  );
}

function blind(reply) {
  if (!reply.without_video) return null;
  // The server has said so among its doubts.
  if (reply.doubts?.some((line) => line.includes("without the video"))) return null;
  const text = answerText(reply.without_video);
  const isSame = reply.without_video === reply.answer;
  return make(
    "p.blind",
    {},
    "Without the video the model says ",
    make("b", {}, isSame ? "the same" : `“${text}”`),
    isSame ? ": this answer may not come from the picture." : ".",
  );
}

function body(card) {
  const { reply, problem } = card;
  if (problem) return [make("p.doubt.error", { role: "alert" }, problem)];
  if (!reply)
    return [
      make(
        "p.soft.working",
        {},
        state.archive.models_state === "ready"
          ? "Looking at the clip"
          : "The models are loading; this question is next",
      ),
    ];
  const isRight = reply.truth === reply.answer;
  const kind = reply.closed
    ? `Chosen from ${reply.num_known ?? "the"} known answers`
    : "Free text: may be wrong or made up";
  const size = reply.width_px ? ` of ${reply.width_px} × ${reply.height_px} pixels` : "";
  return [
    make(
      `p.said${reply.closed && reply.answer ? "" : ".free"}`,
      {},
      reply.answer ? answerText(reply.answer) : reply.problem || "The model gave no answer.",
    ),
    make(
      "p.tags",
      {},
      make("span.tag", {}, kind),
      (reply.doubts ?? []).map((line) => make("span.tag.doubtful", {}, line)),
      reply.truth &&
        make(
          `span.tag.${isRight ? "right" : "wrong"}`,
          {},
          `Ground truth: ${answerText(reply.truth)} (${isRight ? "agrees" : "differs"})`,
        ),
    ),
    reply.probabilities?.length > 0 && bars(reply.probabilities),
    blind(reply),
    reply.frames.length > 0 &&
      make(
        "figure",
        {},
        make("ol.frames", {}, frames(card)),
        make("figcaption", {}, `It rests on these ${reply.frames.length} frames${size}, and on nothing else.`),
      ),
  ];
}

function element(card) {
  return make(
    "article.answer",
    { "aria-busy": String(!card.reply && !card.problem), data: { key: card.key } },
    make(
      "p.eyebrow",
      {},
      make(
        "button.link",
        {
          type: "button",
          onclick: () =>
            open(card.recording, card.start_s, {
              range: card.end_s > card.start_s ? { start_s: card.start_s, end_s: card.end_s } : null,
            }),
        },
        `${card.title} at ${when(card)}`,
      ),
      make("span", {}, card.reply ? elapsed(card.reply.elapsed_s) : ""),
    ),
    make("p.asked", {}, card.question),
    body(card),
  );
}

function draw() {
  if (!state.archive) return;
  const old = new Map([...$("#answers").children].map((each) => [each.dataset.key, each]));
  const cards = state.answers.map((card) => {
    const kept = old.get(String(card.key));
    // A card that is whole does not change, and stays as it is.
    return kept?.getAttribute("aria-busy") === "false" ? kept : element(card);
  });
  const { examples, seen } = state.archive;
  const hint = make(
    "div.hint",
    {},
    make("p", {}, `Pause anywhere and ask${seen ? `: the model sees ${seen}` : ""}. Mark a range to ask about more.`),
    make(
      "ul.chips",
      {},
      examples.questions.slice(0, 6).map((text) =>
        make(
          "li",
          {},
          make(
            "button.chip",
            {
              type: "button",
              onclick: () => attempt(() => ask(text, state.range ?? { start_s: state.time_s, end_s: state.time_s })),
            },
            text,
          ),
        ),
      ),
    ),
  );
  fill(
    $("#answers"),
    cards,
    !cards.length && hint,
    cards.length > 0 && make("details.examples", {}, make("summary", {}, "Questions it knows"), hint),
  );
}

export function mountAnswers() {
  on("answers archive", draw);
}
