"""The look of tissue: fractal noise, wet shading, vessels, and the background of a video.

All arrays are float32, S is the side of a drawing in pixels; coordinates in a drawing are 0..1, those of `grid` -1..1.
Everything here is drawn once per video, so speed does not matter.
"""

import math

import cv2
import numpy as np
import numpy.typing as npt

from surgvl.core.arrays import Float32Array, Float64Array, UInt8Array

Line = tuple[Float64Array, float]  # points [N, 2] and a width, in sides of the drawing
CANVAS_SPAN = 1.7  # the background covers this many image sides, so that the camera may drift


def f32(image: npt.ArrayLike) -> Float32Array:
    """Convert to float32."""
    return np.asarray(image, dtype=np.float32)


def noise(rng: np.random.Generator, size: int, cells: float, octaves: int = 4, stretch: float = 1.0) -> Float32Array:
    """Fractal noise [S, S], mean 0 and deviation 1, `cells` per side in the first octave, times `stretch` across."""
    total = np.zeros((size, size), np.float32)
    for octave in range(octaves):
        rows, columns = max(2, round(cells * 2**octave)), max(2, round(cells * 2**octave * stretch))
        grain = f32(rng.standard_normal((rows + 2, columns + 2)))
        total += f32(cv2.resize(grain, (size, size), interpolation=cv2.INTER_CUBIC)) * 0.55**octave
    return f32((total - total.mean()) / (total.std() + 1e-6))


def wide(mask: Float32Array) -> Float32Array:
    """A mask for each channel, [S, S, 3], with which numpy is faster than with `mask[..., None]`."""
    return np.asarray(cv2.merge((mask, mask, mask)))


def blur(image: Float32Array, sigma: float) -> Float32Array:
    """Gaussian blur."""
    return f32(cv2.GaussianBlur(image, (0, 0), sigma))


def smoothstep(value: Float32Array, low: float, high: float) -> Float32Array:
    """0 below `low`, 1 above `high`, smooth between."""
    x = np.clip((value - low) / (high - low), 0, 1)
    return f32(x * x * (3 - 2 * x))


def shade(
    rgb: Float32Array, height: Float32Array, gloss: float, relief: float = 1.0, sharp: float = 42.0
) -> Float32Array:
    """Light a height map by a lamp next to the camera; wet surfaces glint where they face it.

    Args:
        rgb: [S, S, 3], 0..255.
        height: [S, S], about 0..1.
        gloss: strength of the glints, 0..1.
        relief: steepness.
        sharp: exponent of the glints; higher is smaller.
    """
    down, right = np.gradient(height * relief * height.shape[0] * 0.12)
    length = np.sqrt(1 + down**2 + right**2)
    facing = (1 + 0.35 * -right + 0.45 * -down) / (length * 1.15)
    glint = np.clip(facing, 0, 1) ** sharp * gloss
    lit = rgb * wide(f32(0.42 + 0.62 * np.clip(facing, 0, 1.1)))
    return f32(lit + (255 - np.clip(lit, 0, 255)) * wide(f32(np.clip(glint, 0, 1))))


def strokes(size: int, lines: list[Line]) -> Float32Array:
    """Draw polylines as an antialiased mask."""
    mask = np.zeros((size, size), np.uint8)
    for points, width in lines:
        fixed = np.round(points * size * 16).astype(np.int32).reshape(-1, 1, 2)
        cv2.polylines(mask, [fixed], False, (255,), max(1, round(width * size)), cv2.LINE_AA, 4)
    return f32(mask) / np.float32(255)


def curve(rng: np.random.Generator, start: tuple[float, float], end: tuple[float, float], bend: float) -> Float64Array:
    """A smooth wavy path of 24 points."""
    t = np.linspace(0, 1, 24)
    first, last = np.array(start), np.array(end)
    normal = np.array([-(last - first)[1], (last - first)[0]])
    sway = bend * (np.sin(np.pi * t) * rng.uniform(-1, 1) + 0.5 * np.sin(2 * np.pi * t + rng.uniform(0, 6)))
    return np.asarray(first + t[:, None] * (last - first) + sway[:, None] * normal)


def dome(mask: Float32Array) -> Float32Array:
    """A rounded height over a mask: half circles over tubes, domes over blobs."""
    inside = f32(cv2.distanceTransform((mask > 0.5).astype(np.uint8), cv2.DIST_L2, 5))
    depth = inside / (inside.max() + 1e-6)
    return blur(f32(np.sqrt(np.clip(1 - (1 - depth) ** 2, 0, 1))), mask.shape[0] * 0.012)


def grid(size: int) -> tuple[Float32Array, Float32Array]:
    """Coordinates x and y, -1..1 over the drawing."""
    axis = ((np.arange(size, dtype=np.float32) + 0.5) / size - 0.5) * 2
    x, y = np.meshgrid(axis, axis)
    return f32(x), f32(y)


