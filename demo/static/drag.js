// The pointer on the timeline: a click seeks or opens, a drag marks a range; Ctrl and the wheel zoom.

import { seek } from "./player.js";
import { duration, set, state } from "./state.js";

const SLACK_PX = 4; // less than that is a click
const WHEEL_ZOOM = 0.0022;

/** Follow a pointer from its press to its release. */
function follow(element, { onStart, onMove, onEnd }) {
  element.addEventListener("pointerdown", (event) => {
    if (event.button !== 0) return;
    const drag = onStart(event);
    if (!drag) return;
    element.setPointerCapture(event.pointerId);
    const move = (moved) => onMove(drag, moved);
    const end = (ended) => {
      element.removeEventListener("pointermove", move);
      element.removeEventListener("pointerup", end);
      element.removeEventListener("pointercancel", end);
      if (ended.type === "pointerup") onEnd?.(drag, ended);
    };
    element.addEventListener("pointermove", move);
    element.addEventListener("pointerup", end);
    element.addEventListener("pointercancel", end);
  });
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
      return { from_px: event.clientX, from_s: fixed_s ?? timeAt(event), box, isDrag: fixed_s !== null };
    },
    onMove: (drag, event) => {
      if (!drag.isDrag && Math.abs(event.clientX - drag.from_px) < SLACK_PX) return;
      drag.isDrag = true;
      event.preventDefault();
      set({ range: ordered(drag.from_s, timeAt(event)), marked_s: null });
    },
    onEnd: (drag, event) => {
      if (drag.isDrag) changeLabel();
      else if (!openBox(drag.box, timeAt(event))) seek(timeAt(event));
    },
  });
  scroller.addEventListener("dblclick", (event) => {
    const box = document.elementsFromPoint(event.clientX, event.clientY).find((each) => each.matches(".box"))?.box;
    if (box) markBox(box);
  });
  scroller.addEventListener(
    "wheel",
    (event) => {
      const across_s =
        ((event.shiftKey ? event.deltaY || event.deltaX : event.deltaX) / over.clientWidth) *
        (state.view.end_s - state.view.start_s);
      if (event.ctrlKey || event.metaKey) zoom(Math.exp(-event.deltaY * WHEEL_ZOOM), timeAt(event));
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
