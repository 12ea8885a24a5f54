"""`surgvl.load` and its methods on the tiny run; windows of a stream against a plain definition."""

import math
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

import surgvl
from surgvl import video
from surgvl.api import DualModel, Encoder
from surgvl.chat.answerer import Answerer
from surgvl.cli import main as cli
from surgvl.core.errors import CheckpointError, ConfigError, DataError
from surgvl.embed.vectors import Vectors
from surgvl.embed.windows import windows
from surgvl.video.clip import Preprocess


def frames(count: int) -> list[np.ndarray[tuple[int, ...], np.dtype[np.uint8]]]:
    return [np.full((2, 2, 3), number, np.uint8) for number in range(count)]


@pytest.mark.parametrize("duration_s", [1.0, 2.0, 5.0, 7.3])
@pytest.mark.parametrize(
    ("num_frames", "fps", "stride_s"), [(8, 4.0, 1.0), (4, 4.0, 1.0), (3, 2.0, 2.0), (16, 4.0, 0.5)]
)
def test_windows_are_centred_and_shifted_into_the_video(
    duration_s: float, num_frames: int, fps: float, stride_s: float
) -> None:
    total = round(duration_s * fps)
    preprocess = Preprocess(num_frames=num_frames, fps=fps, size_px=2, step_s=stride_s)
    got = list(windows(frames(total), preprocess, duration_s))
    assert len(got) == max(1, int(duration_s / stride_s + 1e-6))
    for number, (start_s, end_s, clip) in enumerate(got):
        assert (start_s, end_s) == (number * stride_s, (number + 1) * stride_s)
        assert clip.shape == (num_frames, 2, 2, 3)
        first = math.floor((number + 0.5) * stride_s * fps - num_frames / 2 + 0.5)
        first = min(max(first, 0), max(0, total - num_frames))
        want = [min(first + step, total - 1) for step in range(num_frames)]
        assert clip[:, 0, 0, 0].tolist() == want


def test_windows_survive_a_container_that_promises_too_much() -> None:
    got = list(windows(frames(10), Preprocess(num_frames=4, fps=4.0, size_px=2), duration_s=20.0))
    assert [start_s for start_s, _, _ in got] == [0.0, 1.0, 2.0]


def a_video(run: Path) -> Path:
    return sorted((run / "phantom" / "cholec80" / "videos").glob("*.mp4"))[0]


def test_load_by_what_the_folder_says(tiny_run: Path) -> None:
    assert isinstance(surgvl.load(tiny_run / "pretrain"), Encoder)
    assert isinstance(surgvl.load(tiny_run / "align"), DualModel)
    assert isinstance(surgvl.load(tiny_run / "tune" / "model"), Answerer)
    with pytest.raises(CheckpointError, match=r"holds no config\.json"):
        surgvl.load(tiny_run / "manifest")


def test_python_and_the_command_give_the_same_vectors(tiny_run: Path) -> None:
    dual = surgvl.load(tiny_run / "align")
    assert isinstance(dual, DualModel)
    path = a_video(tiny_run)
    stored = Vectors.load(tiny_run / "vectors")
    rows = [at for at, video_id in enumerate(stored.video_ids) if video_id == path.stem]
    mine = dual.encode_video(path)
    assert mine.shape == (20, 128)
    assert np.abs(mine - stored.vectors[rows]).max() < 2e-3  # stored in float16
    # One moment, from the file and from its frames.
    moment = dual.encode_video(path, at_s=10.5)
    want = dual.preprocess
    clip = video.read(path, 10.5 - want.clip_s / 2, 10.5 + want.clip_s / 2, want.fps, want.size_px)
    assert np.allclose(moment, dual.encode_video(clip), atol=1e-5)
    assert np.allclose(moment, dual.encode_video(torch.from_numpy(clip)), atol=1e-5)
    assert np.abs(moment[0] - mine[10]).max() < 1e-4


