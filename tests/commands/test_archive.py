"""The archive commands, and `--archive` of others, on a trained tiny run."""

import csv
import re
import shutil
from pathlib import Path

import numpy as np
import pytest

from surgvl.archive.archive import Archive
from surgvl.archive.records import Progress
from surgvl.cli import main as cli
from surgvl.commands.serve import _model
from surgvl.core.errors import CheckpointError, ConfigError, DataError
from surgvl.retrieval import draft
from tests.archive.test_adding import check_whole
from tests.helpers.made_archive import film


@pytest.fixture(scope="module")
def made(tiny_run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An archive of two films and a file that is none."""
    root = tmp_path_factory.mktemp("archives")
    for number, name in ((1, "a.mp4"), (2, "week 1/b.mp4")):
        film(root / "recordings" / name, number, 3)
    (root / "recordings/text.mp4").write_text("x")
    chat = ["--chat", str(tiny_run / "tune")]
    cli.run(["archive", "create", str(root / "archive"), "--model", str(tiny_run / "align"), *chat])
    with pytest.raises(DataError, match="1 of 3 files was set aside, the others are done:\n  .*text.mp4"):
        cli.run(["archive", "add", str(root / "archive"), str(root / "recordings")])
    return root


def test_added_recordings_are_listed_and_counted(made: Path, capsys: pytest.CaptureFixture[str]) -> None:
    archive = str(made / "archive")
    cli.run(["archive", "details", archive, "a", "--tags", "x", "y", "--date", "2024-03", "--who", "ada"])
    cli.run(["archive", "details", archive, "a", "--history", "true"])
    assert "ada  tags: x, y" in capsys.readouterr().out
    cli.run(["archive", "list", archive])
    out = capsys.readouterr().out
    assert "2024-03" in out
    assert "text: " in out
    assert "3 of 3 recordings" in out
    cli.run(["archive", "list", archive, "--tags", "y", "--date_from", "2024"])
    assert "1 of 3 recordings" in capsys.readouterr().out
    cli.run(["archive", "info", archive])
    out = capsys.readouterr().out
    assert "3, 2 embedded, 1 failed" in out or "3, 1 failed, 2 embedded" in out
    assert "6 of " in out
    assert re.search(r"\nindex +flat: [1-9][0-9]* vectors are searched exactly within milliseconds\n", out)
    cli.run(["archive", "duplicates", archive])
    assert "of 2 recordings share footage" in capsys.readouterr().out


def test_an_archive_is_kept(made: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shutil.copytree(made, tmp_path / "here")
    root, archive = tmp_path / "here", str(tmp_path / "here/archive")
    with pytest.raises(DataError, match="1 problem in .*\n  recording 'text': .*text.mp4"):
        cli.run(["archive", "verify", archive])
    (root / "recordings/text.mp4").unlink()
    cli.run(["archive", "remove", archive, "text"])
    assert "1 recording removed, 2 recordings left" in capsys.readouterr().out
    cli.run(["archive", "verify", archive])
    assert "is intact: 2 recordings" in capsys.readouterr().out
    film(root / "recordings/a.mp4", 5, 4)
    cli.run(["archive", "update", archive, "--coarse", "true"])
    assert "1 updated, 1 unchanged" in capsys.readouterr().out
    cli.run(["archive", "merge", archive, str(made / "archive")])
    assert "2 recordings of" in capsys.readouterr().out
    cli.run(["archive", "export", archive, "--out", str(root / "out"), "--formats", "manifest"])
    assert (root / "out/manifest/manifest.json").is_file()
    cli.run(["archive", "reindex", archive, "--prompt_sets", "phantom_phase"])
    with Archive.open(archive) as opened:
        check_whole(opened)


def test_the_model_that_answers_is_changed_later(
    made: Path, tiny_run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    archive = str(tmp_path / "archive")
    cli.run(["archive", "create", archive, "--model", str(tiny_run / "align"), "--prompt_sets", "phantom_phase"])
    cli.run(["archive", "info", archive])
    assert f"surgvl archive set {archive} --chat MODEL" in capsys.readouterr().out
    cli.run(["archive", "set", archive, "--chat", str(tiny_run / "tune"), "--name", "ward 3"])
    assert "ward 3: questions are answered by" in capsys.readouterr().out
    with Archive.open(archive) as opened:
        assert (opened.name, opened.chat) == ("ward 3", str((tiny_run / "tune").resolve()))
    with pytest.raises(CheckpointError, match="no-such-model"):
        cli.run(["archive", "set", archive, "--chat", "no-such-model"])
    with pytest.raises(ConfigError, match="give --name or --chat"):
        cli.run(["archive", "set", archive])
    cli.run(["archive", "set", archive, "--chat", ""])
    with Archive.open(archive) as opened:
        assert (opened.name, opened.chat) == ("ward 3", "")


def test_a_model_that_is_loaded_later_gives_the_same_archive(made: Path, tiny_run: Path, tmp_path: Path) -> None:
    ticks: list[Progress] = []
    sets = ["phantom_phase"]
    with Archive.create(tmp_path / "archive", tiny_run / "align", prompt_sets=sets, load=False) as archive:
        assert archive.prompt_sets("phase") == []
        archive.add([made / "recordings/a.mp4"], tick=ticks.append)
        with Archive.open(made / "archive") as other:
            assert archive.prompt_sets("phase") == sets
            assert set(sets) < set(other.prompt_sets("phase"))
            ours, theirs = archive.texts(), other.texts()
            assert ours is not None
            assert theirs is not None
            rows = [at for at, name in enumerate(theirs.prompt_sets) if name in sets]
            assert ours.prompts == [theirs.prompts[at] for at in rows]
            np.testing.assert_allclose(ours.vectors, theirs.vectors[rows], atol=1e-6)
            assert np.array_equal(archive.vectors_of("a")[0], other.vectors_of("a")[0])
        check_whole(archive)
        assert archive.verify() == []
    # First, before the model is loaded, that the recording is known; and that its sentences are.
    assert [tick.recording_id for tick in ticks if tick.done_s == 0][:2] == ["", ""]


def test_timelines_come_from_the_vectors(made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("surgvl.api.encode_file", None)
    archive = ["--archive", str(made / "archive")]
    cli.run(["timeline", *archive, "--out", str(tmp_path / "all"), "--prompt_sets", "phantom_phase"])
    assert sorted(path.name for path in (tmp_path / "all").glob("*.csv")) == ["a.csv", "b.csv"]
    cli.run(["timeline", "a", *archive, "--out", str(tmp_path / "a.csv"), "--prompt_sets", "phantom_phase"])
    assert (tmp_path / "a.csv").read_text() == (tmp_path / "all/a.csv").read_text()
    rows = (tmp_path / "a.csv").read_text().splitlines()[1:]
    # Phases follow one another from the first frame to the last.
    assert [row.split(",")[3] for row in rows][0] == "0.0"
    assert [row.split(",")[4] for row in rows][-1] == "3.0"
    with pytest.raises(DataError, match="no recording 'c'"):
        cli.run(["timeline", "c", *archive, "--out", str(tmp_path / "c.csv")])
    with pytest.raises(ConfigError, match="leave --model, --server, --encoder and --stride_s out"):
        cli.run(["timeline", "a", *archive, "--out", str(tmp_path / "c.csv"), "--stride_s", "2"])
    with pytest.raises(ConfigError, match="give --model, a run folder"):
        cli.run(["timeline", str(made / "recordings/a.mp4"), "--out", str(tmp_path / "c.csv")])


def test_timelines_equal_those_of_the_files(made: Path, tmp_path: Path, tiny_run: Path) -> None:
    out = ["--prompt_sets", "phantom_phase", "--out"]
    cli.run(["timeline", "a", "--archive", str(made / "archive"), *out, str(tmp_path / "stored.csv")])
    model = ["--model", str(tiny_run / "align")]
    cli.run(["timeline", str(made / "recordings/a.mp4"), *model, *out, str(tmp_path / "read.csv")])
    stored, read = ((tmp_path / f"{name}.csv").read_text().splitlines() for name in ("stored", "read"))
    # Vectors are stored in float16: confidences differ in their last digits.
    assert [row.split(",")[:7] for row in stored] == [row.split(",")[:7] for row in read]


def test_archive_recordings_and_model_are_searched_where_they_were_moved(
    tiny_run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "before").mkdir()
    film(tmp_path / "before/recordings/a.mp4", 1, 3)
    shutil.copytree(tiny_run / "align/model", tmp_path / "before/model")
    archive = str(tmp_path / "before/archive")
    cli.run(["archive", "create", archive, "--model", str(tmp_path / "before/model"), "--prompt_sets", "phantom_phase"])
    cli.run(["archive", "add", archive, str(tmp_path / "before/recordings")])
    cli.run(["archive", "details", archive, "a", "--tags", "x", "--procedure", "cholecystectomy"])
    (tmp_path / "before").rename(tmp_path / "after")
    archive = str(tmp_path / "after/archive")
    found = cli.run(["search", "the hook dissects the gallbladder", "--archive", archive, "--where.tags", "x"])
    assert [(moment.video_id, moment.procedure) for moment in found] == [("a", "cholecystectomy")]
    # The index has the path of the day on which it was written.
    assert Path(found[0].path) == (tmp_path / "after/recordings/a.mp4").resolve()
    with pytest.raises(ConfigError, match=r"archive matches tags \('y',\): `surgvl archive list`"):
        cli.run(["search", "the hook dissects the gallbladder", "--archive", archive, "--where.tags", "y"])


def test_a_recording_is_asked_about(made: Path, capsys: pytest.CaptureFixture[str]) -> None:
    question = "What is the surgical phase shown in the image?"
    cli.run(["ask", "a", question, "--archive", str(made / "archive")])
    assert capsys.readouterr().out.strip()
    with pytest.raises(DataError, match="no recording 'z'"):
        cli.run(["ask", "z", question, "--archive", str(made / "archive")])


def labelled(made: Path) -> list[str]:
    """The words that name an archive with a phase in the last two seconds of `a`, and a tag on all of `b`."""
    with Archive.open(made / "archive") as archive:
        if not archive.catalogue.labels("a"):
            archive.catalogue.add_label("a", "phase", "late", 1, 3, "ada")
            archive.catalogue.set_details("b", who="ada", tags=["mine"], procedure="appendectomy", date="2026-03")
    return ["--archive", str(made / "archive")]


def test_timelines_of_what_meets_conditions(made: Path, tmp_path: Path) -> None:
    words = [*labelled(made), "--prompt_sets", "phantom_phase", "--out"]
    for flags, name in (
        (["--where.tags", "mine"], "b"),
        (["--procedure", "appendectomy"], "b"),
        (["--where.date_from", "2025"], "b"),
        (["--source", "recordings"], "a"),
    ):
        out = tmp_path / flags[0] / flags[1]
        cli.run(["timeline", *flags, *words, str(out)])
        assert [path.stem for path in out.glob("*.csv")] == [name], flags
    cli.run(["timeline", "a", *words, str(tmp_path / "whole.csv")])
    cli.run(["timeline", "--where.phase", "late", *words, str(tmp_path / "part")])
    whole, part = (
        list(csv.DictReader(path.read_text(encoding="utf-8").splitlines()))
        for path in (tmp_path / "whole.csv", tmp_path / "part/a.csv")
    )
    # Films have five frames a second: each frame from the fifth on has the class that it has in the whole.
    frames, kept = (
        {at: row["name"] for row in rows for at in range(int(row["first_frame"]), int(row["last_frame"]) + 1)}
        for rows in (whole, part)
    )
    assert kept == {at: name for at, name in frames.items() if at >= 5}
    assert (float(part[0]["start_s"]), float(part[-1]["end_s"])) == (1, 3)
    for flags, said in (
        (["--where.tags", "other"], r"archive matches tags \('other',\)"),
        (["a", "--where.tags", "mine"], r"archive matches video 'a' and tags \('mine',\)"),
        (["--where.span_s", "[100, 200]"], "archive matches the time 100 to 200 s"),
    ):
        with pytest.raises(ConfigError, match=said):
            cli.run(["timeline", *flags, *words, str(tmp_path / "none")])
    with pytest.raises(ConfigError, match="only an archive knows procedure 'p': give --archive"):
        cli.run(["timeline", str(made / "recordings/a.mp4"), "--procedure", "p", "--out", str(tmp_path / "c.csv")])


def test_questions_about_what_meets_conditions(made: Path, capsys: pytest.CaptureFixture[str]) -> None:
    question, words = ["--question", "What is the surgical phase shown in the image?"], labelled(made)
    cli.run(["ask", *question, *words, "--where.phase", "late"])
    shown = capsys.readouterr().err
    cli.run(["ask", "a", *question, *words, "--at_s", "2"])
    assert "clip: " in shown
    assert shown == capsys.readouterr().err
    cli.run(["ask", *question, *words, "--where.tags", "mine"])
    assert "clip: " in capsys.readouterr().err
    for flags, said in (
        (["--where.tags", "other"], r"archive matches tags \('other',\)"),
        (["a", "--procedure", "appendectomy"], "archive matches video 'a' and procedure 'appendectomy'"),
        (["--where.span_s", "[0, 2]"], r"2 recordings match the time 0 to 2 s \('a', 'b'\): name one"),
        (
            ["--where.phase", "late", "--at_s", "0.5"],
            "--at_s 0:00:00.5 of 'a' does not match phase 'late': 0:00:01.0 to 0:00:03.0",
        ),
    ):
        with pytest.raises(ConfigError, match=said):
            cli.run(["ask", *flags, *question, *words])


def test_the_models_of_an_archive_are_served(made: Path, tiny_run: Path, tmp_path: Path) -> None:
    archive = made / "archive"
    assert _model(None, "--model", archive, "chat") == (tiny_run / "tune").resolve()
    assert _model(None, "--model", archive, "embed") == (tiny_run / "align").resolve()
    assert _model(tmp_path, "--model", archive, "embed") == tmp_path
    with pytest.raises(ConfigError, match="give --embed_model, or --archive"):
        _model(None, "--embed_model", None, "embed")


def test_what_the_index_still_holds_of_removed_recordings_is_told(
    made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    # As in an index of more than 10,000 vectors.
    monkeypatch.setattr(draft, "SMALL", 0)
    monkeypatch.setattr(draft, "REMOVED", 1.0)
    shutil.copytree(made / "archive", tmp_path / "archive")
    with Archive.open(tmp_path / "archive") as archive:
        gone = archive.index().counts("video_id")["a"]
    cli.run(["archive", "remove", str(tmp_path / "archive"), "a"])
    line = f"{gone} removed vectors stay in the index file, unsearchable, until `surgvl archive reindex`"
    assert line in capsys.readouterr().out
    cli.run(["archive", "info", str(tmp_path / "archive")])
    assert f"; {gone} removed vectors unsearchable until" in capsys.readouterr().out
