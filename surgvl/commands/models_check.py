"""The command `models check`: whether a model on this machine loads and gives the vectors that it gave elsewhere.

It encodes a rendered clip and a sentence. Where vectors are recorded in the registry, they are compared; the renderer
and the arithmetic of processors leave differences of about 1e-4 in single numbers.
"""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from surgvl.core.arrays import UInt8Array
from surgvl.core.errors import CheckpointError, ConfigError
from surgvl.data.phantom.render import render
from surgvl.data.phantom.script import script
from surgvl.models.published import Recorded, published, registry
from surgvl.models.store import require_stored

SENTENCE = "the hook dissects the gallbladder"
QUESTION = "What is the surgical phase shown in the image?"
TOLERANCE = 2e-3
NUM_SHOWN = 8


def models_check(name: str, device: str = "cpu") -> None:
    """Load a model, encode a built-in clip and sentence, and compare with what is recorded.

    Args:
        name: a name of `surgvl models list`, open_clip:ARCH@TAG, hf:OWNER/NAME, or a folder.
        device: torch device, such as cpu or cuda.
    """
    from surgvl.api import DualModel, load
    from surgvl.chat.answerer import Answerer

    is_other = name not in registry() and (":" in name or Path(name).is_dir())
    recorded = None if is_other else published(name).recorded
    model = load(name if is_other else require_stored(name), device=device)
    frames = phantom_clip()
    if isinstance(model, Answerer):
        print(f"{name} loads, and says of a rendered clip: {model.ask(frames, QUESTION)}")
        return
    if not isinstance(model, DualModel):
        raise CheckpointError(f"{name} holds a {type(model).__name__}: give a video-text model or a chat model")
    clip, black = (model.encode_video(each)[0] for each in (frames, np.zeros_like(frames)))
    text = model.encode_text([SENTENCE])[0]
    check_form(name, clip, black, text)
    for what, vector in (("clip", clip), ("sentence", text)):
        print(f"{what:8}  {', '.join(f'{number:+.4f}' for number in vector[:NUM_SHOWN])}, ... ({len(vector)} numbers)")
    print(f"cosine    {clip @ text:+.4f}")
    if recorded is None:
        print(f"{name} loads and gives unit vectors; no vectors are recorded to compare them with")
    else:
        print(f"{name} equals what is recorded to {compare(name, recorded, clip, text):.0e}")


def phantom_clip() -> UInt8Array:
    """A clip of a rendered operation, the same everywhere, uint8 [16, 256, 256, 3]: four seconds of dissection."""
    return np.stack(list(render(script(seed=0, index=0), size_px=256, fps=4.0, start_s=40.0, end_s=44.0)))


def check_form(name: str, clip: NDArray[np.float32], black: NDArray[np.float32], text: NDArray[np.float32]) -> None:
    """Refuse vectors that no working model gives.

    Args:
        name: of the model.
        clip: its vector of the clip.
        black: of black frames.
        text: of the sentence.

    Raises:
        CheckpointError: numbers that are not finite, a length other than 1, or one vector for all clips.
    """
    lengths = [float(np.linalg.norm(vector)) for vector in (clip, black, text)]
    if not np.allclose(lengths, 1, atol=1e-3):
        raise CheckpointError(f"{name} gives vectors of length {lengths}, which should be 1: fetch or add it again")
    if float(clip @ black) > 1 - 1e-5:
        raise CheckpointError(f"{name} gives one vector for a clip and for black frames: fetch or add it again")


def compare(name: str, recorded: Recorded, clip: NDArray[np.float32], text: NDArray[np.float32]) -> float:
    """The largest difference from the recorded numbers.

    Raises:
        CheckpointError: it is more than `TOLERANCE`.
        ConfigError: more numbers are recorded than the model gives.
    """
    largest = 0.0
    for what, before, now in (("clip", recorded.clip, clip), ("sentence", recorded.text, text)):
        if len(before) > len(now):
            raise ConfigError(
                f"{name} gives {len(now)} numbers of the {what}, and {len(before)} are recorded: fetch or add it again"
            )
        apart = float(np.abs(np.asarray(before) - now[: len(before)]).max(initial=0.0))
        if apart > TOLERANCE:
            raise CheckpointError(
                f"{name} gives a vector of the {what} that differs from the recorded one by {apart:.4f}, and rounding "
                f"by at most {TOLERANCE}: its weights or its preprocessing are not those of the authors"
            )
        largest = max(largest, apart)
    return largest
