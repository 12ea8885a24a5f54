"""Qwen3-VL-Embedding: a vision-language model whose last token is the vector of a clip or of a sentence (Qwen team,
github.com/QwenLM/Qwen3-VL-Embedding, `src/models/qwen3_vl_embedding.py`, commit 8ce3aab).

As there: a conversation of an instruction (system) and the clip or sentence (user) in the model's own chat template
with its generation prompt, the hidden state of the last attended position after the final norm, unit length. Narrower
vectors are the first numbers of the wide ones (Matryoshka, arXiv 2205.13147), made unit again. The instruction of
sentences and the temperature 0.02 are those of its authors' evaluation (`src/evaluation/mmeb_v2`, MomentSeeker).
Checked with random weights against transformers' model and processor called by hand; not against the published
weights, which no machine of ours has. Known to differ: the authors scale frames with qwen-vl-utils, here frames keep
at most `size_px` on the longer side and are then rounded to whole patches by the model's own video processor.
Weights are float32 without a CUDA device, else of the type of the files, as the authors run them.
Shapes: B clips, T frames, H, W their sides, M sentences, E width.
"""

import math
from pathlib import Path
from typing import Any, ClassVar, Self

import torch
import torch.nn.functional as F
import transformers
from torch import Tensor, nn
from transformers.video_utils import VideoMetadata

from surgvl.core.errors import CheckpointError
from surgvl.models.foreign import foreign
from surgvl.models.model_info import TOWER, load_preprocess
from surgvl.models.tower import link_tower, load_tower, quiet, save_tower, tower_type
from surgvl.models.video_text import Sees, VideoText, truncation
from surgvl.video.clip import Preprocess

SENTENCE = "Find the clip that corresponds to the given text."
CLIP = "Represent the user's input."
CONTEXT_LENGTH = 8192
TEMPERATURE = 0.02
# A model of transformers with a head for words has one more weight, which vectors do without.
HEAD = ("lm_head.weight",)


