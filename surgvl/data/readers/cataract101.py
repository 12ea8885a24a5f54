"""Cataract-101: 101 cataract operations, ten phases by their starts (Schoeffmann et al., MMSys 2018).

Layout: `annotations.csv` (VideoID;FrameNo;Phase), `videos.csv` (VideoID;Frames;FPS;Surgeon;Experience) and
`videos/case_269.mp4`. A row is the start of a phase, which lasts until the next start, the last one until the end of
the video; frames before the first start have no label. Starts are accurate to about a second, and some repeat the
phase before. There is no official split: `surgrec` is that of SurgRec's lists of clips; SurgVISTA's is drawn at random
without a seed and cannot be repeated.
"""

from pathlib import Path

from surgvl.core.errors import DataError
from surgvl.data.formats.layout import find_videos
from surgvl.data.formats.text_files import parse_int, read_csv
from surgvl.data.licences import SURGREC_SAYS
from surgvl.data.readers.base import Contents, VideoDataset
from surgvl.data.spans import Span, Track, round_time

# Spelt as in the data set's phases.csv.
PHASES = (
    "Incision",
    "Viscous agent injection",
    "Rhexis",
    "Hydrodissection",
    "Phacoemulsificiation",
    "Irrigation and aspiration",
    "Capsule polishing",
    "Lens implant setting-up",
    "Viscous agent removal",
    "Tonifying and antibiotics",
)
_TRAIN = (
    "269 270 278 279 280 288 292 295 350 354 356 738 745 749 750 751 760 768 770 771 778 784 785 786 788 796 797 799 "
    "801 802 804 806 807 809 810 821 829 830 841 845 847 849 850 853 855 856 857 861 863 866 867 868 880 882 883 884 "
    "889 891 892 899 900 902 906 907 921 922 926 928 929 933 934"
)
_VAL = "271 294 734 739 781 808 825 827 835 840 846 865 890 896 898 901 908 909 931 932"
_TEST = "764 817 828 834 871 886 887 895 911 925"


def _ids(numbers: str) -> tuple[str, ...]:
    return tuple(f"case_{number}" for number in numbers.split())


class Cataract101(VideoDataset):
    """Cataract-101: phases, and the experience of the surgeon (1 or 2) as one segment."""

    name = "cataract101"
    LICENCE = "CC BY-NC 4.0"
    LICENCE_FROM = SURGREC_SAYS
    SOURCE = "Schoeffmann et al., MMSys 2018; ftp.itec.aau.at/datasets/ovid/cat-101"
    PROCEDURE = "cataract surgery"
    SPECIALTY = "ophthalmology"
    CLASSES = {"phase": PHASES, "experience": ("1", "2")}
    # 71, 20 and 10.
    SPLITS = {"surgrec": {"train": _ids(_TRAIN), "val": _ids(_VAL), "test": _ids(_TEST)}}

    def read(self, contents: Contents) -> None:
        """Read the two tables, and the videos."""
        videos = find_videos(self.root / "videos", r"case_\d+", contents)
        tables = [self.root / name for name in ("videos.csv", "annotations.csv")]
        if not all(path.is_file() for path in tables):
            absent = ", ".join(path.name for path in tables if not path.is_file())
            contents.problems.append(f"no {absent} in {self.root}: copy the file from the data set")
            return
        try:
            facts = read_videos(tables[0])
            starts = read_starts(tables[1], {name: num_frames for name, (num_frames, _, _) in facts.items()})
        except DataError as error:
            contents.unreadable.append(str(error))
            return
        if unknown := sorted(videos.keys() - facts.keys()):
            contents.problems.append(f"no row in videos.csv for {', '.join(unknown)}: left out")
        for video_id, (num_frames, fps, experience) in sorted(facts.items()):
            path = videos.get(video_id)
            info = self.open_video(contents, video_id, path)
            end_s = num_frames / fps
            edges = [*starts.get(video_id, []), (num_frames, "")]
            spans: list[Span] = [
                (round_time(start / fps), round_time(end / fps), label)
                for (start, label), (end, _) in zip(edges, edges[1:], strict=False)
            ]
            tracks = {"phase": Track(spans, end_s), "experience": Track([(0.0, end_s, experience)], end_s)}
            if info is not None:
                tracks, _ = self.as_shown(contents, video_id, path, tracks)
            self.add_video(contents, video_id, path, info, tracks, fps)


def read_videos(path: Path) -> dict[str, tuple[int, float, str]]:
    """Number of frames, rate and surgeon's experience of each video.

    Raises:
        DataError: other columns, or numbers out of range.
    """
    columns = read_csv(path, ("VideoID", "Frames", "FPS", "Experience"), ignore_others=True)
    facts = {}
    rows = zip(*(columns[name] for name in ("VideoID", "Frames", "FPS", "Experience", "line")), strict=True)
    for number, frames, fps, experience, line in rows:
        if experience not in Cataract101.CLASSES["experience"]:
            raise DataError(f"{path}, line {line}: experience must be 1 or 2, got {experience!r}: correct the row")
        rate = float(parse_int(fps, path, line, "FPS", least=1))
        facts[f"case_{number}"] = (parse_int(frames, path, line, "Frames", least=1), rate, experience)
    return facts


def read_starts(path: Path, num_frames: dict[str, int]) -> dict[str, list[tuple[int, str]]]:
    """Start frame and phase of each row, by video.

    Raises:
        DataError: other columns, an unknown video or phase, or starts that do not increase or lie after the end.
    """
    columns = read_csv(path, ("VideoID", "FrameNo", "Phase"))
    found: dict[str, list[tuple[int, str]]] = {}
    for number, start, phase, line in zip(
        *(columns[name] for name in ("VideoID", "FrameNo", "Phase", "line")), strict=True
    ):
        video_id, frame = f"case_{number}", parse_int(start, path, line, "FrameNo", least=0)
        at = parse_int(phase, path, line, "Phase")
        if not 1 <= at <= len(PHASES):
            raise DataError(f"{path}, line {line}: phase must be 1 to {len(PHASES)}, got {at}: correct the row")
        if video_id not in num_frames:
            raise DataError(f"{path}, line {line}: video {number} has no row in videos.csv: add it")
        own = found.setdefault(video_id, [])
        if (own and frame <= own[-1][0]) or frame >= num_frames[video_id]:
            limits = f"after {own[-1][0] if own else -1} and before {num_frames[video_id]}"
            raise DataError(f"{path}, line {line}: frame {frame} of video {number} must be {limits}: correct the row")
        own.append((frame, PHASES[at - 1]))
    return found
