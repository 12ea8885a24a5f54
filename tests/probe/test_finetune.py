"""Fine-tuning: mixed clips have the loss of mixed labels, and several labels at once are not mixed."""

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from surgvl.core.errors import ConfigError
from surgvl.models.vit import VideoViT
from surgvl.models.vit_config import ViTConfig
from surgvl.probe.finetune import FineTune
from surgvl.probe.labels import Head
from surgvl.probe.pooled import Pooled
from surgvl.probe.recogniser import Recogniser

PHASE = Head("phase", "one", ("a", "b", "c"))
TOOL = Head("tool", "many", ("hook",))


class Pixels(Recogniser):
    """Remembers the clips that it is shown, and answers with the logits that it was given."""

    logits: Tensor
    seen: Tensor

    def forward(self, video: Tensor) -> dict[str, Tensor]:
        self.seen = video
        return {head.name: self.logits[:, : head.size] for head in self.readout.asked}


def model_of(heads: list[Head]) -> Pixels:
    config = ViTConfig(size_px=16, num_frames=2, patch_px=8, tubelet=2, dim=16, depth=2, heads=2)
    model = Pixels(VideoViT(config), Pooled(16, heads))
    torch.manual_seed(0)
    model.logits = torch.randn(4, 3)
    return model


@pytest.mark.parametrize(("mixup", "cutmix"), [(0.8, 0.0), (0.0, 1.0)])
def test_mixed_clips_have_the_loss_of_mixed_labels(mixup: float, cutmix: float) -> None:
    model = model_of([PHASE])
    objective = FineTune(model, mixup, cutmix, smoothing=0.1).train()
    # Clip i is filled with the value i, so its share can be read from the pixels.
    video = torch.arange(4.0).view(4, 1, 1, 1, 1).expand(4, 3, 2, 16, 16) * 10
    truth = torch.tensor([0, 1, 2, 0])
    for seed in range(5):
        torch.manual_seed(seed)
        loss = objective({"video": video.to(torch.uint8), "truth_phase": truth})["loss"]
        share = 1 - float(model.seen[0].mean()) / 30
        assert 0 <= share <= 1
        target = share * F.one_hot(truth, 3) + (1 - share) * F.one_hot(truth.flip(0), 3)
        expected = F.cross_entropy(model.logits, target, label_smoothing=0.1)
        assert float(loss) == pytest.approx(float(expected), rel=1e-4)
    objective.eval()
    objective({"video": video, "truth_phase": truth})
    assert torch.equal(model.seen, video)


def test_several_labels_at_once_are_not_mixed() -> None:
    model = model_of([PHASE, TOOL])
    video = torch.arange(4.0).view(4, 1, 1, 1, 1).expand(4, 3, 2, 16, 16)
    FineTune(model, 0.8, 1.0).train()(
        {"video": video, "truth_phase": torch.tensor([0, 1, 2, 0]), "truth_tool": torch.tensor([[1], [0], [1], [0]])}
    )
    assert torch.equal(model.seen, video)
    with pytest.raises(ConfigError, match="--regularise.smoothing must be between 0 and 1, got 2"):
        FineTune(model, smoothing=2)


def test_the_whole_encoder_learns() -> None:
    torch.manual_seed(0)
    config = ViTConfig(size_px=16, num_frames=2, patch_px=8, tubelet=2, dim=16, depth=2, heads=2, drop_path=0.1)
    objective = FineTune(Recogniser(VideoViT(config), Pooled(16, [PHASE])), smoothing=0.1).train()
    for module in objective.modules():
        if isinstance(module, nn.Linear):
            nn.init.normal_(module.weight, std=0.1)
    video = torch.randint(0, 255, (6, 3, 2, 16, 16), dtype=torch.uint8)
    objective({"video": video, "truth_phase": torch.tensor([0, 1, 2, 0, 1, -1])})["loss"].backward()
    assert all(parameter.grad is not None for parameter in objective.parameters())
