"""The eval command, from folders on disk to a table: joins, refusals, warnings, and what is left out."""

import bisect
import dataclasses
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from surgvl import prompts
from surgvl.cli import main as cli
from surgvl.commands.eval import EvalConfig, evaluate
from surgvl.core import files
from surgvl.core.errors import ConfigError, DataError
from surgvl.core.ontology import CHOLEC80_PHASES, CHOLECT50_PHASES, TRIPLET_NAMES
from surgvl.core.results import Result, read_results
from surgvl.core.version import commit
from surgvl.data.manifest import QA, Manifest, Segment, VideoRow
from surgvl.embed.meta import Meta, PromptSetFacts, write_meta
from surgvl.embed.vectors import Texts, Vectors, write_shard, write_texts

SECONDS = 70
TRIPLET_IDS = (17, 58, 60, 79, 82, 94)
SPLITS = {"video01": "train", "video02": "train", "video03": "val", "video04": "test", "video05": "test"}


def phase_at(video: int, second: int) -> int:
    """Training videos stay longest in phase 1, the others in phase 2."""
    return bisect.bisect((5, 35, 40, 50, 60, 65) if video < 2 else (9, 18, 40, 50, 58, 64), second)


def triplet_at(video: int, second: int) -> int:
    return TRIPLET_IDS[(second // 7 + video) % len(TRIPLET_IDS)]


def make_manifest(phases: tuple[str, ...] = CHOLEC80_PHASES, splits: dict[str, str] | None = None) -> Manifest:
    splits = splits or SPLITS
    videos = [
        VideoRow(
            video_id=name,
            path="",
            source="made",
            dataset="Phantom",
            rendered=False,
            fps=25,
            duration_s=SECONDS,
            split=split,  # type: ignore[arg-type]
        )
        for name, split in splits.items()
    ]
    segments, qa = [], []
    for number, name in enumerate(splits):
        for second in range(SECONDS):
            span: dict[str, Any] = {"video_id": name, "start_s": second, "end_s": second + 1}
            segments.append(Segment(**span, task="phase", label=phases[phase_at(number, second)]))
            segments.append(Segment(**span, task="triplet", label=TRIPLET_NAMES[triplet_at(number, second)]))
            if second % 10 == 0:
                answer = phases[phase_at(number, second)].lower()
                qa.append(QA(**span, question="Which phase is this?", answer=answer, type="phase"))
    return Manifest(videos, segments, qa)


def make_vectors(folder: Path, skip: tuple[str, ...] = (), seen: tuple[str, ...] = ("video01",)) -> None:
    """Label-made vectors: a clip is the sum of its phase's and its triplet's direction, a text is its class's."""
    space = np.linalg.qr(np.random.default_rng(0).normal(size=(128, 107)))[0].T.astype(np.float32)
    total = 0
    for number, name in enumerate(SPLITS):
        if name in skip:
            continue
        rows = [space[phase_at(number, k)] + space[7 + triplet_at(number, k)] for k in range(SECONDS)]
        seconds = np.arange(SECONDS)
        write_shard(folder, number, np.array(rows), [name] * SECONDS, seconds, seconds + 1)
        total += SECONDS
    sets = [prompts.load("phantom_phase"), prompts.load("phantom_triplet")]
    rows_of_texts = [(each.name, *row) for each in sets for row in each.texts()]
    vectors = np.stack([space[at + 7 * (name == "phantom_triplet")] for name, at, _, _ in rows_of_texts])
    names, ids, classes, texts = (list(column) for column in zip(*rows_of_texts, strict=True))
    write_texts(folder, Texts(vectors, names, ids, classes, texts))
    meta = Meta(
        model="m",
        model_hash="h",
        dim=128,
        clip_s=1,
        stride_s=1,
        num_vectors=total,
        frozen=True,
        num_trainable=321,
        pretraining_video_ids=list(seen),
        prompt_sets={each.name: PromptSetFacts.of(each) for each in sets},
    )
    write_meta(folder, meta)


def make_answers(folder: Path, change: Callable[[dict[str, Any]], None] = lambda row: None, every: int = 1) -> Path:
    folder.mkdir()
    fields = ["video_id", "start_s", "end_s", "question", "answer", "type"]
    rows = make_manifest().split("test").qa_table.select(fields).to_pylist()[::every]
    for row in rows:
        row |= {"prediction": row["answer"].upper() + ".", "matched": True, "mode": "closed"}
        change(row)
    (folder / "answers.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return folder


@pytest.fixture
def folders(tmp_path: Path) -> Path:
    make_manifest().save(tmp_path / "manifest")
    make_vectors(tmp_path / "vectors")
    return tmp_path


def by_name(results: list[Result]) -> dict[tuple[str, str], Result]:
    return {(result.task, result.metric): result for result in results}


@pytest.mark.slow
def test_label_made_vectors_and_answers_score_one(folders: Path, capsys: pytest.CaptureFixture[str]) -> None:
    answers = make_answers(folders / "answers")
    results = evaluate(folders / "manifest", folders / "out", folders / "vectors", answers)
    found = by_name(results)
    assert {result.task for result in results} >= {"phase", "retrieval", "triplet", "vqa"}
    for result in results:
        assert result.value == pytest.approx(0 if result.metric == "unmatched_rate" else 1), result.metric
        assert result.num_videos == 2
        assert result.num_clips == (14 if result.task == "vqa" else 140)
        assert result.command
        assert result.commit == commit()
        assert result.warning == ""
        assert result.protocol.startswith("test split of made, ")
    assert found["phase", "accuracy"].encoder == "frozen"
    assert found["phase", "accuracy"].num_trainable == 321
    told = found["phase", "accuracy"].protocol
    assert "zero-shot with phantom_phase v1, online or offline: not recorded, majority: CalotTriangleDissection" in told
    assert "(the longest of the training videos), 1 fps" in told
    assert "majority" in found["phase", "accuracy"].baselines
    assert "14 of its 14 questions" in found["vqa", "accuracy"].protocol

    written = read_results(folders / "out" / "result.json")
    assert [(row.task, row.metric, row.value) for row in written] == [(r.task, r.metric, r.value) for r in results]
    printed = capsys.readouterr().out
    assert (folders / "out" / "result.md").read_text() in printed
    assert f"next: surgvl index --vectors {folders / 'vectors'}" in printed
    assert files.read_json(folders / "out" / "run.json")["data_hash"] == make_manifest().hash


@pytest.mark.slow
def test_numbers_from_the_phantom_say_so(tmp_path: Path) -> None:
    manifest = make_manifest()
    rows = [row.model_copy(update={"source": "phantom", "rendered": True}) for row in manifest.videos]
    Manifest(rows, manifest.segments).save(tmp_path / "manifest")
    make_vectors(tmp_path / "vectors")
    results = evaluate(tmp_path / "manifest", tmp_path / "out", tmp_path / "vectors", tasks=["phase"])
    assert results[0].protocol.startswith("test split of phantom, ")
    assert "nothing about patients" in (tmp_path / "out" / "result.md").read_text()


@pytest.mark.slow
def test_relaxed_scores_are_added_on_request(folders: Path) -> None:
    arguments = ["eval", "--manifest", str(folders / "manifest"), "--vectors", str(folders / "vectors")]
    cli.run([*arguments, "--out", str(folders / "strict"), "--tasks", "[phase]"])
    cli.run([*arguments, "--out", str(folders / "both"), "--tasks", "[phase]", "--relaxed", "m2cai_matlab"])
    strict, both = (read_results(folders / name / "result.json") for name in ("strict", "both"))
    assert [result.metric for result in both[: len(strict)]] == [result.metric for result in strict]
    added = [result.metric for result in both[len(strict) :]]
    metrics = ("accuracy", "precision", "recall", "f1", "jaccard")
    assert added == [f"{metric}_relaxed_m2cai_matlab" for metric in metrics]
    assert "boundaries relaxed by 10 s (m2cai_matlab)" in (folders / "both" / "result.md").read_text()
    assert "boundaries relaxed" not in (folders / "strict" / "result.md").read_text()


@pytest.mark.slow
def test_the_majority_is_chosen_on_training_videos(folders: Path) -> None:
    results = evaluate(folders / "manifest", folders / "out", folders / "vectors", tasks=["phase"])
    assert by_name(results)["phase", "accuracy"].baselines["majority"] == pytest.approx(9 / SECONDS)


@pytest.mark.slow
def test_other_spellings_of_the_phases_are_known(tmp_path: Path) -> None:
    make_manifest(CHOLECT50_PHASES).save(tmp_path / "manifest")
    make_vectors(tmp_path / "vectors")
    results = evaluate(tmp_path / "manifest", tmp_path / "out", tmp_path / "vectors", tasks=["phase"])
    assert by_name(results)["phase", "accuracy"].value == 1
    make_manifest(tuple("abcdefg")).save(tmp_path / "strange")
    with pytest.raises(DataError, match=r"phase labels \['a', 'b', .*are not in prompt set 'phantom_phase'"):
        evaluate(tmp_path / "strange", tmp_path / "out2", tmp_path / "vectors", tasks=["phase"])


@pytest.mark.slow
@pytest.mark.parametrize("seen", ["video04", "VID04"])
def test_seen_test_videos_stop_the_evaluation_or_mark_it(tmp_path: Path, seen: str) -> None:
    make_manifest().save(tmp_path / "manifest")
    make_vectors(tmp_path / "vectors", seen=("video02", seen))
    with pytest.raises(DataError, match="1 of 2 test videos was seen in pretraining: video04: .*--allow_overlap"):
        evaluate(tmp_path / "manifest", tmp_path / "out", tmp_path / "vectors")
    results = evaluate(
        tmp_path / "manifest", tmp_path / "out2", tmp_path / "vectors", protocol=EvalConfig(allow_overlap=True)
    )
    assert all("seen in pretraining: video04" in result.warning for result in results)
    assert "accuracy (!)" in (tmp_path / "out2" / "result.md").read_text()


@pytest.mark.slow
def test_ids_that_the_chat_model_has_seen_count_too(folders: Path) -> None:
    answers = make_answers(folders / "answers")
    files.write_json(answers / "run.json", {"pretraining_video_ids": ["video05"], "frozen": True, "num_trainable": 9})
    with pytest.raises(DataError, match="seen in pretraining: video05"):
        evaluate(folders / "manifest", folders / "out", answers=answers)
    results = evaluate(folders / "manifest", folders / "out", answers=answers, protocol=EvalConfig(allow_overlap=True))
    assert (results[0].encoder, results[0].num_trainable) == ("frozen", 9)


@pytest.mark.slow
def test_one_operation_in_val_and_test_stops(tmp_path: Path) -> None:
    splits = {**SPLITS, "VID04": "val"}
    make_manifest(splits=splits).save(tmp_path / "manifest")
    make_vectors(tmp_path / "vectors")
    with pytest.raises(DataError, match="1 of 2 test videos is also in validation: video04"):
        evaluate(tmp_path / "manifest", tmp_path / "out", tmp_path / "vectors")


@pytest.mark.slow
def test_damaged_frames_of_scored_videos_are_named(tmp_path: Path) -> None:
    make_manifest().save(tmp_path / "manifest")
    make_vectors(tmp_path / "vectors")
    meta = files.read_json(tmp_path / "vectors" / "vectors.json")
    said = "clip.mp4: 3 of 250 decoded frames are marked damaged by the decoder"
    files.write_json(
        tmp_path / "vectors" / "vectors.json", {**meta, "damaged_frames": {"video05": said, "of another split": "no"}}
    )
    for result in evaluate(tmp_path / "manifest", tmp_path / "out", tmp_path / "vectors"):
        assert result.warning == said
    assert said in (tmp_path / "out" / "result.md").read_text()


@pytest.mark.slow
def test_videos_without_vectors_are_named(tmp_path: Path) -> None:
    make_manifest().save(tmp_path / "manifest")
    make_vectors(tmp_path / "vectors", skip=("video05",))
    results = evaluate(tmp_path / "manifest", tmp_path / "out", tmp_path / "vectors")
    for result in results:
        assert result.warning == "1 of 2 videos has no vectors: video05"
        assert np.isnan(result.low)
    make_vectors(tmp_path / "none", skip=("video04", "video05"))
    with pytest.raises(DataError, match="holds no test video of made with phase labels"):
        evaluate(tmp_path / "manifest", tmp_path / "out2", tmp_path / "none")


@pytest.mark.slow
def test_what_cannot_be_scored_is_said(folders: Path, capsys: pytest.CaptureFixture[str]) -> None:
    evaluate(folders / "manifest", folders / "out", folders / "vectors")
    assert "typed_answers, vqa are left out: questions need --answers" in capsys.readouterr().out
    with pytest.raises(DataError, match="questions need --answers"):
        evaluate(folders / "manifest", folders / "out2", folders / "vectors", tasks=["phase", "vqa"])
    with pytest.raises(ConfigError, match="did you mean phase"):
        evaluate(folders / "manifest", folders / "out3", folders / "vectors", tasks=["phases"])
    assert not (folders / "out3").exists()


@pytest.mark.slow
def test_usage_errors(folders: Path) -> None:
    for named in (EvalConfig(prompts=["cholect50_triplet"]), EvalConfig(triplet_prompts="cholect50_triplet")):
        with pytest.raises(ConfigError, match="prompt set 'cholect50_triplet' was not embedded into .*; embedded are"):
            evaluate(folders / "manifest", folders / "out0", folders / "vectors", protocol=named)
    with pytest.raises(ConfigError, match="--prompts phantom_triplet: its labels are of kind 'triplet', which no task"):
        evaluate(
            folders / "manifest",
            folders / "out1",
            folders / "vectors",
            tasks=["phase"],
            protocol=EvalConfig(prompts=["phantom_triplet"]),
        )
    with pytest.raises(ConfigError, match="give --predictions, --vectors or --answers"):
        evaluate(folders / "manifest", folders / "out")
    with pytest.raises(ConfigError, match="--protocol.smooth_s must be >= 0, got nan"):
        EvalConfig(smooth_s=float("nan"))
    with pytest.raises(ConfigError, match=r"--protocol.relaxed must be one of symmetric, m2cai_matlab, got 'symetric'"):
        EvalConfig(relaxed="symetric")  # type: ignore[arg-type]
    with pytest.raises(DataError, match="no video is in split"):
        evaluate(folders / "manifest", folders / "out", folders / "vectors", split="holdout")


@pytest.mark.slow
def test_moments_of_two_phases_are_left_out_and_counted(tmp_path: Path) -> None:
    manifest = make_manifest()
    extra = Segment(video_id="video04", start_s=3, end_s=5, task="phase", label="GallbladderPackaging")
    manifest.save(tmp_path / "whole")
    Manifest(manifest.videos, [*manifest.segments, extra]).save(tmp_path / "manifest")
    make_vectors(tmp_path / "vectors")
    whole, part = (
        next(each for each in evaluate(folder, folder / "out", tmp_path / "vectors") if each.metric == "accuracy")
        for folder in (tmp_path / "whole", tmp_path / "manifest")
    )
    assert part.num_clips == whole.num_clips - 2
    assert "2 of 140 moments have two phase labels at once, left out" in part.warning


@pytest.mark.slow
def test_part_of_the_questions_is_said(folders: Path) -> None:
    answers = make_answers(folders / "answers", every=2)
    results = evaluate(folders / "manifest", folders / "out", answers=answers / "answers.jsonl")
    assert all("7 of its 14 questions" in result.protocol for result in results)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda row: row.update(answer="other"), "line 1: .*'other' about video04 at 0.0 s is not in the manifest"),
        (lambda row: row.update(start_s=0.25), "line 1: .* is not in the manifest"),
        (lambda row: row.pop("mode"), r"line 1: \['mode'\] do not fit"),
        (lambda row: row.update(matched="yes"), r"line 1: \['matched'\] do not fit"),
        (lambda row: row.update(colour=1), r"line 1: \['colour'\] do not fit"),
        (lambda row: row.update(video_id="video01"), "answers no question of split 'test'"),
    ],
)
def test_answers_that_do_not_fit(folders: Path, change: Callable[[dict[str, Any]], None], message: str) -> None:
    answers = make_answers(folders / "answers", change)
    with pytest.raises(DataError, match=message):
        evaluate(folders / "manifest", folders / "out", answers=answers)


