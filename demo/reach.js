// Accessibility: keyboard navigation, announcements for screen readers, and a notice when the server is gone.
(() => {
  // ---- lists: typing replaces the selection; an open list is not a tab stop of its own
  document.addEventListener("focusin", (event) => {
    if (event.target.matches?.("input[role=combobox]")) event.target.select();
  });

  // ---- tabs: a single tab stop, and arrow keys between tabs (ARIA Authoring Practices, tabs pattern)
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

  // ---- results are announced once, briefly, in a live region
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
    // Gradio patches the HTML: an added node may be anywhere within its component.
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

  // ---- server: polled, so that a page whose server has stopped does not show "ready"
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
