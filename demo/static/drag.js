// The pointer on the timeline: a click seeks or opens, a drag marks a range; two fingers, or Ctrl and the wheel, zoom.

import { seek } from "./player.js";
import { duration, set, state } from "./state.js";

const SLACK_PX = 4; // less than that is a click
const WHEEL_ZOOM = 0.0022;

/** Follow a pointer from its press to its release; a second finger takes back what the first has done. */
function follow(element, { onStart, onMove, onEnd, onCancel }) {
  let giveUp = () => {};
  element.addEventListener("pointerdown", (event) => {
    if (!event.isPrimary) return giveUp();
    if (event.button !== 0) return;
    const drag = onStart(event);
    if (!drag) return;
    element.setPointerCapture(event.pointerId);
    const move = (moved) => moved.isPrimary && onMove(drag, moved);
    const leave = () => {
      giveUp = () => {};
      element.removeEventListener("pointermove", move);
      element.removeEventListener("pointerup", end);
      element.removeEventListener("pointercancel", end);
    };
    const end = (ended) => {
      if (!ended.isPrimary) return;
      leave();
      if (ended.type === "pointerup") onEnd?.(drag, ended);
    };
    giveUp = () => (leave(), onCancel?.(drag));
    element.addEventListener("pointermove", move);
    element.addEventListener("pointerup", end);
    element.addEventListener("pointercancel", end);
  });
}

/** Two fingers: the times that they touched stay under them. */
function pinch(element, over, show) {
  const fingers = new Map(); // pointer -> pixels from the left end
  let held = null; // [time of the left finger, of the right one]
  const places = () => [...fingers.values()].sort((one, other) => one - other);
  const left = () => over.getBoundingClientRect().left;
  const timeAt = (place) =>
    state.view.start_s + (place / over.clientWidth) * (state.view.end_s - state.view.start_s);
  element.addEventListener("pointerdown", (event) => {
    if (event.pointerType !== "touch" || !duration()) return;
    fingers.set(event.pointerId, event.clientX - left());
    held = fingers.size === 2 ? places().map(timeAt) : null;
  });
  element.addEventListener("pointermove", (event) => {
    if (!fingers.has(event.pointerId)) return;
    fingers.set(event.pointerId, event.clientX - left());
    if (!held) return;
    const [one, other] = places();
    const second_px = Math.max(1, other - one) / Math.max(1e-3, held[1] - held[0]);
    const start_s = held[0] - one / second_px;
    show(start_s, start_s + over.clientWidth / second_px);
  });
  for (const name of ["pointerup", "pointercancel"]) {
    element.addEventListener(name, (event) => {
      if (fingers.delete(event.pointerId)) held = null;
    });
  }
  // Else a browser would scroll the lanes, and the fingers be lost.
  element.addEventListener("touchmove", (event) => held && event.preventDefault(), { passive: false });
}

const ordered = (one, other) => ({ start_s: Math.min(one, other), end_s: Math.max(one, other) });

export function dragLanes({ scroller, over }, { show, zoom, openBox, changeLabel, markBox }) {
  const timeAt = (event) => {
    const box = over.getBoundingClientRect();
    const share = Math.min(1, Math.max(0, (event.clientX - box.left) / box.width));
    return state.view.start_s + share * (state.view.end_s - state.view.start_s);
  };
  follow(scroller, {
    onStart: (event) => {
      if (!duration() || event.clientX < over.getBoundingClientRect().left) return null;
      const edge = event.target.dataset?.edge;
      const fixed_s = edge && state.range ? state.range[edge === "start" ? "end_s" : "start_s"] : null;
      // The pointer is captured by the scroller: what lies under it is asked for now.
      const box = event.target.closest(".box")?.box ?? null;
      const { range, marked_s, chosen } = state;
      return {
        from_px: event.clientX,
        from_s: fixed_s ?? timeAt(event),
        box,
        isDrag: fixed_s !== null,
        isEdge: fixed_s !== null,
        before: { range, marked_s, chosen },
      };
    },
    onMove: (drag, event) => {
      if (!drag.isDrag && Math.abs(event.clientX - drag.from_px) < SLACK_PX) return;
      drag.isDrag = true;
      event.preventDefault();
      const chosen = drag.isEdge ? state.chosen : null;
      set({ range: ordered(drag.from_s, timeAt(event)), marked_s: null, chosen });
    },
    onEnd: (drag, event) => {
      if (drag.isEdge) changeLabel();
      else if (!drag.isDrag && !openBox(drag.box, timeAt(event))) seek(timeAt(event));
    },
    onCancel: (drag) => set(drag.before),
  });
  pinch(scroller, over, show);
  scroller.addEventListener("dblclick", (event) => {
    const box = document.elementsFromPoint(event.clientX, event.clientY).find((each) => each.matches(".box"))?.box;
    if (box) markBox(box);
  });
  // A pinch on a touchpad is Ctrl and the wheel, too.
  scroller.closest("#timeline").addEventListener(
    "wheel",
    (event) => {
      const about_s = event.target.closest(".overview") ? undefined : timeAt(event);
      const across_s =
        ((event.shiftKey ? event.deltaY || event.deltaX : event.deltaX) / over.clientWidth) *
        (state.view.end_s - state.view.start_s);
      if (event.ctrlKey || event.metaKey) zoom(Math.exp(-event.deltaY * WHEEL_ZOOM), about_s);
      else if (event.shiftKey || Math.abs(event.deltaX) > Math.abs(event.deltaY))
        show(state.view.start_s + across_s, state.view.end_s + across_s);
      else return;
      event.preventDefault();
    },
    { passive: false },
  );
}

export function dragOverview({ overview }, { show }) {
  const timeAt = (event) => {
    const box = overview.getBoundingClientRect();
    return Math.min(1, Math.max(0, (event.clientX - box.left) / box.width)) * duration();
  };
  follow(overview, {
    onStart: (event) => {
      if (!duration()) return null;
      const isWindow = Boolean(event.target.closest(".window")) && !event.target.closest(".whole");
      return {
        at_s: timeAt(event),
        at_px: event.clientX,
        edge: event.target.closest(".grip")?.dataset.edge,
        isWindow,
        view: { ...state.view },
        isDrag: false,
      };
    },
    onMove: (drag, event) => {
      drag.isDrag ||= Math.abs(event.clientX - drag.at_px) >= SLACK_PX;
      if (!drag.isDrag) return;
      const moved = timeAt(event) - drag.at_s;
      const { start_s, end_s } = drag.view;
      if (drag.edge === "start") show(Math.min(start_s + moved, end_s), end_s);
      else if (drag.edge === "end") show(start_s, Math.max(end_s + moved, start_s));
      else if (drag.isWindow) show(start_s + moved, end_s + moved);
      else {
        // A drag across the whole recording draws a new window.
        const { start_s: from, end_s: to } = ordered(drag.at_s, timeAt(event));
        show(from, to);
      }
    },
    onEnd: (drag, event) => drag.isDrag || seek(timeAt(event)),
    onCancel: (drag) => set({ view: drag.view }),
  });
  overview.addEventListener("keydown", (event) => {
    const steps = { ArrowLeft: -1, ArrowDown: -1, ArrowRight: 1, ArrowUp: 1, PageDown: -10, PageUp: 10 };
    if (event.key in steps) seek(state.time_s + steps[event.key]);
    else if (event.key === "Home") seek(0);
    else if (event.key === "End") seek(duration());
    else return;
    event.preventDefault();
    event.stopPropagation();
  });
}
