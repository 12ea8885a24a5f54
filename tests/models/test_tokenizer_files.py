"""The transformers tokenizer of a vocabulary against SentencePiece itself: same ids, same text, whatever is typed."""

import io
import random
import unicodedata
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import sentencepiece
from transformers import AutoTokenizer

from surgvl import prompts
from surgvl.core.errors import CheckpointError, ConfigError
from surgvl.data.phantom.script import script
from surgvl.data.phantom.text import narration, pitvqa_questions
from surgvl.models.text import build_text
from surgvl.models.tokenizer import SHIPPED, SentencePieceTokenizer, train_tokenizer
from surgvl.models.tokenizer_files import fast_tokenizer, sentence_tokenizer

NAMES = ("<s>", "</s>", "<pad>", "<unk>", "<0x41>", "<0x", "41>", "<", ">")
ODD = (*NAMES, *" ▁\t\n\u3000\xa0\0ΣΑʰİß.'é手🩺A")


@pytest.fixture(scope="module")
def shipped() -> SentencePieceTokenizer:
    return SentencePieceTokenizer()


def corpus() -> Iterator[str]:
    """Every prompt, and what is narrated, asked and answered about one phantom."""
    for name in prompts.names():
        yield from (row[2] for row in prompts.load(name).texts())
    scene = script(0, 0)
    yield from (sentence.text for sentence in narration(scene))
    for second in pitvqa_questions(scene):
        yield from (text for asked in second for text in (asked.question, asked.answer))


def made(shipped: SentencePieceTokenizer, count: int) -> Iterator[str]:
    """Random texts: pieces of the vocabulary, any characters that Unicode has, odd things, near ties."""
    rng = random.Random(0)
    pieces = [shipped.processor.IdToPiece(i).replace("▁", " ") for i in range(shipped.vocab_size)]
    known = [chr(c) for c in range(0x110000) if unicodedata.category(chr(c)) not in ("Cn", "Cs")]
    for _ in range(count):
        yield "".join(rng.choices(pieces, k=rng.randint(1, 12)))
        yield "".join(rng.choices(pieces, k=rng.randint(1, 12))).upper()
        yield "".join(rng.choices(known, k=rng.randint(1, 12)))
        yield "".join(rng.choices(ODD, k=rng.randint(1, 12)))
        yield "".join(rng.choices(rng.sample("eisaton l", 2), k=rng.randint(1, 30)))


@pytest.mark.slow
def test_same_ids_and_text_as_sentencepiece(shipped: SentencePieceTokenizer) -> None:
    fast = sentence_tokenizer()
    texts = [*dict.fromkeys(corpus()), *made(shipped, 1000), "", " ", "  the  HOOK   cuts  ", "▁", " ▁ "]
    assert len(texts) > 5500
    # All at once, which takes a third of the time.
    for text, found in zip(texts, fast(texts, add_special_tokens=False)["input_ids"], strict=True):
        want = shipped.encode(text)
        assert found == want, repr(text)
        assert fast.decode(want, skip_special_tokens=True) == shipped.decode(want), repr(text)
    # The oracle tells texts apart: the tests above are no comparison of nothing with nothing.
    assert len({tuple(shipped.encode(text)) for text in texts}) > 5000


@pytest.mark.slow
def test_every_character_and_every_piece(shipped: SentencePieceTokenizer) -> None:
    fast = fast_tokenizer()
    assert len(fast) == shipped.vocab_size
    assert fast.convert_ids_to_tokens(list(range(len(fast)))) == [
        shipped.processor.IdToPiece(i) for i in range(len(fast))
    ]
    texts = [chr(c) for c in range(0x3000)] + [chr(c) for c in range(0x3000, 0x110000, 61)]
    texts = [text for text in texts if unicodedata.category(text) not in ("Cn", "Cs")]
    assert fast(texts, add_special_tokens=False)["input_ids"] == [shipped.encode(text) for text in texts]


def test_a_sentence_is_what_the_text_tower_makes_of_it(tmp_path: Path) -> None:
    tower = build_text("tiny", 24, context_length=12)
    sentence_tokenizer().save_pretrained(tmp_path)
    fast = AutoTokenizer.from_pretrained(tmp_path)
    for text in ("", "the hook cuts", "</s> the <s>", "cut the cystic duct " * 40):
        cut = fast(text, truncation=True, max_length=12)["input_ids"]
        assert cut + [fast.pad_token_id] * (12 - len(cut)) == tower.tokenize([text])[0].tolist()


def test_special_tokens_come_after_the_vocabulary_and_part_the_text(
    shipped: SentencePieceTokenizer, tmp_path: Path
) -> None:
    fast_tokenizer(special=["<video>", "<|answer|>"]).save_pretrained(tmp_path)
    fast = AutoTokenizer.from_pretrained(tmp_path)
    video, answer = shipped.vocab_size, shipped.vocab_size + 1
    assert fast.convert_tokens_to_ids(["<video>", "<|answer|>"]) == [video, answer]
    assert (fast.pad_token_id, fast.bos_token_id, fast.eos_token_id) == (shipped.pad_id, shipped.bos_id, shipped.eos_id)
    ids = fast("<s>a Clip <video><video> what?<|answer|> TWO</s>")["input_ids"]
    words = [shipped.encode(text) for text in ("a clip", "what?", "two")]
    assert ids == [shipped.bos_id, *words[0], video, video, *words[1], answer, *words[2], shipped.eos_id]
    assert fast.decode(words[0] + [video, shipped.eos_id], skip_special_tokens=True) == "a clip"
    with pytest.raises(ConfigError, match="'</s>'"):
        fast_tokenizer(special=["</s>"])


def test_another_vocabulary_of_ours_is_taken_as_well(tmp_path: Path) -> None:
    path = tmp_path / "tokenizer.spm"
    path.write_bytes(train_tokenizer([f"below < {n} mm <tool> (p{n})" for n in range(200)], 320))
    known, fast = SentencePieceTokenizer(path), sentence_tokenizer(path)
    for text in ("below < 12 mm", "<tool>", "<0x41> < <s> <", "(P7)", "never seen: Ω"):
        assert fast.encode(text, add_special_tokens=False) == known.encode(text)


@pytest.mark.parametrize("change", [{"normalization_rule_name": "nmt_nfkc"}, {"model_type": "bpe"}])
def test_a_vocabulary_made_in_another_way_is_refused(tmp_path: Path, change: dict[str, str]) -> None:
    model = io.BytesIO()
    options: dict[str, Any] = {"normalization_rule_name": "identity", **change}
    sentencepiece.SentencePieceTrainer.Train(
        sentence_iterator=corpus(), model_writer=model, vocab_size=500, hard_vocab_limit=False, byte_fallback=True,
        pad_id=0, unk_id=1, bos_id=2, eos_id=3, minloglevel=2, **options,
    )  # fmt: skip
    path = tmp_path / "other.spm"
    path.write_bytes(model.getvalue())
    with pytest.raises(CheckpointError, match="would get other ids"):
        fast_tokenizer(path)


def test_no_vocabulary_is_named(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="is missing"):
        fast_tokenizer(tmp_path / "tokenizer.spm")
    assert SHIPPED.is_file()
