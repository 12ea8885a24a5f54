"""`surgvl data merge`: ids stay unique, labels stay with their videos, and a known operation stays known."""

from pathlib import Path
from typing import Any, Literal

import pytest

from surgvl.commands.data_merge import data_merge
from surgvl.core.errors import ConfigError, DataError
from surgvl.core.operations import seen_before
from surgvl.data.manifest import QA, Manifest, Segment, VideoRow

Part = Literal["train", "val", "test"]


@pytest.fixture
def pair(tmp_path: Path) -> list[Path]:
    """Two data sets with the same ids, in folders of their own; each video has a label that names it."""
    folders = []
    for name in ("lap", "eye"):
        ids = [f"video{number:02d}" for number in range(1, 6)]
        parts: list[Part] = ["train", "train", "train", "val", "test"]
        given: dict[str, Any] = {"source": "phantom", "specialty": "any", "fps": 25, "duration_s": 9}
        videos = [
            VideoRow(video_id=each, path=f"{each}.mp4", split=part, **given)
            for each, part in zip(ids, parts, strict=True)
        ]
        segments = [Segment(video_id=each, start_s=0, end_s=9, task="phase", label=f"{name} {each}") for each in ids]
        questions = [QA(video_id=ids[0], start_s=0, end_s=1, question="Which?", answer=name)]
        folders.append(tmp_path / name / "manifest")
        Manifest(videos, segments, questions, root=tmp_path / name / "files").save(folders[-1])
    return folders


@pytest.mark.slow
def test_two_become_one(pair: list[Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data_merge(pair, tmp_path / "both", ["lap", "eye"], ["belly", "head"], (3, 1))
    merged = Manifest.load(tmp_path / "both")
    assert merged.video_ids("train") == ["lap/video01", "lap/video02", "lap/video03", "eye/video01"]
    assert merged.video_ids("test") == ["lap/video05", "eye/video05"]
    assert {(row.source, row.specialty) for row in merged.videos} == {("lap", "belly"), ("eye", "head")}
    for name in ("lap", "eye"):
        assert merged.path_of(f"{name}/video05") == tmp_path / name / "files" / "video05.mp4"
        assert merged.second_labels("phase", [f"{name}/video05"], [4.0])[0] == [f"{name} video05"]
    assert {(row.video_id, row.answer) for row in merged.qa} == {("lap/video01", "lap"), ("eye/video01", "eye")}
    # The rule that finds test videos in pretraining looks through the new names.
    assert seen_before(["VID01"], merged.video_ids("train")) == ["VID01"]
    assert "10 videos" not in capsys.readouterr().out

    data_merge(pair[1:], tmp_path / "one", ["eye"])
    assert set(Manifest.load(tmp_path / "one").video_ids("test")) < set(merged.video_ids("test"))
    assert {row.specialty for row in Manifest.load(tmp_path / "one").videos} == {"any"}


def test_what_does_not_fit_is_refused(pair: list[Path], tmp_path: Path) -> None:
    with pytest.raises(DataError, match="'video01' occurs twice"):
        data_merge(pair, tmp_path / "a")
    for names, train, words in (
        (["lap"], (), "--names must have one value per manifest, 2, got 1"),
        (["lap", "lap"], (), "--names must be distinct and not empty, got lap lap"),
        (["lap", "eye"], (3,), "--train must have one value per manifest, 2, got 1"),
        (["lap", "eye"], (3, 0), "--train must be >= 1 for each manifest, got 3 0"),
        (["lap", "eye"], (3, 4), "--train must be at most the 3 training videos of the manifest, got 4"),
    ):
        with pytest.raises(ConfigError, match=words):
            data_merge(pair, tmp_path / "b", names, None, train)
    assert not (tmp_path / "b" / "manifest.json").exists()
