"""Real footage: every clip decodes, embeds and is indexed; near duplicates find each other; broken files are reported.

The models are those of the tiny run, which have learnt next to nothing: only the software is tested.
"""

import json
import os
import re
from collections.abc import Iterator
from pathlib import Path

import av
import numpy as np
import pytest
import yaml

import surgvl
from surgvl import prompts
from surgvl.api import DualModel, load
from surgvl.chat.answerer import Answerer
from surgvl.cli import main as cli
from surgvl.core.errors import ConfigError, DataError
from surgvl.data.frame_store import FrameStore
from surgvl.data.manifest import Manifest
from surgvl.data.tables import Segment
from surgvl.demo.schemas import SearchRequest
from surgvl.embed.vectors import Vectors
from surgvl.embed.windows import read_windows
from surgvl.models import install
from surgvl.models.published import published
from surgvl.retrieval.clip_index import ClipIndex
from surgvl.retrieval.duplicates import near_duplicates
from surgvl.video.clip import Preprocess
from tests.conftest import MadeOnce
from tests.helpers.made_published import TINY, surgvlp_weights, tiny_clip
from tests.helpers.opened_page import engine_of
from tests.helpers.real_clips import cut

REAL = os.environ.get("SURGVL_REAL_DATA", "")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not REAL, reason="SURGVL_REAL_DATA is not set: no real footage here"),
]


# Seconds of the pairs, whose second ones begin 4 s and 2 s after the first. These are slowed down to half their speed,
# and all others to a quarter: what is decoded takes longest.
LENGTHS_S = {"VID43_299": 10, "VID43_303": 6, "VID47_1131": 12, "VID47_1133": 12}


