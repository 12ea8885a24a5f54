"""Each loss of the recipes against its formula, written out in NumPy."""

import numpy as np
import pytest
import torch

from surgvl.core.errors import ConfigError
from surgvl.pretrain.motion import motion, pixel_motion
from surgvl.pretrain.normaliser import Normaliser, hadamard
from surgvl.pretrain.unisurg import affinity_loss, motion_loss, motion_shares, variance_loss
from surgvl.pretrain.vjepa import latent_loss
from surgvl.pretrain.zen import drop_teachers, match_loss, total_loss


@pytest.fixture
def pair() -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    first, second = torch.randn(2, 3, 12, 6, generator=generator)
    return first, second


def test_latent_loss(pair: tuple[torch.Tensor, torch.Tensor]) -> None:
    a, b = (each.numpy() for each in pair)
    assert float(latent_loss(*pair)) == pytest.approx(np.abs(a - b).mean(), rel=1e-6)
    assert float(latent_loss(*pair, power=2.0)) == pytest.approx(((a - b) ** 2).mean() / 2, rel=1e-6)


def test_motion_loss_takes_the_tubes_that_move_most(pair: tuple[torch.Tensor, torch.Tensor]) -> None:
    prediction, target = (each.view(3, 3, 4, 6) for each in pair)
    scores = torch.tensor([[0.1, 0.9, 0.5, 0.2], [0.0, 0.1, 0.2, 0.3], [0.5, 0.4, 0.3, 0.2]])
    top, gamma, total = 2, 2.0, []
    for clip in range(3):
        chosen = sorted(range(4), key=lambda s: -float(scores[clip, s]))[:top]  # noqa: B023
        powers = np.exp([gamma * float(scores[clip, s]) for s in chosen])
        for s, weight in zip(chosen, 1 + powers / powers.sum(), strict=True):
            error = np.mean(
                [
                    abs(float(prediction[clip, t, s, d]) - float(target[clip, t, s, d]))
                    for t in range(3)
                    for d in range(6)
                ]
            )
            total.append(weight * error)
    assert float(motion_loss(prediction, target, scores, top, gamma)) == pytest.approx(np.mean(total), rel=1e-5)
    # More tubes than there are: all of them.
    assert float(motion_loss(prediction, target, scores, 9, 0.0)) == pytest.approx(
        1.25 * float((prediction - target).abs().mean()), rel=1e-5
    )


def naive_affinity(prediction: torch.Tensor, target: torch.Tensor, tau: float) -> torch.Tensor:
    total = []
    for p, t in zip(prediction, target, strict=True):
        p, t = p / p.norm(dim=1, keepdim=True), t / t.norm(dim=1, keepdim=True)
        expected, found = torch.softmax(t @ t.T / tau, 1), torch.softmax(p @ p.T / tau, 1)
        total.append((expected * (expected / found).log()).sum(1))
    return torch.stack(total).mean()


@pytest.mark.parametrize("chunk", [1, 5, 12, 100])
def test_affinity_loss_and_its_gradient_do_not_depend_on_the_chunk(
    pair: tuple[torch.Tensor, torch.Tensor], chunk: int
) -> None:
    prediction, target = (each.double() for each in pair)
    ours, theirs = prediction.clone().requires_grad_(), prediction.clone().requires_grad_()
    a, b = affinity_loss(ours, target, 0.1, chunk), naive_affinity(theirs, target, 0.1)
    first, second = torch.autograd.grad(a, ours)[0], torch.autograd.grad(b, theirs)[0]
    assert float(a.detach()) == pytest.approx(float(b.detach()), rel=1e-10)
    assert torch.allclose(first, second, atol=1e-12)
    assert float(affinity_loss(target, target, 0.1, chunk)) == pytest.approx(0, abs=1e-10)


def test_variance_loss_is_what_the_deviations_lack(pair: tuple[torch.Tensor, torch.Tensor]) -> None:
    rows = pair[0].flatten(0, 1).numpy()
    lacking = np.maximum(0, 1.5 - np.sqrt(rows.var(0, ddof=1) + 1e-4))
    assert float(variance_loss(pair[0], 1.5)) == pytest.approx(lacking.mean(), rel=1e-5)
    assert float(variance_loss(torch.ones(2, 4, 3))) == pytest.approx(1 - 1e-2, rel=1e-5)
    assert float(variance_loss(10 * pair[0])) == 0


