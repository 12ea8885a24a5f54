// The one field: find moments by a sentence, by a moment with or without a sentence, by an image; or ask.

import { address, request } from "./api.js";
import { ask } from "./ask.js";
import { $, $$, fill, iconButton, isCalm, make } from "./dom.js";
import { again, find, findLike, findText, here, where } from "./search.js";
import { duration, on, set, state } from "./state.js";
import { attempt, note } from "./voice.js";

const QUESTION = /\?\s*$|^(what|which|who|where|when|why|how|is|are|does|do|can)\s.{8,}/i;
const NAMES = { find: "Find", like: "Find like this", ask: "Ask" };
const scopes = { find: "all", like: "all", ask: "moment" };
let image = null; // {id, name}
let isChosen = false; // whether the person has chosen what to do with the text

const mode = () => $("#field input[name=mode]:checked").value;

export function setMode(value) {
  $(`#field input[value=${value}]`).checked = true;
  drawMode();
}

/** Choices of where to look, or of what a question is about. */
function choices() {
  if (mode() === "ask")
    return [
      ["moment", state.range ? "the marked range" : "this moment"],
      ["recording", "this recording"],
    ];
  return [
    ["all", "all recordings"],
    ["one", "this recording"],
  ];
}

function drawMode() {
  const now = mode();
  const { sentences = [], questions = [] } = state.archive?.examples ?? {};
  const example = {
    find: sentences[0] ?? "What the clip should show",
    like: "optional: and also …",
    ask: questions[0] ?? "A question about this moment",
  }[now];
  $("#text").placeholder = example;
  $("#go").setAttribute("aria-label", NAMES[now]);
  fill(
    $("#scope"),
    choices().map(([value, text]) => make("option", { value, selected: scopes[now] === value }, text)),
  );
  $("#picture-label").hidden = now === "ask";
}

function drawPicture() {
  $("#picture").hidden = !image;
  if (image)
    fill(
      $("#picture"),
      image.name,
      iconButton("close", "Remove the image", () => ((image = null), drawPicture())),
    );
}

async function takePicture(file) {
  if (!file) return;
  const form = new FormData();
  form.append("file", file);
  await attempt(async () => {
    const { id } = await request(address(["images"]), { method: "POST", form });
    image = { id, name: file.name || "image" };
    drawPicture();
    setMode("find");
    submit();
    leave();
  });
}

/** From here on keys act on the recording; a phone puts its keyboard away, and shows what is found below the lanes. */
function leave() {
  $("#stage").focus({ preventScroll: true });
  const isOneColumn = window.matchMedia("(max-width: 860px)").matches;
  if (isOneColumn && (state.isSearching || state.search || state.answers.length))
    $("#side").scrollIntoView({ block: "start", behavior: isCalm() ? "auto" : "smooth" });
}

function submit() {
  const text = $("#text").value.trim();
  const now = mode();
  if (now === "ask") {
    if (!text) return note("Write a question, or choose one of the examples");
    const whole = scopes.ask === "recording";
    return ask(
      text,
      whole ? { start_s: 0, end_s: duration() } : (state.range ?? { start_s: state.time_s, end_s: state.time_s }),
    );
  }
  where.recordings = scopes[now] === "one" && state.current ? [state.current] : [];
  if (now === "like") return state.current ? findLike(here(), text) : note("Open a recording first");
  if (image) return find({ text, image: image.id }, text ? `${image.name} and “${text}”` : image.name);
  if (!text) return note("Write what the clip should show, or choose one of the examples");
  return findText(text);
}

/** Enter sends the text; a line that is pasted with breaks is one line. */
function mountText() {
  $("#text").addEventListener("keydown", (event) => {
    // While an input method composes, Enter takes what it suggests.
    if (event.key !== "Enter" || event.isComposing) return;
    event.preventDefault();
    $("#field").requestSubmit();
  });
  $("#text").addEventListener("input", () => {
    const text = $("#text").value;
    if (text.includes("\n")) $("#text").value = text.replace(/\s*\n\s*/g, " ");
    if (!text) isChosen = false;
    if (isChosen || mode() === "like" || !state.archive?.can.ask) return;
    setMode(QUESTION.test(text) ? "ask" : "find");
  });
  $("#clear").addEventListener("click", () => {
    $("#text").value = "";
    $("#text").dispatchEvent(new Event("input"));
    $("#text").focus();
  });
}

export function mountField() {
  mountText();
  $("#field").addEventListener("submit", (event) => {
    event.preventDefault();
    submit();
    leave();
  });
  for (const radio of $$("#field input[name=mode]")) {
    radio.addEventListener("change", () => {
      isChosen = true;
      drawMode();
      // Nothing needs to be written to find more like this.
      if (mode() === "like" && !$("#text").value) submit();
      else $("#text").focus();
    });
  }
  $("#scope").addEventListener("change", (event) => {
    scopes[mode()] = event.target.value;
    if (mode() === "ask") return;
    where.recordings = event.target.value === "one" && state.current ? [state.current] : [];
    again();
  });
  $("#picture-file").addEventListener("change", (event) => {
    takePicture(event.target.files[0]);
    // So that the same file can be chosen again.
    event.target.value = "";
  });
  $("#field").addEventListener("paste", (event) => {
    const file = [...event.clipboardData.files].find((each) => each.type.startsWith("image/"));
    if (file) takePicture(file);
  });
  on("archive", () => {
    const { can } = state.archive;
    for (const [name, isUsable] of Object.entries({ find: can.search, like: can.search || can.like, ask: can.ask })) {
      const radio = $(`#field input[value=${name}]`);
      radio.disabled = !isUsable;
      radio.closest("label").title = isUsable ? "" : "This archive has no model for it";
    }
    drawMode();
  });
  on("range", drawMode);
  on("isSearching", () => $("#field").classList.toggle("busy", state.isSearching));
}

/** Put a text into the field and find it, as an address asks for. */
export function search(text) {
  $("#text").value = text;
  setMode("find");
  if (text) return findText(text);
  return set({ search: null, hit: null, curve: null });
}