def test_classify_search_and_ask_take_paths_and_arrays(tiny_run: Path) -> None:
    dual, chat = surgvl.load(tiny_run / "align"), surgvl.load(tiny_run / "tune")
    assert isinstance(dual, DualModel)
    assert isinstance(chat, Answerer)
    path = a_video(tiny_run)
    labels = dual.classify(path, "phantom_phase")
    assert [label.start_s for label in labels] == list(range(20))
    names, classes = dual.class_vectors("phantom_phase")
    best = (dual.encode_video(path) @ classes.T).argmax(1)
    assert [label.name for label in labels] == [names[k] for k in best]
    assert all(1 / 7 <= label.probability <= 1 for label in labels)
    clip = video.read(path, 3.0, 5.0, 4.0, 64)
    with pytest.warns(UserWarning, match="tokens were left out"):
        assert len(dual.classify(clip, "cholec80_phase")) == 1

    moments = dual.search("the hook dissects the cystic duct", tiny_run / "index", k=3)
    assert len(moments) == 3
    assert moments[0].score >= moments[-1].score
    like = dual.search(path, tiny_run / "index", k=1, at_s=10.5)
    assert like[0].video_id == path.stem
    assert like[0].start_s <= 10.5 <= like[0].end_s

    question = next(iter(chat.known.questions))
    assert chat.ask(path, question) in chat.known.answers
    assert chat.ask(clip, question, answers=["yes", "no"]) in ("yes", "no")
    assert isinstance(chat.ask(path, "What is happening in this clip?", at_s=4.0), str)


def test_wrong_input_is_one_line(tiny_run: Path) -> None:
    dual = surgvl.load(tiny_run / "align")
    assert isinstance(dual, DualModel)
    with pytest.raises(DataError, match=r"frames must be uint8 \[T, H, W, 3\]"):
        dual.encode_video(np.zeros((4, 3, 16, 16), np.float32))
    with pytest.raises(DataError, match="30.0 s is outside"):
        dual.encode_video(a_video(tiny_run), at_s=30.0)


def test_a_stopped_embedding_goes_on_at_the_next_video(tiny_run: Path, tmp_path: Path) -> None:
    argv = ["embed", "--model", str(tiny_run / "align"), "--manifest", str(tiny_run / "manifest"), "--out"]
    shutil.copytree(tiny_run / "vectors", tmp_path / "a")
    shard = tmp_path / "a" / "shard-00002.safetensors"
    kept = shard.with_name("shard-00001.safetensors").stat().st_mtime_ns
    (tmp_path / "a" / "vectors.json").unlink()
    shard.unlink()
    cli.run([*argv, str(tmp_path / "a"), "--resume=true"])
    assert shard.with_name("shard-00001.safetensors").stat().st_mtime_ns == kept
    again, whole = Vectors.load(tmp_path / "a"), Vectors.load(tiny_run / "vectors")
    assert again.video_ids == whole.video_ids
    assert np.abs(again.vectors - whole.vectors).max() < 2e-3  # float16, and a different number of threads


def test_a_single_question_says_where_it_looked(tiny_run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    argv = [
        "ask",
        str(a_video(tiny_run)),
        "What is happening?",
        "--model",
        str(tiny_run / "tune"),
        "--answers",
        "a",
        "b",
    ]
    answer = cli.run([*argv, "--at_s", "0:00:12.0"])
    out, err = capsys.readouterr()
    assert out == f"{answer}\n"
    start, end = re.match(r"clip: 0:00:(\S+) to 0:00:(\S+)\nconfidence: ", err).groups()  # type: ignore[union-attr]
    assert abs(float(start) + float(end) - 24) < 0.2
    cli.run(argv)
    assert "the middle of the video" in capsys.readouterr().err
    with pytest.raises(ConfigError, match="--out answers needs --manifest"):
        cli.run([*argv, "--out", "answers"])
    with pytest.raises(ConfigError, match="--at_s 'noon' is not a time"):
        cli.run([*argv, "--at_s", "noon"])
