"""Convert a SentencePiece vocabulary to `tokenizer.json`, which transformers and vLLM read, with the same ids and text.

Source: the unigram model (Kudo, arXiv 1804.10959) and the normaliser of google/sentencepiece. The other format needs
rules for Python's lower case, blanks, bytes for unknown characters, and for the names of control pieces (`<s>`,
`<0x41>`), which are plain text when typed. Known differences: letters newer than the interpreter's Unicode tables are
lower-cased on one side only, and invalid UTF-8 decodes differently.
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
# Greek writes a word-final sigma with another letter (the Unicode Standard, 3.13, Final_Sigma).
FINAL_SIGMA = rf"(?<={LETTER}\p{{Case_Ignorable}}*)Σ(?!\p{{Case_Ignorable}}*{LETTER})"
# Embeds the text of the messages alone.
SENTENCE_TEMPLATE = "{% for message in messages %}{{ message['content'] }}{% endfor %}"
PROBES = ("the hook cuts", "  Two  blanks ", "naïve 手術 Å", "<s> </s> <0x41><pad>", "a\tb\n c", "ΑΣ 5", "")


def fast_tokenizer(spm_path: Path = SHIPPED, special: Sequence[str] = ()) -> PreTrainedTokenizerFast:
    """A transformers tokenizer with the ids and text of `SentencePieceTokenizer`; it adds no tokens of its own.

    Special tokens (`<s>`, `</s>`, `<pad>`, `<unk>` and those given) are recognised anywhere in a text, which chat
    templates require; text between two of them is encoded on its own.

    Args:
        spm_path: a model file from `surgvl.models.tokenizer.train_tokenizer`.
        special: more special tokens; their ids follow the vocabulary in this order.

    Raises:
        CheckpointError: not a SentencePiece model, or one trained with other options.
        ConfigError: a special token is already in the vocabulary.
    """
    return _build(SentencePieceTokenizer(spm_path), spm_path, special, sentence=False)


def sentence_tokenizer(spm_path: Path = SHIPPED) -> PreTrainedTokenizerFast:
    """A transformers tokenizer of a text tower: a begin token, the ids of `SentencePieceTokenizer`, an end token.

    Typed names of special tokens, such as `</s>`, are plain text, as in the tower.

    Args:
        spm_path: a model file from `surgvl.models.tokenizer.train_tokenizer`.

    Raises:
        CheckpointError: not a SentencePiece model, or one trained with other options.
    """
    fast = _build(SentencePieceTokenizer(spm_path), spm_path, (), sentence=True)
    fast.chat_template = SENTENCE_TEMPLATE
    return fast


def _build(
    known: SentencePieceTokenizer, path: Path, special: Sequence[str], sentence: bool
) -> PreTrainedTokenizerFast:
    """Build a tokenizer and check it against the known one on a few texts."""
    processor = known.processor
    pieces = [(processor.IdToPiece(i), processor.GetScore(i)) for i in range(known.vocab_size)]
    if taken := sorted({piece for piece, _ in pieces} & set(special)):
        raise ConfigError(f"special tokens {taken} are already in the vocabulary of {path}: choose other names")
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
    inner.pre_tokenizer = pre_tokenizers.Split(Regex(_control_names(known)), "merged_with_previous")
    # SentencePiece drops all leading blanks.
    steps = [decoders.Replace(BLANK, " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1 << 30, 0)]
    inner.decoder = decoders.Sequence(steps)
    bos, eos = processor.IdToPiece(known.bos_id), processor.IdToPiece(known.eos_id)
    if sentence:
        inner.post_processor = processors.TemplateProcessing(
            single=f"{bos} $A {eos}", special_tokens=[(bos, known.bos_id), (eos, known.eos_id)]
        )
    fast = PreTrainedTokenizerFast(
        tokenizer_object=inner,
        bos_token=bos,
        eos_token=eos,
        pad_token=processor.IdToPiece(known.pad_id),
        unk_token=processor.IdToPiece(processor.unk_id()),
        extra_special_tokens=[AddedToken(token, special=True, normalized=False) for token in special],
        clean_up_tokenization_spaces=False,
        split_special_tokens=sentence,
    )
    # The model file does not expose its type or normaliser, so compare encodings instead.
    probes = [*PROBES, *("".join(piece for piece, _ in pieces[i : i + 3]) for i in range(0, min(2000, len(pieces)), 3))]
    texts = [probe.replace(BLANK, " ") for probe in probes]
    found = fast(texts, add_special_tokens=False, split_special_tokens=True)["input_ids"]
    for probe, text, ids in zip(probes, texts, found, strict=True):
        if ids != known.encode(text):
            raise CheckpointError(
                f"{path} cannot be converted to tokenizer.json: {probe!r} would get other ids; give a unigram model "
                "with byte fallback and no normalisation, as from surgvl.models.tokenizer.train_tokenizer"
            )
    return fast


def _control_names(known: SentencePieceTokenizer) -> str:
    """A pattern for the first character of a control or byte piece's name; text is split after it.

    The other format would otherwise read a typed `<0x41>` as the byte piece; split, it is read letter by letter.
    """
    processor = known.processor
    control = [i for i in range(known.vocab_size) if processor.IsControl(i) or processor.IsByte(i)]
    names = [processor.IdToPiece(i) for i in [*control, processor.unk_id()]]
    return "|".join(rf"{re.escape(name[0])}(?={re.escape(name[1:])})" for name in sorted(names))
