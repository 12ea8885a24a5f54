"""Write a phantom video in the layouts of public data sets, so that their readers can read it.

Below the root: Cholec80 (`cholec80/`), CholecT50 (`cholect50/`), PitVQA (`pitvqa/`), LLS48 in our layout (`lls48/`),
narration (`narration/`) and the scene graph (`scene/`). Labels and picture of second k are those at k + 0.5.
"""

import contextlib
import csv
import io as stdio
import os
import shutil
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import cv2

from surgvl import video
from surgvl.core.arrays import UInt8Array
from surgvl.core.errors import DataError
from surgvl.core.files import atomic, write_json, write_text
from surgvl.core.ontology import (
    CHOLEC80_PHASES,
    CHOLEC80_TOOLS,
    CHOLECT50_PHASES,
    INSTRUMENTS,
    TARGETS,
    TRIPLET_NAMES,
    VERBS,
)
from surgvl.data.formats.qa_text import QuestionLine
from surgvl.data.phantom.lls48 import lls48_questions, lls48_tables
from surgvl.data.phantom.render import Renderer
from surgvl.data.phantom.scene import Scene, tip_box
from surgvl.data.phantom.script import SecondLabels, labels_per_second
from surgvl.data.phantom.text import narration, pitvqa_questions


def video_path(root: Path, scene: Scene) -> Path:
    """The video's file."""
    return root / "cholec80" / "videos" / f"video{scene.index + 1:02d}.mp4"


def picture_paths(root: Path, scene: Scene, second: int) -> tuple[Path, Path]:
    """Paths of the picture of a second, in PitVQA's and in CholecT50's layout."""
    number = scene.index + 1
    return (
        root / "pitvqa" / "images" / f"video_{number:02d}" / f"{second:05d}.png",
        root / "cholect50" / "videos" / f"VID{number:02d}" / f"{second:06d}.png",
    )


def write_labels(root: Path, scene: Scene) -> None:
    """Write all label files of a video; the same scene gives the same bytes.

    Args:
        root: the phantom's folder.
        scene: the video's scene graph.
    """
    number = scene.index + 1
    seconds = labels_per_second(scene)
    cholec80 = root / "cholec80"
    write_text(cholec80 / "phase_annotations" / f"video{number:02d}-phase.txt", _phase_text(scene))
    write_text(cholec80 / "tool_annotations" / f"video{number:02d}-tool.txt", _tool_text(scene, seconds))
    write_json(root / "cholect50" / "labels" / f"VID{number:02d}.json", _cholect50(scene, seconds))
    _write_questions(root / "pitvqa" / "QA" / f"video_{number:02d}", pitvqa_questions(scene))
    _write_questions(root / "lls48" / "QA" / f"video_{number:02d}", lls48_questions(scene))
    for level, text in lls48_tables(scene).items():
        write_text(root / "lls48" / f"{level}s" / f"video_{number:02d}.csv", text)
    write_text(root / "narration" / f"video{number:02d}.csv", _narration_text(scene))
    write_text(root / "scene" / f"video{number:02d}.json", scene.to_json())


def write_splits(root: Path, splits: dict[str, list[int]]) -> None:
    """Write the splits next to the question files, so that the readers of the public data sets use them.

    Args:
        root: the phantom's folder.
        splits: split -> video numbers.
    """
    named = {split: [f"video_{number:02d}" for number in numbers] for split, numbers in splits.items()}
    for layout in ("pitvqa", "lls48"):
        write_json(root / layout / "splits.json", named)


def link(first: Path, second: Path) -> None:
    """Make `second` a hard link to `first`, or a copy if the file system has no hard links."""
    second.parent.mkdir(parents=True, exist_ok=True)
    with atomic(second) as temporary:
        try:
            os.link(first, temporary)
        except OSError:
            shutil.copyfile(first, temporary)


def link_video(root: Path, scene: Scene) -> None:
    """Put the video into LLS48's layout as well, unless it is there."""
    target = root / "lls48" / "videos" / f"video_{scene.index + 1:02d}.mp4"
    if not target.exists() or not target.samefile(video_path(root, scene)):
        link(video_path(root, scene), target)


