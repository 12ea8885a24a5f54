"""Settings of the smallest phantom with all splits: three videos of 12 s."""

from typing import Any

SMALL: dict[str, Any] = {"train": 1, "val": 1, "test": 1, "duration_s": 12.0, "size_px": 32, "fps": 5.0}
