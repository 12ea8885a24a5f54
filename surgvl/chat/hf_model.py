"""A vision-language model of transformers with its own processor and chat template: loading it, and its inputs.

Any image-text-to-text model: Qwen2.5-VL, Qwen3-VL, SmolVLM2, InternVL, Gemma 3, LLaVA-OneVision ... Its code is that of
transformers; none is run from its folder.
Shapes: T frames [T, H, W, 3].
"""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from PIL import Image
from transformers import AutoModelForImageTextToText, AutoProcessor

from surgvl.chat.option_scores import tail_of
from surgvl.chat.vision_language import caption
from surgvl.chat.vision_language_config import ADAPTER, ClipInput, adapter_folder
from surgvl.core.arrays import UInt8Array
from surgvl.core.errors import CheckpointError, ConfigError
from surgvl.core.files import read_json
from surgvl.models.foreign import foreign
from surgvl.models.named import hub_family
from surgvl.models.store import stored_hub


def load_hf(name: str, device: str = "cpu") -> tuple[Any, Any]:
    """A model in evaluation mode and its processor.

    Args:
        name: folder, or hub id of a model that is on this machine; with or without `hf:`. A folder with a peft adapter
            (`surgvl tune`) is loaded with the model that it was trained on.
        device: torch device.

    Raises:
        CheckpointError: it is neither, or no image-text-to-text model.
    """
    if (adapter := adapter_folder(name)) is not None:
        from peft import PeftModel

        base = base_of(adapter)
        model, processor = load_hf(base, device)
        with foreign(f"adapter {adapter} does not fit {base}", "give the folder that `surgvl tune` made"):
            return PeftModel.from_pretrained(model, str(adapter)).eval(), processor
    where = str(stored_hub(name))
    if (Path(where) / "config.json").is_file() and hub_family(Path(where)) is not None:
        raise CheckpointError(
            f"{name!r} gives vectors of clips and sentences, and answers no questions: search with it (surgvl embed, "
            "index, search), or give an image-text-to-text model"
        )
    # Published weights are in half precision, which is slow on most processors.
    dtype = torch.float32 if device == "cpu" else "auto"
    offline = {"trust_remote_code": False, "local_files_only": True}
    with foreign(f"vision-language model {name!r} cannot be read"):
        processor = AutoProcessor.from_pretrained(where, **offline)
        model = AutoModelForImageTextToText.from_pretrained(where, dtype=dtype, **offline)
    if "image_processor" not in vars(processor):
        raise CheckpointError(f"{name!r} takes no pictures: give an image-text-to-text model")
    try:
        torch.nn.Module.to(model, device)
        model.train(False)
        return model, processor
    except (RuntimeError, AssertionError) as error:
        first = str(error).splitlines()[0]
        raise ConfigError(f"device {device!r} cannot be used ({first}): give cpu, or another device") from error


def base_of(adapter: Path) -> str:
    """Folder or hub id of the model that an adapter belongs to."""
    return str(read_json(adapter / ADAPTER).get("base_model_name_or_path"))


@dataclass(frozen=True, eq=False)
class HfModel:
    """A model with its processor.

    Attributes:
        name: as it was given.
        model: of transformers, or with an adapter of peft.
        processor: its processor.
        sends: how clips are given to the processor, as a video or as frames with their times in words.
        fps: frames per second of the clips.
    """

    name: str
    model: Any
    processor: Any
    sends: Literal["video", "frames"]
    fps: float

    @classmethod
    def load(cls, name: str, clip: ClipInput, device: str = "cpu") -> "HfModel":
        """Load a model for clips.

        Raises:
            CheckpointError, ConfigError: see `load_hf`; or it takes no videos and they were asked for.
        """
        model, processor = load_hf(name, device)
        takes_video = vars(processor).get("video_processor") is not None
        if clip.send == "video" and not takes_video:
            raise ConfigError(f"--clip.send video: {name} takes no videos: send frames")
        return cls(name, model, processor, "video" if takes_video and clip.may_be_video else "frames", clip.fps)

    def inputs(self, frames: UInt8Array, text: str, said: str | None = None) -> dict[str, Any]:
        """Inputs of the model for a clip and a text, on its device.

        Args:
            frames: uint8 [T, H, W, 3].
            text: question and options.
            said: the answer; None: the prompt of an answer.
        """
        parts: list[dict[str, Any]] = []
        media: dict[str, Any] = {}
        if self.sends == "video":
            parts.append({"type": "video"})
            count, fps = len(frames), self.fps
            facts = {"fps": fps, "total_num_frames": count, "frames_indices": list(range(count))}
            media = {"videos": [frames], "video_metadata": [{**facts, "duration": count / fps}]}
            media["do_sample_frames"] = False
        else:
            for number in range(len(frames)):
                words = caption(number, len(frames), self.fps)
                parts += [{"type": "text", "text": words}, {"type": "image"}]
            media = {"images": [Image.fromarray(frame) for frame in frames]}
        messages = [{"role": "user", "content": [*parts, {"type": "text", "text": text}]}]
        if said is not None:
            messages.append({"role": "assistant", "content": [{"type": "text", "text": said}]})
        with foreign(f"the processor of {self.name} refuses a clip", "try --clip.send frames, or other frames"):
            written = self.processor.apply_chat_template(messages, add_generation_prompt=said is None, tokenize=False)
            found = self.processor(text=[written], return_tensors="pt", **media)
        device, dtype = self.model.device, self.model.dtype
        return {
            name: value.to(device, dtype if value.is_floating_point() else None)
            for name, value in found.items()
            if isinstance(value, torch.Tensor)
        }

    @cached_property
    def tail(self) -> int:
        """Tokens that the chat template writes after an answer, the end token included."""
        black = np.zeros((4, 64, 64, 3), np.uint8)
        return tail_of(*(self.inputs(black, "Say A or B.", said)["input_ids"][0].tolist() for said in ("A", "B")))
