"""Tokenizers: the small SentencePiece vocabulary that ships with surgvl, or any Hugging Face tokenizer.

The shipped vocabulary (`vocabulary.spm`) was trained by `train_tokenizer` on the prompt sets and on the phantom's
narration and questions.
"""

import io
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Protocol

import sentencepiece

from surgvl.core.errors import CheckpointError
from surgvl.core.files import atomic
from surgvl.models.foreign import foreign

SHIPPED = Path(__file__).with_name("vocabulary.spm")


class Tokenizer(Protocol):
    """The interface that text towers and chat models use."""

    pad_id: int
    bos_id: int
    eos_id: int
    vocab_size: int

    def encode(self, text: str) -> list[int]:
        """Token ids of a text, without special tokens."""

    def decode(self, ids: Sequence[int]) -> str:
        """Text of token ids, without special tokens."""

    def save(self, folder: Path) -> None:
        """Write the tokenizer's files."""


class SentencePieceTokenizer:
    """A SentencePiece model; lower-cases, because speech recognisers and narrators disagree about case.

    Args:
        path: the `.spm` file.

    Raises:
        CheckpointError: the file is missing or not a SentencePiece model.
    """

    def __init__(self, path: Path = SHIPPED):
        if not path.is_file():
            raise CheckpointError(f"{path} is missing: a model folder with a SentencePiece tokenizer must hold it")
        self.path = path
        self.model = path.read_bytes()
        self.processor = sentencepiece.SentencePieceProcessor()
        try:
            self.processor.LoadFromSerializedProto(self.model)
        except RuntimeError as error:
            raise CheckpointError(f"{path} is not a SentencePiece model ({error}): export the model again") from error
        self.pad_id: int = self.processor.pad_id()
        self.bos_id: int = self.processor.bos_id()
        self.eos_id: int = self.processor.eos_id()
        self.vocab_size: int = self.processor.get_piece_size()

    def encode(self, text: str) -> list[int]:
        """Token ids of a text, without special tokens."""
        ids: list[int] = self.processor.EncodeAsIds(text.lower())
        return ids

    def decode(self, ids: Sequence[int]) -> str:
        """Text of token ids, without special tokens."""
        text: str = self.processor.DecodeIds([int(i) for i in ids if i > self.eos_id])
        return text

    def save(self, folder: Path) -> None:
        """Write `tokenizer.spm`."""
        with atomic(folder / "tokenizer.spm") as path:
            path.write_bytes(self.model)


class HuggingFaceTokenizer:
    """A transformers tokenizer.

    Args:
        name: folder or hub id, or the tokenizer itself.

    Raises:
        CheckpointError: it cannot be read, or has no end token.
    """

    def __init__(self, name: Any):
        from transformers import AutoTokenizer

        self.inner: Any = name
        if isinstance(name, str):
            with foreign(f"the tokenizer of {name} cannot be read", "give a folder with its files, or a hub id"):
                self.inner = AutoTokenizer.from_pretrained(name, trust_remote_code=False)
        eos = self.inner.eos_token_id if self.inner.eos_token_id is not None else self.inner.sep_token_id
        bos = self.inner.bos_token_id if self.inner.bos_token_id is not None else self.inner.cls_token_id
        if eos is None:
            raise CheckpointError(
                f"the tokenizer {self.inner.name_or_path!r} has no end token: choose another, or set eos_token"
            )
        self.eos_id = int(eos)
        self.bos_id = int(bos if bos is not None else eos)
        self.pad_id = int(self.inner.pad_token_id if self.inner.pad_token_id is not None else self.eos_id)
        self.vocab_size = len(self.inner)

    def encode(self, text: str) -> list[int]:
        """Token ids of a text, without special tokens."""
        ids: list[int] = self.inner(text, add_special_tokens=False)["input_ids"]
        return ids

    def decode(self, ids: Sequence[int]) -> str:
        """Text of token ids, without special tokens."""
        return str(self.inner.decode(list(ids), skip_special_tokens=True)).strip()

    def save(self, folder: Path) -> None:
        """Write the tokenizer's own files."""
        self.inner.save_pretrained(folder)


def train_tokenizer(sentences: Iterable[str], vocab_size: int = 768) -> bytes:
    """Train a unigram SentencePiece model with pad 0, unknown 1, begin 2, end 3; returns the model file's bytes."""
    model = io.BytesIO()
    sentencepiece.SentencePieceTrainer.Train(
        sentence_iterator=iter(sorted({sentence.lower() for sentence in sentences})),
        model_writer=model,
        vocab_size=vocab_size,
        hard_vocab_limit=False,
        character_coverage=1.0,
        byte_fallback=True,
        pad_id=0,
        unk_id=1,
        bos_id=2,
        eos_id=3,
        num_threads=1,
        # The text is already lower-cased; without Unicode tables the file stays small.
        normalization_rule_name="identity",
        minloglevel=2,
    )
    return model.getvalue()