def test_a_broken_line_of_answers_is_named(folders: Path) -> None:
    answers = make_answers(folders / "answers")
    with open(answers / "answers.jsonl", "a") as file:
        file.write('{"video_id": "vid')
    with pytest.raises(DataError, match="line 15 is not JSON"):
        evaluate(folders / "manifest", folders / "out", answers=answers)
    with pytest.raises(DataError, match="run `surgvl ask --manifest` first"):
        evaluate(folders / "manifest", folders / "out", answers=folders / "nothing", resume=True)


@pytest.mark.slow
def test_order_of_vectors_and_offset_of_space_do_not_matter(folders: Path) -> None:
    """Noise makes scores below 1; other shards and twice as long vectors must give the very same table."""
    first = Vectors.load(folders / "vectors")
    noise = np.random.default_rng(0).normal(scale=0.3, size=first.vectors.shape)
    assert first.texts is not None
    tables = []
    for name, order, scale in (("a", np.arange(len(noise)), 1.0), ("b", np.arange(len(noise)), 2.0)):
        moved = np.concatenate([part for part in np.split(order, 5)[::-1]]) if name == "b" else order
        vectors = (first.vectors + noise)[moved] * scale
        ids = [first.video_ids[at] for at in moved]
        write_shard(folders / name, 0, vectors, ids, first.start_s[moved], first.end_s[moved])
        write_texts(folders / name, first.texts)
        write_meta(folders / name, first.meta)
        tables.append(evaluate(folders / "manifest", folders / f"out_{name}", folders / name))
    for a, b in zip(*tables, strict=True):
        assert a.value == pytest.approx(b.value, abs=1e-9)
        assert dataclasses.replace(a, value=0, low=0, high=0, per_class=None).baselines == b.baselines
    accuracy = by_name(tables[0])["phase", "accuracy"]
    assert 0.5 < accuracy.value < 1
    assert accuracy.low < accuracy.value < accuracy.high


@pytest.mark.slow
def test_typed_on_the_command_line(folders: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["eval", "--manifest", str(folders / "manifest"), "--vectors", str(folders / "vectors")]
    words += ["--out", str(folders / "out"), "--tasks", "[phase]", "--smooth_s", "5", "--causal", "true"]
    results = cli.run(words)
    assert {result.task for result in results} == {"phase"}
    assert results[0].command.startswith("surgvl eval --manifest")
    assert "causal mean over 5 s" in results[0].protocol
    assert cli.main(words) == 1
    assert "is not empty" in capsys.readouterr().err
