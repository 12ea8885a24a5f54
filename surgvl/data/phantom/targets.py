"""The fourteen targets of CholecT50 as sprites: shape (alpha), colour and height, with a common wet shading.

Targets differ in colour and shape enough to be distinguished at 64 px; rng gives each video its own shapes.
"""

from collections.abc import Callable
from typing import NamedTuple

import cv2
import numpy as np

from surgvl.core.arrays import Float32Array, UInt8Array
from surgvl.data.phantom.tissue import (
    blob,
    blur,
    curve,
    dome,
    f32,
    grid,
    noise,
    over,
    paint,
    shade,
    smoothstep,
    strokes,
    tree,
    vessels,
    wide,
)

SPRITE_PX = 128
S = SPRITE_PX


class Layer(NamedTuple):
    """A drawn structure: rgb [S, S, 3] in 0..255, alpha [S, S] in 0..1, height [S, S] in about 0..1, gloss 0..1."""

    rgb: Float32Array
    alpha: Float32Array
    height: Float32Array
    gloss: float


Random = np.random.Generator


def _gallbladder(rng: Random) -> Layer:
    """A greenish pear with fine vessels."""
    axis = curve(rng, (0.27, 0.5), (0.86, 0.5), 0.08)
    width = np.interp(np.linspace(0, 1, 24), [0, 0.3, 0.75, 1], [0.25, 0.23, 0.11, 0.07])
    mask = np.zeros((S, S), np.uint8)
    for (px, py), r in zip(axis, width, strict=True):
        cv2.circle(mask, (int(px * S * 16), int(py * S * 16)), int(r * S * 16), (255,), -1, cv2.LINE_AA, 4)
    alpha = blur(f32(mask) / np.float32(255), 1.5)
    rgb = over(paint(S, 122, 150, 92), smoothstep(noise(rng, S, 3), 0.2, 1.6) * 0.5, 150, 165, 105)
    rgb = over(rgb, vessels(rng, S, 5, 0.02) * 0.5, 130, 60, 50)
    return Layer(rgb, alpha, dome(alpha) * 1.2, 0.9)


def _cystic_plate(rng: Random) -> Layer:
    """A pale yellow torn sheet with fibres along it."""
    fibres = noise(rng, S, 2, 3, stretch=6.0)
    alpha = blob(rng, S, 0.74, 1.5) * (0.85 + 0.15 * smoothstep(fibres, -1.0, 0.5))
    rgb = over(paint(S, 238, 220, 168), smoothstep(fibres, 0.2, 1.5) * 0.6, 255, 248, 222)
    rgb = over(rgb, smoothstep(noise(rng, S, 4), 0.8, 2.0) * 0.5, 222, 150, 126)
    return Layer(rgb, alpha, 0.05 * fibres + 0.1 * noise(rng, S, 3, 2) + 0.25 * dome(alpha), 0.5)


def _ends() -> Float32Array:
    """Fade both ends of a tube, where it enters the tissue."""
    x, _ = grid(S)
    return 1 - smoothstep(np.abs(x), 0.62, 0.92)


def _tube(rng: Random, width: float, bend: float) -> tuple[Float32Array, Float32Array]:
    mask = strokes(S, [(curve(rng, (0.0, 0.5), (1.0, 0.5), bend), width)])
    return blur(mask, 1.2) * _ends(), dome(mask)


def _cystic_duct(rng: Random) -> Layer:
    """A thick greenish tube."""
    alpha, height = _tube(rng, 0.23, 0.22)
    rgb = over(paint(S, 158, 176, 104), smoothstep(noise(rng, S, 6), 0.3, 1.5) * 0.6, 204, 206, 140)
    rgb = over(rgb, vessels(rng, S, 4, 0.018) * 0.4, 150, 70, 60)
    return Layer(rgb, alpha, height * 0.75, 0.75)


def _cystic_artery(rng: Random) -> Layer:
    """A thin bright-red tube with side branches."""
    main = curve(rng, (0.0, 0.5), (1.0, 0.5), 0.3)
    lines = [(main, 0.11)]
    for k in (7, 15):
        angle = rng.choice([-1, 1]) * rng.uniform(0.9, 1.4)
        lines += tree(rng, float(main[k, 0]), float(main[k, 1]), float(angle), 0.06, 0.24)
    mask = strokes(S, lines)
    return Layer(paint(S, 226, 36, 40), blur(mask, 1.0) * _ends(), dome(mask) * 0.6, 0.8)


