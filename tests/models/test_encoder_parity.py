"""The encoder against transformers' models with copied weights, hand-written tables, and the compiler."""

import copy
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from surgvl.core.errors import ConfigError
from surgvl.models.checkpoints.convert import load_encoder
from surgvl.models.position import POSITIONS, interpolate, table
from surgvl.models.vit import VideoViT
from surgvl.models.vit_config import Position, QKVBias, ViTConfig
from tests.helpers.made_checkpoints import Floats, clips, theirs_on, videomae, vjepa2, written_table

# Odd grids, one frame a tubelet, one slot; heads of 64, 32 and 20 channels, which thirds or sixths do not fill.
GEOMETRIES: tuple[dict[str, int], ...] = (
    {"size": 20, "frames": 6, "patch": 4, "tubelet": 2, "dim": 64, "depth": 3, "heads": 2},
    {"size": 12, "frames": 5, "patch": 4, "tubelet": 1, "dim": 40, "depth": 1, "heads": 2},
    {"size": 14, "frames": 3, "patch": 2, "tubelet": 3, "dim": 64, "depth": 4, "heads": 1},
    {"size": 24, "frames": 8, "patch": 8, "tubelet": 2, "dim": 192, "depth": 2, "heads": 3},
)
MODELS = {"videomae": videomae, "vjepa2": vjepa2}


