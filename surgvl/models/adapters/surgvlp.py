"""SurgVLP, HecVL and PeskaVLP (Yuan et al., arXiv 2307.15220, 2405.10075, 2410.00263): ResNet-50 and BioClinicalBERT.

One layout for the three. A sentence is the sum of the last four layers' vectors of its tokens, [CLS] and [SEP]
included; the authors divide it by the 77 positions of the context. A clip is the mean of its frames' unit vectors.
Shapes: N frames, H, W their sides in pixels, M sentences, L tokens, E width of the space.
"""

import math
from pathlib import Path
from typing import Any, ClassVar, Self

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers import BertTokenizer

from surgvl.models import bert
from surgvl.models.foreign import foreign
from surgvl.models.published_weights import load_state, read_state
from surgvl.models.shapes import undrawn
from surgvl.models.video_text import FrameText, normalised
from surgvl.video.clip import Preprocess

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
SCALE = 100.0
LAYERS = 4
TEXT = "backbone_text.model."
VOCABULARY_OF = "emilyalsentzer/Bio_ClinicalBERT"
PREPROCESS = Preprocess(
    num_frames=4, fps=1.0, size_px=224, geometry="crop", resize_px=(360, 640), interpolation="bilinear"
)


class ResNetTower(nn.Module):
    """ResNet-50 (arXiv 1512.03385) and a projection, with the authors' names.

    Args:
        dim: width E.
    """

    def __init__(self, dim: int):
        super().__init__()
        from torchvision.models import resnet50

        self.model = resnet50()
        self.global_embedder = nn.Linear(self.model.fc.in_features, dim)
        self.model.fc = nn.Identity()

    def forward(self, pixels: Tensor) -> Tensor:
        """Normalised frames float32 [N, 3, H, W] -> [N, E]."""
        found: Tensor = self.global_embedder(self.model(pixels))
        return found


class BertTower(nn.Module):
    """BERT and the authors' sum over layers and tokens, with their names.

    Args:
        sizes: arguments of `BertConfig`.
        separator: id of [SEP].
        path: where the sizes are from, for messages.
    """

    def __init__(self, sizes: dict[str, Any], separator: int, path: Path):
        super().__init__()
        self.model = bert.build_bert(sizes, pooler=True, path=path)
        self.separator = separator

    def forward(self, ids: Tensor, mask: Tensor, types: Tensor) -> Tensor:
        """Token ids, attention mask and token types [M, L] -> [M, E], which the authors' divide by L."""
        found = self.model(ids, attention_mask=mask, token_type_ids=types, output_hidden_states=True)
        layers = torch.stack(found.hidden_states[-LAYERS:]).sum(0)
        # Up to the first [SEP]: a sentence may spell one, and the authors stop there.
        ends = (ids == self.separator).int().argmax(1, keepdim=True)
        kept = torch.arange(ids.shape[1], device=ids.device) <= ends
        return (layers * kept[..., None]).sum(1)


class SurgVLP(FrameText):
    """A model of the SurgVLP family.

    Args:
        dim: width E.
        sizes: of the text tower, arguments of `BertConfig`.
        tokenizer: of the text tower.
        path: where the sizes are from, for messages.
    """

    name: ClassVar[str] = "surgvlp"
    context_length = bert.CONTEXT_LENGTH
    mean: Tensor
    std: Tensor

    def __init__(self, dim: int, sizes: dict[str, Any], tokenizer: BertTokenizer, path: Path):
        super().__init__()
        self.dim, self.sizes, self.tokenizer = dim, sizes, tokenizer
        self.backbone_img = ResNetTower(dim)
        self.backbone_text = BertTower(sizes, tokenizer.sep_token_id, path)
        self.logit_scale = nn.Parameter(torch.tensor([math.log(SCALE)]))
        self.register_buffer("mean", torch.tensor(MEAN), persistent=False)
        self.register_buffer("std", torch.tensor(STD), persistent=False)

    @property
    def config(self) -> dict[str, Any]:
        """The argument of `from_config`."""
        return {"dim": self.dim, "text": self.sizes}

    @classmethod
    def from_config(cls, config: dict[str, Any], folder: Path | None = None) -> Self:
        """Build the model of a folder, without weights.

        Raises:
            CheckpointError: its tokenizer is missing, or there is no BERT of its sizes.
        """
        assert folder is not None
        path = folder / "config.json"
        remedy = "add the model again (surgvl models add)"
        with foreign(f"{path} describes no model of SurgVLP's family", remedy), undrawn():
            return cls(config["dim"], config["text"], bert.load_tokenizer(folder), path)

    @classmethod
    def convert(cls, weights: Path, files: Path, arguments: dict[str, Any], folder: Path) -> tuple[Self, Preprocess]:
        """Read the authors' weights; `vocab.txt` of BioClinicalBERT lies in `files`.

        Raises:
            CheckpointError: a weight is missing or unknown, or `vocab.txt` is missing or another one.
        """
        state = read_state(weights, stale=TEXT + bert.STALE)
        sizes = bert.bert_sizes(state, TEXT, weights)
        tokenizer = bert.read_vocabulary(files / bert.VOCABULARY, sizes, VOCABULARY_OF)
        with undrawn():
            made = cls(sizes["hidden_size"], sizes, tokenizer, weights)
        load_state(made, {**state, "logit_scale": made.logit_scale.detach()}, weights)
        return made, PREPROCESS

    def save_tokenizer(self, folder: Path) -> None:
        """Write the tokenizer's files."""
        self.tokenizer.save_pretrained(folder)

    def encode_frames(self, frames: Tensor) -> Tensor:
        """Frames uint8 [N, 3, H, W] -> unit vectors, float32 [N, E]."""
        return F.normalize(self.backbone_img(normalised(frames, self.mean, self.std)).float(), dim=-1)

    def encode_text(self, sentences: list[str]) -> Tensor:
        """M sentences -> unit vectors, float32 [M, E]."""
        found = bert.tokens(self.tokenizer, sentences).to(self.logit_scale.device)
        vectors = self.backbone_text(found["input_ids"], found["attention_mask"], found["token_type_ids"])
        return F.normalize(vectors.float(), dim=-1)

    def left_out(self, sentences: list[str]) -> str:
        """A line that says how many tokens are truncated; empty for none."""
        return bert.left_out(self.tokenizer, sentences)
