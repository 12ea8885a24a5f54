"""The scene graph of a phantom video, and the position of everything at a given time: numbers only, no pixels.

Coordinates are in scene units: the image is the unit square (x right, y down) while the camera rests.

Verbs show only in motion. A tool leaves its rest pose along three degrees of freedom (axial: along the shaft, lateral:
across it, jaw: opening, roll or bend), each `sin(2 pi f_j(verb) t + phi_j)`, with phi_j uniform on the circle and
independent of everything else. At any single time, the three values are therefore independent arcsine variables for
every verb, including `null_verb` (f = 0): one frame carries no evidence about the verb, while two seconds of frames
reveal its frequencies.
"""

import json
import math
from dataclasses import asdict, dataclass
from typing import Literal, NamedTuple

import numpy as np
import numpy.typing as npt
from pydantic import TypeAdapter, ValidationError

from surgvl.core.arrays import Float64Array
from surgvl.core.errors import DataError

# Four frequencies (Hz) for each degree of freedom. Verbs are words of a code in which any two differ in at least two of
# three letters (jaw = axial + lateral mod 4). 1.6 Hz is below the Nyquist frequency at 4 frames/s.
_LEVELS = (0.0, 0.55, 1.05, 1.6)
_WORDS = {
    "grasp": (0, 3, 3),
    "retract": (1, 0, 1),
    "dissect": (3, 1, 0),
    "coagulate": (1, 3, 0),
    "clip": (2, 0, 2),
    "cut": (3, 3, 2),
    "aspirate": (0, 2, 2),
    "irrigate": (2, 3, 1),
    "pack": (2, 2, 0),
    "null_verb": (0, 0, 0),
}
VERB_HZ: dict[str, tuple[float, float, float]] = {
    verb: (_LEVELS[a], _LEVELS[b], _LEVELS[c]) for verb, (a, b, c) in _WORDS.items()
}
AXIAL_AMPLITUDE = 0.075
LATERAL_AMPLITUDE = 0.07
TISSUE_FOLLOWS = 0.35
TOOL_SLIDE_S = 0.3
PATCH_FADE_S = 0.4
PATCH_SIDE = 0.42
TIP_BOX_SIDE = 0.2
_SLIDE_DISTANCE = 0.95


@dataclass(frozen=True)
class Wave:
    """One slow sinusoid of the camera's drift."""

    amplitude: float
    hz: float
    phase: float


@dataclass(frozen=True)
class Style:
    """The look of a video; drawn once per video, independent of phases and actions."""

    hue_shift_deg: float
    saturation: float
    light: float
    zoom: float
    pace: float
    light_x: float
    light_y: float
    light_radius: float
    round_radius: float  # radius of the round content area in image sides; 0 = the whole square is lit
    texture_seed: int
    noise: float
    drift_x: tuple[Wave, ...]
    drift_y: tuple[Wave, ...]
    drift_rotation: tuple[Wave, ...]
    drift_zoom: tuple[Wave, ...]


@dataclass(frozen=True)
class Phase:
    """A Cholec80 phase, [start_s, end_s)."""

    name: str
    start_s: float
    end_s: float


@dataclass(frozen=True)
class Action:
    """One instrument doing one verb to one target, [start_s, end_s)."""

    instrument: str
    verb: str
    target: str
    start_s: float
    end_s: float
    role: Literal["main", "assist"]
    side: Literal["left", "right", "top"]
    port_x: float
    port_y: float
    x: float
    y: float
    rotation_rad: float
    scale: float
    mirrored: bool
    tempo: float
    phi_axial: float
    phi_lateral: float
    phi_jaw: float

    @property
    def triplet(self) -> str:
        """The triplet's official name, such as `hook,dissect,gallbladder`."""
        return f"{self.instrument},{self.verb},{self.target}"


@dataclass(frozen=True)
class Event:
    """Smoke, blood on the tissue, or the scope out of the body; random, independent of phases and actions."""

    kind: Literal["smoke", "blood", "out_of_body"]
    start_s: float
    end_s: float
    x: float
    y: float
    strength: float
    seed: int


@dataclass(frozen=True)
class Scene:
    """The complete content of a video; labels, boxes, masks and pixels are functions of it."""

    version: int
    seed: int
    index: int
    duration_s: float
    fps: float
    style: Style
    phases: tuple[Phase, ...]
    actions: tuple[Action, ...]
    events: tuple[Event, ...]

    def to_json(self) -> str:
        """The scene as JSON; `from_json` restores an equal scene."""
        return json.dumps(asdict(self), indent=1, allow_nan=False) + "\n"

    @staticmethod
    def from_json(text: str) -> "Scene":
        """Restore a scene from `to_json`.

        Raises:
            DataError: the text is not a scene.
        """
        try:
            return _SCENE.validate_json(text)
        except ValidationError as error:
            first = error.errors()[0]
            place = ".".join(str(part) for part in first["loc"])
            raise DataError(f"not a phantom scene: {place}: {first['msg']}: write it with `surgvl phantom`") from error

    def phase_at(self, time_s: float) -> Phase:
        """The phase at `time_s`; the nearest one for times outside of the video."""
        for phase in self.phases:
            if time_s < phase.end_s:
                return phase
        return self.phases[-1]

    def out_of_body(self, time_s: float) -> bool:
        """Whether the scope is out of the body, where neither tools nor tissue are visible."""
        return any(e.kind == "out_of_body" and e.start_s <= time_s < e.end_s for e in self.events)

    def active(self, time_s: float) -> tuple[Action, ...]:
        """The actions at `time_s`, the main one first; none while the scope is out of the body."""
        if self.out_of_body(time_s):
            return ()
        return tuple(action for action in self.actions if action.start_s <= time_s < action.end_s)