@pytest.fixture(scope="module")
def embedded(tiny_run: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """Vectors folder of all real clips and the broken file, and what was said about it.

    Of the two pairs that share footage, as much as it takes to see by how much they are apart; of the others, more than
    what counts as shared.
    """
    out = tmp_path_factory.mktemp("real") / "vectors"
    clips, broken = out.with_name("clips"), Path(REAL) / "broken" / "header_only.mp4"
    clips.mkdir()
    for whole in (Path(REAL) / "clips").glob("*.mp4"):
        if whole.stem in LENGTHS_S:
            cut(whole, clips / whole.name, LENGTHS_S[whole.stem], slower=2)
        else:
            cut(whole, clips / whole.name, 3, slower=4)
    argv = ["embed", "--model", str(tiny_run / "align"), "--videos", f'["{clips}", "{broken}"]', "--out", str(out)]
    argv += ["--prompt_sets", '["phantom_phase"]']
    with pytest.raises(DataError) as caught:
        cli.run(argv)
    return out, str(caught.value)


def test_all_clips_are_embedded_and_the_broken_file_is_one_line(embedded: tuple[Path, str]) -> None:
    out, message = embedded
    first, *problems = message.splitlines()
    assert "1 of 12 videos was set aside, the others are done" in first
    assert len(problems) == 1
    assert "header_only.mp4" in problems[0]
    vectors = Vectors.load(out)
    assert len(set(vectors.video_ids)) == 11
    assert vectors.video_ids.count("VID43_299") in (19, 20)
    assert np.isfinite(vectors.vectors).all()


def test_the_nearest_moment_outside_a_video_is_in_its_near_duplicate(
    embedded: tuple[Path, str], tmp_path: Path
) -> None:
    out, _ = embedded
    cli.run(["index", "--vectors", str(out), "--manifest", str(out / "manifest"), "--out", str(tmp_path / "index")])
    vectors = Vectors.load(out)
    rows = [at for at, video_id in enumerate(vectors.video_ids) if video_id == "VID43_299"]
    with ClipIndex.open(tmp_path / "index") as clip_index:
        found = [
            clip_index.search(vectors.vectors[row], 1, exclude=[("VID43_299", 0.0, 1e6)])[0].video_id for row in rows
        ]
    share = np.mean([video_id == "VID43_303" for video_id in found])
    # The first four seconds of VID43_299, which last eight here, are not in VID43_303.
    assert share >= 0.75, found


def test_recordings_that_share_footage_are_named_with_their_offset(embedded: tuple[Path, str]) -> None:
    vectors = Vectors.load(embedded[0])
    recordings = {
        name: vectors.vectors[np.array(vectors.video_ids) == name] for name in dict.fromkeys(vectors.video_ids)
    }
    # All but the one of 20 frames are long enough to share something.
    assert [name for name, each in recordings.items() if len(each) <= 10] == ["robotic_suturing_20_frames"]
    found = near_duplicates(recordings, vectors.meta.stride_s)
    assert {(each.recording, each.other, each.offset_s) for each in found} == {
        ("VID43_299", "VID43_303", -8.0),
        # The names are seconds of one recording, too.
        ("VID47_1131", "VID47_1133", -4.0),
    }


def test_timeline_and_questions_run_through(tiny_run: Path, tmp_path: Path) -> None:
    clip = cut(Path(REAL) / "clips" / "VID25_324.mp4", tmp_path / "VID25_324.mp4", 8)
    dual = load(tiny_run / "align")
    assert isinstance(dual, DualModel)
    # The tiny tower reads 30 tokens, and some of the set's sentences have more.
    with pytest.warns(UserWarning, match="tokens were left out"):
        labels = dual.classify(clip, "cholec80_phase")
    assert len(labels) in (7, 8)
    assert {label.name for label in labels} <= {row.name for row in prompts.load("cholec80_phase").classes}
    chat = load(tiny_run / "tune")
    assert isinstance(chat, Answerer)
    question = next(iter(chat.known.questions))
    assert chat.ask(clip, question, at_s=4.0) in chat.known.answers
    assert isinstance(chat.ask(clip, "What is happening in this clip?"), str)


def test_a_timeline_begins_and_ends_with_frames_of_the_recording(tiny_run: Path, tmp_path: Path) -> None:
    """Of an upright picture, and of a clip of 20 frames."""
    dual = load(tiny_run / "align")
    assert isinstance(dual, DualModel)
    for name in ("hysterectomy_up", "robotic_suturing_20_frames"):
        clip = cut(Path(REAL) / "clips" / f"{name}.mp4", tmp_path / f"{name}.mp4", 4)
        with av.open(str(clip)) as container:
            times = [(packet.pts, packet.time_base) for packet in container.demux(video=0)]
        shown_s = sorted(float(pts * tick_s) for pts, tick_s in times if pts is not None and tick_s is not None)
        table = dual.timeline(clip, ["phantom_phase", "phantom_triplet"], smooth_s=0, threshold=0.02)
        assert {row.track for row in table} >= {"phase", "tool"}
        for row in table:
            assert row.start_s == pytest.approx(shown_s[row.first_frame] - shown_s[0], abs=1e-6)
            after_s = [*shown_s[1:], table.frames.end_s + shown_s[0]][row.last_frame]
            assert row.end_s == pytest.approx(after_s - shown_s[0], abs=1e-6)
        table.save(tmp_path / f"{name}.eaf")
        assert (tmp_path / f"{name}.eaf").stat().st_size > 1000


# Clips of 64 s, of 16 s, and of 64 s.
@pytest.mark.parametrize(("recipe", "length_s"), [("surgvista", 8), ("unisurg_stage1", 20), ("unisurg_stage2", 8)])
def test_every_second_of_a_recording_has_its_own_clip(recipe: str, length_s: int, tmp_path: Path) -> None:
    """Of the recipes whose clips show the past; from the file and from a cache, the same ones."""
    config = yaml.safe_load((Path(surgvl.__file__).parent / "recipes" / f"{recipe}.yaml").read_text(encoding="utf-8"))
    own = {name: config[name] for name in ("fps", "step_s", "anchor") if name in config}
    preprocess = Preprocess(num_frames=config["encoder"]["num_frames"], size_px=16, **own)
    path = cut(Path(REAL) / "clips" / "VID05_1858.mp4", tmp_path / "VID05_1858.mp4", length_s)
    streamed = [clip.tobytes() for _, _, clip in read_windows(path, preprocess)]
    assert len(streamed) == len(set(streamed)) == length_s
    store = FrameStore({"v": path}, preprocess, tmp_path / "store")
    store.prepare()
    kept = [store.clip(store.key_of("v", second, second + 1)).tobytes() for second in range(length_s)]
    assert kept == streamed


@pytest.fixture(scope="module", params=["open_clip", "surgvlp"])
def published_name(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, made_once: MadeOnce
) -> Iterator[str]:
    """The name of a published model with random weights."""
    folder = tmp_path_factory.mktemp("published")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SURGVL_MODELS", str(folder / "store"))
        if request.param == "open_clip":
            yield f"open_clip:{TINY}@{tiny_clip(folder)}"
        else:
            weights = made_once("surgvlp", surgvlp_weights) / "SurgVLP.pth"
            install.add(published("surgvlp"), weights, accepted=True)
            yield "surgvlp"


def test_published_models_are_embedded_searched_and_scored(
    published_name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    # As `clips.csv` has them.
    phases = {"VID05_1858": "GallbladderRetraction", "VID43_299": "CalotTriangleDissection"}
    source = Path(REAL) / "clips"
    clips = [str(cut(source / f"{video_id}.mp4", tmp_path / f"{video_id}.mp4", 6)) for video_id in phases]
    vectors, index = tmp_path / "vectors", tmp_path / "index"
    argv = ["embed", "--model", published_name, "--videos", json.dumps(clips), "--out", str(vectors)]
    cli.run([*argv, "--prompt_sets", '["cholec80_phase"]'])
    own = Manifest.load(vectors / "manifest")
    segments = [
        Segment(video_id=video_id, start_s=0.0, end_s=6.0, task="phase", label=phase)
        for video_id, phase in phases.items()
    ]
    rows = [row.model_copy(update={"split": "test"}) for row in own.videos]
    Manifest(rows, segments, root=own.root).save(tmp_path / "labelled")
    cli.run(["index", "--vectors", str(vectors), "--manifest", str(vectors / "manifest"), "--out", str(index)])
    capsys.readouterr()
    cli.run(["search", "the hook dissects", "--index", str(index)])
    assert "VID" in capsys.readouterr().out
    cli.run(["search", "--like", "VID43_299@2.5", "--index", str(index)])
    assert re.search(r"^1 +0\.9\d+ +(?:\w+ +)?VID43_299 ", capsys.readouterr().out, re.M)
    argv = ["--vectors", str(vectors), "--manifest", str(tmp_path / "labelled"), "--out", str(tmp_path / "eval")]
    cli.run(["eval", *argv, "--tasks", "phase", "--prompts", "cholec80_phase"])
    assert (tmp_path / "eval" / "result.json").is_file()
    assert "accuracy" in capsys.readouterr().out


# The tiny text tower reads 20 tokens.
@pytest.mark.filterwarnings("ignore:.*tokens were left out")
def test_published_models_answer_write_timelines_and_are_shown(
    published_name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    clip, run = Path(REAL) / "clips" / "robotic_suturing_20_frames.mp4", tmp_path / "run"
    answers = ["hook", "grasper", "clip applier"]
    asked = ["ask", str(clip), "Which instrument is seen?", "--model", published_name]
    assert cli.run([*asked, "--answers", *answers]) in answers
    with pytest.raises(ConfigError, match="needs a free-text answer, and .* only chooses"):
        cli.run(asked)
    cli.run(["timeline", str(clip), "--model", published_name, "--out", str(tmp_path / "case.eaf")])
    assert (tmp_path / "case.eaf").stat().st_size > 1000
    argv = ["embed", "--model", published_name, "--videos", str(clip), "--out", str(run / "vectors")]
    cli.run([*argv, "--prompt_sets", '["cholec80_phase", "cholect50_triplet"]'])
    manifest = run / "vectors" / "manifest"
    cli.run(["index", "--vectors", str(run / "vectors"), "--manifest", str(manifest), "--out", str(run / "index")])
    capsys.readouterr()
    page = engine_of(run, tmp_path / "archive")
    try:
        page.models.wait()
        assert page.search(SearchRequest(text="the hook dissects", k=1)).hits[0].recording == clip.stem
        row = page.archive.recording(clip.stem)
        shown = page.timeline(row, ["cholec80_phase", "cholect50_triplet"], 0.0, "")["phases"]
        loaded = load(published_name)
        assert isinstance(loaded, DualModel)
        for label in loaded.classify(clip, "cholec80_phase"):
            middle_s = (label.start_s + label.end_s) / 2
            there = next(each for each in shown if each["start_s"] <= middle_s < each["end_s"])
            assert there["name"] == label.name
            if (there["start_s"], there["end_s"]) == (label.start_s, label.end_s):
                # Stored vectors are of half precision.
                assert there["confidence"] == pytest.approx(label.probability, abs=1e-3)
    finally:
        page.close()
