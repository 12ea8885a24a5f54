"""Your own labels: videos, and what a spreadsheet or an annotation tool exported.

Layout: videos in the folder or in `videos/`, pictures in `images/NAME/`; in the folder or in `labels/`, any of: CSV
files with columns video, start, end, label or video, time, label (and task); ELAN's `.eaf`; CVAT's `.xml`; the `.json`
of Label Studio or FiftyOne. A `splits.json`, {"train": [names], "val": [names], "test": [names]}, assigns videos to
splits.
"""

import re
from pathlib import Path

from surgvl.core.errors import DataError
from surgvl.core.files import read_json
from surgvl.data.formats.annotations import Annotation, Export, VideoNames
from surgvl.data.formats.cvat import read_cvat
from surgvl.data.formats.elan import read_elan
from surgvl.data.formats.fiftyone import read_fiftyone
from surgvl.data.formats.label_studio import read_label_studio
from surgvl.data.formats.layout import find_files, find_videos
from surgvl.data.formats.span_csv import read_span_csv
from surgvl.data.readers.base import Contents, VideoDataset
from surgvl.data.spans import Track, overlap_notes
from surgvl.video import VIDEO_SUFFIXES, VideoInfo

# One class at a time: overlaps deserve a remark.
_EXCLUSIVE = ("phase", "step")


class Manual(VideoDataset):
    """Videos and labels from any source."""

    name = "manual"
    LICENCE = "that of your videos"
    LICENCE_FROM = "your own records"
    SOURCE = "your own labels: CSV, ELAN, CVAT, Label Studio, FiftyOne"

    def read(self, contents: Contents) -> None:
        """Read videos, then every label file."""
        suffixes = "|".join(re.escape(suffix) for suffix in VIDEO_SUFFIXES)
        paths = find_videos(self.root / "images", r"\w[\w.-]*", contents)
        for folder in (self.root / "videos", self.root):
            paths |= find_files(folder, rf"(.+)(?i:{suffixes})", contents)
        infos = {video_id: self.open_video(contents, video_id, path) for video_id, path in paths.items()}
        ends_s = {video_id: info.duration_s for video_id, info in infos.items() if info is not None}
        names, found = VideoNames({video_id: paths[video_id] for video_id in ends_s}), dict[str, list[Annotation]]()
        for folder in (self.root, self.root / "labels"):
            for path in find_files(
                folder, r"(?!splits\.json|phantom\.json)(.+\.(?:csv|eaf|xml|json))", contents
            ).values():
                try:
                    export = _read(path, names, ends_s)
                except DataError as error:
                    contents.unreadable.append(str(error))
                    continue
                contents.problems += export.notes
                for each in export.annotations:
                    found.setdefault(each.video_id, []).append(each)
        for video_id in sorted(paths.keys() | found.keys()):
            if video_id not in found:
                contents.problems.append(f"{video_id}: no labels")
            self._add(contents, video_id, paths.get(video_id), infos.get(video_id), found.get(video_id, []))

    def _add(
        self, contents: Contents, video_id: str, path: Path | None, info: VideoInfo | None, own: list[Annotation]
    ) -> None:
        tracks: dict[str, Track] = {}
        for each in own:
            track = tracks.setdefault(each.task, Track([], 0.0, whole=False))
            track.spans.append((each.start_s, each.end_s, each.label))
            track.end_s = max(track.end_s, each.end_s)
        for task, track in tracks.items():
            track.spans.sort()
            track.notes += [f"{task}: {note}" for note in overlap_notes(track.spans) if task in _EXCLUSIVE]
        if info is not None:
            tracks, _ = self.as_shown(contents, video_id, path, tracks)
        self.add_video(contents, video_id, path, info, tracks)


def _read(path: Path, names: VideoNames, ends_s: dict[str, float]) -> Export:
    """Read a file by its suffix, and a JSON file by its form: Label Studio's is a list.

    Raises:
        DataError: it cannot be read.
    """
    if path.suffix == ".csv":
        return read_span_csv(path, names, ends_s)
    if path.suffix == ".json":
        return (read_label_studio if isinstance(read_json(path), list) else read_fiftyone)(path, names)
    return (read_elan if path.suffix == ".eaf" else read_cvat)(path, names)