_SCENE = TypeAdapter(Scene)


class ToolPose(NamedTuple):
    """Pose of a tool and its target, in scene units; `jaw` in [-1, 1], `opacity` of the target in [0, 1]."""

    tip_x: float
    tip_y: float
    angle_rad: float  # direction from the port to the tip
    jaw: float
    patch_x: float
    patch_y: float
    opacity: float


def deviation(action: Action, times_s: npt.ArrayLike) -> Float64Array:
    """The three degrees of freedom at given times.

    Args:
        action: the action.
        times_s: [T] seconds of the video.

    Returns:
        float64 [T, 3] in [-1, 1]: axial, lateral, jaw.
    """
    times = np.asarray(times_s, dtype=np.float64)[:, None] - action.start_s
    phi = np.array([action.phi_axial, action.phi_lateral, action.phi_jaw])
    swing = np.sin(2 * np.pi * action.tempo * np.array(VERB_HZ[action.verb]) * times + phi)
    return np.asarray(swing, dtype=np.float64)


def pose(action: Action, time_s: float) -> ToolPose:
    """Pose of tool and target of an action at a given time."""
    since = time_s - action.start_s
    swing = [
        math.sin(2 * math.pi * action.tempo * hz * since + phi)
        for hz, phi in zip(VERB_HZ[action.verb], (action.phi_axial, action.phi_lateral, action.phi_jaw), strict=True)
    ]
    length = math.hypot(action.x - action.port_x, action.y - action.port_y)
    along_x, along_y = (action.x - action.port_x) / length, (action.y - action.port_y) / length
    axial, lateral = AXIAL_AMPLITUDE * swing[0], LATERAL_AMPLITUDE * swing[1]
    move_x, move_y = along_x * axial - along_y * lateral, along_y * axial + along_x * lateral
    left = action.end_s - time_s
    out = 1.0 - max(0.0, min(1.0, since / TOOL_SLIDE_S, left / TOOL_SLIDE_S))
    tip_x, tip_y = action.x + move_x, action.y + move_y
    angle = math.atan2(tip_y - action.port_y, tip_x - action.port_x)
    return ToolPose(
        tip_x - math.cos(angle) * out * _SLIDE_DISTANCE,
        tip_y - math.sin(angle) * out * _SLIDE_DISTANCE,
        angle,
        swing[2],
        action.x + TISSUE_FOLLOWS * move_x,
        action.y + TISSUE_FOLLOWS * move_y,
        max(0.0, min(1.0, since / PATCH_FADE_S, left / PATCH_FADE_S)),
    )


def _sum(waves: tuple[Wave, ...], time_s: float) -> float:
    return sum(wave.amplitude * math.sin(2 * math.pi * wave.hz * time_s + wave.phase) for wave in waves)


def camera(style: Style, time_s: float) -> Float64Array:
    """The camera: the map from scene units to image units (both the unit square at rest).

    Returns:
        float64 [2, 3], an affine map: image = A[:, :2] @ scene + A[:, 2].
    """
    angle = _sum(style.drift_rotation, time_s)
    zoom = style.zoom * (1 + _sum(style.drift_zoom, time_s))
    cos, sin = zoom * math.cos(angle), zoom * math.sin(angle)
    shift_x, shift_y = 0.5 + _sum(style.drift_x, time_s), 0.5 + _sum(style.drift_y, time_s)
    return np.array([[cos, -sin, shift_x - 0.5 * (cos - sin)], [sin, cos, shift_y - 0.5 * (sin + cos)]])


def tip_in_image(style: Style, action: Action, time_s: float) -> tuple[float, float]:
    """Position of the tip in the image, in image sides from the top left corner (outside [0, 1] if out of view)."""
    where = pose(action, time_s)
    x, y = camera(style, time_s) @ np.array([where.tip_x, where.tip_y, 1.0])
    return float(x), float(y)


def tip_box(style: Style, action: Action, time_s: float) -> tuple[float, float, float, float] | None:
    """Box of the working end (x, y, width, height in image sides, clipped to the image); None if out of view."""
    where = pose(action, time_s)
    back = 0.3 * TIP_BOX_SIDE
    centre = np.array([where.tip_x - back * math.cos(where.angle_rad), where.tip_y - back * math.sin(where.angle_rad)])
    view = camera(style, time_s)
    x, y = view @ np.append(centre, 1.0)
    half = 0.5 * TIP_BOX_SIDE * style.zoom
    left, top, right, bottom = max(0.0, x - half), max(0.0, y - half), min(1.0, x + half), min(1.0, y + half)
    if right <= left or bottom <= top:
        return None
    return round(left, 4), round(top, 4), round(right - left, 4), round(bottom - top, 4)
