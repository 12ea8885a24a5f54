"""The interface of the package `surgvlp` (github.com/CAMMA-public/SurgVLP) on SurgVLP, HecVL and PeskaVLP of surgvl.

    from surgvl.compat import surgvlp

takes the place of `import surgvlp`; `load`, `tokenize`, `available_models` and the model that `load` returns take the
same arguments and return the same tensors. Nothing is downloaded: `surgvl models fetch` and `surgvl models add` do.
Not here: `load_dataset`, for which see `surgvl data convert`.
Shapes: N frames, M sentences, L = 77 tokens, E = 768.
"""

import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from transformers import BertTokenizer

from surgvl.core.errors import CheckpointError, ConfigError
from surgvl.models import bert
from surgvl.models.adapters.surgvlp import MEAN, PREPROCESS, STD, VOCABULARY_OF
from surgvl.models.adapters.surgvlp import SurgVLP as Model
from surgvl.models.checkpoint import load_model
from surgvl.models.published import published
from surgvl.models.store import stored

__all__ = ["available_models", "load", "tokenize"]

NAMES = {"SurgVLP": "surgvlp", "HecVL": "hecvl", "PeskaVLP": "peskavlp"}
"""The package's names of models, and the registry's."""
_tokenizers: list[BertTokenizer] = []
"""That of the model loaded last. All three models have one vocabulary, and `tokenize` is given no model."""


class SurgVLP(nn.Module):
    """A model with the package's forward pass.

    Args:
        inner: the model.
    """

    def __init__(self, inner: Model):
        super().__init__()
        self.inner = inner

    def forward(
        self, inputs_img: Tensor | None = None, inputs_text: Mapping[str, Any] | None = None, mode: str = "all"
    ) -> dict[str, Tensor]:
        """Vectors as the authors have them, not normalised.

        Args:
            inputs_img: frames as the transform of `load` makes them, float32 [N, 3, 224, 224]; None in mode `text`.
            inputs_text: from `tokenize`; None in mode `video`.
            mode: `video`, `text`, or `all` for both.

        Returns:
            `img_emb` [N, E] and `text_emb` [M, E], as far as the mode has them.

        Raises:
            ConfigError: an unknown mode, or an input that the mode needs is missing.
        """
        if mode not in ("video", "text", "all"):
            raise ConfigError(f"mode must be video, text or all, got {mode!r}")
        found = dict[str, Tensor]()
        if mode != "text":
            if inputs_img is None:
                raise ConfigError(f"mode {mode} needs frames, got None: give them, or choose mode text")
            found["img_emb"] = self.inner.backbone_img(inputs_img)
        if mode != "video":
            if inputs_text is None:
                raise ConfigError(f"mode {mode} needs sentences, got None: give tokenize's, or choose mode video")
            ids = inputs_text["input_ids"]
            summed = self.inner.backbone_text(ids, inputs_text["attention_mask"], inputs_text["token_type_ids"])
            found["text_emb"] = summed / ids.shape[1]
        return found


def available_models() -> list[str]:
    """The models that `load` knows."""
    return list(NAMES)


def load(
    model_config: Mapping[str, Any] | str,
    device: str | torch.device | None = None,
    download_root: str | None = None,
    pretrain: str | Path | None = None,
) -> tuple[SurgVLP, Callable[[Any], Tensor]]:
    """A model in evaluation mode, and the transform from a Pillow image to its input, float32 [3, 224, 224].

    Args:
        model_config: `model_config` of the authors' configuration files, of which `type` is read; or that name.
        device: a GPU where there is one, by default.
        download_root: not used: models lie in the store of `surgvl models`.
        pretrain: the authors' weights file, with `vocab.txt` of BioClinicalBERT next to it; the store's by default.

    Raises:
        ConfigError: an unknown model.
        CheckpointError: the model is not on this machine, or the weights are not those of the model.
    """
    name = model_config if isinstance(model_config, str) else model_config["type"]
    if name not in NAMES:
        raise ConfigError(f"model must be one of {', '.join(NAMES)}, got {name!r}")
    place = device or ("cuda" if torch.cuda.is_available() else "cpu")
    if pretrain is None:
        inner, _ = load_model(NAMES[name], str(place))
        assert isinstance(inner, Model)
    else:
        path = Path(pretrain)
        with tempfile.TemporaryDirectory() as folder:
            inner, _ = Model.convert(path, path.parent, {}, Path(folder))
    _tokenizers[:] = [inner.tokenizer]
    return SurgVLP(inner).to(place).eval(), transform()


def transform() -> Callable[[Any], Tensor]:
    """The authors' way from a Pillow image to the input of the model, float32 [3, 224, 224]."""
    from torchvision import transforms

    steps = [
        transforms.Resize(PREPROCESS.resize_px),
        transforms.CenterCrop(PREPROCESS.size_px),
        transforms.Lambda(lambda image: image.convert("RGB")),
        transforms.ToTensor(),
        transforms.Normalize(MEAN, STD),
    ]
    made: Callable[[Any], Tensor] = transforms.Compose(steps)
    return made


def tokenize(
    text: str | Sequence[str],
    padding: str = "max_length",
    max_length: int = bert.CONTEXT_LENGTH,
    truncation: bool = True,
    model_name: str = VOCABULARY_OF,
    device: str | torch.device = "cpu",
) -> dict[str, Any]:
    """Sentences as the model takes them.

    Args:
        text: one or M sentences.
        padding: of the tokenizer (transformers).
        max_length: L.
        truncation: whether longer sentences are cut off.
        model_name: only the one that the models were trained with.
        device: of the tensors.

    Returns:
        `input_ids`, `attention_mask` and `token_type_ids`, int64 [M, L]; `cap_lens`, as the authors count it: the
        characters of each sentence other than opening brackets.

    Raises:
        ConfigError: another `model_name`.
        CheckpointError: no model has been loaded, and the store has none.
    """
    if model_name != VOCABULARY_OF:
        raise ConfigError(f"model_name must be {VOCABULARY_OF}, whose words the models know, got {model_name!r}")
    sentences = [text] if isinstance(text, str) else list(text)
    found = _tokenizer()(
        sentences, padding=padding, max_length=max_length, truncation=truncation, return_tensors="pt"
    ).to(device)
    return {**found, "cap_lens": [len(sentence) - sentence.count("[") for sentence in sentences]}


def _tokenizer() -> BertTokenizer:
    if not _tokenizers:
        folder = next((folder for name in NAMES.values() if (folder := stored(published(name)))), None)
        if folder is None:
            raise CheckpointError("tokenize needs the vocabulary of a model: load one first")
        _tokenizers.append(bert.load_tokenizer(folder))
    return _tokenizers[0]
