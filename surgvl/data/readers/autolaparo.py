"""AutoLaparo task 1: 21 laparoscopic hysterectomies with seven phases per second (Wang et al., arXiv 2208.02049).

Layouts: `videos/01.mp4` and `labels/label_01.txt` (header, rows `second phase`, both counted from 1), also below
`t1/`; or csv files `01.csv` (see second_csv).
"""

from pathlib import Path
from typing import ClassVar

from surgvl.core.errors import DataError
from surgvl.data.readers.base import Found, Splits, VideoDataset, find_files, find_videos, numbered
from surgvl.data.readers.second_csv import read_second_csv
from surgvl.data.readers.text_files import parse_int, read_fields
from surgvl.data.spans import Track, runs

PHASES = (
    "Preparation",
    "Dividing Ligament and Peritoneum",
    "Dividing Uterine Vessels and Ligament",
    "Transecting the Vagina",
    "Specimen Removal",
    "Suturing",
    "Washing",
)


def read_label_file(path: Path) -> Track:
    """Read `label_01.txt`.

    Raises:
        DataError: rows without two fields, phases out of 1 to 7, seconds that do not rise.
    """
    seconds: list[int] = []
    labels: list[str] = []
    for line, fields in read_fields(path):
        if line == 1 and not fields[0].isdigit():
            continue
        if len(fields) != 2:
            raise DataError(f"{path}, line {line}: {len(fields)} values, wanted second and phase: correct the row")
        second, number = (
            parse_int(text, path, line, what) for text, what in zip(fields, ("frame", "phase"), strict=True)
        )
        if not 1 <= number <= len(PHASES):
            raise DataError(f"{path}, line {line}: phase {number} is not one of 1 to {len(PHASES)}: correct the row")
        if second < 1 or (seconds and second - 1 <= seconds[-1]):
            raise DataError(f"{path}, line {line}: second {second} does not come after the row before: sort the rows")
        seconds.append(second - 1)
        labels.append(PHASES[number - 1])
    if not seconds:
        raise DataError(f"{path} has a header and no row: copy it again, or delete it")
    gaps = seconds[-1] + 1 - len(seconds)
    return Track(
        runs(seconds, labels), seconds[-1] + 1.0, [f"{gaps} seconds have no row in {path.name}"] if gaps else []
    )


class AutoLaparo(VideoDataset):
    """AutoLaparo's workflow videos in their own layout or as csv."""

    name: ClassVar[str] = "autolaparo"
    LICENCE: ClassVar[str] = "CC BY-NC-SA 4.0"
    SOURCE: ClassVar[str] = "arXiv 2208.02049; by request at autolaparo.github.io"
    PROCEDURE: ClassVar[str] = "laparoscopic hysterectomy"
    SPECIALTY: ClassVar[str] = "gynaecology"
    SPLITS: ClassVar[Splits] = {
        "standard": {
            "train": numbered("{:02d}", (1, 10)),
            "val": numbered("{:02d}", (11, 14)),
            "test": numbered("{:02d}", (15, 21)),
        }
    }

    def read(self, found: Found) -> None:
        """Read videos and phases."""
        base = self.root / "t1" if (self.root / "t1").is_dir() else self.root
        videos = find_videos(base / "videos", r"\d+", found)
        texts = find_files(base / "labels", r"label_(\d+)\.txt", found)
        tables = find_files(base, r"(\d+)\.csv", found)
        for video_id in sorted(videos.keys() | texts.keys() | tables.keys()):
            path = videos.get(video_id)
            info = self.open_video(found, video_id, path)
            tracks: dict[str, Track] = {}
            try:
                if video_id in texts:
                    tracks["phase"] = read_label_file(texts[video_id])
                elif video_id in tables:
                    tracks["phase"] = read_second_csv(tables[video_id], video_id, PHASES, first=1)
                else:
                    found.problems.append(f"{video_id}: no phase labels")
            except DataError as error:
                found.set_aside.append(str(error))
            if info is not None:
                tracks, _ = self.shown(found, video_id, path, tracks, first=(1, 0))
            self.add_video(found, video_id, path, info, tracks)