def write_video(path: Path, frames: Iterable[UInt8Array], fps: float) -> None:
    """Write frames as a video of keyframes only.

    Predicted frames would reveal the verb: moving parts are coded more coarsely than static ones, so that a linear
    classifier tells `cut` from `null_verb` by one decoded frame (79 % accuracy). With keyframes only, accuracy is at
    chance, files are a third larger, and random reads are as cheap as possible.

    Args:
        path: the .mp4 file.
        frames: uint8 [size, size, 3] RGB.
        fps: frames per second.
    """
    video.write(path, frames, fps, crf=22, gop=1, preset="ultrafast")


def write_pixels(root: Path, scene: Scene, size_px: int) -> None:
    """Write the pictures of a video (hard-linked between layouts if possible), then the video itself.

    The video comes last and atomically, so its presence means that all pixels are complete.

    Args:
        root: the phantom's folder.
        scene: the video's scene graph.
        size_px: side of the square picture, even.
    """
    renderer = Renderer(scene, size_px)
    for second in range(int(scene.duration_s)):
        first, second_path = picture_paths(root, scene, second)
        with atomic(first) as temporary:
            if not cv2.imwrite(str(temporary), cv2.cvtColor(renderer.frame(second + 0.5), cv2.COLOR_RGB2BGR)):
                raise DataError(f"{first} cannot be written: check free disk space and permissions")
        link(first, second_path)
    frames = (renderer.frame(index / scene.fps) for index in range(round(scene.duration_s * scene.fps)))
    write_video(video_path(root, scene), frames, scene.fps)


def _phase_text(scene: Scene) -> str:
    rows = [
        f"{frame}\t{scene.phase_at(frame / scene.fps).name}" for frame in range(round(scene.duration_s * scene.fps))
    ]
    return "\n".join(["Frame\tPhase", *rows]) + "\n"


def _tool_text(scene: Scene, seconds: list[SecondLabels]) -> str:
    rows = ["\t".join(["Frame", *CHOLEC80_TOOLS])]
    for label in seconds:
        marks = ["1" if tool in label.tools else "0" for tool in CHOLEC80_TOOLS]
        rows.append("\t".join([str(round(label.second * scene.fps)), *marks]))
    return "\n".join(rows) + "\n"


def _cholect50(scene: Scene, seconds: list[SecondLabels]) -> dict[str, Any]:
    """CholecT50's record: vectors of triplet, instrument, score, box, verb, target, score, box, phase; -1: unknown."""
    annotations = {}
    for label in seconds:
        phase = CHOLEC80_PHASES.index(label.phase)
        vectors: list[list[float | int]] = []
        for action in scene.active(label.second + 0.5):
            box = tip_box(scene.style, action, label.second + 0.5) or (-1, -1, -1, -1)
            ids = TRIPLET_NAMES.index(action.triplet), INSTRUMENTS.index(action.instrument)
            parts = VERBS.index(action.verb), TARGETS.index(action.target)
            vectors.append([*ids, 1, *box, *parts, -1, -1, -1, -1, -1, phase])
        annotations[str(label.second)] = vectors or [[*[-1] * 14, phase]]
    names = {
        "instrument": INSTRUMENTS,
        "verb": VERBS,
        "target": TARGETS,
        "triplet": TRIPLET_NAMES,
        "phase": CHOLECT50_PHASES,
    }
    return {
        "video": scene.index + 1,
        "fps": 1,
        "num_frames": len(seconds),
        "annotations": annotations,
        "categories": {kind: {str(at): name for at, name in enumerate(values)} for kind, values in names.items()},
    }


def _narration_text(scene: Scene) -> str:
    buffer = stdio.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(("start", "end", "text"))
    writer.writerows((f"{s.start_s:.2f}", f"{s.end_s:.2f}", s.text) for s in narration(scene))
    return buffer.getvalue()


def _write_questions(folder: Path, seconds: list[list[QuestionLine]]) -> None:
    for second, asked in enumerate(seconds):
        write_text(folder / f"{second:05d}.txt", "".join(f"{q.question}|{q.answer}\n" for q in asked))


def is_whole(root: Path, scene: Scene) -> bool:
    """Whether the pixels of a video are complete, so that a resumed run can skip them."""
    pictures = (path for second in range(int(scene.duration_s)) for path in picture_paths(root, scene, second))
    with contextlib.suppress(OSError):
        return video_path(root, scene).stat().st_size > 0 and all(path.stat().st_size > 0 for path in pictures)
    return False