def test_match_loss_of_summaries_and_of_patches(pair: tuple[torch.Tensor, torch.Tensor]) -> None:
    a, b = (each.numpy().astype(np.float64) for each in pair)
    cosine = 1 - (a * b).sum(-1) / np.linalg.norm(a, axis=-1) / np.linalg.norm(b, axis=-1)
    gap = np.abs(a - b)
    smooth = np.where(gap < 1, 0.5 * gap**2, gap - 0.5).mean(-1)
    both = 0.3 * cosine + 0.7 * smooth
    assert match_loss(*pair, cosine=0.3).numpy() == pytest.approx(both.mean(1), rel=1e-5)
    assert match_loss(pair[0][:, 0], pair[1][:, 0], cosine=0.3).numpy() == pytest.approx(both[:, 0], rel=1e-5)


def test_the_hardest_teacher_is_always_kept_and_others_as_often_as_asked() -> None:
    torch.manual_seed(0)
    losses = torch.tensor([[1.0, 5.0, 2.0]]).repeat(4000, 1)
    assert float(drop_teachers(losses, 0.999999)) == pytest.approx(5.0)
    assert float(drop_teachers(losses, 0.0)) == pytest.approx(8 / 3, rel=1e-5)
    # Half of the others: (5 + 1.5) / 2 in expectation of sums.
    assert float(drop_teachers(losses, 0.5)) == pytest.approx(6.5 / 2, rel=0.02)


def test_teachers_are_dropped_jointly_for_summary_and_patches_or_separately() -> None:
    # Nearly always only the hardest teacher is kept: the first for the summary, the second for patches and for both.
    losses = {"summary": torch.tensor([[3.0, 1.0]]), "patches": torch.tensor([[1.0, 4.0]])}
    weights = {"summary": 1.0, "patches": 2.0}
    joint, separate = (total_loss(losses, weights, 0.999999, rule) for rule in ("joint", "separate"))
    assert float(joint["loss"]) == 1 + 2 * 4
    assert float(separate["loss"]) == 3 + 2 * 4
    # Halves of a coin: a frame's teachers are the same for both terms, so its loss is one of two sums or their mean.
    torch.manual_seed(1)
    found = {float(total_loss(losses, weights, 0.5, "joint")["loss"]) for _ in range(50)}
    assert found == {9.0, (5.0 + 9.0) / 2}


@pytest.mark.slow
def test_hadamard_matrices_of_the_usual_widths() -> None:
    for num in (1, 2, 12, 20, 24, 44, 96, 192, 384, 768, 1024, 1152, 1280, 1408):
        matrix = hadamard(num)
        assert [float(end) for end in matrix.abs().aminmax()] == pytest.approx([num**-0.5, num**-0.5])
        signs = matrix.sign().float()  # whose sums are exact
        assert torch.equal(signs @ signs.T, num * torch.eye(num))
    with pytest.raises(ConfigError, match="no Hadamard matrix is known for 100 channels"):
        hadamard(100)


def skewed(rows: int) -> torch.Tensor:
    """Correlated channels of very different sizes with a mean."""
    generator = torch.Generator().manual_seed(3)
    mix = torch.randn(12, 12, generator=generator) * torch.logspace(-2, 1, 12)
    return torch.randn(rows, 12, generator=generator) @ mix + 4


def test_phi_s_gives_every_channel_unit_variance_and_keeps_angles_between_centred_rows() -> None:
    rows = skewed(1024)
    scale = Normaliser(12, "phi_s", sample_updates=1).train()
    out = scale(rows)
    assert out.mean(0).abs().max() < 1e-3
    assert torch.allclose(out.var(0, unbiased=False), torch.ones(12), atol=1e-3)
    centred = rows - rows.mean(0)
    covariance = np.linalg.eigvalsh(np.cov(rows.numpy().T, bias=True))
    assert torch.allclose(out @ out.T, centred @ centred.T / covariance.mean(), atol=2e-2)


@pytest.mark.parametrize("kind", ["running", "phi_s", "none"])
def test_mixed_precision_changes_neither_moments_nor_targets(kind: str) -> None:
    plain, mixed = (Normaliser(12, kind, sample_updates=3).train() for _ in range(2))
    batches = skewed(512).unflatten(0, (4, 128)).unbind()  # type: ignore[no-untyped-call]
    expected = [plain(rows) for rows in batches]
    with torch.autocast("cpu", torch.bfloat16):
        found = [mixed(rows) for rows in batches]
    for mine, yours in zip(found, expected, strict=True):
        assert torch.equal(mine, yours)


