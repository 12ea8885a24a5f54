"""The comparison with the authors' training loops, without their code: imports, names of weights, our side."""

import importlib
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from surgvl.models.vit import VideoViT
from surgvl.models.vit_config import ViTConfig
from surgvl.pretrain.masks import tube
from surgvl.pretrain.videomae import Decoder, VideoMAE
from surgvl.train.config import Optim

BENCHMARKS = Path(__file__).resolve().parents[2] / "benchmarks"
STEPS = 6


@pytest.fixture
def parity(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.syspath_prepend(BENCHMARKS)
    return importlib.import_module("parity")


@pytest.fixture
def clone(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.syspath_prepend(BENCHMARKS)
    return importlib.import_module("parity_clone")


def encoder() -> VideoViT:
    torch.manual_seed(0)
    return VideoViT(ViTConfig(size_px=16, num_frames=4, patch_px=4, tubelet=2, dim=24, depth=1, heads=2))


@pytest.mark.slow
def test_modules_of_two_clones_do_not_meet(clone: Any, tmp_path: Path) -> None:
    before, path = set(sys.modules), list(sys.path)
    for name in ("first", "second"):
        (tmp_path / name / "tools").mkdir(parents=True)
        (tmp_path / name / "clone_of.py").write_text(f"from renamed.words import NAME\nNAME += ' {name}'\n")
        (tmp_path / name / "tools" / "words.py").write_text("import tensorboardX\nNAME = 'the'\n")
    for name in ("first", "second"):
        with clone.imported(tmp_path / name, {"renamed": "tools"}):
            assert f"the {name}" == importlib.import_module("clone_of").NAME
        left = {module for module in set(sys.modules) - before if module.startswith(("clone_of", "renamed", "tensorb"))}
        assert left == set()
    assert sys.path == path
    assert not isinstance(sys.modules["timm.optim.adafactor"], clone.mock.MagicMock)


def test_pixels_of_videomae_have_the_colour_last_and_keys_no_bias(clone: Any) -> None:
    decoder = Decoder(encoder(), 3 * 32, 8, 1, 2)
    theirs = {"decoder." + name: value.clone() for name, value in decoder.state_dict().items()}
    theirs = {name.replace(".mlp.0.", ".mlp.fc1.").replace(".mlp.2.", ".mlp.fc2."): v for name, v in theirs.items()}
    theirs["down.weight"], theirs["mask_token"] = theirs.pop("decoder.down.weight"), theirs.pop("decoder.mask_token")
    del theirs["decoder.blocks.0.attn.qkv.bias"]
    theirs |= {
        f"decoder.blocks.0.attn.{kind}_bias": torch.full((8,), number) for kind, number in (("q", 1.0), ("v", 2))
    }
    theirs["decoder.head.bias"] = torch.arange(96.0)
    clone.load_decoder(decoder, theirs, "down.", "mask_token", "decoder.", pixels=True)
    pixel, colour = 5, 2
    assert decoder.head.bias.tolist()[colour * 32 + pixel] == 3 * pixel + colour
    bias = decoder.blocks.get_parameter("0.attn.qkv.bias").detach().numpy()
    assert np.array_equal(bias.reshape(3, 8)[:, 0], [1, 0, 2])


@pytest.mark.slow
def test_our_side_is_a_plain_loop_and_starts_anew_each_time(parity: Any) -> None:
    optim = Optim(lr=0.01, warmup=0.5, schedule="constant", weight_decay=0.5, clip_norm=0, counting="from_zero")
    shape = (STEPS * parity.BATCH, 3, 4, 16, 16)
    video = torch.randint(0, 256, shape, generator=torch.Generator().manual_seed(1), dtype=torch.uint8)
    torch.manual_seed(2)
    masks = [tube(parity.BATCH, (2, 4, 4), 0.75) for _ in range(STEPS)]

    recipe = VideoMAE(encoder(), 0.75, 8, 1, 2)
    decays = [p for name, p in recipe.named_parameters() if p.ndim > 1 and name != "decoder.mask_token"]
    rest = [p for p in recipe.parameters() if not any(p is each for each in decays)]
    groups = [{"params": decays, "weight_decay": 0.5}, {"params": rest, "weight_decay": 0.0}]
    optimizer = torch.optim.AdamW(groups, betas=(0.9, 0.95))
    want = []
    for rate, clips, mask in zip(
        [0, 0.005, 0.01, 0.01, 0.01, 0.01], torch.split(video, parity.BATCH), masks, strict=True
    ):
        for group in optimizer.param_groups:
            group["lr"] = rate
        recipe.masks = lambda *_, mask=mask: mask  # type: ignore[method-assign]
        loss = recipe({"video": clips})["loss"]
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        want.append(float(loss.detach()))

    peer = parity.Peer(want, sum(p.numel() for p in decays), VideoMAE(encoder(), 0.75, 8, 1, 2), masks, optim)
    replay = parity.Replay(peer, video)
    assert replay.decayed == peer.decayed
    for _ in range(2):
        assert parity.largest(want, replay(optim)) < 1e-6
    seen = [what for what, losses in parity.changed(replay) if parity.largest(want, losses) > 1e-4]
    assert seen[:2] == ["no weight decay", "`clip_norm` 0.02"]


def test_what_is_no_clone_is_told(
    parity: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    flags = [word for flag in parity.REPOSITORIES for word in (f"--{flag}", str(tmp_path))]
    monkeypatch.setattr(sys, "argv", ["parity.py", *flags])
    with pytest.raises(SystemExit):
        parity.main()
    assert f"--surgvista must be a clone of isyangshu/SurgVISTA, but {tmp_path} has no" in capsys.readouterr().err
