"""Train a published video-text model on one's own narrated video: all of it, low-rank updates (LoRA), or a pooling.

- `frozen`: the towers stay; a pooling over the vectors of a clip's frames is trained (`models.adapters.temporal`), on
  vectors that are computed once. As CLIP4Clip's transformer over frame features (Luo et al., arXiv 2104.08860).
- `lora`: low-rank updates of the linear layers (Hu et al., arXiv 2106.09685), merged into the weights at the end.
- `full`: all weights.

Shapes: B clips, T frames, U unique sentences of a batch, E width of the space.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor, nn

from surgvl.align.clip import SentenceContrast
from surgvl.align.losses import unique_sentences
from surgvl.core.arrays import Float32Array, Int64Array
from surgvl.core.errors import ConfigError, Unreadable
from surgvl.data.frame_store import ClipKey, FrameStore
from surgvl.models.adapters.temporal import Temporal
from surgvl.models.video_text import FrameText, VideoText
from surgvl.train.lora import with_lora
from surgvl.train.objective import Batch

Adapt = Literal["frozen", "lora", "full"]
LORA_RANK = 16


class Adaptation(SentenceContrast):
    """Contrastive objective over a published video-text model.

    Args:
        dual: trained in place, as far as its parameters require gradients.
    """

    def __init__(self, dual: VideoText):
        super().__init__()
        self.dual = dual
        self._sentences: dict[str, Tensor] = {}

    def train(self, mode: bool = True) -> "Adaptation":
        """Set the mode; batch norms that are not trained keep the statistics that they were published with."""
        super().train(mode)
        for module in self.modules():
            if isinstance(module, nn.modules.batchnorm._BatchNorm) and not module.weight.requires_grad:
                module.eval()
        return self

    def embed(self, batch: Batch) -> dict[str, Tensor]:
        """Unit vectors of the clips, `video` [B, E], and of their different sentences, `text` [U, E].

        Args:
            batch: `video` [B, 3, T, H, W] and `text`, a list of sentences per clip; of a frozen model that sees frames
                it holds `tokens` [B, T, E], the vectors of the frames, instead of the video.
        """
        sentences, _ = unique_sentences(batch["text"])
        if "tokens" in batch:
            assert isinstance(self.dual, Temporal)
            video = self.dual.pool_frames(batch["tokens"])
            return {"video": video, "text": self._known(sentences).to(video.device)}
        return {"video": self.dual.encode_video(batch["video"]), "text": self.dual.encode_text(sentences)}

    def _known(self, sentences: Sequence[str]) -> Tensor:
        """Vectors of sentences from a frozen text tower, each computed once."""
        if new := [sentence for sentence in sentences if sentence not in self._sentences]:
            self._sentences |= zip(new, self.dual.encode_text(new).cpu(), strict=True)
        return torch.stack([self._sentences[sentence] for sentence in sentences])


class FrameVectors:
    """Vectors of the frames of clips by a frozen model, each frame encoded once; a `Tokens` of `NarratedClips`.

    Args:
        model: frozen.
        store: frames of the videos; prepared.
        clips: that will be asked for.
        batch: frames encoded at once.

    Attributes:
        problems: video id -> why it cannot be read.
    """

    def __init__(self, model: FrameText, store: FrameStore, clips: Sequence[ClipKey], batch: int = 32):
        self.preprocess = store.preprocess
        self.problems: dict[str, str] = {}
        wanted: dict[str, set[int]] = {}
        for video_id, place in clips:
            wanted.setdefault(video_id, set()).update(self.preprocess.numbers(place).tolist())
        self._rows: dict[str, dict[int, int]] = {}
        self._vectors: dict[str, Float32Array] = {}
        for video_id, numbers in wanted.items():
            self._add(model, store, video_id, np.array(sorted(numbers)), batch)

    def _add(self, model: FrameText, store: FrameStore, video_id: str, numbers: Int64Array, batch: int) -> None:
        parts = []
        try:
            for at in range(0, len(numbers), batch):
                frames = torch.from_numpy(store.frames(video_id, numbers[at : at + batch])).permute(0, 3, 1, 2)
                with torch.inference_mode():
                    parts.append(model.encode_frames(frames.to(model.logit_scale.device)).cpu().numpy())
        except Unreadable as error:
            self.problems[video_id] = str(error)
            return
        self._rows[video_id] = {int(number): row for row, number in enumerate(numbers)}
        self._vectors[video_id] = np.concatenate(parts)

    def __contains__(self, clip: ClipKey) -> bool:
        """Whether the vectors of a clip's frames are known."""
        return clip[0] in self._rows

    def __getitem__(self, clip: ClipKey) -> Tensor:
        """Vectors of the frames of a clip, [T, E]."""
        video_id, place = clip
        rows = [self._rows[video_id][number] for number in self.preprocess.numbers(place).tolist()]
        return torch.from_numpy(self._vectors[video_id][rows])


def adapt(model: VideoText, how: Adapt, folder: Path, num_frames: int) -> tuple[VideoText, Any]:
    """Prepare a published model for training.

    Args:
        model: with its weights.
        how: what is trained.
        folder: its model folder.
        num_frames: frames of a clip, T.

    Returns:
        What is trained, and for `lora` peft's model, whose `merge_and_unload` ends the training; else None.

    Raises:
        ConfigError: a frozen model that sees clips, which has nothing to pool, or peft is not installed.
    """
    if how == "full":
        return model.requires_grad_(True), None
    if how == "frozen":
        if not isinstance(model, FrameText):
            raise ConfigError(
                "--adapt frozen trains a pooling over frames, and this model sees clips: give lora or full"
            )
        return Temporal(model, folder, num_frames), None
    tuned = with_lora(model, LORA_RANK, linear_layers(model))
    model.logit_scale.requires_grad_(True)
    return model, tuned


def linear_layers(model: nn.Module) -> list[str]:
    """Names of the linear layers that LoRA can update: not those that torch's attention reads directly."""
    inside = {
        f"{name}." for name, module in model.named_modules() if isinstance(module, nn.MultiheadAttention) and name
    }
    return [
        name
        for name, module in model.named_modules()
        if isinstance(module, nn.Linear) and not any(name.startswith(prefix) for prefix in inside)
    ]
