"""Damage in the middle of a recording: training names it and goes on, and a killed run goes on to the same files."""

import contextlib
import csv
import io
import json
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.utils.data import Dataset

from surgvl import video
from surgvl.chat.answerer import Window
from surgvl.chat.feature_cache import FeatureCache
from surgvl.chat.question_rows import readable_rows
from surgvl.cli import main as cli
from surgvl.core.errors import DataError, Unreadable
from surgvl.data.frame_store import FrameStore
from surgvl.data.manifest import QA, Manifest, Segment, VideoRow
from surgvl.train import samples
from surgvl.train.samples import Collate, Problems, Replacing
from surgvl.video.clip import Preprocess
from tests.helpers.killed import run_killed
from tests.helpers.small_language import small_language
from tests.models.test_chat_model import small_chat
from tests.train.test_loop import TINY_MAE, moving_blobs, weights

TUNE = ["--projector_steps=1", "--max_tokens=200", "--narration=true"]
RUN = ["--run.steps=7", "--run.save_every=2", "--run.log_every=3", "--run.precision=32-true", "--run.logger=csv"]
STAGES = {
    "pretrain": [*TINY_MAE, *RUN],
    "align": [*RUN, "--run.batch=4", "--dim=16"],
    "tune": [*RUN, "--run.batch=4", *TUNE, "--encoder_steps=3"],
    "tune-head": [*RUN, "--run.batch=4", *TUNE, "--finetune=head"],
}
CLOCK = ("clips_per_s", "wait")


def damage(path: Path, num_bytes: int = 200) -> None:
    """Zeros in the middle of the pictures; header, beginning and end stay."""
    data = bytearray(path.read_bytes())
    at = (data.find(b"mdat") + len(data)) // 2
    data[at : at + num_bytes] = bytes(num_bytes)
    path.write_bytes(data)


@pytest.fixture(autouse=True)
def _small_language() -> Iterator[None]:
    with small_language():
        yield


