"""Conversations in LLaVA's JSON: images and videos, one turn or several, and unreadable entries."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from surgvl import video
from surgvl.commands.data import data_check, data_convert
from surgvl.core.errors import DataError
from surgvl.data.manifest import Manifest
from surgvl.data.mixing import earlier_turns
from surgvl.data.readers.llava import Llava
from surgvl.data.tables import is_open
from tests.helpers.label_files import film, put


def talk(*words: str, **media: Any) -> dict[str, Any]:
    turns = [{"from": ("human", "gpt")[at % 2], "value": value} for at, value in enumerate(words)]
    return {"id": "1", **media, "conversations": turns}


def folder(root: Path) -> Path:
    for path, grey in (("images/a/1.png", 40), ("images/a/2.jpg", 200)):
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.full((20, 30, 3), grey, np.uint8)).save(root / path)
    film(root / "videos" / "c.mp4", 3.0)
    train = [
        talk("<image>\nWhat is this?", "A hook.", "And where?", "At the top.", "Why?", "To cut.", image="a/1.png"),
        talk("Describe it.\n<video>", "The hook moves.", video="c.mp4", model="x"),
        talk("What is this?", "No mark, one image.", image="a/1.png"),
        talk("What do you think?", "Of nothing seen."),
    ]
    test = [
        talk("<image> Is it bright?", "Yes.", image="images/a/2.jpg"),
        talk("<image> Lost?", "Yes.", image="gone.png"),
    ]
    put(root / "instruct_train_v2.json", json.dumps(train))
    put(root / "test.json", json.dumps(test))
    put(root / "notes.json", '{"by": "me"}')
    return root


def test_rows_of_turns_about_images_and_videos(tmp_path: Path) -> None:
    dataset = Llava(folder(tmp_path))
    manifest = dataset.to_manifest()
    rows = [(row.video_id, row.end_s, row.question, row.answer, row.conversation) for row in manifest.qa]
    assert rows == [
        ("a/1.png", 1.0, "What is this?", "A hook.", "instruct_train_v2/0"),
        ("a/1.png", 1.0, "And where?", "At the top.", "instruct_train_v2/0"),
        ("a/1.png", 1.0, "Why?", "To cut.", "instruct_train_v2/0"),
        ("a/1.png", 1.0, "What is this?", "No mark, one image.", ""),
        ("c.mp4", 3.0, "Describe it.", "The hook moves.", ""),
        ("images/a/2.jpg", 1.0, "Is it bright?", "Yes.", ""),
    ]
    assert earlier_turns([row[0] for row in rows], [row[4] for row in rows])[:4] == [[], [0], [0, 1], []]
    assert {row.type for row in manifest.qa} == {"open"}
    assert is_open("open")
    splits = {row.video_id: (row.split, row.path) for row in manifest.videos}
    assert splits == {
        "a/1.png": ("train", "images/a/1.png"),
        "c.mp4": ("train", "videos/c.mp4"),
        "images/a/2.jpg": ("test", "images/a/2.jpg"),
    }
    text = "\n".join(dataset.problems())
    assert "1 conversation without an image or video left out" in text
    assert "1 question left out, 1 missing file: gone.png" in text
    assert "notes.json is not a list of conversations" in text
    assert dataset.contents.unreadable == []


def test_an_image_is_a_clip_that_stands_still(tmp_path: Path) -> None:
    manifest = Llava(folder(tmp_path)).to_manifest()
    clip = video.read(manifest.path_of("images/a/2.jpg"), 0.0, 2.0, 4, 16)
    assert clip.shape == (8, 16, 16, 3)
    assert np.abs(clip.astype(int) - 200).max() <= 2


def test_check_and_convert(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root = folder(tmp_path / "set")
    data_check("llava", root)
    assert "open" in capsys.readouterr().out
    data_convert("llava", root, tmp_path / "manifest")
    loaded = Manifest.load(tmp_path / "manifest")
    assert loaded.qa == Llava(root).to_manifest().qa
    assert loaded.split("train").qa[2].conversation == "instruct_train_v2/0"


def test_own_splits_come_before_the_names_of_files(tmp_path: Path) -> None:
    root = folder(tmp_path)
    put(root / "splits.json", '{"val": ["a/1.png"], "test": ["c.mp4"]}')
    dataset = Llava(root)
    assert {row.video_id: row.split for row in dataset.videos} == {
        "a/1.png": "val",
        "c.mp4": "test",
        "images/a/2.jpg": "",
    }
    assert "not in any split of protocol own: images/a/2.jpg" in dataset.problems()


BAD = [
    ("text", "has no list of conversations"),
    ({"image": "a/1.png", "conversations": []}, "has no list of conversations"),
    (talk("Q?", image="a/1.png"), "must alternate human, gpt"),
    (
        {"image": "a/1.png", "conversations": [{"from": "gpt", "value": "A."}, {"from": "human", "value": "Q?"}]},
        "human",
    ),
    ({"image": "a/1.png", "conversations": [{"from": "human", "value": 3}, {"from": "gpt", "value": "A."}]}, "human"),
    (talk("Q?", "A.", image="a/1.png", video="c.mp4"), "several images or videos"),
    (talk("Q?", "A.", image=["a/1.png"]), "several images or videos"),
    (talk("<image><image> Q?", "A.", image="a/1.png"), "has placeholders"),
    (talk("<video> Q?", "A.", image="a/1.png"), "has placeholders"),
    (talk("Q?", "A. <image>", image="a/1.png"), "has placeholders"),
    (talk("<image>", "A.", image="a/1.png"), "a turn without text"),
    (talk("Q?", "A.", image="../a/1.png"), "not a path inside the folder"),
    (talk("Q?", "A.", image="/etc/passwd"), "not a path inside the folder"),
    (talk("Q?", "A.", image="a/1.png"), "which is also in train"),
]


def test_entries_that_are_set_aside(tmp_path: Path) -> None:
    root = folder(tmp_path)
    put(root / "val.json", json.dumps([entry for entry, _ in BAD]))
    put(root / "broken.json", "[{")
    dataset = Llava(root)
    assert len(dataset.to_manifest().qa) == 6
    broken, *lines = dataset.contents.unreadable
    assert "broken.json is not JSON" in broken
    for number, (line, (_, message)) in enumerate(zip(lines, BAD, strict=True)):
        assert f"val.json, entry {number}," in line
        assert message in line
    with pytest.raises(DataError, match="15 unreadable, set aside"):
        data_check("llava", root)
