"""Render a scene graph to frames: a drifting background, targets, tools, smoke, light and sensor noise.

A frame is a pure function of scene, size and time, so any part of a video can be rendered on its own. Everything drawn
is a precomputed sprite, placed by one affine warp of its bounding box: a 128 px frame takes under 2 ms on one core.
"""

import math
from collections.abc import Iterator

import cv2
import numpy as np
import numpy.typing as npt

from surgvl.core.arrays import Float64Array, UInt8Array
from surgvl.core.errors import ConfigError
from surgvl.data.phantom import tissue
from surgvl.data.phantom.scene import PATCH_SIDE, Event, Scene, camera, pose
from surgvl.data.phantom.targets import blood_sprite, target_sprite
from surgvl.data.phantom.tools import NUM_STATES, TIP, tool_sprite

_BLOOD_SIDE = 0.5
_FADE_S = 0.8
_LIGHT_ONE = 170  # this value of the light map means 1.0, so that the centre of a bright video can exceed 1


def _u8(image: npt.ArrayLike) -> UInt8Array:
    return np.asarray(image, dtype=np.uint8)


def _place(frame: UInt8Array, sprite: UInt8Array, matrix: Float64Array, opacity: float = 1.0) -> None:
    """Composite a premultiplied RGBA sprite onto the frame, in place; `matrix` maps sprite pixels to frame pixels."""
    height, width = sprite.shape[:2]
    corners = matrix @ np.array([[0, width, 0, width], [0, 0, height, height], [1, 1, 1, 1]], dtype=np.float64)
    size = frame.shape[0]
    x0, y0 = max(0, math.floor(corners[0].min())), max(0, math.floor(corners[1].min()))
    x1, y1 = min(size, math.ceil(corners[0].max()) + 1), min(size, math.ceil(corners[1].max()) + 1)
    if x1 <= x0 or y1 <= y0:
        return
    local = matrix.copy()
    local[0, 2] -= x0
    local[1, 2] -= y0
    warped = cv2.warpAffine(sprite, local, (x1 - x0, y1 - y0), flags=cv2.INTER_LINEAR)
    if opacity < 1.0:
        warped = cv2.convertScaleAbs(warped, alpha=opacity)
    through = cv2.cvtColor(cv2.bitwise_not(cv2.extractChannel(warped, 3)), cv2.COLOR_GRAY2RGB)
    region = frame[y0:y1, x0:x1]
    under = cv2.multiply(np.ascontiguousarray(region), through, scale=1 / 255)
    region[:] = cv2.add(under, cv2.cvtColor(warped, cv2.COLOR_RGBA2RGB))


def _about(
    x: float, y: float, angle: float, scale: float, anchor_x: float, anchor_y: float, flip: bool
) -> Float64Array:
    """The affine map that puts a sprite's anchor at (x, y), rotated and scaled, after an optional flip."""
    cos, sin = scale * math.cos(angle), scale * math.sin(angle)
    turn = np.array([[-cos if flip else cos, -sin], [-sin if flip else sin, cos]])
    shift = np.array([x, y]) - turn @ np.array([anchor_x, anchor_y])
    return np.concatenate([turn, shift[:, None]], axis=1)


def _then(first: Float64Array, second: Float64Array) -> Float64Array:
    """The composition: `second` after `first`."""
    return np.concatenate([second[:, :2] @ first[:, :2], (second[:, :2] @ first[:, 2] + second[:, 2])[:, None]], axis=1)


