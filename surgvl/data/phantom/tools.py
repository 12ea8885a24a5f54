"""The six instruments of CholecT50 as sprites, each in 17 states of its third degree of freedom.

A tool points along +x with its tip at `TIP`: the shaft comes from the left (from the port), tapers with distance from
the scope, and is shaded as a cylinder. The state is the opening of the jaws, the roll of the hook or the bend of the
irrigator.
"""

import math
from functools import lru_cache

import cv2
import numpy as np

from surgvl.core.arrays import Float32Array, UInt8Array
from surgvl.data.phantom.tissue import blur, f32, wide

LENGTH = 1.5  # image sides from the left end of the sprite to its right end
WIDTH = 0.36
TIP = (1.36, 0.18)  # in image sides from the sprite's top-left corner
NUM_STATES = 17
_FINE_PX = 440  # pixels per image side while drawing


class _Sheet:
    """A drawing surface in tool units: x towards the tip, y across, (0, 0) at the tip, in image sides."""

    def __init__(self) -> None:
        shape = (round(WIDTH * _FINE_PX), round(LENGTH * _FINE_PX))
        self.rgb: Float32Array = np.zeros((*shape, 3), np.float32)
        self.alpha: Float32Array = np.zeros(shape, np.float32)

    def polygon(self, points: list[tuple[float, float]], *rgb: float, round_by: float = 0.0) -> None:
        """Fill a polygon; `round_by` > 0 shades it as a cylinder along x with this half width."""
        mask = np.zeros(self.alpha.shape, np.uint8)
        fixed = np.array([((x + TIP[0]) * _FINE_PX * 16, (y + TIP[1]) * _FINE_PX * 16) for x, y in points])
        cv2.fillPoly(mask, [np.round(fixed).astype(np.int32)], 255, cv2.LINE_AA, 4)
        self._lay(mask, f32(rgb), round_by)

    def line(self, points: list[tuple[float, float]], width: float, *rgb: float) -> None:
        """Draw a polyline with a bright upper edge."""
        mask = np.zeros(self.alpha.shape, np.uint8)
        fixed = np.array([((x + TIP[0]) * _FINE_PX * 16, (y + TIP[1]) * _FINE_PX * 16) for x, y in points])
        cv2.polylines(
            mask, [np.round(fixed).astype(np.int32)], False, 255, max(1, round(width * _FINE_PX)), cv2.LINE_AA, 4
        )
        self._lay(mask, f32(rgb), 0.0)
        layer, place = f32(mask) / np.float32(255), _place(mask)
        edge = np.clip(layer - np.roll(layer, round(width * _FINE_PX * 0.35), axis=0), 0, 1)[place]
        self.rgb[place] += (255 - self.rgb[place]) * wide(f32(0.4 * edge))

    def _lay(self, mask: UInt8Array, rgb: Float32Array, round_by: float) -> None:
        place = rows, _ = _place(mask)
        share = f32(mask[place]) / np.float32(255)
        colour = f32(np.broadcast_to(rgb, (*share.shape, 3)))
        if round_by > 0:
            across = ((np.arange(rows.start, rows.stop) + 0.5) / _FINE_PX - TIP[1]) / round_by
            facing = np.sqrt(np.clip(1 - np.clip(across + 0.15, -1, 1) ** 2, 0, 1))
            glint = np.exp(-(((across + 0.38) / 0.16) ** 2))
            lit = colour * (0.3 + 0.75 * facing)[:, None, None]
            colour = f32(lit + (255 - lit) * (0.55 * glint)[:, None, None])
        self.rgb[place] += (colour - self.rgb[place]) * wide(share)
        self.alpha[place] = np.maximum(self.alpha[place], share)

    def shaft(self, end_x: float, half: float, *rgb: float) -> None:
        """A shaft from the port to `end_x`, a third wider at the port."""
        port = half * 1.3
        self.polygon([(-TIP[0], -port), (end_x, -half), (end_x, half), (-TIP[0], port)], *rgb, round_by=port)


def _place(mask: UInt8Array) -> tuple[slice, slice]:
    """Rows and columns outside which a mask is 0; most parts of an instrument cover little of the sheet."""
    left, top, width, height = cv2.boundingRect(mask)
    return slice(top, top + height), slice(left, left + width)


def _turned(points: list[tuple[float, float]], pivot: tuple[float, float], angle: float) -> list[tuple[float, float]]:
    cos, sin = math.cos(angle), math.sin(angle)
    return [
        (pivot[0] + cos * (x - pivot[0]) - sin * (y - pivot[1]), pivot[1] + sin * (x - pivot[0]) + cos * (y - pivot[1]))
        for x, y in points
    ]


def _grasper(sheet: _Sheet, state: float) -> None:
    """Grey shaft; two long toothed grey jaws that open from 4 to 40 degrees."""
    sheet.shaft(-0.13, 0.034, 74, 76, 82)
    sheet.polygon([(-0.16, -0.03), (-0.115, -0.026), (-0.115, 0.026), (-0.16, 0.03)], 150, 152, 158, round_by=0.03)
    half = math.radians(11 + 9 * state)
    for turn in (-1.0, 1.0):
        teeth = [(-0.1 + 0.012 * k, turn * (0.003 + 0.007 * (k % 2))) for k in range(9)]
        jaw = [(-0.125, turn * 0.004), *teeth, (0.012, turn * 0.006), (0.014, turn * 0.02), (-0.02, turn * 0.031)]
        jaw.append((-0.125, turn * 0.028))
        turned = _turned(jaw, (-0.125, 0.0), turn * half)
        sheet.polygon(turned, 168, 171, 178)
        sheet.line(
            _turned([(-0.11, turn * 0.023), (-0.01, turn * 0.024)], (-0.125, 0.0), turn * half), 0.006, 225, 228, 232
        )


