"""SurgCLIP (SurgLaVi, arXiv 2509.10555): TimeSformer and BERT; the package `surgclip` 0.1.0 is its reference.

A clip has T unit vectors, none of which is a frame's (see `surgvl.models.timesformer`); the authors score a sentence by
the mean of its cosines with them. The vector of a clip is the mean of the T, normalised. The sentences of a clip keep
their order by that, but cosines are larger than the authors' scores, by one factor a clip, and probabilities sharper.
Shapes: B clips, T frames, S side in pixels, M sentences, E width of the space.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar, Self

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers import BertTokenizer

from surgvl.core.errors import CheckpointError
from surgvl.models import bert
from surgvl.models.foreign import foreign
from surgvl.models.published_weights import load_state, numbered, read_state, shape_of
from surgvl.models.shapes import undrawn
from surgvl.models.timesformer import TimeSformer
from surgvl.models.video_text import VideoText, normalised
from surgvl.video.clip import Preprocess

MEAN = STD = (0.5, 0.5, 0.5)
TEXT, VIDEO = "text_encoder.", "vision_encoder.model."
VOCABULARY_OF = "google-bert/bert-base-uncased"
TEMPERATURE = "temp"
HEAD_WIDTH = 64


class VideoTower(nn.Module):
    """A TimeSformer, with the authors' names.

    Args:
        sizes: arguments of `TimeSformer`.
    """

    def __init__(self, sizes: dict[str, int]):
        super().__init__()
        self.model = TimeSformer(**sizes)


class SurgCLIP(VideoText):
    """A SurgCLIP model.

    Args:
        dim: width E.
        video: arguments of `TimeSformer`.
        text: arguments of `BertConfig`.
        tokenizer: of the text tower.
        path: where the sizes are from, for messages.
    """

    name: ClassVar[str] = "surgclip"
    context_length = bert.CONTEXT_LENGTH
    mean: Tensor
    std: Tensor

    def __init__(self, dim: int, video: dict[str, int], text: dict[str, int], tokenizer: BertTokenizer, path: Path):
        super().__init__()
        self.dim, self.video, self.text, self.tokenizer = dim, video, text, tokenizer
        self.vision_encoder = VideoTower(video)
        # Of the authors' patch tokens, which are not part of these vectors.
        self.vision_layernorm = nn.LayerNorm(video["dim"], eps=1e-12).requires_grad_(False)
        self.vision_proj = nn.Linear(video["dim"], dim)
        self.text_encoder = bert.build_bert(text, pooler=False, path=path)
        self.text_proj = nn.Linear(text["hidden_size"], dim)
        self.logit_scale = nn.Parameter(torch.zeros(1))
        self.register_buffer("mean", torch.tensor(MEAN), persistent=False)
        self.register_buffer("std", torch.tensor(STD), persistent=False)

    @property
    def config(self) -> dict[str, Any]:
        """The argument of `from_config`."""
        return {"dim": self.dim, "video": self.video, "text": self.text}

    @classmethod
    def from_config(cls, config: dict[str, Any], folder: Path | None = None) -> Self:
        """Build the model of a folder, without weights.

        Raises:
            CheckpointError: its tokenizer is missing, or there is no model of its sizes.
        """
        assert folder is not None
        path = folder / "config.json"
        with foreign(f"{path} describes no SurgCLIP model", "add the model again (surgvl models add)"), undrawn():
            return cls(config["dim"], config["video"], config["text"], bert.load_tokenizer(folder), path)

    @classmethod
    def convert(cls, weights: Path, files: Path, arguments: dict[str, Any], folder: Path) -> tuple[Self, Preprocess]:
        """Read the authors' weights; `vocab.txt` of bert-base-uncased lies in `files`.

        Raises:
            CheckpointError: a weight is missing or unknown, or `vocab.txt` is missing or another one.
        """
        state = read_state(weights, stale=TEXT + bert.STALE)
        text, video = bert.bert_sizes(state, TEXT, weights), video_sizes(state, weights)
        tokenizer = bert.read_vocabulary(files / bert.VOCABULARY, text, VOCABULARY_OF)
        if TEMPERATURE not in state or state[TEMPERATURE].numel() != 1 or not float(state[TEMPERATURE]) > 0:
            raise CheckpointError(f"{weights} lacks {TEMPERATURE}, a number > 0: give the weights of SurgCLIP")
        # It divides the cosines.
        state["logit_scale"] = -state.pop(TEMPERATURE).float().view(1).log()
        dim = shape_of(state, "vision_proj.weight", 2, weights)[0]
        with undrawn():
            made = cls(dim, video, text, tokenizer, weights)
        load_state(made, state, weights)
        side = video["patch_px"] * round(video["num_patches"] ** 0.5)
        return made, Preprocess(num_frames=video["num_frames"], fps=1.0, size_px=side, interpolation="bicubic")

    def save_tokenizer(self, folder: Path) -> None:
        """Write the tokenizer's files."""
        self.tokenizer.save_pretrained(folder)

    def encode_video(self, video: Tensor) -> Tensor:
        """Clips uint8 [B, 3, T, S, S] -> unit vectors, float32 [B, E]."""
        bands = self.vision_encoder.model(normalised(video, self.mean, self.std))
        return F.normalize(F.normalize(self.vision_proj(bands).float(), dim=-1).mean(1), dim=-1)

    def encode_text(self, sentences: list[str]) -> Tensor:
        """M sentences -> unit vectors, float32 [M, E]."""
        found = bert.tokens(self.tokenizer, sentences).to(self.logit_scale.device)
        hidden = self.text_encoder(found["input_ids"], attention_mask=found["attention_mask"]).last_hidden_state
        return F.normalize(self.text_proj(hidden[:, 0]).float(), dim=-1)

    def left_out(self, sentences: list[str]) -> str:
        """A line that says how many tokens are truncated; empty for none."""
        return bert.left_out(self.tokenizer, sentences)


def video_sizes(state: Mapping[str, Tensor], path: Path) -> dict[str, int]:
    """Arguments of `TimeSformer` that weights are of.

    Raises:
        CheckpointError: they are not those of a TimeSformer.
    """
    dim, _, patch_px, _ = shape_of(state, f"{VIDEO}patch_embed.proj.weight", 4, path)
    return {
        "dim": dim,
        "depth": numbered(state, f"{VIDEO}blocks."),
        "heads": max(1, dim // HEAD_WIDTH),
        "hidden": shape_of(state, f"{VIDEO}blocks.0.mlp.fc1.weight", 2, path)[0],
        "patch_px": patch_px,
        "num_patches": shape_of(state, f"{VIDEO}pos_embed", 3, path)[1] - 1,
        "num_frames": shape_of(state, f"{VIDEO}time_embed", 3, path)[1],
    }
