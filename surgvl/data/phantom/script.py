"""The script of a phantom video: style, phases, actions and events, drawn from the seed of that video alone.

The random state of video k is `SeedSequence([seed, k, stream])`, with a stream for each kind of choice: videos are
independent of each other and of the number of workers, and a new kind of event does not change existing labels.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from surgvl.core.errors import ConfigError
from surgvl.core.ontology import CHOLEC80_TOOLS
from surgvl.data.phantom.plan import LENGTH_SIGMA, PHASE_SHARES, PHASE_TRIPLETS
from surgvl.data.phantom.scene import Action, Event, Phase, Scene, Style, Wave

VERSION = 1
_STYLE, _PHASES, _ACTIONS, _EVENTS = range(4)
_APART = 0.36


def _rng(seed: int, index: int, stream: int) -> np.random.Generator:
    return np.random.default_rng(np.random.SeedSequence([seed, index, stream]))


def _draw(rng: np.random.Generator, low: float, high: float, digits: int = 4) -> float:
    """A uniform number, rounded so that JSON stores it exactly."""
    # What `rng.uniform` gives, which takes three times as long for a single number.
    return round(low + (high - low) * rng.random(), digits)


def _waves(rng: np.random.Generator, amplitude: float, shake: float) -> tuple[Wave, ...]:
    """Two slow sinusoids (breathing, the assistant's arm) and a small tremor."""
    slow = [Wave(_draw(rng, 0.3, 1.0) * amplitude, _draw(rng, 0.03, 0.18), _draw(rng, 0, 2 * math.pi)) for _ in "ab"]
    return (*slow, Wave(shake, _draw(rng, 0.8, 2.4), _draw(rng, 0, 2 * math.pi)))


def _style(rng: np.random.Generator) -> Style:
    return Style(
        hue_shift_deg=_draw(rng, -9, 9),
        saturation=_draw(rng, 0.8, 1.15),
        light=_draw(rng, 0.95, 1.3),
        zoom=_draw(rng, 0.92, 1.12),
        pace=_draw(rng, 0.85, 1.2),
        light_x=_draw(rng, 0.4, 0.6),
        light_y=_draw(rng, 0.38, 0.58),
        light_radius=_draw(rng, 0.6, 0.85),
        round_radius=_draw(rng, 0.53, 0.62) if rng.random() < 0.45 else 0.0,
        texture_seed=int(rng.integers(1 << 31)),
        noise=_draw(rng, 0.6, 2.2),
        drift_x=_waves(rng, 0.022, 0.0015),
        drift_y=_waves(rng, 0.022, 0.0015),
        drift_rotation=_waves(rng, 0.045, 0.002),
        drift_zoom=_waves(rng, 0.025, 0.001),
    )


def _phases(rng: np.random.Generator, duration_s: float) -> tuple[Phase, ...]:
    """Cholec80's order with its variations: cleaning before or after packaging or retraction, some phases skipped."""
    names = [name for name, (_, absent) in PHASE_SHARES.items() if rng.random() >= absent]
    if "CleaningCoagulation" in names:
        names.remove("CleaningCoagulation")
        after = names.index("GallbladderDissection") + 1
        names.insert(int(rng.integers(after, len(names) + 1)), "CleaningCoagulation")
    length = np.array([PHASE_SHARES[name][0] for name in names]) * rng.lognormal(0.0, LENGTH_SIGMA, len(names))
    length = np.maximum(length / length.sum(), 0.06)
    edges = np.concatenate([[0.0], np.cumsum(length / length.sum())]) * duration_s
    times = [round(float(edge), 2) for edge in edges]
    return tuple(Phase(name, times[k], times[k + 1]) for k, name in enumerate(names))


def _lane(rng: np.random.Generator, phase: Phase, pace: float, mean_gap_s: float) -> list[tuple[float, float]]:
    """Time spans of 3 to 7 s in one lane of a phase, with pauses; the last one ends with the phase."""
    spans = []
    time = phase.start_s + min(float(rng.exponential(mean_gap_s)), 0.5 * (phase.end_s - phase.start_s))
    while phase.end_s - time > 1.5:
        end = time + float(rng.uniform(3.0, 7.0)) / pace
        if phase.end_s - end < 1.5:
            end = phase.end_s
        spans.append((round(time, 2), round(end, 2)))
        time = end + 0.05 + float(rng.exponential(mean_gap_s))
    return spans


def _triplet(rng: np.random.Generator, phase: str, concurrent: Sequence[Action]) -> str | None:
    """A triplet compatible with concurrent actions: another target and another tool (two graspers are allowed)."""
    targets = {action.target for action in concurrent}
    tools = {action.instrument for action in concurrent} - {"grasper"}
    weights = {}
    for triplet, weight in PHASE_TRIPLETS[phase].items():
        instrument, _, target = triplet.split(",")
        if target not in targets and instrument not in tools:
            weights[triplet] = weight
    if not weights:
        return None
    share = np.array(list(weights.values()))
    return list(weights)[rng.choice(len(weights), p=share / share.sum())]


def _place(rng: np.random.Generator, concurrent: Sequence[Action]) -> tuple[float, float]:
    """A work site away from concurrent ones: the first of 40 draws that is far enough, else the farthest."""
    best, best_distance = (0.5, 0.5), -1.0
    for _ in range(40):
        x, y = _draw(rng, 0.24, 0.76), _draw(rng, 0.28, 0.76)
        distance = min((math.hypot(x - a.x, y - a.y) for a in concurrent), default=1.0)
        if distance >= _APART:
            return x, y
        if distance > best_distance:
            best, best_distance = (x, y), distance
    return best


def _shaft_distance(port: tuple[float, float], tip: tuple[float, float], point: tuple[float, float]) -> float:
    """Distance of a point from the line segment between port and tip."""
    along = np.subtract(tip, port)
    share = float(np.clip(np.dot(np.subtract(point, port), along) / np.dot(along, along), 0.0, 1.0))
    return float(np.hypot(*(np.subtract(point, port) - share * along)))


def _action(
    rng: np.random.Generator,
    triplet: str,
    span: tuple[float, float],
    role: str,
    pace: float,
    concurrent: Sequence[Action],
) -> Action:
    """Stage a triplet: its site, the port it enters from and the phase angles of its motion."""
    x, y = _place(rng, concurrent)
    ports = {
        "left": (-0.45, y + _draw(rng, -0.25, 0.45)),
        "right": (1.45, y + _draw(rng, -0.25, 0.45)),
        "top": (x + _draw(rng, -0.45, 0.45), -0.5),
    }
    taken = {action.side for action in concurrent}
    order = ["left", "top", "right"] if x < 0.5 else ["right", "top", "left"]
    if rng.random() < 0.25:
        order[:2] = order[1::-1]
    # The first free port whose shaft stays clear of the other sites; else the one with the largest distance.
    free = [side for side in order if side not in taken] or order
    clear = [min((_shaft_distance(ports[side], (x, y), (a.x, a.y)) for a in concurrent), default=1.0) for side in free]
    side = next((s for s, away in zip(free, clear, strict=True) if away > 0.2), free[int(np.argmax(clear))])
    port_x, port_y = ports[side]
    instrument, verb, target = triplet.split(",")
    return Action(
        instrument=instrument,
        verb=verb,
        target=target,
        start_s=span[0],
        end_s=span[1],
        role="main" if role == "main" else "assist",
        side="left" if side == "left" else "right" if side == "right" else "top",
        port_x=round(port_x, 4),
        port_y=round(port_y, 4),
        x=x,
        y=y,
        rotation_rad=_draw(rng, 0, 2 * math.pi),
        scale=_draw(rng, 0.88, 1.12),
        mirrored=bool(rng.random() < 0.5),
        # Tempo varies by only a few percent, so that a verb keeps its frequencies.
        tempo=round(1.0 + 0.1 * (pace - 1.0) + _draw(rng, -0.02, 0.02), 4),
        phi_axial=_draw(rng, 0, 2 * math.pi, 6),
        phi_lateral=_draw(rng, 0, 2 * math.pi, 6),
        phi_jaw=_draw(rng, 0, 2 * math.pi, 6),
    )


def _actions(rng: np.random.Generator, phases: Sequence[Phase], pace: float) -> tuple[Action, ...]:
    actions: list[Action] = []
    for phase in phases:
        main: list[Action] = []
        for span in _lane(rng, phase, pace, 0.35):
            # Draw once more to avoid the same triplet twice in a row.
            triplet = _triplet(rng, phase.name, ())
            if main and triplet == main[-1].triplet:
                triplet = _triplet(rng, phase.name, ())
            if triplet is not None:
                main.append(_action(rng, triplet, span, "main", pace, ()))
        assist: list[Action] = []
        for span in _lane(rng, phase, pace, 4.2):
            concurrent = [a for a in main if a.start_s < span[1] and span[0] < a.end_s]
            triplet = _triplet(rng, phase.name, concurrent)
            if triplet is not None:
                assist.append(_action(rng, triplet, span, "assist", pace, concurrent))
        actions += main + assist
    return tuple(actions)


def _events(rng: np.random.Generator, duration_s: float) -> tuple[Event, ...]:
    """Smoke, blood and out-of-body periods: Poisson counts over the video, uniform times."""
    events = []
    plan = (
        ("smoke", 1.6, 3.0, 9.0, 0.2, 0.55),
        ("blood", 1.0, 15.0, 40.0, 0.5, 0.9),
        ("out_of_body", 0.5, 1.0, 2.5, 0.8, 1.0),
    )
    for kind, rate, short_s, long_s, weak, strong in plan:
        for _ in range(int(rng.poisson(rate * duration_s / 90.0))):
            start = _draw(rng, 0.0, duration_s, 2)
            end = round(min(duration_s, start + float(rng.uniform(short_s, long_s))), 2)
            if end - start < 0.5:
                continue
            events.append(
                Event(
                    kind="smoke" if kind == "smoke" else "blood" if kind == "blood" else "out_of_body",
                    start_s=start,
                    end_s=end,
                    x=_draw(rng, 0.15, 0.85),
                    y=_draw(rng, 0.15, 0.85),
                    strength=_draw(rng, weak, strong),
                    seed=int(rng.integers(1 << 31)),
                )
            )
    return tuple(events)


def script(seed: int, index: int, duration_s: float = 90.0, fps: float = 10.0) -> Scene:
    """Write the script of one video.

    Args:
        seed: seed of the phantom.
        index: index of the video, from 0.
        duration_s: duration in seconds, at least 10.
        fps: frames per second at which the video will be written; actions do not depend on it.

    Returns:
        The scene; the same arguments give an equal scene on every machine.

    Raises:
        ConfigError: a negative seed or index, a video under 10 s, or a rate that is not positive.
    """
    if seed < 0 or index < 0:
        raise ConfigError(f"phantom seed and video index must be >= 0, got {seed} and {index}")
    if duration_s < 10.0 or fps <= 0:
        raise ConfigError(f"phantom duration_s must be >= 10 and fps > 0, got {duration_s:g} and {fps:g}")
    style = _style(_rng(seed, index, _STYLE))
    phases = _phases(_rng(seed, index, _PHASES), duration_s)
    return Scene(
        version=VERSION,
        seed=seed,
        index=index,
        duration_s=duration_s,
        fps=fps,
        style=style,
        phases=phases,
        actions=_actions(_rng(seed, index, _ACTIONS), phases, style.pace),
        events=_events(_rng(seed, index, _EVENTS), duration_s),
    )


@dataclass(frozen=True)
class SecondLabels:
    """Labels of second k, taken at k + 0.5: phase, triplet names (one per instance) and Cholec80 tools."""

    second: int
    phase: str
    triplets: tuple[str, ...]
    tools: tuple[str, ...]
    out_of_body: bool


def labels_per_second(scene: Scene) -> list[SecondLabels]:
    """Labels of each second of a scene; no triplets and tools while the scope is out of the body."""
    rows = []
    for second in range(int(scene.duration_s)):
        time = second + 0.5
        active = scene.active(time)
        names = {action.instrument.capitalize() for action in active}
        if any(action.target == "specimen_bag" for action in active):
            names.add("SpecimenBag")
        tools = tuple(tool for tool in CHOLEC80_TOOLS if tool in names)
        triplets = tuple(action.triplet for action in active)
        rows.append(SecondLabels(second, scene.phase_at(time).name, triplets, tools, scene.out_of_body(time)))
    return rows
