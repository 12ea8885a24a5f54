"""Data sets with one label file for each video: what such readers share."""

from abc import abstractmethod
from pathlib import Path
from typing import ClassVar

from surgvl.core.errors import DataError
from surgvl.data.readers.base import Contents, VideoDataset
from surgvl.data.spans import Track
from surgvl.video import VideoInfo


class LabelFiles(VideoDataset):
    """A data set of videos or frame folders, each with one label file.

    Attributes:
        FIRST: candidates for the number of a folder's first picture, see `surgvl.data.formats.pictures.times_of`.
        LABEL_FPS: rate of the label files, for videos that are not at hand.
        WHAT: what the files label, for messages.
        FILE: where the label file of a video lies, for messages.
    """

    FIRST: ClassVar[tuple[int, ...]] = (0, 1)
    LABEL_FPS: ClassVar[float] = 25.0
    WHAT: ClassVar[str] = "phase"
    FILE: ClassVar[str] = ""

    @abstractmethod
    def files(self, contents: Contents) -> tuple[dict[str, Path], dict[str, Path]]:
        """Videos or frame folders, and label files, by video id."""

    @abstractmethod
    def tracks(self, path: Path, info: VideoInfo | None) -> dict[str, Track]:
        """Read a label file into labels by task.

        Raises:
            DataError: other content.
        """

    def read(self, contents: Contents) -> None:
        """Read videos and labels; a label file that cannot be read leaves its video without labels."""
        videos, files = self.files(contents)
        for video_id in sorted(videos.keys() | files.keys()):
            path = videos.get(video_id)
            info = self.open_video(contents, video_id, path)
            tracks: dict[str, Track] = {}
            try:
                if video_id in files:
                    tracks = self.tracks(files[video_id], info)
                else:
                    contents.problems.append(f"{video_id}: no {self.WHAT} labels: {self.FILE} is missing")
            except DataError as error:
                contents.unreadable.append(str(error))
            if info is not None:
                tracks, _ = self.as_shown(contents, video_id, path, tracks, self.FIRST)
            self.add_video(contents, video_id, path, info, tracks, self.LABEL_FPS)
