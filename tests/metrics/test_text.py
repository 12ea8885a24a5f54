"""BLEU, ROUGE and METEOR: worked by hand, and against nltk and rouge-score themselves."""

import math

import numpy as np
import pytest

pytest.importorskip("nltk", reason="surgvl[eval] is not installed")
pytest.importorskip("rouge_score", reason="surgvl[eval] is not installed")

from nltk.translate.bleu_score import corpus_bleu
from nltk.translate.meteor_score import single_meteor_score
from rouge_score.rouge_scorer import RougeScorer

from surgvl.core.errors import DataError
from surgvl.core.result_page import to_markdown
from surgvl.core.results import bootstrap, draws
from surgvl.metrics.answer import LabelledQuestion
from surgvl.metrics.text import TextCounts, bleu, count, mean, words
from surgvl.tasks.answers import Answers
from surgvl.tasks.vqa import Vqa

TRUTH = "the grasper retracts the gallbladder"


def one(truth: str, answer: str) -> TextCounts:
    return count([truth], [answer], [0]).pooled()


def made(num: int = 120, seed: int = 0) -> tuple[list[str], list[str], np.ndarray[tuple[int], np.dtype[np.int64]]]:
    """Sentences of 5 to 9 words out of a few, and answers that share some of them."""
    rng = np.random.default_rng(seed)
    known = words("the grasper retracts retracting a gallbladder liver is hook cuts cut cystic duct")
    truth = [" ".join(rng.choice(known, rng.integers(5, 10))) for _ in range(num)]
    answers = []
    for text in truth:
        said = [word if rng.random() < 0.7 else str(rng.choice(known)) for word in text.split()]
        answers.append(" ".join(said[: rng.integers(4, 10)]))
    return truth, answers, rng.integers(0, 6, num)


def test_words_are_runs_of_letters_and_digits() -> None:
    assert words("Clipping_Cutting of 2 ducts, top-left.") == ["clipping", "cutting", "of", "2", "ducts", "top", "left"]
    assert words(" . ") == []


def test_bleu_by_hand() -> None:
    # Of 4 words 3 are right ("the" is in the truth twice), of 3 pairs 1 ("the grasper"), of 2 triples none.
    found = one(TRUTH, "the grasper lifts gallbladder")
    assert found.matched.tolist() == [[3, 1, 0, 0]]
    assert found.written.tolist() == [[4, 3, 2, 1]]
    assert found.wanted.tolist() == [[5, 4, 3, 2]]
    brevity = math.exp(1 - 5 / 4)
    assert bleu(found, 1)[0] == pytest.approx(brevity * 3 / 4)
    assert bleu(found, 2)[0] == pytest.approx(brevity * math.sqrt(3 / 4 * 1 / 3))
    assert bleu(found, 3)[0] == bleu(found, 4)[0] == 0
    # A word counts as often as it is in the truth; who writes more than was wanted is not punished twice.
    assert bleu(one("the liver", "the the the the"), 1)[0] == pytest.approx(1 / 4)


def test_bleu_sums_before_it_divides() -> None:
    found = count(["a b", "c d e f"], ["a b", "c x"], [0, 0]).pooled()
    assert bleu(found, 1)[0] == pytest.approx(math.exp(1 - 6 / 4) * 3 / 4)
    assert bleu(found, 2)[0] == pytest.approx(math.exp(1 - 6 / 4) * math.sqrt(3 / 4 * 1 / 2))


def test_bleu_of_short_answers() -> None:
    """nltk counts an n-gram in each answer that is too short to hold one, and so lowers BLEU-4 of a perfect model."""
    truth = ["clip"] * 9 + [TRUTH]
    found = count(truth, truth, [0] * 10).pooled()
    assert [bleu(found, n)[0] for n in (1, 2, 3, 4)] == [1, 1, 1, 1]
    split = [text.split() for text in truth]
    assert corpus_bleu([[row] for row in split], split, weights=(0.25,) * 4) < 0.7
    # Nothing is four words long: there is no BLEU-4 to give.
    assert math.isnan(bleu(one("cystic duct", "cystic duct"), 4)[0])
    assert bleu(one("cystic duct", ""), 1)[0] == 0
    with pytest.raises(DataError, match="BLEU must be 1 to 4, got 5"):
        bleu(found, 5)


def test_rouge_by_hand() -> None:
    # 3 of 4 words and 3 of 5; in order they are 3 too: "the grasper ... gallbladder".
    found = one(TRUTH, "the grasper lifts gallbladder")
    want = 2 * (3 / 4 * 3 / 5) / (3 / 4 + 3 / 5)
    assert mean(found, "rouge_1")[0] == pytest.approx(want)
    assert mean(found, "rouge_l")[0] == pytest.approx(want)
    # The same words backwards share one word in order.
    backwards = one("hook cuts duct", "duct cuts hook")
    assert mean(backwards, "rouge_1")[0] == 1
    assert mean(backwards, "rouge_l")[0] == pytest.approx(1 / 3)


def test_meteor_by_hand() -> None:
    # One matched word of 2 written and 3 wanted: 10 P R / (R + 9 P), halved because it is a chunk of its own.
    found = one("grasper retracts gallbladder", "the grasper")
    assert mean(found, "meteor")[0] == pytest.approx(10 * (1 / 2) * (1 / 3) / (1 / 3 + 9 / 2) / 2)
    # A stem counts like the word: three matches in one chunk.
    stems = one("grasper retracts gallbladder", "grasper retracting gallbladder")
    assert mean(stems, "meteor")[0] == pytest.approx(1 - 0.5 / 27)
    # Two chunks of three matches.
    assert mean(one("hook cuts duct", "duct hook cuts"), "meteor")[0] == pytest.approx(1 - 0.5 * (2 / 3) ** 3)
    # Synonyms of WordNet do not count; an equal word alone is half.
    assert mean(one("liver", "hepar"), "meteor")[0] == 0
    assert mean(one("liver", "liver"), "meteor")[0] == 0.5


