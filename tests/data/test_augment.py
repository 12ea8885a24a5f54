"""Augmentation against torchvision, against rectangles listed by hand, and against what a device would forbid."""

import itertools
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torchvision.transforms import RandomCrop, RandomResizedCrop
from torchvision.transforms.v2 import InterpolationMode, RandAugment
from torchvision.transforms.v2.functional import resized_crop

from surgvl.core.errors import ConfigError, DataError
from surgvl.data.augment import (
    Augment,
    draw_crop,
    multi_scale_positions,
    multi_scale_sizes,
    random_crop,
    random_resized_crop,
)
from surgvl.data.augment_config import CROPS, AugmentConfig
from surgvl.video.content_area import Box

STILL: dict[str, Any] = {"shift": 0.0, "gain": 0.0, "colour": 0.0}


def noise(num_clips: int, num_frames: int, side_px: int) -> Tensor:
    return torch.randint(0, 256, (num_clips, 3, num_frames, side_px, side_px), dtype=torch.uint8)


def augmented(video: Tensor, size_px: int, seed: int = 0, aspects: list[float] | None = None, **config: Any) -> Tensor:
    augment = Augment(AugmentConfig(**{**STILL, **config}), size_px)
    torch.manual_seed(seed)
    found: Tensor = augment(video, aspects)
    return found


def test_sizes_of_multi_scale_crops() -> None:
    # Of a picture of 512 x 320, SurgVISTA's: 1, 0.875, 0.75 and 0.66 of 320.
    a, b, c, d = 320, 280, 240, 211
    expected = [(a, a), (a, b), (b, a), (b, b), (b, c), (c, b), (c, c), (c, d), (d, c), (d, d)]
    assert multi_scale_sizes(320, 512, (1.0, 0.875, 0.75, 0.66)) == expected


def test_positions_of_multi_scale_crops() -> None:
    # A crop of 240 x 280 leaves 272 columns and 40 rows: steps of 68 and of 10.
    corners = [(0, 0), (272, 0), (0, 40), (272, 40)]
    middles = [(136, 20), (0, 20), (272, 20), (136, 40), (136, 0)]
    quarters = [(68, 10), (204, 10), (68, 30), (204, 30)]
    expected = {Box(y, x, y + 280, x + 240) for x, y in corners + middles + quarters}
    found = multi_scale_positions(320, 512, 280, 240)
    assert set(found) == expected
    assert len(found) == 13
    # Steps are whole pixels: 101 spare columns are four steps of 25.
    assert max(box.left for box in multi_scale_positions(320, 341, 240, 240)) == 100


@pytest.mark.slow
def test_every_multi_scale_crop_is_drawn_about_equally_often() -> None:
    torch.manual_seed(0)
    config = AugmentConfig(crop="multi_scale")
    drawn = [draw_crop(config, 320, 512) for _ in range(4000)]
    sizes = [(box.bottom - box.top, box.right - box.left) for box in drawn]
    counts = [sizes.count(size) for size in set(sizes)]
    assert len(counts) == 10
    assert 300 < min(counts) <= max(counts) < 500
    small = {(box.top, box.left) for box, size in zip(drawn, sizes, strict=True) if size == (211, 211)}
    assert len(small) == 13


@pytest.mark.slow
@pytest.mark.parametrize(("height", "width"), [(240, 320), (320, 240), (100, 400), (400, 100), (7, 9)])
def test_random_resized_crops_are_torchvisions(height: int, width: int) -> None:
    picture = torch.empty(3, height, width)
    for seed in range(100):
        torch.default_generator.manual_seed(seed)
        top, left, down, across = RandomResizedCrop.get_params(picture, [0.3, 1.0], [0.75, 1.35])
        torch.default_generator.manual_seed(seed)
        found = random_resized_crop(height, width, (0.3, 1.0), (0.75, 1.35))
        assert found == Box(top, left, top + down, left + across)


def test_crops_are_as_fine_in_half_precision() -> None:
    torch.manual_seed(0)
    whole = [random_resized_crop(240, 320, (0.3, 1.0), (0.75, 1.35)) for _ in range(20)]
    torch.set_default_dtype(torch.bfloat16)
    try:
        torch.manual_seed(0)
        assert [random_resized_crop(240, 320, (0.3, 1.0), (0.75, 1.35)) for _ in range(20)] == whole
    finally:
        torch.set_default_dtype(torch.float32)