class Renderer:
    """Renders one scene at one size, with its background, sprites and light precomputed."""

    def __init__(self, scene: Scene, size_px: int) -> None:
        self.scene = scene
        self.size_px = size_px
        rng = np.random.default_rng(scene.style.texture_seed)
        self._canvas = self._graded(tissue.background(rng, round(tissue.CANVAS_SPAN * size_px)))
        self._veil = self._smoke(rng)
        grain = rng.normal(0, 1, (2 * size_px, 2 * size_px, 3)) * scene.style.noise
        # Grain is added with an offset that is subtracted again, because pixels are unsigned.
        self._grain = np.clip(np.round(grain + 24), 0, 255).astype(np.uint8)
        self._grain_mean = np.full((size_px, size_px, 3), 24, np.uint8)
        self._light = self._lamp()
        self._targets: dict[str, UInt8Array] = {}
        self._blood = {
            event: self._graded(blood_sprite(np.random.default_rng(event.seed), max(8, round(_BLOOD_SIDE * size_px))))
            for event in scene.events
            if event.kind == "blood"
        }

    def _graded(self, image: UInt8Array) -> UInt8Array:
        """Apply the video's hue and saturation to an RGB image or a premultiplied RGBA sprite."""
        style = self.scene.style
        angle = math.radians(style.hue_shift_deg)
        cos, sin, third = math.cos(angle), math.sin(angle), math.sqrt(1 / 3)
        cross = third * sin * np.array([[0, -1, 1], [1, 0, -1], [-1, 1, 0]])
        turn = cos * np.eye(3) + (1 - cos) / 3 * np.ones((3, 3)) + cross
        grey = np.full((3, 3), 1 / 3)
        matrix = (grey + style.saturation * (np.eye(3) - grey)) @ turn
        colour = np.clip(np.round(image[..., :3].astype(np.float64) @ matrix.T), 0, 255)
        if image.shape[2] == 4:
            colour = np.minimum(colour, image[..., 3:])
        graded: Float64Array = np.concatenate([colour, image[..., 3:]], axis=2)
        return graded.astype(np.uint8)

    def _lamp(self) -> UInt8Array:
        """Light that falls off from the scope, times the round content area if the video has one."""
        style, size = self.scene.style, self.size_px
        axis = (np.arange(size) + 0.5) / size
        x, y = np.meshgrid(axis, axis)
        away = ((x - style.light_x) ** 2 + (y - style.light_y) ** 2) / style.light_radius**2
        light = style.light / (1 + 0.9 * away) ** 1.5
        if style.round_radius > 0:
            light *= np.clip((style.round_radius - np.hypot(x - 0.5, y - 0.5)) * size * 0.7 + 0.5, 0, 1)
        return np.repeat(np.clip(np.round(light * _LIGHT_ONE), 0, 255).astype(np.uint8)[..., None], 3, axis=2)

    def _smoke(self, rng: np.random.Generator) -> UInt8Array:
        veil = tissue.smoothstep(tissue.noise(rng, 2 * self.size_px, 4, 3), -1.2, 2.2) * 235
        return np.repeat(veil.astype(np.uint8)[..., None], 3, axis=2)

    def _target(self, target: str) -> UInt8Array:
        if target not in self._targets:
            name_seed = int.from_bytes(target.encode()[:8].ljust(8, b"\0"), "little")
            rng = np.random.default_rng(np.random.SeedSequence([self.scene.style.texture_seed, name_seed]))
            side = max(8, round(PATCH_SIDE * self.size_px * 1.15))
            self._targets[target] = self._graded(target_sprite(target, rng, side))
        return self._targets[target]

    def frame(self, time_s: float) -> UInt8Array:
        """The frame at `time_s`: uint8 [size_px, size_px, 3] RGB."""
        scene, size = self.scene, self.size_px
        outside = [
            event for event in scene.events if event.kind == "out_of_body" and event.start_s <= time_s < event.end_s
        ]
        view = camera(scene.style, time_s)
        view[:, 2] *= size
        if outside:
            return self._outside(outside[0], time_s)
        span = tissue.CANVAS_SPAN
        # The camera works in image sides; the canvas extends (span - 1) / 2 beyond each edge of the resting image.
        view_px = view.copy()
        canvas_to_scene = np.array([[1.0, 0, -(span - 1) / 2 * size], [0, 1.0, -(span - 1) / 2 * size]])
        frame = _u8(
            cv2.warpAffine(
                self._canvas,
                _then(canvas_to_scene, view_px),
                (size, size),
                flags=cv2.INTER_LINEAR,
                borderMode=cv2.BORDER_REFLECT,
            )
        )
        for event, sprite in self._blood.items():
            if event.start_s <= time_s < event.end_s:
                side = sprite.shape[0]
                scale = _BLOOD_SIDE * size / side
                put = _about(event.x * size, event.y * size, 0.0, scale, side / 2, side / 2, False)
                _place(frame, sprite, _then(put, view_px), self._ramp(event, time_s))
        poses = [(action, pose(action, time_s)) for action in scene.active(time_s)]
        for action, where in poses:
            if action.target != "null_target":
                sprite = self._target(action.target)
                side = sprite.shape[0]
                scale = PATCH_SIDE * size * action.scale / side
                put = _about(
                    where.patch_x * size,
                    where.patch_y * size,
                    action.rotation_rad,
                    scale,
                    side / 2,
                    side / 2,
                    action.mirrored,
                )
                _place(frame, sprite, _then(put, view_px), where.opacity)
        for action, where in poses:
            sprite = tool_sprite(action.instrument, round((where.jaw + 1) / 2 * (NUM_STATES - 1)), size)
            put = _about(
                where.tip_x * size, where.tip_y * size, where.angle_rad, 1.0, TIP[0] * size, TIP[1] * size, False
            )
            _place(frame, sprite, _then(put, view_px))
        return self._sensor(self._air(frame, time_s), time_s)

    def _ramp(self, event: Event, time_s: float) -> float:
        """Strength of an event, with fade-in and fade-out."""
        inside = min(1.0, (time_s - event.start_s) / _FADE_S, (event.end_s - time_s) / _FADE_S)
        return event.strength * max(0.0, inside)

    def _air(self, frame: UInt8Array, time_s: float) -> UInt8Array:
        size = self.size_px
        for event in self.scene.events:
            if event.kind == "smoke" and event.start_s <= time_s < event.end_s:
                drift = (time_s - event.start_s) * 0.09 * size
                left = round(event.x * size + drift) % size
                top = round(event.y * size + 0.6 * drift) % size
                veil = np.ascontiguousarray(self._veil[top : top + size, left : left + size])
                weight = self._ramp(event, time_s)
                frame = _u8(cv2.addWeighted(frame, 1 - 0.6 * weight, veil, weight, 0))
        return frame

    def _sensor(self, frame: UInt8Array, time_s: float) -> UInt8Array:
        size = self.size_px
        lit = cv2.multiply(frame, self._light, scale=1 / _LIGHT_ONE)
        # A hash of the time, so that the position of the grain has no period that labels could share.
        mixed = round(time_s * 1000) * 0x9E3779B97F4A7C15 & 0xFFFFFFFFFFFFFFFF
        mixed = (mixed ^ mixed >> 29) * 0xBF58476D1CE4E5B9 & 0xFFFFFFFFFFFFFFFF
        left, top = (mixed >> 40) % size, (mixed >> 16 & 0xFFFFFF) % size
        grain = np.ascontiguousarray(self._grain[top : top + size, left : left + size])
        return _u8(cv2.subtract(cv2.add(lit, grain), self._grain_mean))

    def _outside(self, event: Event, time_s: float) -> UInt8Array:
        """The view outside of the body: a bright, blurred, greenish room."""
        size = self.size_px
        rng = np.random.default_rng(event.seed)
        room = np.asarray(
            cv2.resize(
                rng.uniform(0.35, 1.0, (4, 4)).astype(np.float32), (3 * size, 3 * size), interpolation=cv2.INTER_CUBIC
            )
        )
        shift = round((0.5 + 0.5 * math.sin(1.3 * (time_s - event.start_s) + event.x * 6)) * 2 * (size - 1))
        window = np.clip(room[shift // 2 : shift // 2 + size, shift : shift + size], 0, 1)
        base = np.array([215.0, 240.0, 225.0]) if event.x > 0.5 else np.array([120.0, 200.0, 170.0])
        frame = np.clip(window[..., None] * base * (0.7 + 0.3 * event.strength) + 15, 0, 255).astype(np.uint8)
        return self._sensor(frame, time_s)


def render(
    scene: Scene, size_px: int = 128, fps: float | None = None, start_s: float = 0.0, end_s: float | None = None
) -> Iterator[UInt8Array]:
    """Render part of a scene; frame i is at start_s + i / fps.

    Args:
        scene: from `script` or `Scene.from_json`.
        size_px: side of the square frames, at least 32.
        fps: frames per second; None for the scene's own rate.
        start_s: time of the first frame.
        end_s: end time, exclusive; None for the end of the scene.

    Yields:
        uint8 [size_px, size_px, 3] RGB.

    Raises:
        ConfigError: a size under 32 px, a rate that is not positive, or an empty time span.
    """
    rate = scene.fps if fps is None else fps
    end = scene.duration_s if end_s is None else end_s
    if size_px < 32 or rate <= 0 or not 0 <= start_s < end:
        raise ConfigError(
            "render needs size_px >= 32, fps > 0 and 0 <= start_s < end_s, got "
            f"size_px {size_px}, fps {rate}, start_s {start_s}, end_s {end}"
        )
    renderer = Renderer(scene, size_px)
    for index in range(max(1, round((end - start_s) * rate))):
        yield renderer.frame(start_s + index / rate)
