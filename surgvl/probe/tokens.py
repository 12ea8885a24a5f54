"""Tokens of clips from a frozen encoder, computed once and kept in a memory-mapped file of float16.

An encoder that takes fewer frames than a clip has, such as an image encoder, is applied to one group of frames after
another, and the tokens of all groups are kept (V-JEPA's protocol for image models, arXiv 2404.08471). Such tokens
contain no time, so a sinusoid of the group's number is added, which lets the readout use motion.

Shapes: N clips, B of them in a batch, T frames, S pixels, G groups of n frames, K = G * tokens of a group, D width.
"""

from collections.abc import Iterable
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from surgvl.core.errors import CheckpointError, ConfigError
from surgvl.core.files import take_space
from surgvl.models.position import sinusoid
from surgvl.models.vit import VideoViT
from surgvl.train.config import precision


def num_groups(encoder: VideoViT, clip_frames: int) -> int:
    """How often the encoder is applied to a clip of T frames.

    Raises:
        ConfigError: T is not a multiple of the encoder's frames.
    """
    num_frames = encoder.config.num_frames
    if clip_frames < 1 or clip_frames % num_frames:
        raise ConfigError(
            f"--clip.num_frames must be a multiple of the encoder's {num_frames} frames, got {clip_frames}"
        )
    return clip_frames // num_frames


def group_tokens(encoder: VideoViT, video: Tensor) -> Tensor:
    """Tokens float32 [B, K, D] of clips [B, 3, T, S, S] of one or more groups of the encoder's frames."""
    B, C, T, H, W = video.shape
    groups = num_groups(encoder, T)
    parts = video.reshape(B, C, groups, T // groups, H, W).transpose(1, 2).reshape(B * groups, C, T // groups, H, W)
    return _placed(encoder, encoder(parts).float(), groups)


def _placed(encoder: VideoViT, found: Tensor, groups: int) -> Tensor:
    """Tokens of groups [B * G, n, D] -> [B, K, D], with the sinusoid of their group if there are several."""
    found = found.reshape(-1, groups * encoder.num_tokens, encoder.dim)
    if groups == 1:
        return found
    return found + sinusoid(groups, encoder.dim).repeat_interleave(encoder.num_tokens, 0).to(found.device)


def fast(device: torch.device) -> torch.autocast:
    """A context in which a frozen encoder runs in bfloat16 where the hardware multiplies it."""
    return torch.autocast(device.type, torch.bfloat16, enabled=precision("auto") == "bf16-mixed")


def encode(
    encoder: VideoViT,
    clips: Iterable[NDArray[np.uint8] | Tensor],
    num_clips: int,
    clip_frames: int,
    file: Path,
    average: bool = False,
) -> NDArray[np.float16]:
    """Encode clips without gradients.

    Args:
        encoder: frozen encoder, on its device; bfloat16 where the hardware multiplies it.
        clips: batches uint8 [B, T, S, S, 3], N clips in total; or the encoder's output for their groups, float32
            [B, G * tokens, D].
        num_clips: N.
        clip_frames: T.
        file: file of the tokens; memory does not grow with N.
        average: keep only the mean of each clip's tokens, K = 1.

    Returns:
        Memory-mapped float16 [N, K, D].

    Raises:
        ConfigError: T is not a multiple of the encoder's frames.
        CheckpointError: a token is not finite in float16.
        DataError: the disk has no space for the tokens.
    """
    groups = num_groups(encoder, clip_frames)
    length = 1 if average else groups * encoder.num_tokens
    device = next(encoder.parameters()).device
    take_space(file, 2 * num_clips * length * encoder.dim)
    tokens = np.memmap(file, np.float16, "r+", shape=(num_clips, length, encoder.dim))
    at = 0
    encoder.eval()
    with torch.inference_mode(), fast(device):
        for batch in clips:
            B = len(batch)
            if isinstance(batch, Tensor):
                found = _placed(encoder, batch.to(device), groups)
            else:
                found = group_tokens(encoder, torch.from_numpy(batch).to(device).permute(0, 4, 1, 2, 3))
            kept = (found.mean(1, keepdim=True) if average else found).half()
            if not bool(kept.isfinite().all()):
                raise CheckpointError(
                    "the encoder gives tokens that are not finite: give one whose training did not fail"
                )
            tokens[at : at + B] = kept.cpu().numpy()
            at += B
    assert at == num_clips
    return tokens