def _cystic_pedicle(rng: Random) -> Layer:
    """Duct and artery side by side in a bed of pale fat."""
    alpha = blob(rng, S, 0.74, 1.2, 1.12)
    lobes = blur(np.abs(noise(rng, S, 5, 2)), 1.5)
    rgb = over(paint(S, 226, 170, 100), smoothstep(lobes, 0.3, 1.2) * 0.6, 246, 214, 150)
    duct = blur(strokes(S, [(curve(rng, (0.0, 0.38), (1.0, 0.36), 0.12), 0.14)]), 1.0)
    artery = blur(strokes(S, [(curve(rng, (0.0, 0.63), (1.0, 0.65), 0.14), 0.1)]), 1.0)
    # Lobules of fat cover parts of both.
    cover = 1 - 0.6 * smoothstep(noise(rng, S, 4, 2), 0.7, 1.3)
    rgb = over(over(rgb, duct * cover, 140, 160, 90), artery * cover, 212, 34, 40)
    height = 0.25 * lobes + 0.35 * dome(duct) * cover + 0.3 * dome(artery) * cover + 0.2 * dome(alpha)
    return Layer(rgb, alpha, height, 0.6)


def _blood_vessel(rng: Random) -> Layer:
    """A dark blue-red branching vein."""
    lines = tree(rng, 0.03, 0.5, float(rng.uniform(-0.12, 0.12)), 0.13, 0.36)
    lines += tree(rng, 0.5, 0.5, float(rng.uniform(2.2, 2.8)), 0.08, 0.3)
    mask = strokes(S, lines)
    return Layer(paint(S, 96, 30, 108), blur(mask, 1.2) * _ends(), dome(mask) * 0.6, 0.8)


def _fluid(rng: Random) -> Layer:
    """A dark-red glossy pool with a smooth shore."""
    alpha = blob(rng, S, 0.82, 0.9, 1.12)
    ripples = blur(noise(rng, S, 3, 2, stretch=0.5), 3)
    rgb = over(paint(S, 112, 4, 10), smoothstep(ripples, 0.5, 2.0) * 0.5, 150, 14, 20)
    return Layer(rgb, alpha * 0.95, 0.28 * ripples, 1.0)


def _abdominal_wall_cavity(rng: Random) -> Layer:
    """A wall of pink muscle in parallel white-edged bands."""
    x, y = grid(S)
    sway = 0.1 * noise(rng, S, 2, 2)
    bands = np.sin((y + sway) * float(rng.uniform(15, 18))).astype(np.float32)
    alpha = (1 - smoothstep(np.abs(x), 0.6, 0.9)) * (1 - smoothstep(np.abs(y), 0.6, 0.9))
    rgb = over(paint(S, 214, 112, 116), smoothstep(bands, 0.45, 0.95) * 0.8, 248, 214, 210)
    return Layer(rgb, alpha, 0.12 * bands + 0.02 * noise(rng, S, 20, 2), 0.5)


def _liver(rng: Random) -> Layer:
    """A maroon lobe with a pale sharp rim, smooth and finely speckled."""
    x, y = grid(S)
    edge = f32(np.sqrt(x**2 + (y * 0.95 + 0.25) ** 2) - 0.84 + 0.03 * noise(rng, S, 3, 2))
    alpha = (1 - smoothstep(edge, -0.04, 0.01)) * smoothstep(y, -0.9, -0.45)
    rim = smoothstep(edge, -0.16, -0.05)
    rgb = over(paint(S, 128, 36, 30), smoothstep(noise(rng, S, 26, 2), 0.3, 1.8) * 0.35, 164, 70, 56)
    rgb = over(rgb, rim * 0.65, 206, 120, 104)
    return Layer(rgb, alpha, 0.8 * dome(alpha) + 0.05 * noise(rng, S, 4, 2), 0.8)


def _adhesion(rng: Random) -> Layer:
    """White strands stretched across a thin film."""
    lines = []
    for _ in range(11):
        a, b = rng.uniform(0.08, 0.92, 2)
        lines.append((curve(rng, (float(a), 0.06), (float(b), 0.94), 0.12), float(rng.uniform(0.018, 0.05))))
    mask = blur(strokes(S, lines), 0.8)
    film = blob(rng, S, 0.72, 1.4) * 0.3
    return Layer(paint(S, 246, 240, 232), np.maximum(mask * 0.95, film), 0.3 * blur(mask, 1.0), 0.4)


def _omentum(rng: Random) -> Layer:
    """Bright yellow lobules of fat with fine vessels."""
    seeds = rng.uniform(0, S, (46, 2))
    x, y = np.meshgrid(np.arange(S), np.arange(S))
    nearest = np.hypot(x[..., None] - seeds[:, 0], y[..., None] - seeds[:, 1]).min(axis=2)
    bulge = np.clip(1 - (nearest / (S * 0.13)) ** 2, 0, 1)
    rgb = over(paint(S, 252, 208, 60), 1 - smoothstep(f32(bulge), 0.0, 0.45), 214, 138, 40)
    rgb = over(rgb, vessels(rng, S, 4, 0.016) * 0.6, 196, 50, 40)
    return Layer(rgb, blob(rng, S, 0.78, 1.3), 0.35 * blur(f32(np.sqrt(bulge)), 2.0), 0.7)


