"""Made label files in the layouts of the public data sets, and where the real ones are."""

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from surgvl import video
from surgvl.core.ontology import CHOLEC80_PHASES, CHOLEC80_TOOLS

REAL = os.environ.get("SURGVL_REAL_DATA", "")
needs_real = pytest.mark.skipif(not REAL, reason="SURGVL_REAL_DATA is not set: no real labels here")
LABELS = Path(REAL) / "labels"


def put(path: Path, text: str | bytes) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return path


def film(path: Path, seconds: float = 4.0, fps: float = 10.0) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    frame = np.zeros((32, 32, 3), np.uint8)
    video.write(path, (frame for _ in range(round(seconds * fps))), fps, preset="ultrafast")


PHASE_ROWS = [(0, "Preparation"), (1, "Preparation"), (2, "CalotTriangleDissection"), (3, "Preparation")]


def joined(separator: str, end: str, header: bool = True) -> str:
    rows = ([("Frame", "Phase")] if header else []) + PHASE_ROWS
    return end.join(f"{frame}{separator}{phase}" for frame, phase in rows) + end


TOOL_HEADER = "Frame\t" + "\t".join(CHOLEC80_TOOLS)


def tool_text(rows: int, fps: int = 10, header: str = TOOL_HEADER, tool: int = 0) -> str:
    body = ["\t".join([str(at * fps), *("1" if column == tool else "0" for column in range(7))]) for at in range(rows)]
    return "\n".join([header, *body]) + "\n"


def cholec80(root: Path, num: int = 40, frames: str | None = None, tools: str | None = None) -> Path:
    """Video 1 of four seconds at 10 fps with its labels."""
    film(root / "videos" / "video01.mp4")
    body = "".join(f"{frame}\t{CHOLEC80_PHASES[frame * 2 // num]}\n" for frame in range(num))
    put(root / "phase_annotations" / "video01-phase.txt", frames or "Frame\tPhase\n" + body)
    put(root / "tool_annotations" / "video01-tool.txt", tools or tool_text(4))
    return root


def vector(triplet: int, instrument: int = -1, verb: int = -1, target: int = -1, phase: int = 0) -> list[float]:
    return [triplet, instrument, 1, -1, -1, -1, -1, verb, target, -1, -1, -1, -1, -1, phase]


def record(**changes: Any) -> dict[str, Any]:
    frames = {
        "0": [vector(12, 0, 0, 13)],
        "1": [vector(12, 0, 0, 13), vector(60, 2, 2, 0)],
        "2": [vector(-1, phase=1)],
        "3": [vector(60, 2, 2, 0, 1), vector(60, 2, 2, 0, 1)],
    }
    return {"video": 1, "fps": 1, "num_frames": 4, "annotations": frames, **changes}
