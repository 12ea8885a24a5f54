"""JIGSAWS: suturing, knot tying and needle passing on a bench model, gestures and skill (Gao et al., M2CAI 2014).

Layout: `Suturing/video/Suturing_B001_capture1.avi`, `Suturing/transcriptions/Suturing_B001.txt` with rows
`start end G1` (frames from 1, both included, at 30 fps; time between gestures has no label) and
`Suturing/meta_file_Suturing.txt`, tab-separated with empty columns: trial, experience (N, I or E, by the surgeon's own
hours, not by the score), the sum of the global rating scores, and its six parts, each 1 to 5. The same for
`Knot_Tying/` and `Needle_Passing/`; the folder of one task may be given alone.

The two captures are the same trial through both eyes; the left one, capture1, is read. Trials are named by user (B to
I) and repetition (1 to 5). `loso_N` tests on repetition N of every user (leave one supertrial out), `louo_X` on all
trials of user X (leave one user out); both are rules, so they include the trials of whichever tasks are there.
"""

import re
from collections.abc import Sequence
from pathlib import Path

from surgvl.core.errors import DataError
from surgvl.data.formats.layout import find_files, find_videos
from surgvl.data.formats.sparse_labels import whole_tracks
from surgvl.data.formats.text_files import parse_int, read_fields, read_text
from surgvl.data.licences import SURGREC_SAYS
from surgvl.data.readers.base import Contents, VideoDataset
from surgvl.data.spans import Span, Track, round_time
from surgvl.data.splits import Splits

LABEL_FPS = 30.0
# The gestures that occur in each task, by number.
GESTURES = {
    "Suturing": (1, 2, 3, 4, 5, 6, 8, 9, 10, 11),
    "Knot_Tying": (1, 11, 12, 13, 14, 15),
    "Needle_Passing": (1, 2, 3, 4, 5, 6, 8, 11),
}
USERS, REPETITIONS = "BCDEFGHI", range(1, 6)
EXPERIENCE = {"N": "novice", "I": "intermediate", "E": "expert"}
SKILLS = (
    "respect_for_tissue",
    "suture_needle_handling",
    "time_and_motion",
    "flow_of_operation",
    "overall_performance",
    "quality_of_final_product",
)
# The second repetition of user H was not recorded.
SUTURING = tuple(
    f"Suturing_{user}{number:03d}" for user in USERS for number in REPETITIONS if (user, number) != ("H", 2)
)


def leave_out(trials: Sequence[str]) -> dict[str, dict[str, tuple[str, ...]]]:
    """The protocols `loso_1` to `loso_5` and `louo_B` to `louo_I` over trials such as `Suturing_B001`."""
    parts = {f"loso_{number}": f"{number:03d}" for number in REPETITIONS} | {f"louo_{user}": user for user in USERS}
    return {
        protocol: {
            "train": tuple(name for name in trials if part not in name.rsplit("_", 1)[1]),
            "test": tuple(name for name in trials if part in name.rsplit("_", 1)[1]),
        }
        for protocol, part in parts.items()
    }


def read_transcription(path: Path, task: str) -> Track:
    """Read the gestures of one trial.

    Args:
        path: the file.
        task: a key of `GESTURES`.

    Raises:
        DataError: rows without three fields, a gesture that the task does not have, or frames that do not increase.
    """
    spans: list[Span] = []
    last = 0
    for line, fields in read_fields(path):
        if len(fields) != 3:
            raise DataError(f"{path}, line {line} has {len(fields)} values; expected start, end, gesture: correct it")
        start, end = (parse_int(fields[at], path, line, what, least=1) for at, what in enumerate(("start", "end")))
        if fields[2] not in {f"G{number}" for number in GESTURES[task]}:
            known = ", ".join(f"G{number}" for number in GESTURES[task])
            raise DataError(f"{path}, line {line}: gesture is {fields[2]!r}; {task} has {known}: correct the row")
        if not last < start <= end:
            fact = f"frames {start} to {end} after frame {last}"
            raise DataError(f"{path}, line {line}: {fact}; gestures must follow one another: correct the row")
        spans.append((round_time((start - 1) / LABEL_FPS), round_time(end / LABEL_FPS), fields[2]))
        last = end
    return Track(spans, last / LABEL_FPS, whole=False)