def test_running_moments_of_many_batches_are_those_of_all_rows_and_stay_in_evaluation() -> None:
    rows = skewed(800)
    for kind, matrix in (("running", False), ("phi_s", True)):
        scale = Normaliser(12, kind, momentum=0.999).train()
        for part in rows.view(8, 100, 12):
            scale(part)
        expected = np.cov(rows.numpy().T, bias=True)
        assert scale.get_buffer("mean").numpy() == pytest.approx(rows.mean(0).numpy(), rel=1e-3, abs=1e-3)
        found = scale.get_buffer("spread").numpy()
        assert found == pytest.approx(expected if matrix else np.diag(expected), rel=1e-2, abs=1e-2)
        before = scale.state_dict()["spread"].clone()
        scale.eval()(rows * 7)
        assert torch.equal(before, scale.state_dict()["spread"])
        again = Normaliser(12, kind)
        again.load_state_dict(scale.state_dict())
        assert again.num_updates == 8
        assert torch.equal(again.eval()(rows), scale(rows))


def test_pixel_motion_is_change_plus_difference_to_the_neighbours() -> None:
    generator = torch.Generator().manual_seed(4)
    video = torch.randint(0, 256, (2, 3, 3, 12, 12), generator=generator).float()
    found = pixel_motion(video, 4).numpy()
    x = video.numpy() / 255
    for b in range(2):
        for i in range(3):
            for j in range(3):
                at = x[b, :, :, 4 * i : 4 * i + 4, 4 * j : 4 * j + 4]
                change = np.abs(at[:, 1:] - at[:, :-1]).mean()
                apart = [
                    np.abs(at - x[b, :, :, 4 * k : 4 * k + 4, 4 * m : 4 * m + 4]).mean()
                    for k, m in ((i - 1, j), (i + 1, j), (i, j - 1), (i, j + 1))
                    if 0 <= k < 3 and 0 <= m < 3
                ]
                assert found[b, i, j] == pytest.approx(change + np.mean(apart), rel=1e-4)


@pytest.mark.parametrize("score", ["pixels", "flow"])
def test_the_patch_that_moves_scores_highest(score: str) -> None:
    torch.manual_seed(0)
    video = torch.full((1, 3, 6, 64, 64), 60.0)
    texture = 60 + 120 * torch.rand(10, 10)
    for frame in range(6):
        video[0, :, frame, 35:45, 34 + frame : 44 + frame] = texture
    for scale in ("standard", "raw"):
        scores = motion(video, 16, score, scale)
        assert scores.shape == (1, 4, 4)
        assert int(scores.argmax()) == 2 * 4 + 2
    with pytest.raises(ConfigError, match="must be one of pixels, flow"):
        motion(video, 16, "sound")
    with pytest.raises(ConfigError, match="must be one of standard, raw, got 'loud'"):
        motion(video, 16, score, "loud")


def test_standard_motion_has_unit_deviation_per_clip_whatever_the_light_and_none_where_nothing_differs() -> None:
    torch.manual_seed(0)
    video = torch.rand(2, 3, 4, 32, 32) * torch.rand(2, 1, 1, 32, 1) * 255
    scores = motion(video, 8)
    assert scores.mean((1, 2)).abs().max() < 1e-5
    assert torch.allclose(scores.std((1, 2), correction=0), torch.ones(2), atol=1e-3)
    assert torch.allclose(motion(video / 20, 8), scores, atol=1e-2)
    raw = motion(video, 8, scale="raw")
    assert torch.equal(raw.flatten(1).argsort(1), scores.flatten(1).argsort(1))
    assert float(motion(torch.full((1, 3, 4, 32, 32), 7.0), 8).abs().max()) == 0


def test_motion_shares_are_sharp_at_the_default_gamma_and_equal_at_none() -> None:
    """Patches that change by a few levels of 255, some several times as much as others."""
    generator = torch.Generator().manual_seed(5)
    strength = 4 * torch.randn(4, 1, 1, 8, 8, generator=generator).exp()
    video = 120 + strength.repeat_interleave(8, 3).repeat_interleave(8, 4) * torch.randn(
        4, 3, 8, 64, 64, generator=generator
    )
    scores = motion(video.clamp(0, 255), 8).flatten(1)
    sharp, equal = (torch.special.entr(motion_shares(scores, 3, gamma)[1]).sum(1).mean() for gamma in (2.0, 0.0))
    assert float(equal) == pytest.approx(np.log(3), rel=1e-6)
    assert float(sharp) < 0.8 * np.log(3)
    raw = motion(video.clamp(0, 255), 8, scale="raw").flatten(1)
    assert float(torch.special.entr(motion_shares(raw, 3, 2.0)[1]).sum(1).mean()) > 0.95 * np.log(3)