@pytest.fixture(scope="module")
def damaged(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A manifest of two good videos and a damaged one to train on, and one to look at, with words and questions."""
    root = tmp_path_factory.mktemp("damaged")
    names = {"v0": "train", "v1": "train", "zz_damaged": "train", "v3": "val"}
    rows, segments, questions = [], [], []
    for number, (name, split) in enumerate(names.items()):
        moving_blobs(root / f"{name}.mp4", number)
        place: dict[str, Any] = {"video_id": name, "path": f"{name}.mp4", "split": split}
        rows.append(VideoRow(**place, source="b", fps=8.0, duration_s=10.0))
        # Those of the held-out video are answered at each look.
        for second in range(0, 10, 1 if split == "train" else 5):
            span: dict[str, Any] = {"video_id": name, "start_s": float(second), "end_s": second + 1.0}
            segments.append(Segment(**span, task="narration", label=f"the blobs drift past second {second}"))
            answer = "two" if second % 2 else "preparation"
            questions.append(QA(**span, question="how many?", answer=answer, type="count", source="b"))
    damage(root / "zz_damaged.mp4")
    Manifest(rows, segments, questions, root=root).save(root / "manifest")
    path = root / "zz_damaged.mp4"
    assert video.probe(path).duration_s == 10.0
    video.read(path, 0.0, 1.0, 4.0, 16)
    video.read(path, 9.0, 10.0, 4.0, 16)
    with pytest.raises(DataError, match="damaged"):
        video.read(path, 3.0, 5.0, 4.0, 16)
    return root / "manifest"


@pytest.fixture(scope="module")
def encoder(damaged: Path) -> Path:
    """A run folder of an encoder; its own training meets no damage."""
    out = damaged.parent / "encoder"
    argv = ["pretrain", f"--manifest={damaged}", f"--out={out}", *STAGES["pretrain"], "--run.steps=1", "--split=val"]
    cli.run(argv)
    return out


def arguments(stage: str, manifest: Path, encoder: Path, out: Path, *more: str) -> list[str]:
    given = [] if stage == "pretrain" else [f"--encoder={encoder}"]
    name = stage.partition("-")[0]
    return [name, f"--manifest={manifest}", f"--out={out}", *given, *STAGES[stage], "--resume=true", *more]


def told(out: Path) -> dict[str, Any]:
    """What a run folder tells that does not depend on the clock."""
    rows = [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
    with open(out / "metrics.csv", newline="") as file:
        table = list(csv.DictReader(file))
    looked = out / "answers_while_training.jsonl"
    return {
        "rows": [{key: value for key, value in row.items() if key not in CLOCK} for row in rows],
        "table": [{key: value for key, value in row.items() if key not in CLOCK} for row in table],
        "looks": looked.read_text() if looked.is_file() else "",
        "problems": json.loads((out / "run.json").read_text())["problems"],
        "hidden": sorted(path.name for path in out.rglob(".*")),
    }


@pytest.fixture(scope="module")
def uninterrupted(damaged: Path, encoder: Path) -> Callable[[str], tuple[Path, str]]:
    """A function of a stage: the folder of its whole run, and what that said; run once."""

    @cache
    def run(stage: str) -> tuple[Path, str]:
        out = damaged.parent / f"whole_{stage}"
        with contextlib.redirect_stderr(io.StringIO()) as said:
            assert cli.main(arguments(stage, damaged, encoder, out)) == 1
        return out, said.getvalue()

    return run


@pytest.mark.slow
@pytest.mark.parametrize("stage", STAGES)
def test_a_damaged_recording_is_named_and_a_killed_run_ends_alike(
    stage: str,
    damaged: Path,
    encoder: Path,
    uninterrupted: Callable[[str], tuple[Path, str]],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    (whole, message), broken = uninterrupted(stage), tmp_path / "broken"
    assert "1 of 3 videos was set aside, the others are done" in message
    assert message.count("zz_damaged.mp4") == 1
    assert "Traceback" not in message

    run_killed(arguments(stage, damaged, encoder, broken), 5)
    assert torch.load(broken / "checkpoints/last.ckpt", weights_only=True)["step"] == 4
    assert cli.main(arguments(stage, damaged, encoder, broken)) == 1
    assert capsys.readouterr().err == message.replace(str(whole), str(broken))

    one, two = told(whole), told(broken)
    assert [row["step"] for row in one["rows"]] == [0, 3, 6]
    assert one == two
    assert list(one["problems"]) == ["zz_damaged"]
    assert [row["loss"] for row in one["table"]] == [str(row["loss"]) for row in one["rows"]]
    first, second = weights(whole), weights(broken)
    assert all(torch.equal(first[key], second[key]) for key in first)
    if stage == "tune":
        looks = [json.loads(line) for line in one["looks"].splitlines()]
        assert sorted({row["progress"] for row in looks}) == [step / 7 for step in (0, 3, 6)]
        assert len(looks) == len({(row["progress"], row["start_s"], row["question"]) for row in looks})


@pytest.mark.slow
def test_processes_that_load_change_nothing(
    damaged: Path, encoder: Path, uninterrupted: Callable[[str], tuple[Path, str]], tmp_path: Path
) -> None:
    alone, _ = uninterrupted("pretrain")
    assert cli.main(arguments("pretrain", damaged, encoder, tmp_path, "--run.workers=2")) == 1
    assert told(alone) == told(tmp_path)
    one, two = weights(alone), weights(tmp_path)
    assert all(torch.equal(one[key], two[key]) for key in one)


@pytest.mark.slow
@pytest.mark.parametrize("workers", [0, pytest.param(2, marks=pytest.mark.slow)])
def test_nothing_but_damage_is_one_line(
    workers: int, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(samples, "MAX_TRIES", 20)  # not 100, each of which opens the video
    moving_blobs(tmp_path / "v.mp4", 0, num_frames=40)
    damage(tmp_path / "v.mp4")
    row = VideoRow(video_id="v", path="v.mp4", source="b", fps=8.0, duration_s=5.0, split="train")
    Manifest([row], root=tmp_path).save(tmp_path / "manifest")
    argv = arguments("pretrain", tmp_path / "manifest", tmp_path, tmp_path / "out", f"--run.workers={workers}")
    # Every clip is as long as the video, so every one meets the damage; one batch, because workers read ahead.
    assert cli.main([*argv, "--encoder.num_frames=20", "--run.batch=2", "--run.steps=1"]) == 1
    message = capsys.readouterr().err.strip()
    assert "20 clips in a row cannot be read; the first: " in message
    assert "v.mp4" in message
    assert "\n" not in message.removeprefix("surgvl: ")


class Sparse(Dataset[dict[str, Any]]):
    """Samples that tell their number; unreadable ones by a rule, in groups of `repeats` that share a clip."""

    def __init__(self, repeats: int):
        self.repeats, self.asked = repeats, [0]

    def __getitem__(self, index: int) -> dict[str, Any]:
        self.asked.append(index)
        clip = index // self.repeats
        if (clip * 2654435761) % 4294967296 < 3 * 2**30:  # three of four
            raise Unreadable(f"v{clip % 3}", f"clip {clip}")
        return {"clip": clip}


@pytest.mark.parametrize("repeats", [1, 2, 3, 16])
def test_what_stands_in_follows_from_the_number_and_keeps_groups_together(repeats: int) -> None:
    data = Replacing(Sparse(repeats))
    order = list(range(96))
    forth = {index: data[index] for index in order}
    back = {index: Replacing(Sparse(repeats))[index] for index in reversed(order)}
    assert forth == back
    replaced = [index for index in order if forth[index][1]]
    assert 20 < len(replaced) < 96
    for index in order:
        sample, problems = forth[index]
        assert sample is not None
        assert (sample["clip"] == index // repeats) == (not problems)
        assert sample == forth[index - index % repeats][0]


def test_problems_of_samples_become_those_of_the_batch_and_of_the_run() -> None:
    collate, problems = Collate(lambda samples: {"clip": [each["clip"] for each in samples]}), Problems()
    batch = collate(
        [({"clip": "a"}, {}), ({"clip": "b"}, {"v1": "first"}), ({"clip": "c"}, {"v1": "second", "v2": "third"})]
    )
    assert problems.take(batch) == {"clip": ["a", "b", "c"]}
    assert problems.take(collate([({"clip": "d"}, {"v1": "later"})])) == {"clip": ["d"]}
    again = Problems()
    again.load_state_dict(problems.state_dict())
    assert again.found == {"v1": "first", "v2": "third"}
    with pytest.raises(DataError, match="the first: gone"):
        again.take(collate([({"clip": "a"}, {}), (None, {"v3": "gone"})]))


def test_other_errors_of_data_stop_a_run() -> None:
    class Wrong(Dataset[Any]):
        def __getitem__(self, index: int) -> Any:
            raise DataError("not about a video")

    with pytest.raises(DataError, match="not about a video"):
        Replacing(Wrong())[0]


@pytest.mark.slow
def test_windows_that_cannot_be_read_have_no_tokens(damaged: Path, tmp_path: Path) -> None:
    table = Manifest.load(damaged)
    shape = Preprocess(num_frames=4, fps=4.0, size_px=16, anchor="first")
    store = FrameStore({name: table.path_of(name) for name in ("v0", "zz_damaged")}, shape)
    store.prepare()
    chat = small_chat()
    windows = [Window(name, float(second), second + 1.0) for name in ("v0", "zz_damaged") for second in range(10)]
    bad = set()
    for window in windows[10:]:
        try:
            store.clip(store.key_of(*window))
        except DataError:
            bad.add(window)
    assert bad
    for _ in range(2):  # made, and found there
        cache = FeatureCache(chat, store, windows, tmp_path / "features")
        assert {each for each in windows if each not in cache} == bad
        assert list(cache.problems) == ["zz_damaged"]
        rows = [window._asdict() for window in windows]
        assert len(readable_rows(rows, cache, cache.problems)) == 20 - len(bad)
        assert all(bool(cache[each].isfinite().all()) for each in windows if each in cache)
    rows = [window._asdict() for window in sorted(bad)[:1] * 2]
    with pytest.raises(DataError, match="none of 2 questions is about video that can be read; the first: "):
        readable_rows(rows, cache, cache.problems)
    with pytest.raises(DataError, match=r"^\S+zz_damaged.mp4 cannot be read"):
        readable_rows(rows[:1], cache, cache.problems)