def read_meta(path: Path) -> tuple[dict[str, dict[str, str]], list[str]]:
    """Read a task's meta file.

    Returns:
        Trial -> task (`experience`, `skill_total`, `skill_flow_of_operation`, ...) -> label, and notes for the user.

    Raises:
        DataError: a row without trial, level, sum and six scores, or with other values than those above.
    """
    scores: dict[str, dict[str, str]] = {}
    notes: list[str] = []
    for line, text in enumerate(read_text(path).splitlines(), 1):
        fields = [field.strip() for field in text.split("\t") if field.strip()]
        if not fields:
            continue
        if len(fields) != 3 + len(SKILLS) or fields[1] not in EXPERIENCE:
            wanted = "trial, N, I or E, the sum of scores and six scores"
            raise DataError(f"{path}, line {line} must have {wanted}, got {' '.join(fields)!r}: correct the row")
        total, *parts = (parse_int(field, path, line, "score", least=1) for field in fields[2:])
        if sum(parts) != total:
            notes.append(f"{path.name}: the scores of {fields[0]} add up to {sum(parts)}, not to {total}; all are kept")
        named = {f"skill_{name}": str(part) for name, part in zip(SKILLS, parts, strict=True)}
        scores[fields[0]] = {"experience": EXPERIENCE[fields[1]], "skill_total": str(total), **named}
    return scores, notes


class Jigsaws(VideoDataset):
    """JIGSAWS' transcriptions and scores, and its videos if they are at hand."""

    name = "jigsaws"
    LICENCE = "registration; research only, no redistribution"
    LICENCE_FROM = SURGREC_SAYS
    SOURCE = "Gao et al., M2CAI 2014; by registration at cirl.lcsr.jhu.edu"
    PROCEDURE = "bench-top exercise with the da Vinci system"
    SPECIALTY = "training"
    CLASSES = {
        "gesture": tuple(f"G{number}" for number in range(1, 16)),
        "experience": tuple(EXPERIENCE.values()),
    }
    SPLITS = leave_out(SUTURING)

    def _tasks(self) -> dict[str, Path]:
        """Task -> its folder, which may be the data set's folder itself."""
        there = {task: self.root / task for task in GESTURES if (self.root / task).is_dir()}
        return there or ({self.root.name: self.root} if self.root.name in GESTURES else {})

    def splits(self) -> Splits:
        """The published rules over the trials of the tasks that are in the folder; see `VideoDataset.splits`."""
        own = super().splits()
        if not (tasks := self._tasks()):
            return own
        found = {
            match[1]
            for task, folder in tasks.items()
            for path in [*folder.glob("transcriptions/*"), *folder.glob("video/*")]
            if (match := re.match(rf"({task}_[{USERS}]00[1-5])(?:_capture|\.)", path.name))
        }
        trials = sorted(found | (set(SUTURING) if "Suturing" in tasks else set()))
        return {**({"own": own["own"]} if "own" in own else {}), **leave_out(trials)}

    def read(self, contents: Contents) -> None:
        """Read the folder of each task."""
        for task, folder in self._tasks().items():
            texts = find_files(folder / "transcriptions", rf"({task}_[{USERS}]\d\d\d)\.txt", contents)
            films = find_videos(folder / "video", rf"{task}_[{USERS}]\d\d\d_capture[12]", contents)
            scores: dict[str, dict[str, str]] = {}
            try:
                if (meta := folder / f"meta_file_{task}.txt").is_file():
                    scores, notes = read_meta(meta)
                    contents.problems += notes
                else:
                    contents.problems.append(f"no {meta.name}: {task} has no skill labels")
            except DataError as error:
                contents.unreadable.append(str(error))
            for trial in sorted(texts.keys() | {name.rsplit("_", 1)[0] for name in films}):
                path = films.get(f"{trial}_capture1", films.get(f"{trial}_capture2"))
                info = self.open_video(contents, trial, path)
                tracks: dict[str, Track] = {}
                try:
                    if trial in texts:
                        tracks["gesture"] = read_transcription(texts[trial], task)
                    else:
                        contents.problems.append(f"{trial}: no transcription")
                except DataError as error:
                    contents.unreadable.append(str(error))
                if trial not in scores:
                    contents.problems.append(f"{trial}: no row in meta_file_{task}.txt, so no skill labels")
                end_s = tracks["gesture"].end_s if tracks else 0.0
                if info is not None:
                    tracks, _ = self.as_shown(contents, trial, path, tracks, first=(1, 0))
                tracks |= whole_tracks(scores.get(trial, {}), info, end_s)
                self.add_video(contents, trial, path, info, tracks, LABEL_FPS)