def test_random_crops_are_torchvisions() -> None:
    for seed in range(50):
        torch.default_generator.manual_seed(seed)
        top, left, down, across = RandomCrop.get_params(torch.empty(3, 256, 455), (224, 224))
        torch.default_generator.manual_seed(seed)
        assert random_crop(256, 455, 0.875) == Box(top, left, top + down, left + across)


@pytest.mark.parametrize("crop", CROPS)
def test_pixels_are_torchvisions(crop: str) -> None:
    video = noise(3, 2, 40)
    found = augmented(video, 24, seed=5, crop=crop)
    torch.manual_seed(5)
    config = AugmentConfig(crop=crop)
    for clip, given in zip(video, found, strict=True):
        box = draw_crop(config, 40, 40)
        sides = [box.bottom - box.top, box.right - box.left]
        for frame in range(2):
            expected = resized_crop(clip[:, frame].float(), box.top, box.left, *sides, [24, 24], antialias=True)
            torch.testing.assert_close(given[:, frame], expected, rtol=0, atol=1e-3)


@pytest.mark.parametrize("crop", CROPS)
def test_frames_of_a_clip_change_alike(crop: str) -> None:
    video = noise(4, 1, 40).expand(4, 3, 5, 40, 40)
    found = augmented(video, 24, crop=crop, flip=True, shift=0.1, gain=0.2, colour=0.1)
    assert found.dtype == torch.float32
    assert found.shape == (4, 3, 5, 24, 24)
    assert torch.equal(found, found[:, :, :1].expand_as(found))


@pytest.mark.parametrize("crop", CROPS[1:])
def test_clips_of_a_batch_change_each_by_itself_and_by_the_seed(crop: str) -> None:
    # Repeats of a clip are told apart by this alone.
    video = noise(1, 2, 64).expand(6, 3, 2, 64, 64)
    found = augmented(video, 32, seed=1, crop=crop)
    assert len({clip.numpy().tobytes() for clip in found}) > 1
    assert torch.equal(found, augmented(video, 32, seed=1, crop=crop))
    assert not torch.equal(found, augmented(video, 32, seed=2, crop=crop))


@pytest.mark.slow
def test_rand_augment_is_torchvisions_alike_for_all_frames() -> None:
    video = noise(3, 4, 24)
    policy = RandAugment(4, 7, 11, InterpolationMode.BILINEAR, fill=128)
    kinds = set()
    for seed in range(6):
        found = augmented(video, 24, seed=seed, rand_augment=4)
        torch.default_generator.manual_seed(seed)
        for clip, given in zip(video, found, strict=True):
            state = torch.get_rng_state()
            for frame in range(4):
                torch.set_rng_state(state)
                assert torch.equal(given[:, frame], policy(clip[:, frame]).float())
        kinds.add(found[0].numpy().tobytes())
    assert len(kinds) > 3


def test_erasing_fills_one_rectangle_of_some_clips() -> None:
    video = noise(64, 3, 32)
    found = augmented(video, 32, erase=0.25)
    changed = found != video.float()
    shares = []
    for clip in changed:
        if clip.any():
            rows, columns = clip.any(0).any(0).any(1).nonzero()[:, 0], clip.any(0).any(0).any(0).nonzero()[:, 0]
            box = slice(int(rows[0]), int(rows[-1]) + 1), slice(int(columns[0]), int(columns[-1]) + 1)
            assert clip[:, :, box[0], box[1]].float().mean() > 0.95
            shares.append((len(rows) * len(columns)) / 32**2)
    assert 6 < len(shares) < 27  # 16 expected, deviation 3.5
    assert 0.01 < min(shares) <= max(shares) < 0.36
    assert float(found.min()) >= 0
    assert float(found.max()) <= 255
    still = noise(1, 1, 32).expand(8, 3, 3, 32, 32)
    found = augmented(still, 32, erase=1.0)
    assert torch.equal(found, found[:, :, :1].expand_as(found))


