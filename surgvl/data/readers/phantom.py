"""The phantom, read through the readers of the public data sets in whose layouts it is written.

Each video, such as `cholec80/videos/video01.mp4`, has all labels: phases and tools (Cholec80), triplets (CholecT50),
sentences (narration) and questions (PitVQA and LLS48 trees). `phantom.json` holds the splits.
"""

from pathlib import Path
from typing import Any

import pyarrow as pa

from surgvl.core.errors import DataError
from surgvl.core.files import read_json
from surgvl.core.ontology import TRIPLET_NAMES
from surgvl.data.formats.layout import find_files, find_videos
from surgvl.data.formats.qa_tree import read_qa_tree
from surgvl.data.readers.base import Contents, VideoDataset
from surgvl.data.readers.cholec80 import Cholec80, read_tracks
from surgvl.data.readers.cholect50 import read_json_labels
from surgvl.data.readers.narration import read_narration
from surgvl.data.splits import Splits
from surgvl.data.tables import RENDERED_PROCEDURE


class PhantomDataset(VideoDataset):
    """Rendered cholecystectomies; scores on them show that the software works, and say nothing about patients."""

    name = "phantom"
    LICENCE = "free (rendered, no patient)"
    LICENCE_FROM = "surgvl, which renders it"
    SOURCE = "made by `surgvl phantom`; not for any statement about patients"
    PROCEDURE = RENDERED_PROCEDURE
    SPECIALTY = "general surgery"
    CLASSES = {**Cholec80.CLASSES, "triplet": TRIPLET_NAMES}
    RENDERED = True

    def splits(self) -> Splits:
        """The splits in `phantom.json`: lists of video numbers.

        Raises:
            DataError: the file is absent or has no splits.
        """
        path = self.root / "phantom.json"
        record = read_json(path)
        splits = record.get("splits") if isinstance(record, dict) else None
        if not isinstance(splits, dict) or not all(isinstance(ids, list) for ids in splits.values()):
            raise DataError(f"{path} has no splits {{train, val, test}}: write the phantom again with `surgvl phantom`")
        try:
            return {"phantom": {str(name): tuple(f"video{int(n):02d}" for n in ids) for name, ids in splits.items()}}
        except (TypeError, ValueError):
            raise DataError(f"{path}: splits must be lists of video numbers: write the phantom again") from None

    def read(self, contents: Contents) -> None:
        """Read all layouts, video by video."""
        root = self.root
        videos = find_videos(root / "cholec80/videos", r"video\d+", contents)
        phases = find_files(root / "cholec80/phase_annotations", r"(video\d+)-phase\.txt", contents)
        tools = find_files(root / "cholec80/tool_annotations", r"(video\d+)-tool\.txt", contents)
        triplets = find_files(root / "cholect50/labels", r"VID(\d+)\.json", contents)
        sentences = find_files(root / "narration", r"(video\d+)\.csv", contents)
        trees = {name: self._questions(root / name / "QA", name, contents) for name in ("pitvqa", "lls48")}
        for video_id in sorted(videos.keys() | phases.keys()):
            number = video_id.removeprefix("video")
            path = videos.get(video_id)
            info = self.open_video(contents, video_id, path)
            if path is not None and info is None:
                continue
            tracks = read_tracks(contents, info, phases.get(video_id), tools.get(video_id))
            try:
                if number in triplets:
                    tracks["triplet"] = read_json_labels(triplets[number])["triplet"]
                if video_id in sentences:
                    tracks |= read_narration(sentences[video_id])
            except DataError as error:
                contents.unreadable.append(str(error))
            self.add_video(contents, video_id, path, info, tracks)
            contents.qa += [tree[number] for tree in trees.values() if number in tree]

    def _questions(self, folder: Path, source: str, contents: Contents) -> dict[str, Any]:
        """Question tables by video number, with the phantom's video ids."""
        tables = {}
        for name, table in read_qa_tree(folder, source, contents, pattern=r"(?i:video_?|vid)\d+").items():
            number = "".join(letter for letter in name if letter.isdigit())
            ids = pa.array([f"video{number}"] * len(table), pa.string())
            tables[number] = table.set_column(table.column_names.index("video_id"), "video_id", ids)
        return tables