def blob(rng: np.random.Generator, size: int, radius: float, ragged: float, aspect: float = 1.0) -> Float32Array:
    """A soft-edged irregular disc as a mask."""
    x, y = grid(size)
    away = np.sqrt((x / aspect) ** 2 + (y * aspect) ** 2) + ragged * 0.12 * noise(rng, size, 3, 3)
    return 1 - smoothstep(f32(away), radius - 0.07, radius + 0.07)


def paint(size: int, *rgb: float) -> Float32Array:
    """A uniform colour."""
    return np.tile(np.array(rgb, np.float32), size * size).reshape(size, size, 3)


def over(under: Float32Array, mask: Float32Array, *rgb: float) -> Float32Array:
    """Blend a colour over a picture through a mask."""
    return f32(under + (paint(len(under), *rgb) - under) * wide(mask))


def tree(rng: np.random.Generator, x: float, y: float, angle: float, width: float, reach: float) -> list[Line]:
    """A branching vessel from (x, y)."""
    end = (x + reach * math.cos(angle), y + reach * math.sin(angle))
    lines = [(curve(rng, (x, y), end, 0.18), width)]
    if width > 0.016:
        for turn in (-1, 1):
            lean = angle + turn * rng.uniform(0.3, 0.75)
            lines += tree(rng, *end, lean, width * 0.66, reach * rng.uniform(0.6, 0.8))
    return lines


def vessels(rng: np.random.Generator, size: int, count: int, width: float) -> Float32Array:
    """Fine vessels at random positions, as a mask."""
    lines = []
    for _ in range(count):
        x, y = rng.uniform(0, 1, 2)
        lines += tree(rng, float(x), float(y), rng.uniform(0, 2 * math.pi), width, rng.uniform(0.12, 0.25))
    return strokes(size, lines)


def background(rng: np.random.Generator, size_px: int) -> UInt8Array:
    """The background of a video: a dark liver edge above, fat and mesentery below, abdominal wall at the top.

    Args:
        rng: the video's texture generator.
        size_px: side of the canvas, which is `CANVAS_SPAN` image sides.

    Returns:
        uint8 [size_px, size_px, 3] RGB.
    """
    size = 384
    x, y = grid(size)
    rough, broad, fine = noise(rng, size, 6, 5), noise(rng, size, 2.5, 3), noise(rng, size, 40, 2)
    lobes = blur(np.abs(noise(rng, size, 7, 2)), 3)
    fat = smoothstep(f32(noise(rng, size, 1.6, 2) + 0.6 * x * rng.choice([-1, 1])), -0.5, 0.7)
    rgb = over(paint(size, 214, 128, 116), fat * 0.85, 224, 160, 84)
    rgb = over(rgb, smoothstep(broad, 0.2, 1.8) * 0.5, 196, 92, 88)
    rgb = over(rgb, smoothstep(-lobes, -0.22, 0.0) * 0.45, 158, 74, 56)
    rgb = over(rgb, blur(vessels(rng, size, 16, 0.01), 0.7) * 0.55, 160, 34, 40)
    height = 0.14 * broad + 0.34 * lobes + 0.05 * rough + 0.008 * fine
    tilt, level = rng.uniform(-0.35, 0.35), rng.uniform(-0.42, -0.18)
    sway = 0.1 * np.sin(x * rng.uniform(2, 4) + rng.uniform(0, 6)) + 0.03 * broad
    edge = f32(y - tilt * x - level - sway)
    liver = 1 - smoothstep(edge, -0.015, 0.015)
    rgb = over(rgb, liver, 122, 50, 46)
    rgb = over(rgb, liver * smoothstep(edge, -0.09, 0.0) * 0.4, 184, 110, 98)
    rgb = over(rgb, liver * smoothstep(broad, 0.3, 1.6) * 0.4, 96, 40, 46)
    under = smoothstep(edge, 0.0, 0.03) * (1 - smoothstep(edge, 0.03, 0.35))
    rgb = rgb * wide(1 - 0.5 * under)
    bulge = 0.9 * np.sqrt(np.clip(-edge * 4, 0, 1)) + 0.08 * noise(rng, size, 3, 2) + 0.01 * fine
    height = height * (1 - liver) + liver * bulge
    wall = 1 - smoothstep(f32(y + 0.6 + 0.1 * broad), -0.1, 0.14)
    rgb = over(rgb, wall * 0.85, 132, 66, 62)
    rgb = rgb * wide(1 + 0.06 * rough + 0.03 * fine)
    # Diffuse light on the relief, and sharp wet glints, broken up by a finer relief.
    image = shade(blur(rgb, 0.8), blur(f32(height), 1.5), 0.3, 0.75, 30.0)
    glints = shade(np.zeros_like(rgb), blur(f32(height + 0.016 * noise(rng, size, 18, 3)), 1.2), 1.0, 0.9, 110.0)
    wet = wide(smoothstep(noise(rng, size, 5, 2), -0.1, 1.0))
    image = f32(image + (255 - np.clip(image, 0, 255)) * (glints / 255) * wet)
    small = cv2.resize(f32(np.clip(image, 0, 255)), (size_px, size_px), interpolation=cv2.INTER_AREA)
    return np.asarray(small).astype(np.uint8)