@pytest.mark.slow
@pytest.mark.parametrize("crop", CROPS)
def test_nothing_is_read_from_the_device(crop: str) -> None:
    # Tensors on the meta device have no values: reading one raises.
    video = torch.empty(2, 3, 4, 40, 40, dtype=torch.uint8, device="meta")
    augment = Augment(AugmentConfig(crop=crop, flip=True, picture_aspect=0.0, rand_augment=4, erase=1.0), 24)
    assert augment(video, [1.0, 1.78]).shape == (2, 3, 4, 24, 24)


def test_without_a_crop_only_flips_change_a_clip() -> None:
    video = noise(32, 2, 16)
    found = augmented(video, 16, flip=True)
    kept = [torch.equal(after, before.float()) for before, after in zip(video, found, strict=True)]
    flipped = [torch.equal(after, before.flip(3).float()) for before, after in zip(video, found, strict=True)]
    assert all(a != b for a, b in zip(kept, flipped, strict=True))
    assert 4 < sum(flipped) < 28  # 16 expected, deviation 2.8
    assert torch.equal(augmented(video, 16), video.float())


def test_shifts_repeat_the_border() -> None:
    video = noise(16, 1, 20)
    padded = np.pad(video.numpy(), [(0, 0)] * 3 + [(2, 2)] * 2, "edge")
    for number, clip in enumerate(augmented(video, 20, shift=0.1).numpy()):
        windows = itertools.product(range(5), repeat=2)
        assert any((padded[number, :, :, y : y + 20, x : x + 20] == clip).all() for y, x in windows)


@pytest.mark.parametrize("aspect", [2.0, 0.5])
def test_crops_keep_the_shape_of_what_they_show(aspect: float) -> None:
    # A disc in a picture of this aspect ratio, which was squashed to a square when it was read.
    at = torch.arange(200) + 0.5 - 100
    across, down = at * max(aspect, 1.0), at * max(1 / aspect, 1.0)
    disc = 255 * ((across[None, :] ** 2 + down[:, None] ** 2) < 40**2)
    video = disc.to(torch.uint8).expand(16, 3, 1, 200, 200)

    def sides(picture_aspect: float) -> list[tuple[int, int]]:
        """Width and height of the discs that no border cuts."""
        config: dict[str, Any] = {"crop": "random", "side": 1.0, "picture_aspect": picture_aspect}
        lit = augmented(video, 100, aspects=[aspect] * 16, **config)[:, 0, 0] > 127
        whole = [not (each[0].any() or each[-1].any() or each[:, 0].any() or each[:, -1].any()) for each in lit]
        return [(int(each.any(0).sum()), int(each.any(1).sum())) for each in lit[torch.tensor(whole)]]

    squashed = (20, 40) if aspect > 1 else (40, 20)
    assert sides(1.0) == [squashed] * 16
    kept = sides(0.0)
    assert len(kept) >= 4
    assert all(wide == pytest.approx(40, abs=1) and high == pytest.approx(40, abs=1) for wide, high in kept)


def test_the_aspect_of_each_video_must_be_known() -> None:
    with pytest.raises(DataError, match="picture_aspect 0 needs the aspect ratio of each video"):
        augmented(noise(1, 1, 8), 8, crop="random", picture_aspect=0.0)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"crop": "multiscale"}, "--augmentation.crop must be one of .*multi_scale"),
        ({"side": 1.5}, "--augmentation.side must be between 0.01 and 1, got 1.5"),
        ({"area": (0.8, 0.3)}, r"--augmentation.area must be \[smallest, largest\], got \[0.8, 0.3\]"),
        ({"aspect": (0.0, 1.0)}, "--augmentation.aspect must be between 0.1 and 10, got 0"),
        ({"scales": ()}, "--augmentation.scales must hold at least one fraction"),
        ({"picture_aspect": -1.0}, "--augmentation.picture_aspect must be between 0.1 and 10, got -1"),
        ({"read_px": 0}, "--augmentation.read_px must be between 1 and 4096, got 0"),
        ({"rand_magnitude": 11}, "--augmentation.rand_magnitude must be between 0 and 10, got 11"),
        ({"erase": 1.5}, "--augmentation.erase must be between 0 and 1, got 1.5"),
        ({"gain": -0.1}, "--augmentation.gain must be between 0 and 10, got -0.1"),
    ],
)
def test_wrong_values_are_told(wrong: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        AugmentConfig(**wrong)