def _bipolar(sheet: _Sheet, state: float) -> None:
    """Blue shaft; two thin bowed forceps blades."""
    sheet.shaft(-0.12, 0.03, 34, 84, 196)
    half = math.radians(10 + 9 * state)
    for turn in (-1.0, 1.0):
        blade = [(-0.125, turn * 0.008), (-0.07, turn * 0.026), (-0.03, turn * 0.02), (0.012, turn * 0.004)]
        sheet.line(_turned(blade, (-0.125, 0.0), turn * half * 0.9), 0.017, 130, 168, 235)


def _hook(sheet: _Sheet, state: float) -> None:
    """Black shaft with a golden L, which the roll turns from one side to the other."""
    sheet.shaft(-0.085, 0.036, 24, 23, 26)
    sheet.polygon([(-0.11, -0.03), (-0.08, -0.022), (-0.08, 0.022), (-0.11, 0.03)], 222, 216, 200, round_by=0.03)
    reach = 0.078 * state
    sheet.line([(-0.085, 0.0), (-0.01, 0.0), (0.008, reach * 0.25), (0.012, reach)], 0.021, 240, 186, 48)


def _scissors(sheet: _Sheet, state: float) -> None:
    """Steel shaft with an orange ring; two curved bright blades."""
    sheet.shaft(-0.135, 0.03, 176, 182, 188)
    sheet.polygon([(-0.2, -0.033), (-0.165, -0.033), (-0.165, 0.033), (-0.2, 0.033)], 240, 104, 30, round_by=0.036)
    half = math.radians(12 + 10 * state)
    for turn in (-1.0, 1.0):
        blade = [(-0.135, turn * -0.01), (-0.06, turn * -0.002), (0.014, turn * 0.002), (-0.03, turn * 0.018)]
        blade += [(-0.08, turn * 0.024), (-0.135, turn * 0.022)]
        sheet.polygon(_turned(blade, (-0.135, 0.0), turn * half), 226, 232, 240)


def _clipper(sheet: _Sheet, state: float) -> None:
    """Broad white shaft; violet parallel jaws that hold a metal clip."""
    sheet.shaft(-0.12, 0.046, 236, 236, 240)
    sheet.polygon([(-0.13, -0.04), (-0.095, -0.036), (-0.095, 0.036), (-0.13, 0.04)], 110, 50, 168, round_by=0.045)
    gap = 0.024 + 0.018 * state
    for turn in (-1.0, 1.0):
        jaw = [(-0.1, turn * 0.012), (-0.07, turn * gap), (0.012, turn * gap), (0.012, turn * (gap + 0.02))]
        jaw += [(-0.07, turn * (gap + 0.022)), (-0.1, turn * 0.036)]
        sheet.polygon(jaw, 142, 66, 206)
    clip = [(0.01, -gap + 0.004), (-0.045, -gap + 0.006), (-0.056, 0.0), (-0.045, gap - 0.006), (0.01, gap - 0.004)]
    sheet.line(clip, 0.01, 235, 238, 205)


def _irrigator(sheet: _Sheet, state: float) -> None:
    """A pale translucent tube with side holes, whose end bends to either side."""
    sheet.shaft(-0.14, 0.033, 214, 228, 232)
    bend = math.radians(26 * state)
    for k in range(8):
        start, end = -0.145 + 0.02 * k, -0.145 + 0.02 * (k + 1) + 0.004
        lean_a, lean_b = bend * (k / 8) ** 1.5 * 0.16 * k / 8, bend * ((k + 1) / 8) ** 1.5 * 0.16 * (k + 1) / 8
        sheet.polygon(
            [(start, lean_a - 0.03), (end, lean_b - 0.03), (end, lean_b + 0.03), (start, lean_a + 0.03)], 226, 238, 242
        )
        sheet.line([(start, lean_a - 0.012), (end, lean_b - 0.012)], 0.01, 255, 255, 255)
        if k in (3, 5, 7):
            sheet.line([(start + 0.008, lean_a + 0.008), (start + 0.013, lean_a + 0.008)], 0.013, 60, 70, 84)


_DRAW = {
    "grasper": _grasper,
    "bipolar": _bipolar,
    "hook": _hook,
    "scissors": _scissors,
    "clipper": _clipper,
    "irrigator": _irrigator,
}


@lru_cache(maxsize=256)
def tool_sprite(instrument: str, state: int, size_px: int) -> UInt8Array:
    """Draw an instrument.

    Args:
        instrument: a CholecT50 instrument.
        state: 0 .. NUM_STATES - 1, its third degree of freedom from -1 to 1.
        size_px: side of the image that it is drawn for.

    Returns:
        uint8 [WIDTH * size_px, LENGTH * size_px, 4] (rounded), RGB times alpha and alpha, with a soft contact shadow.
    """
    sheet = _Sheet()
    _DRAW[instrument](sheet, 2.0 * state / (NUM_STATES - 1) - 1.0)
    shadow = 0.4 * np.roll(blur(sheet.alpha, 0.014 * _FINE_PX), round(0.012 * _FINE_PX), axis=0)
    alpha = np.maximum(sheet.alpha, shadow * (1 - sheet.alpha))
    sprite = np.concatenate([sheet.rgb * wide(sheet.alpha), 255 * alpha[..., None]], axis=2).astype(np.float32)
    small = cv2.resize(sprite, (round(LENGTH * size_px), round(WIDTH * size_px)), interpolation=cv2.INTER_AREA)
    return np.clip(np.round(np.asarray(small)), 0, 255).astype(np.uint8)
