// Behaviour of the page: the player's time and position, seeking, playheads, and clips that stop at their end.
// All events are delegated from the document, because Gradio replaces parts of the page.
(() => {
  const stage = () => document.querySelector(".stage");
  const player = () => document.querySelector(".stage video");
  const stills = () => document.querySelector(".stage .stills");
  const showsStills = () => stills() && !stills().hidden;
  const duration = () => Number(stage()?.dataset.duration ?? 0);
  // A card belongs to one recording; while the player shows another, its positions are not the player's.
  const isOfStage = (card) => card.dataset.of === stage()?.dataset.video;
  let pending = null;

  const clock = (seconds, tenths) => {
    const whole = Math.floor(seconds + 1e-6);
    const two = (number) => String(number).padStart(2, "0");
    const hours = whole >= 3600 ? `${Math.floor(whole / 3600)}:` : "";
    const tail = tenths ? `.${Math.floor(seconds * 10 + 1e-6) % 10}` : "";
    return `${hours}${two(Math.floor(whole / 60) % 60)}:${two(whole % 60)}${tail}`;
  };

  const scrub = () => document.querySelector(".stage .controls input");
  const now = () => (showsStills() ? Number(scrub().value) : (player()?.currentTime ?? 0));

  const paint = () => {
    const at = now();
    const share = duration() ? Math.min(100, (100 * at) / duration()) : 0;
    document.querySelectorAll(".stage .now").forEach((place) => (place.textContent = clock(at, true)));
    if (scrub()) {
      scrub().value = at;
      scrub().style.setProperty("--passed", `${share}%`);
      scrub().setAttribute("aria-valuetext", clock(at, true));
    }
    document.querySelectorAll("[data-of]").forEach((card) => card.classList.toggle("stale", !isOfStage(card)));
    document.querySelectorAll("[data-track]").forEach((track) => {
      if (!isOfStage(track.closest("[data-of]"))) return;
      track.querySelector(".head").style.left = `${share}%`;
      if (track.getAttribute("role") !== "slider") return;
      track.setAttribute("aria-valuenow", String(Math.round(at)));
      track.setAttribute("aria-valuetext", clock(at));
    });
  };

  const seek = (seconds) => {
    const to = Math.min(Math.max(0, seconds), Math.max(0, duration() - 0.05));
    if (showsStills()) {
      scrub().value = to;
      showFrame();
    } else if (player()) {
      player().currentTime = to;
    }
    paint();
  };

  const reveal = () => {
    const box = stage()?.getBoundingClientRect();
    if (!box || (box.top >= -40 && box.top < window.innerHeight - 120)) return;
    const calm = window.matchMedia("(prefers-reduced-motion: reduce)").matches;
    stage().scrollIntoView({ block: "start", behavior: calm ? "auto" : "smooth" });
  };

  // Show a moment of another video: Python switches the player's video, then `arrive` sets the time.
  const open = (video, seconds) => {
    if (stage()?.dataset.video === video) {
      seek(seconds);
      reveal();
      return true;
    }
    pending = { video, seconds };
    return false;
  };

  const showFrame = () => {
    const image = stills().querySelector("img");
    image.src = image.dataset.frame + scrub().value;
  };

  // Media events do not bubble, so these listeners use the capture phase.
  const arrive = () => {
    if (pending && stage()?.dataset.video === pending.video) {
      const { seconds } = pending;
      pending = null;
      seek(seconds);
      reveal();
    }
    paint();
  };
  document.addEventListener("loadedmetadata", (event) => event.target === player() && arrive(), true);
  for (const name of ["timeupdate", "seeking", "seeked"]) {
    document.addEventListener(name, (event) => event.target === player() && paint(), true);
  }
  document.addEventListener(
    "error",
    (event) => {
      if (event.target !== player() || !stills()) return;
      player().hidden = true;
      stills().hidden = false;
      showFrame();
      arrive();
    },
    true,
  );
  // Only one video plays at a time; a clip plays from its start and stops at its end.
  const follow = () => {
    if (!player() || player().paused) return;
    paint();
    requestAnimationFrame(follow);
  };
  const mark = (video) => video.closest(".stage, .hit")?.classList.toggle("playing", !video.paused);
  document.addEventListener(
    "play",
    (event) => {
      document.querySelectorAll("video").forEach((other) => other !== event.target && other.pause());
      const { start, end } = event.target.dataset;
      const at = event.target.currentTime;
      if (start && (at < start - 0.3 || at >= end - 0.1)) event.target.currentTime = Number(start);
      mark(event.target);
      follow();
    },
    true,
  );
  document.addEventListener("pause", (event) => mark(event.target), true);
  document.addEventListener(
    "timeupdate",
    (event) => {
      const { start, end } = event.target.dataset ?? {};
      if (!end) return;
      const share = (event.target.currentTime - start) / (end - start);
      event.target.parentElement.style.setProperty("--passed", `${Math.min(100, Math.max(0, 100 * share))}%`);
      if (share >= 1) event.target.pause();
    },
    true,
  );
  const toggle = (video) => (video.paused ? video.play().catch(() => {}) : video.pause());
  document.addEventListener("fullscreenchange", () => {
    if (player()) player().controls = document.fullscreenElement === player();
  });

  document.addEventListener("input", (event) => event.target === scrub() && seek(Number(scrub().value)));
  document.addEventListener("click", (event) => {
    const track = event.target.closest("[data-track]");
    if (track && isOfStage(track.closest("[data-of]"))) {
      const box = track.getBoundingClientRect();
      seek(((event.clientX - box.left) / box.width) * duration());
      return;
    }
    const opener = event.target.closest("[data-open]");
    if (opener) {
      document.querySelectorAll(".hit.opened").forEach((hit) => hit.classList.remove("opened"));
      opener.closest(".hit")?.classList.add("opened");
    }
    if (event.target === player() || event.target.closest("[data-play]")) toggle(player());
    if (event.target.closest("[data-full]")) player()?.requestFullscreen?.();
    const clip = event.target.closest("[data-clip]");
    if (clip) toggle(clip.parentElement.querySelector("video"));
  });
  // A menu closes when something is chosen, outside of it is clicked, or Escape is pressed.
  const openMenus = () => document.querySelectorAll("[data-menu][open]");
  document.addEventListener("click", (event) => {
    for (const menu of openMenus()) menu.open = menu.contains(event.target) && !event.target.closest("a");
  });
  document.addEventListener("keydown", (event) => {
    if (event.key !== "Escape") return;
    for (const menu of openMenus()) {
      menu.open = false;
      menu.querySelector("summary").focus();
    }
  });
  document.addEventListener("keydown", (event) => {
    if (!event.target.matches?.("[data-track]") || !isOfStage(event.target.closest("[data-of]"))) return;
    const steps = { ArrowLeft: -1, ArrowDown: -1, ArrowRight: 1, ArrowUp: 1, PageDown: -10, PageUp: 10 };
    if (event.key in steps) seek(now() + steps[event.key]);
    else if (event.key === "Home") seek(0);
    else if (event.key === "End") seek(duration());
    else return;
    event.preventDefault();
  });

  // Update a player, answer or timeline that has just been inserted.
  const cards = ".stage, [data-of]";
  new MutationObserver((changes) => {
    const fresh = changes.some(
      (change) =>
        change.type === "attributes" ||
        [...change.addedNodes].some((node) => node.nodeType === 1 && (node.matches(cards) || node.querySelector(cards))),
    );
    if (!fresh) return;
    if (showsStills() && !stills().querySelector("img").src) {
      showFrame();
      arrive();
    }
    paint();
  }).observe(document.documentElement, { childList: true, subtree: true, attributeFilter: ["data-of", "data-video"] });

  window.surgvl = { now, seek, open };
})();
