// Who sits here: the name that labels, clips and case details carry.

import { address, request } from "./api.js";
import { $, make } from "./dom.js";
import { dialog } from "./sheet.js";
import { on, set, state } from "./state.js";
import { attempt } from "./voice.js";

function ask() {
  const name = make("input", { type: "text", name: "name", value: state.archive.user, maxlength: 40, required: true });
  const save = (event) => {
    event.preventDefault();
    attempt(async () => {
      const { name: user } = await request(address(["user"]), { method: "PUT", body: { name: name.value } });
      set({ archive: { ...state.archive, user } });
      element.close();
    });
  };
  const form = make(
    "form.details",
    { onsubmit: save },
    make("label", {}, make("span", {}, "Labels, saved clips and case details carry this name."), name),
    make("div.dialog-foot", {}, make("button.primary", { type: "submit" }, "Save")),
  );
  const element = dialog("Your name", { kind: "slim" }, form);
  name.select();
}

export function mountUser() {
  $("#user").addEventListener("click", ask);
  on("archive", () => {
    $("#user").hidden = !state.archive.can.edit;
    $("#user").textContent = state.archive.user;
    $("#user").setAttribute("aria-label", `Your name: ${state.archive.user}`);
  });
}
