// Filters of the search; each acts as soon as it is changed.

import { make } from "./dom.js";
import { again, more, where } from "./search.js";
import { state } from "./state.js";
import { phaseName } from "./words.js";

const FIELDS = { procedure: "Procedure", source: "Source", surgeon: "Surgeon", tags: "Tag", phase: "Phase" };
let isOpen = false;

const count = () =>
  Object.keys(FIELDS).filter((field) => where[field].length).length +
  Boolean(where.date_from) +
  Boolean(where.date_to) +
  Boolean(more.minus);

function choice(field, values) {
  const change = (event) => {
    where[field] = event.target.value ? [event.target.value] : [];
    again();
  };
  const options = values.map((value) =>
    make("option", { value, selected: where[field].includes(value) }, field === "phase" ? phaseName(value) : value),
  );
  return make(
    "label",
    {},
    make("span", {}, FIELDS[field]),
    make("select", { onchange: change }, make("option", { value: "" }, "Any"), options),
  );
}

function date(field, label) {
  return make(
    "label",
    {},
    make("span", {}, label),
    make("input", {
      type: "date",
      value: where[field],
      onchange: (event) => ((where[field] = event.target.value), again()),
    }),
  );
}

/** The filters, folded behind their number. */
export function filters() {
  const values = state.archive.filters ?? {};
  const fields = Object.keys(FIELDS).filter((field) => (values[field] ?? []).length > 1);
  const minus = make(
    "label.wide",
    {},
    make("span", {}, "But not like"),
    make("input", {
      type: "text",
      value: more.minus,
      maxlength: 200,
      placeholder: "such as: smoke",
      onchange: (event) => ((more.minus = event.target.value.trim()), again()),
    }),
  );
  const clear = make(
    "button.plain",
    {
      type: "button",
      disabled: !count(),
      onclick: () => {
        for (const field of Object.keys(FIELDS)) where[field] = [];
        where.date_from = where.date_to = more.minus = "";
        again();
      },
    },
    "Clear",
  );
  return make(
    "details.filters",
    { open: isOpen, ontoggle: (event) => (isOpen = event.target.open) },
    make("summary", {}, "Filters", count() > 0 && make("span.count", {}, String(count()))),
    make(
      "div.fields",
      {},
      fields.map((field) => choice(field, values[field])),
      date("date_from", "From"),
      date("date_to", "Until"),
      minus,
      clear,
    ),
  );
}
