// Case details of a recording: a form, and who changed what before.

import { address, request } from "./api.js";
import { make } from "./dom.js";
import { readRecordings } from "./recordings.js";
import { dialog } from "./sheet.js";
import { recording, state } from "./state.js";
import { attempt, note } from "./voice.js";
import { day } from "./words.js";

const FIELDS = [
  ["title", "Title", "text", "What the page calls it"],
  ["procedure", "Procedure", "text", "laparoscopic cholecystectomy"],
  ["date", "Date", "text", "2024-05-03, 2024-05 or 2024"],
  ["surgeon", "Surgeon", "text", "A code, not a name"],
  ["tags", "Tags", "text", "teaching, difficult"],
  ["notes", "Notes", "area", ""],
];

const tags = (text) =>
  text
    .split(",")
    .map((each) => each.trim())
    .filter(Boolean);

/** Open the details of a recording. */
export async function editDetails(id) {
  const row = recording(id);
  const inputs = {};
  const rows = FIELDS.map(([field, label, kind, placeholder]) => {
    const value = field === "tags" ? row.details.tags.join(", ") : row.details[field];
    const attributes = {
      value,
      placeholder,
      name: field,
      disabled: !state.archive.can.edit,
      list: ["procedure", "surgeon"].includes(field) ? `known-${field}` : null,
    };
    inputs[field] =
      kind === "area" ? make("textarea", { ...attributes, rows: 3 }) : make("input", { ...attributes, type: kind });
    return make("label", {}, make("span", {}, label), inputs[field]);
  });
  const known = ["procedure", "surgeon"].map((field) =>
    make(
      "datalist",
      { id: `known-${field}` },
      (state.archive.filters?.[field] ?? []).map((value) => make("option", { value })),
    ),
  );
  const history = make("details.history", {}, make("summary", {}, "History"), make("p.soft", {}, "No changes yet"));
  const save = async (event) => {
    event.preventDefault();
    const changed = Object.fromEntries(
      FIELDS.map(([field]) => [
        field,
        field === "tags" ? tags(inputs[field].value) : inputs[field].value.trim(),
      ]).filter(([field, value]) => String(value) !== String(row.details[field])),
    );
    if (!Object.keys(changed).length) return element.close();
    return attempt(async () => {
      await request(address(["recordings", id]), { method: "PATCH", body: changed });
      await readRecordings();
      element.close();
      note("Case details are saved");
    });
  };
  const form = make(
    "form.details",
    { onsubmit: save },
    rows,
    known,
    history,
    make(
      "div.dialog-foot",
      {},
      make("button.outlined", { type: "button", onclick: () => element.close() }, "Cancel"),
      state.archive.can.edit && make("button.primary", { type: "submit" }, "Save"),
    ),
  );
  const element = dialog(`Case details of ${row.title}`, {}, form);
  await attempt(async () => {
    const changes = await request(address(["recordings", id, "details", "history"]));
    if (!changes.length) return;
    history.lastChild.replaceWith(
      make(
        "ul",
        {},
        [...changes]
          .reverse()
          .map((change) =>
            make(
              "li",
              {},
              make("b", {}, change.field),
              ` ${change.value || "(emptied)"} `,
              make("span.soft", {}, `${change.who}, ${day(change.made_s)}`),
            ),
          ),
      ),
    );
  });
}
