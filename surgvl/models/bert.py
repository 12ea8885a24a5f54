"""BERT as the text tower of published models (Devlin et al., arXiv 1810.04805): sizes from its weights, its tokens.

Shapes: M sentences, L tokens of the longest one.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from torch import Tensor
from transformers import BatchEncoding, BertConfig, BertModel, BertTokenizer

from surgvl.core.errors import CheckpointError
from surgvl.models.foreign import foreign
from surgvl.models.published_weights import numbered, shape_of
from surgvl.models.schema import bounded
from surgvl.models.video_text import truncation

VOCABULARY = "vocab.txt"
CONTEXT_LENGTH = 77
# Every BERT has heads of this width, and their number is not in the weights.
HEAD_WIDTH = 64
# A constant that transformers wrote into weights files up to 4.30.
STALE = "embeddings.position_ids"
SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")


def bert_sizes(weights: Mapping[str, Tensor], prefix: str, path: Path) -> dict[str, int]:
    """Arguments of `BertConfig` that weights with a prefix are of.

    Raises:
        CheckpointError: they are not those of a BERT.
    """
    vocab_size, hidden_size = shape_of(weights, f"{prefix}embeddings.word_embeddings.weight", 2, path)
    return {
        "vocab_size": vocab_size,
        "hidden_size": hidden_size,
        "max_position_embeddings": shape_of(weights, f"{prefix}embeddings.position_embeddings.weight", 2, path)[0],
        "type_vocab_size": shape_of(weights, f"{prefix}embeddings.token_type_embeddings.weight", 2, path)[0],
        "num_hidden_layers": numbered(weights, f"{prefix}encoder.layer."),
        "num_attention_heads": max(1, hidden_size // HEAD_WIDTH),
        "intermediate_size": shape_of(weights, f"{prefix}encoder.layer.0.intermediate.dense.weight", 2, path)[0],
    }


def build_bert(sizes: dict[str, Any], pooler: bool, path: Path) -> BertModel:
    """A BERT of these sizes with random weights.

    Args:
        sizes: arguments of `BertConfig`.
        pooler: whether the weights have a pooler; no vector is made of it.
        path: where the sizes are from, for the message.

    Raises:
        CheckpointError: there is no such BERT.
    """
    with foreign(f"{path} describes no BERT"):
        bounded(sizes)
        model = BertModel(BertConfig(**sizes), add_pooling_layer=pooler)
    if model.pooler is not None:
        # Never used: data-parallel training would wait for its gradients.
        model.pooler.requires_grad_(False)
    return model


def read_vocabulary(path: Path, sizes: Mapping[str, int], where: str) -> BertTokenizer:
    """The tokenizer of a vocabulary, which lower-cases.

    Args:
        path: a word a line.
        sizes: of the model.
        where: its repository on the hub, for the message.

    Raises:
        CheckpointError: the file is missing, or is not the vocabulary of this model.
    """
    remedy = f"put {VOCABULARY} of https://huggingface.co/{where} there"
    try:
        words = path.read_text(encoding="utf-8").removesuffix("\n").split("\n")
    except (OSError, UnicodeDecodeError) as error:
        raise CheckpointError(f"{path} cannot be read ({error}): {remedy}") from error
    if len(words) != sizes["vocab_size"]:
        raise CheckpointError(f"{path} has {len(words)} words, the weights {sizes['vocab_size']}: {remedy}")
    if lacking := [word for word in SPECIAL if word not in words]:
        raise CheckpointError(f"{path} lacks {', '.join(lacking)}: {remedy}")
    return BertTokenizer({word: at for at, word in enumerate(words)})


def load_tokenizer(folder: Path) -> BertTokenizer:
    """The tokenizer of a model folder.

    Raises:
        CheckpointError: it has none.
    """
    with foreign(f"{folder} has no tokenizer of BERT", "add the model again (surgvl models add)"):
        found: BertTokenizer = BertTokenizer.from_pretrained(folder, local_files_only=True)
    return found


def tokens(tokenizer: BertTokenizer, sentences: Sequence[str], pad: bool = False) -> BatchEncoding:
    """Token ids, attention mask and token types, int64 [M, L] each, truncated.

    Args:
        tokenizer: of the model.
        sentences: M texts.
        pad: to the whole context; vectors do not change by it.
    """
    found: BatchEncoding = tokenizer(
        list(sentences),
        truncation=True,
        max_length=CONTEXT_LENGTH,
        padding="max_length" if pad else "longest",
        return_tensors="pt",
    )
    return found


def left_out(tokenizer: BertTokenizer, sentences: Sequence[str]) -> str:
    """A line that says how many tokens are truncated; empty for none."""
    return truncation([len(tokenizer(text)["input_ids"]) for text in sentences], CONTEXT_LENGTH)
