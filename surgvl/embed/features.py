"""Feature cache: tokens of a frozen encoder, computed once and shared by all stages.

The cache has one folder per encoder (a hash of its configuration and weights) and kind of clip, with files of float32
tokens per video: align, tune, probe and ask share them. It lies in the folder of decoded frames, or else in the run
folder.

Shapes: B clips, T frames, S pixels, N tokens of a clip, V of them stored, D encoder width.
"""

import glob
import hashlib
import shutil
from collections.abc import Callable, Iterable, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import safe_open
from safetensors.numpy import save
from torch import Tensor
from tqdm import tqdm

from surgvl.core.arrays import UInt8Array
from surgvl.core.errors import ConfigError, Unreadable
from surgvl.core.files import atomic, clear_temporary, text_hash
from surgvl.data.frame_store import ClipKey, FrameStore
from surgvl.models.vit import VideoViT

# Size of a file of tokens, which is assembled in memory.
FILE_BYTES = 1 << 28


def encoder_hash(encoder: VideoViT) -> str:
    """SHA-256 of an encoder's configuration and weights, 16 hex digits."""
    digest = hashlib.sha256(repr(sorted(encoder.config.to_dict().items())).encode())
    for name, value in sorted(encoder.state_dict().items()):
        digest.update(name.encode())
        digest.update(value.detach().to("cpu", torch.float32).contiguous().numpy().data)
    return digest.hexdigest()[:16]


