"""Frames against torchvision, open_clip's transforms and transformers' image processors, as model authors use them."""

from pathlib import Path
from typing import Any

import numpy as np
import open_clip
import pytest
import torch
from open_clip.transform import PreprocessCfg, image_transform_v2
from PIL import Image as Pillow
from torchvision import transforms

from surgvl import video
from surgvl.core.errors import DataError
from surgvl.video import Box, Geometry

# Even, odd, portrait, smaller than the frame.
SHAPES = [(96, 171), (97, 123), (170, 95), (40, 33)]


def picture(shape: tuple[int, int], seed: int = 0) -> video.Image:
    return np.random.default_rng(seed).integers(0, 256, (*shape, 3), np.uint8)


def pixels(transform: Any, frame: video.Image) -> video.Image:
    """The frame of a transform that ends in a tensor in 0..1."""
    found: video.Image = (transform(Pillow.fromarray(frame)) * 255).round().byte().permute(1, 2, 0).numpy()
    return found


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("interpolation", ["bilinear", "bicubic"])
@pytest.mark.parametrize(("kind", "mode"), [("squash", "squash"), ("crop", "shortest"), ("letterbox", "longest")])
def test_frames_are_open_clips(shape: tuple[int, int], interpolation: Any, kind: Any, mode: str) -> None:
    cfg = PreprocessCfg(size=56, mean=(0, 0, 0), std=(1, 1, 1), interpolation=interpolation, resize_mode=mode)
    theirs = pixels(image_transform_v2(cfg, is_train=False), picture(shape))
    ours = Geometry(56, kind, interpolation=interpolation).apply(picture(shape))
    assert ours.shape == (56, 56, 3)
    assert np.array_equal(ours, theirs)


@pytest.mark.parametrize("shape", [(480, 854), (131, 97), (720, 577)])
def test_frames_are_surgvlps(shape: tuple[int, int]) -> None:
    """SurgVLP resizes to 360 x 640 and cuts out the centre 224 x 224."""
    theirs = transforms.Compose([transforms.Resize((360, 640)), transforms.CenterCrop(224), transforms.ToTensor()])
    ours = Geometry(224, "crop", (360, 640), "bilinear").apply(picture(shape))
    assert np.array_equal(ours, pixels(theirs, picture(shape)))


@pytest.mark.parametrize("shape", SHAPES)
def test_frames_are_those_of_transformers_to_one_level(shape: tuple[int, int]) -> None:
    from transformers import CLIPImageProcessor

    theirs = CLIPImageProcessor(
        size={"shortest_edge": 32}, crop_size={"height": 32, "width": 32}, do_normalize=False, do_rescale=False
    )(torch.from_numpy(picture(shape)).permute(2, 0, 1), return_tensors="pt")["pixel_values"][0].permute(1, 2, 0)
    ours = Geometry(32, "crop", interpolation="bicubic").apply(picture(shape))
    assert np.abs(ours.astype(int) - theirs.numpy().astype(int)).max() <= 1


def test_fit_keeps_the_aspect_and_enlarges_nothing() -> None:
    fit = Geometry(64, "fit", interpolation="bicubic")
    assert fit.apply(picture((96, 171))).shape == (36, 64, 3)
    assert fit.apply(picture((170, 95))).shape == (64, 36, 3)
    assert np.array_equal(fit.apply(picture((40, 33))), picture((40, 33)))


def test_the_part_of_a_picture_is_taken_first() -> None:
    box = Box(4, 10, 90, 150)
    for geometry in (Geometry(32), Geometry(32, "crop", interpolation="bicubic"), Geometry(32, "fit")):
        part = np.ascontiguousarray(picture((96, 171))[4:90, 10:150])
        assert np.array_equal(geometry.apply(picture((96, 171)), box), geometry.apply(part))
    with pytest.raises(DataError, match=r"171x96 px picture"):
        Geometry(32).apply(picture((96, 171)), Box(0, 0, 97, 10))


def test_aspect_of_the_shown_part() -> None:
    assert Geometry(32).aspect(90, 160) == pytest.approx(160 / 90)
    assert Geometry(32, "letterbox").aspect(90, 160) == 1
    assert Geometry(32, "crop").aspect(90, 160) == pytest.approx(1, abs=0.03)
    assert Geometry(32, "crop", (36, 128)).aspect(90, 160) == pytest.approx(0.5)


@pytest.mark.parametrize("kind", ["crop", "letterbox", "fit"])
def test_clips_and_streams_have_that_geometry(tmp_path: Path, kind: Any) -> None:
    path = tmp_path / "portrait.mp4"
    frames = np.stack([picture((86, 50), seed).repeat(2, 0).repeat(2, 1) for seed in range(4)])
    video.write(path, frames, fps=4)
    geometry = Geometry(48, kind, interpolation="bilinear")
    clip = video.read(path, 0, 1, 4, geometry)
    assert clip.shape[1:3] == geometry.shape(172, 100)
    assert np.array_equal(clip, np.stack([frame for _, frame in video.stream(path, 4, geometry)]))
    whole = video.read(path, 0, 1, 4, Geometry(200, "fit"))
    assert np.array_equal(clip, np.stack([geometry.apply(frame) for frame in whole]))


def test_open_clip_has_no_other_mode() -> None:
    modes = {
        open_clip.get_pretrained_cfg(name, tag).get("resize_mode", "shortest")
        for name, tag in open_clip.list_pretrained()
    }
    assert modes <= {"shortest", "squash", "longest"}