def _peritoneum(rng: Random) -> Layer:
    """A pale translucent glossy membrane with fine red vessels and folds."""
    folds = noise(rng, S, 2, 2, stretch=2.5)
    rgb = over(paint(S, 236, 208, 214), vessels(rng, S, 6, 0.022) * 0.85, 205, 50, 70)
    alpha = blob(rng, S, 0.84, 0.8) * (0.72 + 0.2 * smoothstep(np.abs(folds), 0.8, 1.6))
    return Layer(rgb, alpha, 0.22 * folds, 1.0)


def _gut(rng: Random) -> Layer:
    """A pink bowel with haustra."""
    path = curve(rng, (0.0, 0.5), (1.0, 0.5), 0.14)
    mask = strokes(S, [(path, 0.46)])
    x, _ = grid(S)
    folds = np.cos(x * float(rng.uniform(12, 15)) + 0.15 * noise(rng, S, 2, 2)).astype(np.float32)
    rgb = over(paint(S, 244, 150, 156), smoothstep(-folds, 0.3, 1.0) * 0.75, 176, 70, 90)
    return Layer(rgb, blur(mask, 1.5) * _ends(), dome(mask) * (0.75 + 0.25 * folds), 0.7)


def _specimen_bag(rng: Random) -> Layer:
    """A translucent blue-white bag with a blue rim and creases."""
    x, y = grid(S)
    creases = noise(rng, S, 3, 3, stretch=2.0)
    sack = ((x / (0.72 - 0.18 * y)) ** 2 + ((y - 0.1) / 0.78) ** 2).astype(np.float32)
    alpha = (1 - smoothstep(sack, 0.9, 1.05)) * smoothstep(y, -0.62, -0.58)
    rim = 1 - smoothstep(np.abs((x / 0.82) ** 2 + ((y + 0.52) / 0.2) ** 2 - 0.85).astype(np.float32), 0.12, 0.32)
    rgb = over(paint(S, 206, 226, 246), smoothstep(creases, 0.3, 1.5) * 0.7, 250, 253, 255)
    rgb = over(over(rgb, smoothstep(-creases, 0.6, 1.8) * 0.6, 140, 170, 215), rim, 36, 84, 200)
    return Layer(rgb, np.maximum(alpha * 0.86, rim), 0.14 * creases, 0.8)


_DRAW: dict[str, Callable[[Random], Layer]] = {
    "gallbladder": _gallbladder,
    "cystic_plate": _cystic_plate,
    "cystic_duct": _cystic_duct,
    "cystic_artery": _cystic_artery,
    "cystic_pedicle": _cystic_pedicle,
    "blood_vessel": _blood_vessel,
    "fluid": _fluid,
    "abdominal_wall_cavity": _abdominal_wall_cavity,
    "liver": _liver,
    "adhesion": _adhesion,
    "omentum": _omentum,
    "peritoneum": _peritoneum,
    "gut": _gut,
    "specimen_bag": _specimen_bag,
}


def target_sprite(target: str, rng: Random, side_px: int) -> UInt8Array:
    """Draw a target.

    Args:
        target: a CholecT50 target other than `null_target`.
        rng: the video's generator; shape, texture and a slight tint vary with it.
        side_px: side of the sprite.

    Returns:
        uint8 [side_px, side_px, 4], premultiplied RGBA.
    """
    layer = _DRAW[target](rng)
    tint = rng.uniform(0.93, 1.06, 3).astype(np.float32) * float(rng.uniform(0.93, 1.05))
    # A dark contact shadow below the edge connects the structure with its surroundings.
    lit = np.clip(shade(layer.rgb * tint, layer.height.astype(np.float32), layer.gloss), 0, 255)
    shadow = blur(layer.alpha, 5.0) * 0.45 * (1 - layer.alpha)
    alpha = np.clip(layer.alpha + shadow, 0, 1)
    x, y = grid(S)
    alpha *= 1 - smoothstep(np.maximum(np.abs(x), np.abs(y)), 0.88, 0.99)
    colour = lit * wide(np.minimum(layer.alpha, alpha))
    sprite = np.concatenate([colour, 255 * alpha[..., None]], axis=2).astype(np.float32)
    small = cv2.resize(sprite, (side_px, side_px), interpolation=cv2.INTER_AREA)
    return np.clip(np.round(np.asarray(small)), 0, 255).astype(np.uint8)


def blood_sprite(rng: Random, side_px: int) -> UInt8Array:
    """A smear of blood, uint8 [side_px, side_px, 4] premultiplied; an event, not a target, and flatter than `fluid`."""
    alpha = blob(rng, S, float(rng.uniform(0.4, 0.6)), 2.6) * 0.75 * smoothstep(noise(rng, S, 5), -1.6, 0.6)
    x, y = grid(S)
    alpha *= 1 - smoothstep(np.hypot(x, y).astype(np.float32), 0.8, 0.98)
    colour = paint(S, 128, 18, 18) * wide(f32(alpha))
    sprite = np.concatenate([colour, 255 * alpha[..., None]], axis=2).astype(np.float32)
    small = cv2.resize(sprite, (side_px, side_px), interpolation=cv2.INTER_AREA)
    return np.clip(np.round(np.asarray(small)), 0, 255).astype(np.uint8)
