// Another model for the archive: a choice, and a job that embeds everything beside the vectors in use.

import { address, request } from "./api.js";
import { make } from "./dom.js";
import { readJobs } from "./jobs.js";
import { dialog } from "./sheet.js";
import { state } from "./state.js";
import { attempt, note } from "./voice.js";

const OTHER = "";

/** Choose a model, and begin. */
export async function chooseModel() {
  const models = await attempt(() => request(address(["models"])));
  if (!models) return;
  const { can, model } = state.archive;
  const purpose = make("p.soft");
  const path = make("input", {
    type: "text",
    placeholder: "/data/models/own",
    "aria-label": "Folder of a model on this machine",
  });
  const choice = make(
    "select",
    { name: "model" },
    models.map((each) => make("option", { value: each.name, selected: each.name === model.name }, each.title)),
    can.paths && make("option", { value: OTHER }, "A folder on this machine"),
  );
  const show = () => {
    path.hidden = choice.value !== OTHER;
    path.required = !path.hidden;
    purpose.textContent = models.find((each) => each.name === choice.value)?.purpose ?? "";
  };
  choice.addEventListener("change", show);
  const begin = (event) => {
    event.preventDefault();
    return attempt(async () => {
      const body = { kind: "reindex", model: choice.value || path.value.trim() };
      await request(address(["jobs"]), { method: "POST", body });
      element.close();
      note("All recordings are read with the other model; until then the present one is used");
      await readJobs();
    });
  };
  const element = dialog(
    "Another model",
    { kind: "slim" },
    make(
      "form.details",
      { onsubmit: begin },
      make(
        "p",
        {},
        "All recordings are read again, beside the present vectors, which are used until the last one is done. Labels, case details and clips stay.",
      ),
      make("label", {}, make("span", {}, "Model"), choice),
      purpose,
      path,
      make(
        "div.dialog-foot",
        {},
        make("button.outlined", { type: "button", onclick: () => element.close() }, "Cancel"),
        make("button.primary", { type: "submit" }, "Read again"),
      ),
    ),
  );
  show();
}