class Features:
    """Cached tokens of clips, float32 [V, D] each.

    Args:
        encoder: frozen, on its device.
        store: provides the clips; prepared.
        folder: of the cache; created if missing.
        pool: reduces the tokens [B, N, D] -> [B, V, D]; None: keep all.
        kept: a name for this pooling, such as `2x4x4`; cached unpooled tokens are pooled without encoding again.
    """

    def __init__(
        self,
        encoder: VideoViT,
        store: FrameStore,
        folder: Path,
        pool: Callable[[Tensor], Tensor] | None = None,
        kept: str = "all",
    ):
        self.encoder, self.store, self.pool, self.kept = encoder, store, pool, kept
        # A clip's place says which frames it shows only together with these.
        how = f"{encoder.config.num_frames}-{store.preprocess.fps:g}-{store.fps:g}-{store.preprocess.anchor}"
        self.folder = folder / f"{encoder_hash(encoder)}-{how}"
        self.whole = None if pool is None else Features(encoder, store, folder)
        self.problems: dict[str, str] = {}
        self._rows: dict[ClipKey, tuple[Path, int]] = {}
        self._listed: set[str] = set()

    def __contains__(self, clip: ClipKey) -> bool:
        """Whether its tokens are cached."""
        if clip[0] not in self._listed:
            self._listed.add(clip[0])
            start = self.folder / f"{self.store.name(clip[0])}.{self.kept}."
            for path in sorted(glob.glob(f"{glob.escape(str(start))}*.safetensors")):
                self._note(clip[0], Path(path))
        return clip in self._rows

    def _note(self, video_id: str, path: Path) -> None:
        places = _opened(path).get_tensor("places").tolist()
        self._rows.update({(video_id, place): (path, row) for row, place in enumerate(places)})

    def __getitem__(self, clip: ClipKey) -> Tensor:
        """Tokens float32 [V, D] of a cached clip."""
        path, row = self._rows[clip]
        found: Tensor = torch.from_numpy(_opened(path).get_slice("tokens")[row : row + 1])[0]
        return found

    def stack(self, clips: Sequence[ClipKey]) -> Tensor:
        """Tokens float32 [B, V, D]."""
        return torch.stack([self[clip] for clip in clips])

    def missing(self, clips: Iterable[ClipKey]) -> dict[str, list[ClipKey]]:
        """The clips that are not cached, each once, by video."""
        found: dict[str, list[ClipKey]] = {}
        for clip in dict.fromkeys(clips):
            if clip not in self:
                found.setdefault(clip[0], []).append(clip)
        return found

    def num_bytes(self, clips: Iterable[ClipKey]) -> int:
        """Disk space in bytes for those of the clips that are not cached."""
        num_stored = self.encoder.num_tokens if self.pool is None else _num_pooled(self.encoder, self.pool)
        return 4 * num_stored * self.encoder.dim * sum(map(len, self.missing(clips).values()))

    def fits(self, clips: Iterable[ClipKey]) -> bool:
        """Whether they need at most half of the free disk space."""
        there = next(path for path in (self.folder, *self.folder.parents) if path.is_dir())
        return self.num_bytes(clips) <= shutil.disk_usage(there).free / 2

    def add(self, clips: Iterable[ClipKey], batch: int = 32) -> None:
        """Encode clips that are not cached; a clip that cannot be read is skipped, and its video listed in `problems`.

        Raises:
            ConfigError: not enough disk space.
        """
        todo = self.missing(clips)
        if not todo:
            return
        flat = [clip for each in todo.values() for clip in each]
        if not self.fits(flat):
            raise ConfigError(
                f"the tokens of {len(flat):,} clips need {self.num_bytes(flat) / 1e9:.1f} GB in {self.folder}, more "
                "than half of the free space: give a --frame_cache on a larger disk"
            )
        clear_temporary(self.folder)
        size = FILE_BYTES // max(1, self.num_bytes(flat) // len(flat))
        training = self.encoder.training
        self.encoder.eval()
        what = f"encode clips ({self.num_bytes(flat) / 1e9:.1f} GB of tokens)"
        with tqdm(total=len(flat), desc=what, unit="clip", disable=None, leave=False) as bar:
            for video_id, wanted in todo.items():
                for at in range(0, len(wanted), max(1, size)):
                    self._add(video_id, wanted[at : at + max(1, size)], batch, bar)
        self.encoder.train(training)

    def _add(self, video_id: str, wanted: list[ClipKey], batch: int, bar: Any) -> None:
        done: list[ClipKey] = []
        tokens: list[np.ndarray[Any, np.dtype[np.float32]]] = []
        for at in range(0, len(wanted), batch):
            part = wanted[at : at + batch]
            known = self.whole is not None and all(clip in self.whole for clip in part)
            frames = {} if known else self._read(part)
            done += part if known else list(frames)
            if known or frames:
                with torch.inference_mode():
                    tokens.append(self._tokens(part if known else None, list(frames.values())).cpu().numpy())
            bar.update(len(part))
        if done:
            places = [place for _, place in done]
            # safetensors writes memory order, so arrays must be contiguous.
            name = f"{self.store.name(video_id)}.{self.kept}.{text_hash(repr(places))}.safetensors"
            arrays = {"places": np.array(places, np.int64), "tokens": np.ascontiguousarray(np.concatenate(tokens))}
            with atomic(self.folder / name) as path:
                path.write_bytes(save(arrays))
            self._note(video_id, self.folder / name)

    def _read(self, clips: list[ClipKey]) -> dict[ClipKey, UInt8Array]:
        found = {}
        for clip in clips:
            try:
                found[clip] = self.store.clip(clip, self.encoder.config.num_frames)
            except Unreadable as error:
                self.problems.setdefault(clip[0], str(error))
        return found

    def _tokens(self, stored: list[ClipKey] | None, frames: list[UInt8Array]) -> Tensor:
        """Tokens [B, V, D] of clips cached unpooled, or of frames."""
        device = next(self.encoder.parameters()).device
        if stored is not None:
            assert self.whole is not None
            found = self.whole.stack(stored).to(device)
        else:
            found = self.encoder(torch.from_numpy(np.stack(frames)).to(device).permute(0, 4, 1, 2, 3)).float()
        return found if self.pool is None else self.pool(found)


def _num_pooled(encoder: VideoViT, pool: Callable[[Tensor], Tensor]) -> int:
    return pool(torch.zeros(1, encoder.num_tokens, encoder.dim)).shape[1]


@lru_cache(maxsize=512)
def _opened(path: Path) -> Any:
    return safe_open(path, "np")