@pytest.mark.slow
@pytest.mark.parametrize("kind", MODELS)
@pytest.mark.parametrize("geometry", GEOMETRIES, ids=lambda g: f"{g['frames']}x{g['size']}x{g['dim']}")
def test_tokens_are_transformers(kind: str, geometry: dict[str, int], tmp_path: Path) -> None:
    theirs = MODELS[kind](**geometry)
    theirs.save_pretrained(tmp_path)
    ours = load_encoder(str(tmp_path))
    assert ours.grid == (geometry["frames"] // geometry["tubelet"], *2 * [geometry["size"] // geometry["patch"]])
    video = clips(ours)
    with torch.no_grad():
        double = copy.deepcopy(ours).double()
        exact = theirs_on(theirs.double(), double, video)
        assert torch.allclose(double(video), exact, atol=1e-6, rtol=0)
        # In float32 both round, each in its own way on each processor: ours is held to the exact tokens, not to theirs.
        assert torch.allclose(ours(video), exact.float(), atol=1e-5, rtol=0)


@pytest.mark.slow
@pytest.mark.parametrize("kind", MODELS)
@pytest.mark.parametrize(("size", "frames"), [(28, 6), (12, 10), (36, 2)])
def test_other_frames_than_trained(kind: str, size: int, frames: int, tmp_path: Path) -> None:
    trained, moved = MODELS[kind](), MODELS[kind](size=size, frames=frames)
    trained.save_pretrained(tmp_path)
    moved.load_state_dict(trained.state_dict())
    ours = load_encoder(str(tmp_path), size_px=size, num_frames=frames)
    video = clips(ours)
    with torch.no_grad():
        assert torch.allclose(ours(video), theirs_on(moved, ours, video), atol=1e-5, rtol=0)


def test_kept_tokens_are_videomaes(tmp_path: Path) -> None:
    theirs = videomae()
    theirs.save_pretrained(tmp_path)
    ours = load_encoder(str(tmp_path))
    video = clips(ours)
    hidden = torch.rand(2, ours.num_tokens).argsort(1) >= 20
    keep = (~hidden).nonzero()[:, 1].view(2, 20)
    with torch.no_grad():
        want = theirs(ours.normalise(video).transpose(1, 2), bool_masked_pos=hidden).last_hidden_state
        assert torch.allclose(ours(video, keep), want, atol=1e-5, rtol=0)


def test_kept_tokens_turn_by_their_own_places_as_vjepa2s(tmp_path: Path) -> None:
    theirs = vjepa2()
    theirs.save_pretrained(tmp_path)
    ours = load_encoder(str(tmp_path))
    video = clips(ours)
    keep = torch.rand(2, ours.num_tokens).argsort(1)[:, :20]
    with torch.no_grad():
        x = theirs.encoder.embeddings(ours.normalise(video).transpose(1, 2))
        x = torch.gather(x, 1, keep[:, :, None].expand(-1, -1, x.shape[2]))
        for layer in theirs.encoder.layer:
            x = layer(x, keep)[0]
        assert torch.allclose(ours(video, keep), theirs.encoder.layernorm(x), atol=1e-5, rtol=0)


@pytest.mark.parametrize("kind", ["sincos_3d", "vjepa"])
@pytest.mark.parametrize(("grid", "dim"), [((3, 5, 5), 48), ((2, 3, 4), 64), ((1, 2, 2), 80)])
def test_tables_are_those_written_by_hand(kind: str, grid: tuple[int, int, int], dim: int) -> None:
    got = table(kind, grid, dim).double().numpy()
    assert np.abs(got - written_table(kind, grid, dim)).max() < 1e-6


def reading(old: int, new: int, cubic: bool) -> Floats:
    """Weights [new, old] that read a row of numbers at other places, pixel centres at halves, edges repeated."""
    weights = np.zeros((new, old))
    for row in range(new):
        at = (row + 0.5) * old / new - 0.5
        at = at if cubic else max(at, 0.0)
        left = int(np.floor(at))
        for cell in range(left - 1, left + 3):
            d = abs(at - cell)
            if cubic:  # Keys' kernel with a = -3/4
                a = -0.75
                near, far = (a + 2) * d**3 - (a + 3) * d**2 + 1, a * d**3 - 5 * a * d**2 + 8 * a * d - 4 * a
                share = near if d <= 1 else far if d < 2 else 0.0
            else:
                share = max(0.0, 1 - d)
            weights[row, min(max(cell, 0), old - 1)] += share
    return weights


@pytest.mark.parametrize("new", [(5, 7, 7), (2, 3, 3), (3, 8, 8)])
def test_tables_are_stretched_as_the_released_code_does(new: tuple[int, int, int]) -> None:
    old, dim = (3, 5, 5), 48
    cells = written_table("vjepa", old, dim).reshape(*old, dim)
    axes = [reading(a, b, cubic=False) for a, b in zip(old, new, strict=True)]
    want = np.einsum("at,by,cx,tyxd->abcd", *axes, cells).reshape(-1, dim)
    assert np.abs(interpolate("vjepa", old, new, dim).double().numpy() - want).max() < 1e-5

    cells = written_table("sincos_3d", (new[0], *old[1:]), dim).reshape(new[0], *old[1:], dim)
    axes = [reading(a, b, cubic=True) for a, b in zip(old[1:], new[1:], strict=True)]
    want = np.einsum("by,cx,tyxd->tbcd", *axes, cells).reshape(-1, dim)
    assert np.abs(interpolate("sincos_3d", old, new, dim).double().numpy() - want).max() < 1e-5


def test_a_stretched_table_is_for_two_kinds_and_survives_the_configuration() -> None:
    small: dict[str, Any] = {"size_px": 12, "num_frames": 4, "patch_px": 4, "dim": 48, "depth": 1, "heads": 2}
    for kind in ("sinusoid", "rope"):
        with pytest.raises(ConfigError, match=f"vjepa and sincos_3d, not to '{kind}'"):
            VideoViT(ViTConfig(**small, position=kind, table_grid=(2, 5, 5)))
        assert VideoViT(ViTConfig(**small, position=kind, table_grid=(2, 3, 3))).position.is_rotary == (kind == "rope")
    encoder = VideoViT(ViTConfig(**small, position="vjepa", table_grid=(3, 5, 5)))
    assert torch.equal(encoder.position.get_buffer("added"), interpolate("vjepa", (3, 5, 5), (2, 3, 3), 48))
    again = VideoViT(encoder.config)
    assert torch.equal(again.position.get_buffer("added"), encoder.position.get_buffer("added"))


@pytest.mark.parametrize("kind", POSITIONS)
@pytest.mark.slow
def test_compiles_as_one_graph_and_repeats_to_the_bit(kind: Position) -> None:
    biases: dict[str, QKVBias] = {"sinusoid": "no_key", "sincos_3d": "none"}
    qkv_bias = biases.get(kind, "full")
    torch.manual_seed(0)
    encoder = VideoViT(
        ViTConfig(size_px=12, num_frames=4, patch_px=4, dim=48, depth=1, heads=2, position=kind, qkv_bias=qkv_bias)
    ).eval()
    video = clips(encoder)
    keep = torch.rand(2, encoder.num_tokens).argsort(1)[:, :7]
    graphs: list[torch.fx.GraphModule] = []

    def count(graph: torch.fx.GraphModule, example: list[torch.Tensor]) -> Any:
        graphs.append(graph)
        return graph.forward

    torch._dynamo.reset()
    compiled = torch.compile(encoder, fullgraph=True, backend=count)
    # With gradients, as in training; without a whole graph, torch would refuse.
    for arguments in ((video,), (video, keep)):
        once = encoder(*arguments)
        assert torch.equal(encoder(*arguments), once)
        assert torch.allclose(compiled(*arguments), once, atol=1e-6)
    assert len(graphs) == 2, "one whole graph for a clip, one for a part of its tokens"
