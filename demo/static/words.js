// Times, numbers and class names as people read them; core/class_names.py does the same for what Python writes.

const AND = { "clipping cutting": "clipping and cutting", "cleaning coagulation": "cleaning and coagulation" };
const two = (number) => String(number).padStart(2, "0");
const capital = (text) => text.charAt(0).toUpperCase() + text.slice(1);

/** Seconds as mm:ss or h:mm:ss, with tenths on request; truncated, not rounded, as in a video player. */
export function clock(seconds, tenths = false) {
  const whole = Math.floor(seconds + 1e-6);
  const hours = whole >= 3600 ? `${Math.floor(whole / 3600)}:` : "";
  const tail = tenths ? `.${Math.floor(seconds * 10 + 1e-6) % 10}` : "";
  return `${hours}${two(Math.floor(whole / 60) % 60)}:${two(whole % 60)}${tail}`;
}

export const span = (start_s, end_s, tenths = false) => `${clock(start_s, tenths)}–${clock(end_s, tenths)}`;

// Words end at underscores and dashes, and before a capital: CVSAssessment is CVS and Assessment.
const SEAM = /(?<=[a-z])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])|[_-]/g;
const ACRONYM = /^[A-Z][A-Z0-9]+$/;

/** A class of a track in words; a sentence stays, and so does a tag, which is a person's own words. */
export function className(track, name) {
  if (track === "tag") return name;
  return track === "triplet" ? actionName(name) : phaseName(name);
}

/** `CalotTriangleDissection` or `calot_triangle_dissection` -> Calot triangle dissection; a sentence stays. */
export function phaseName(name) {
  if (name.includes(" ")) return capital(name);
  const spaced = name
    .replace(SEAM, " ")
    .split(" ")
    .map((word) => (ACRONYM.test(word) ? word : word.toLowerCase()))
    .join(" ");
  return capital(AND[spaced] ?? spaced);
}

/** `hook,dissect,cystic_duct` -> dissect · cystic duct; a null triplet is an idle instrument. */
export function actionName(name, instrument = "") {
  const parts = name.split(",").map((part) => part.trim().replaceAll("_", " "));
  if (parts[1] === "null verb") return `${parts[0]} · idle`;
  return (instrument && parts[0] === instrument.replaceAll("_", " ") ? parts.slice(1) : parts).join(" · ");
}

/** `cystic_duct` -> cystic duct; a free-text answer stays as it is. */
export function answerText(text) {
  if (text.includes(" ")) return text;
  const spaced = text.replace("_null_verb_null_target", " idle").replaceAll("_", " ");
  return AND[spaced] ?? spaced;
}

export const plural = (count, word) => `${count.toLocaleString("en")} ${word}${count === 1 ? "" : "s"}`;
export const hours = (value) => (value >= 2 ? `${value.toFixed(1)} h` : `${Math.round(value * 60)} min`);
export const elapsed = (seconds) => (seconds >= 0.95 ? `${seconds.toFixed(1)} s` : `${Math.round(1000 * seconds)} ms`);

export function bytes(count) {
  const units = ["B", "kB", "MB", "GB", "TB"];
  const unit = Math.min(units.length - 1, count ? Math.floor(Math.log10(count) / 3) : 0);
  return `${(count / 1000 ** unit).toFixed(unit ? 1 : 0)}\u00a0${units[unit]}`;
}

/** A remaining time in words: nobody plans by the second. */
export function remaining(seconds) {
  if (seconds < 60) return "less than a minute";
  if (seconds < 5400) return `about ${Math.round(seconds / 60)} min`;
  return `about ${Math.round(seconds / 3600)} h`;
}

/** How sure the model is of a phase, in a word: the share of its softmax over all phases. */
export function confidenceWord(share) {
  if (share >= LIKELY) return "likely";
  return share >= UNSURE ? "perhaps" : "unsure";
}

export const LIKELY = 0.6;
export const UNSURE = 0.35;

export const day = (seconds) => new Date(1000 * seconds).toISOString().slice(0, 10);