class Qwen3VLEmbedding(VideoText):
    """A Qwen3-VL model that embeds.

    Args:
        model: with its weights.
        tower: its folder.
        fps: frames per second of clips, which the model is told as times.
        dim: width E; the model's own by default.
        instruction: of sentences.
        logit_scale: logarithm of the factor on cosines.

    Raises:
        CheckpointError: the processor cannot be loaded, or the width is none of the model's.
    """

    name: ClassVar[str] = "qwen3_vl_embedding"
    sees: ClassVar[Sees] = "clips"
    in_tower: ClassVar[bool] = True

    def __init__(
        self,
        model: Any,
        tower: Path,
        fps: float,
        dim: int | None = None,
        instruction: str = SENTENCE,
        logit_scale: float = math.log(1 / TEMPERATURE),
    ):
        super().__init__()
        self.inner: Any = model
        self.tower, self.fps, self.instruction = tower, fps, instruction
        width = int(model.config.text_config.hidden_size)
        self.dim = width if dim is None else dim
        if not 1 <= self.dim <= width:
            raise CheckpointError(
                f"the width of vectors must be >= 1 and <= {width} for {tower}, got {dim}: correct it"
            )
        self.context_length = CONTEXT_LENGTH
        self.logit_scale = nn.Parameter(torch.tensor([logit_scale]), requires_grad=False)
        with foreign(f"{tower} has no processor of Qwen3-VL", "add the files of its processor and tokenizer"), quiet():
            self.processor: Any = transformers.Qwen3VLProcessor.from_pretrained(
                tower, local_files_only=True, padding_side="right"
            )

    @property
    def config(self) -> dict[str, Any]:
        """The argument of `from_config`."""
        return {"dim": self.dim, "instruction": self.instruction, "logit_scale": self.logit_scale.item()}

    @classmethod
    def from_config(cls, config: dict[str, Any], folder: Path | None = None) -> Self:
        """Load the model in `tower/` of a model folder.

        Raises:
            CheckpointError: it is not one of this family, its weights do not fit, or a field is not known.
        """
        assert folder is not None
        return cls._load(folder, load_preprocess(folder).fps, config)

    @classmethod
    def _load(cls, folder: Path, fps: float, config: dict[str, Any]) -> Self:
        tower = folder / TOWER
        if (kind := tower_type(tower)) != "qwen3_vl":
            raise CheckpointError(f"{tower} holds a model of type {kind!r}, not 'qwen3_vl': give a Qwen3-VL-Embedding")
        if extra := sorted(set(config) - {"dim", "instruction", "logit_scale"}):
            raise CheckpointError(f"{folder / 'config.json'}: unknown field {extra[0]!r}: remove it")
        dtype = "auto" if torch.cuda.is_available() else torch.float32
        return cls(load_tower(transformers.Qwen3VLModel, tower, dtype, spare=HEAD), tower, fps, **config)

    @classmethod
    def convert(cls, weights: Path, files: Path, arguments: dict[str, Any], folder: Path) -> tuple[Self, Preprocess]:
        """Link the files of a repository.

        Args:
            weights: one of the files.
            files: folder with all of them.
            arguments: `dim` and `instruction`, both optional.
            folder: the new model folder.

        Raises:
            CheckpointError: a file is missing, or the weights do not fit.
        """
        link_tower(files, folder)
        preprocess = Preprocess(num_frames=16, fps=1.0, size_px=448, geometry="fit", interpolation="bicubic")
        return cls._load(folder, preprocess.fps, arguments), preprocess

    def save_tokenizer(self, folder: Path) -> None:
        """Nothing: it lies in `tower/`."""

    def save_tower(self, folder: Path) -> None:
        """Write `tower/` of a model folder."""
        save_tower(self.inner, self.tower, folder)

    def encode_video(self, video: Tensor) -> Tensor:
        """Clips uint8 [B, 3, T, H, W] -> unit vectors, float32 [B, E]."""
        batch, _, count, height, width = video.shape
        metadata = [
            VideoMetadata(
                total_num_frames=count, fps=self.fps, frames_indices=list(range(count)), width=width, height=height
            )
            for _ in range(batch)
        ]
        prompts = [self.prompt(CLIP, {"type": "video", "video": ""})] * batch
        clips = list(video.transpose(1, 2).cpu())
        return self._last(
            self.processor(
                text=prompts,
                videos=clips,
                video_metadata=metadata,
                do_sample_frames=False,
                padding=True,
                return_tensors="pt",
            )
        )

    def encode_text(self, sentences: list[str]) -> Tensor:
        """M sentences -> unit vectors, float32 [M, E]."""
        prompts = [self.prompt(self.instruction, {"type": "text", "text": text}) for text in sentences]
        return self._last(
            self.processor(
                text=prompts, padding=True, truncation=True, max_length=self.context_length, return_tensors="pt"
            )
        )

    def prompt(self, instruction: str, content: dict[str, str]) -> str:
        """The conversation around a clip or a sentence, in the model's chat template."""
        conversation = [
            {"role": "system", "content": [{"type": "text", "text": instruction}]},
            {"role": "user", "content": [content]},
        ]
        text: str = self.processor.apply_chat_template(conversation, add_generation_prompt=True, tokenize=False)
        return text

    def left_out(self, sentences: list[str]) -> str:
        """A line that says how many tokens are truncated; empty for none."""
        prompts = [self.prompt(self.instruction, {"type": "text", "text": text}) for text in sentences]
        with quiet():
            counts = [len(ids) for ids in self.processor.tokenizer(prompts)["input_ids"]]
        return truncation(counts, self.context_length)

    def _last(self, given: transformers.BatchFeature) -> Tensor:
        """Inputs of the model -> the unit vectors of their last attended positions, float32 [B, E]."""
        given = given.to(self.inner.device)
        given.pop("video_metadata", None)
        hidden = self.inner(**given).last_hidden_state
        mask = given["attention_mask"]
        # The last 1 of each row.
        last = mask.shape[1] - 1 - mask.flip(1).argmax(1)
        rows = torch.arange(len(mask), device=mask.device)
        return F.normalize(hidden[rows, last, : self.dim].float(), dim=-1)
