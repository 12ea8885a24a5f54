// For whoever uses keys or listens, and for whoever waits on a server that has gone.
(() => {
  // ---- lists: typing replaces what is picked; an open list is no stop of its own for the Tab key
  document.addEventListener("focusin", (event) => {
    if (event.target.matches?.("input[role=combobox]")) event.target.select();
  });

  // ---- tabs: one stop for the Tab key, arrows go on from there (ARIA authoring practices, tabs)
  const tabs = () => [...document.querySelectorAll("#tabs [role=tab]")];
  document.addEventListener("keydown", (event) => {
    const all = tabs();
    const at = all.indexOf(event.target);
    if (at < 0) return;
    const to = { ArrowLeft: at - 1, ArrowRight: at + 1, Home: 0, End: all.length - 1 }[event.key];
    if (to === undefined) return;
    event.preventDefault();
    const next = all[(to + all.length) % all.length];
    next.click();
    next.focus();
  });

  // ---- what has arrived is said once, shortly, in a place that a screen reader follows
  const voice = document.createElement("p");
  voice.id = "voice";
  voice.setAttribute("role", "status");
  const arrivals = [
    [".answer .said", (said) => `Answer: ${said.textContent}`],
    [".found span", (found) => found.textContent],
    [".timeline .eyebrow span", (title) => `Timeline of ${title.textContent}`],
  ];
  const say = (place) => {
    for (const [where, text] of arrivals) {
      const found = place.querySelector(where);
      if (found) voice.textContent = text(found);
    }
  };

  const settle = () => {
    tabs().forEach((tab) => (tab.tabIndex = tab.getAttribute("aria-selected") === "true" ? 0 : -1));
    document.querySelectorAll(".options, [role=listbox]").forEach((list) => (list.tabIndex = -1));
  };
  const watch = new MutationObserver((changes) => {
    settle();
    // Gradio changes what it can and adds the rest: an added node may lie anywhere in its place.
    const places = changes.map(({ target }) => target.closest("#answer, #hits, #timeline"));
    new Set(places).forEach((place) => place && say(place));
  });
  const begin = () => {
    document.body.append(voice);
    settle();
    watch.observe(document.body, { childList: true, subtree: true, attributeFilter: ["aria-selected"] });
  };
  if (document.readyState === "loading") document.addEventListener("DOMContentLoaded", begin);
  else begin();

  // ---- the server: asked now and then, so that a page without one does not call itself ready
  const PAUSE_MS = 3000;
  let before = "";
  const check = async () => {
    const pill = document.querySelector(".status");
    const answers = await fetch("alive", { cache: "no-store" }).then((reply) => reply.ok, () => false);
    if (pill && !answers && !before) {
      before = pill.outerHTML;
      pill.className = "status failed";
      pill.innerHTML = "<i></i>The server is not responding: restart it, then reload this page";
    } else if (pill && answers && before) {
      pill.outerHTML = before;
      before = "";
    }
    setTimeout(check, PAUSE_MS);
  };
  setTimeout(check, PAUSE_MS);
})();