@pytest.mark.slow
def test_sums_over_videos_equal_the_libraries_over_all_rows() -> None:
    truth, answers, videos = made()
    counts = count(truth, answers, videos)
    split = [(words(a), words(b)) for a, b in zip(truth, answers, strict=True)]
    for order in (1, 2, 3, 4):
        weights = [1 / order] * order
        library = corpus_bleu([[a] for a, _ in split], [b for _, b in split], weights=weights)
        assert bleu(counts.pooled(), order)[0] == pytest.approx(library)
        assert 0.05 < library < 0.95
    scorer = RougeScorer(["rouge1", "rougeL"])
    rouge = [scorer.score(a, b) for a, b in zip(truth, answers, strict=True)]
    for ours, theirs in (("rouge_1", "rouge1"), ("rouge_l", "rougeL")):
        assert mean(counts.pooled(), ours)[0] == pytest.approx(np.mean([row[theirs].fmeasure for row in rouge]))

    class Empty:
        def synsets(self, word: str) -> list[str]:
            return []

    meteor = [single_meteor_score(a, b, wordnet=Empty()) for a, b in split]
    assert mean(counts.pooled(), "meteor")[0] == pytest.approx(np.mean(meteor))


def test_a_draw_of_videos_equals_their_rows_again() -> None:
    truth, answers, videos = made()
    counts = count(truth, answers, videos)
    weights = draws(6, num_draws=5)
    found = counts.pooled(weights)
    for at, drawn in enumerate(weights.astype(int)):
        rows = [row for video, often in enumerate(drawn) for row in np.flatnonzero(videos == video).tolist() * often]
        again = count([truth[row] for row in rows], [answers[row] for row in rows], [0] * len(rows)).pooled()
        for order in (1, 4):
            assert bleu(found, order)[at] == pytest.approx(bleu(again, order)[0])
        assert mean(found, "meteor")[at] == pytest.approx(mean(again, "meteor")[0])
    value, low, high, _ = bootstrap(lambda draw: bleu(counts.pooled(draw), 4), 6)
    assert low < value < high


def test_the_order_of_rows_changes_no_digit() -> None:
    truth, answers, videos = made()
    order = np.random.default_rng(1).permutation(len(truth))
    moved = count([truth[at] for at in order], [answers[at] for at in order], videos[order])
    for name, values in vars(count(truth, answers, videos)).items():
        np.testing.assert_array_equal(values, vars(moved)[name])


def test_what_does_not_fit() -> None:
    with pytest.raises(DataError, match="1 true and 2 predicted answers"):
        count(["a"], ["a", "b"], [0])
    with pytest.raises(DataError, match="0 true and 0 predicted"):
        count([], [], [])
    with pytest.raises(DataError, match=r"videos of shape \(2,\)"):
        count(["a"], ["a"], [0, 1])


@pytest.mark.slow
def test_open_answers_are_scored_word_by_word_for_each_type() -> None:
    truth, answers, videos = made()
    types = ["open_step" if at % 3 else "open_phase" for at in range(len(truth))]
    ids = [f"v{video}" for video in videos]
    columns = (ids, types, truth, types, answers, np.ones(len(truth), bool))
    training = [
        LabelledQuestion("open_step", "the hook cuts the liver", "open_step"),
        LabelledQuestion("q", "two", "count"),
    ]
    results = Vqa(training).score(Answers(*columns, "open"))
    found = {result.metric: result for result in results}
    counts = count(truth, answers, videos)
    blind = count(truth, ["the hook cuts the liver"] * len(truth), videos)
    for order in (1, 2, 3, 4):
        assert found[f"bleu_{order}"].value == pytest.approx(bleu(counts.pooled(), order)[0])
    for metric in ("rouge_1", "rouge_l", "meteor"):
        result = found[metric]
        assert result.value == pytest.approx(mean(counts.pooled(), metric)[0])
        assert result.low < result.value < result.high
        # Only what is asked is counted: the closed training question has another type.
        assert result.baselines["blind"] == pytest.approx(mean(blind.pooled(), metric)[0])
        assert result.baselines == dict.fromkeys(["blind", "majority"], result.baselines["blind"])
    phase = [at for at, kind in enumerate(types) if kind == "open_phase"]
    alone = count([truth[at] for at in phase], [answers[at] for at in phase], [0] * len(phase)).pooled()
    per_class = found["bleu_4"].per_class
    assert per_class is not None
    assert per_class["open_phase"] == pytest.approx(bleu(alone, 4)[0])
    assert found["rouge_l"].per_class_baselines["blind"].keys() == {"open_phase", "open_step"}
    assert "accuracy_open" in found
    assert "no WordNet synonyms" in found["meteor"].protocol
    page = to_markdown(results)
    assert [line.split("|")[3].strip() for line in page.splitlines() if "by part" in line] == [
        "accuracy_open",
        "rouge_l",
    ]
    assert not any(
        metric.startswith("bleu") for metric in [r.metric for r in Vqa(training).score(Answers(*columns, "closed"))]
    )
