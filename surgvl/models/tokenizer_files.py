"""A SentencePiece vocabulary as `tokenizer.json`, which transformers and vLLM read, with the same ids and text.

Source: the unigram model (Kudo, arXiv 1804.10959) and the normaliser of google/sentencepiece. What has to be said anew
in the other format: lower case as Python has it, blanks, bytes for unknown characters, and that the name of a piece
which stands for no text (`<s>`, `<0x41>`) is plain text when somebody types it. A letter that is younger than the
interpreter's Unicode tables is lower-cased by one side only, and bytes that are no UTF-8 are read back differently.
"""

import re
from collections.abc import Sequence
from pathlib import Path

from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors
from transformers import PreTrainedTokenizerFast

from surgvl.core.errors import CheckpointError, ConfigError
from surgvl.models.tokenizer import SHIPPED, SentencePieceTokenizer

BLANK = "▁"
LETTER = r"[\p{Cased}&&\P{Case_Ignorable}]"
# Greek has a letter of its own for an s that ends a word (the Unicode Standard, 3.13, Final_Sigma).
FINAL_SIGMA = rf"(?<={LETTER}\p{{Case_Ignorable}}*)Σ(?!\p{{Case_Ignorable}}*{LETTER})"
# What is embedded is the text of the messages.
SENTENCE_TEMPLATE = "{% for message in messages %}{{ message['content'] }}{% endfor %}"
PROBES = ("the hook cuts", "  Two  blanks ", "naïve 手術 Å", "<s> </s> <0x41><pad>", "a\tb\n c", "ΑΣ 5", "")


def fast_tokenizer(spm_path: Path = SHIPPED, special: Sequence[str] = ()) -> PreTrainedTokenizerFast:
    """The transformers tokenizer with the ids and the text of `SentencePieceTokenizer`; it adds no token by itself.

    The names of special tokens (`<s>`, `</s>`, `<pad>`, `<unk>` and those given) are their ids wherever they stand, as
    a chat template needs it; text between two of them is encoded as if it stood alone.

    Args:
        spm_path: a model file that `surgvl.models.tokenizer.train` made.
        special: further special tokens, with ids after the vocabulary in this order.

    Raises:
        CheckpointError: not a SentencePiece model, or one that was trained in another way.
        ConfigError: a special token is in the vocabulary already.
    """
    return _build(SentencePieceTokenizer(spm_path), spm_path, special, sentence=False)


def sentence_tokenizer(spm_path: Path = SHIPPED) -> PreTrainedTokenizerFast:
    """The transformers tokenizer of a text tower: a begin token, the ids of `SentencePieceTokenizer`, an end token.

    All that is typed is text here, `</s>` too, as in the tower.

    Args:
        spm_path: a model file that `surgvl.models.tokenizer.train` made.

    Raises:
        CheckpointError: not a SentencePiece model, or one that was trained in another way.
    """
    fast = _build(SentencePieceTokenizer(spm_path), spm_path, (), sentence=True)
    fast.chat_template = SENTENCE_TEMPLATE
    return fast


def _build(
    known: SentencePieceTokenizer, path: Path, special: Sequence[str], sentence: bool
) -> PreTrainedTokenizerFast:
    """Build a tokenizer and compare it with the known one on a few texts."""
    processor = known.processor
    pieces = [(processor.IdToPiece(i), processor.GetScore(i)) for i in range(known.vocab_size)]
    if taken := sorted({piece for piece, _ in pieces} & set(special)):
        raise ConfigError(f"special tokens {taken} are in the vocabulary of {path} already: choose other names")
    inner = Tokenizer(models.Unigram(pieces, unk_id=processor.unk_id(), byte_fallback=True))
    inner.normalizer = normalizers.Sequence(
        [
            normalizers.Replace(Regex(FINAL_SIGMA), "ς"),
            normalizers.Lowercase(),
            normalizers.Replace(Regex(r"\A +"), ""),
            normalizers.Replace(Regex(rf"[ {BLANK}]+\z"), ""),
            normalizers.Replace(Regex(" +"), BLANK),
            normalizers.Prepend(BLANK),
        ]
    )
    inner.pre_tokenizer = pre_tokenizers.Split(Regex(_silent(known)), "merged_with_previous")
    # SentencePiece drops every blank before the first letter.
    steps = [decoders.Replace(BLANK, " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1 << 30, 0)]
    inner.decoder = decoders.Sequence(steps)
    bos, eos = processor.IdToPiece(known.bos_id), processor.IdToPiece(known.eos_id)
    if sentence:
        inner.post_processor = processors.TemplateProcessing(
            single=f"{bos} $A {eos}", special_tokens=[(bos, known.bos_id), (eos, known.eos_id)]
        )
    fast = PreTrainedTokenizerFast(  # type: ignore[no-untyped-call]
        tokenizer_object=inner,
        bos_token=bos,
        eos_token=eos,
        pad_token=processor.IdToPiece(known.pad_id),
        unk_token=processor.IdToPiece(processor.unk_id()),
        extra_special_tokens=[AddedToken(token, special=True, normalized=False) for token in special],
        clean_up_tokenization_spaces=False,
        split_special_tokens=sentence,
    )
    # Neither the kind of the model nor its normaliser can be asked for, but both can be seen.
    probes = [*PROBES, *("".join(piece for piece, _ in pieces[i : i + 3]) for i in range(0, min(2000, len(pieces)), 3))]
    for probe in probes:
        want = known.encode(probe.replace(BLANK, " "))
        if fast.encode(probe.replace(BLANK, " "), add_special_tokens=False, split_special_tokens=True) != want:
            raise CheckpointError(
                f"{path} cannot be written as tokenizer.json: {probe!r} gets other ids there; give a unigram model "
                "with bytes and no normalisation, as surgvl.models.tokenizer.train makes it"
            )
    return fast


def _silent(known: SentencePieceTokenizer) -> str:
    """A pattern for the first character of a name that stands for no text; the text is parted after it.

    The other format would take a typed `<0x41>` for the byte's piece. Parted, it can only be read letter by letter.
    """
    processor = known.processor
    silent = [i for i in range(known.vocab_size) if processor.IsControl(i) or processor.IsByte(i)]
    names = [processor.IdToPiece(i) for i in [*silent, processor.unk_id()]]
    return "|".join(rf"{re.escape(name[0])}(?={re.escape(name[1:])})" for name in sorted(names))
