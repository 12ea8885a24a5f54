"""Read and write surgical video, addressed by time in seconds: files (PyAV), folders of numbered images, images.

    info = probe("operation.mp4")
    clip = read("operation.mp4", start_s=5400.0, end_s=5404.0, fps=4, size_px=224)      # uint8 [16, 224, 224, 3]
    for time_s, picture in stream("operation.mp4", fps=1, size_px=224): ...             # constant memory, any length

Sample i is the frame shown at start_s + i / fps: the one with the latest time stamp that is not after it. The whole
frame is scaled to a square, so nothing is cropped; pass `crop=content_box(path)` to remove black borders first.
Any problem with a file or an argument is reported as a one-line DataError.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

__all__ = [
    "VIDEO_SUFFIXES",
    "Box",
    "Geometry",
    "Image",
    "VideoInfo",
    "VideoReader",
    "content_box",
    "probe",
    "read",
    "stream",
    "write",
]

if TYPE_CHECKING:
    from surgvl.video.content_area import Box, Image
    from surgvl.video.decoder import VIDEO_SUFFIXES
    from surgvl.video.file import VideoInfo
    from surgvl.video.geometry import Geometry
    from surgvl.video.reader import VideoReader, content_box, probe, read, stream
    from surgvl.video.writer import write
else:

    def __getattr__(name: str) -> Any:
        """Import a name on first use (PEP 562): the gateway needs `decoder` alone, without NumPy and OpenCV."""
        if name not in __all__:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        home = {
            **{"Box": "content_area", "Image": "content_area", "Geometry": "geometry"},
            **{"VIDEO_SUFFIXES": "decoder", "write": "writer"},
        }
        return getattr(import_module(f"{__name__}.{home.get(name, 'reader')}"), name)
