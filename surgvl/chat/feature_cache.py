"""Pooled visual tokens of the windows that questions are about, computed once and stored.

Shapes: B windows, V stored tokens, D encoder width, T frames, S pixels.
"""

from collections.abc import Sequence
from pathlib import Path

from torch import Tensor

from surgvl.chat.answerer import Window
from surgvl.data.frame_store import FrameStore
from surgvl.embed.features import Features
from surgvl.models.chat import Chat


class FeatureCache:
    """Pooled tokens float32 [V, D] by window, encoded on creation unless they are stored.

    A window that cannot be read has none (`window in cache`), and its video is named in `problems`.

    Args:
        chat: whose frozen encoder is used, on its device.
        store: prepared store of clips.
        windows: to encode; each stands for one clip.
        folder: where tokens are stored, see `surgvl.embed.features`.
    """

    def __init__(self, chat: Chat, store: FrameStore, windows: Sequence[Window], folder: Path):
        self.clips = {each: store.key_of(*each) for each in dict.fromkeys(windows)}
        kept = "x".join(map(str, chat.projector.grid)) if chat.projector.kind == "grid" else ""
        pool = {"pool": chat.projector.pool, "kept": kept} if kept else {}
        self.features = Features(chat.encoder, store, folder, **pool)  # type: ignore[arg-type]
        self.features.add(self.clips.values())
        self.problems: dict[str, str] = {}
        for video_id, start_s, end_s in (each for each in self.clips if each not in self):
            fact = f"cannot be read at {start_s:g} to {end_s:g} s (questions about such windows are left out)"
            self.problems.setdefault(video_id, f"{store.paths[video_id]} {fact}: copy it again")

    def __contains__(self, window: object) -> bool:
        """Whether the cache has the tokens of a window."""
        clip = self.clips.get(window)  # type: ignore[call-overload]
        return clip is not None and clip in self.features

    def __getitem__(self, window: Window) -> Tensor:
        """Pooled tokens float32 [V, D] of a window."""
        return self.features[self.clips[window]]

    def stack(self, windows: Sequence[Window]) -> Tensor:
        """Pooled tokens float32 [B, V, D] of B windows."""
        return self.features.stack([self.clips[window] for window in windows])
