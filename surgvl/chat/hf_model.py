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
from surgvl.core.errors import CheckpointError, ConfigError, first_line
from surgvl.core.files import read_json
from surgvl.models.device import place
from surgvl.models.foreign import foreign, without_notes
from surgvl.models.named import hub_family
from surgvl.models.store import stored_hub

NO_FRAMES = np.zeros((0, 1, 1, 3), np.uint8)


def load_hf(name: str, device: str = "cpu") -> tuple[Any, Any]:
    """A model in evaluation mode and its processor.

    Args:
        name: folder, or hub id of a model that is on this machine; with or without `hf:`. A folder with a peft adapter
            (`surgvl tune`) is loaded with the model that it was trained on.
        device: torch device.

    Raises:
        CheckpointError: it is neither, or no image-text-to-text model.
        ConfigError: a package or the device is missing.
    """
    if (adapter := adapter_folder(name)) is not None:
        from peft import PeftModel

        base = base_of(adapter)
        model, processor = load_hf(base, device)
        with foreign(f"adapter {adapter} does not fit {base}", "give the folder that `surgvl tune` made"):
            return PeftModel.from_pretrained(model, str(adapter)).eval(), processor
    whole, _, width = name.rpartition(":")
    if width.isdecimal() and whole not in ("", "hf"):
        raise ConfigError(
            f"{name}: a model that answers questions has no vectors whose width :{width} is: give {whole}"
        )
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
        try:
            processor = AutoProcessor.from_pretrained(where, **offline)
        except ImportError as error:
            raise ConfigError(
                f"{name} needs a package that is not installed ({first_line(error)}): pip install 'surgvl[smolvlm]' "
                "for SmolVLM, or that package"
            ) from error
        model = AutoModelForImageTextToText.from_pretrained(where, dtype=dtype, **offline)
    if "image_processor" not in vars(processor):
        raise CheckpointError(f"{name!r} takes no pictures: give an image-text-to-text model")
    return place(model, device), processor


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
            frames: uint8 [T, H, W, 3]; none: the text alone.
            text: question and options.
            said: the answer; None: the prompt of an answer.
        """
        parts: list[dict[str, Any]] = []
        media: dict[str, Any] = {}
        count, fps = len(frames), self.fps
        if count and self.sends == "video":
            parts.append({"type": "video"})
            facts = {"fps": fps, "total_num_frames": count, "frames_indices": list(range(count))}
            media = {"videos": [[frames]], "video_metadata": [{**facts, "duration": count / fps}]}
            media["do_sample_frames"] = False
        elif count:
            for number in range(count):
                parts += [{"type": "text", "text": caption(number, count, fps)}, {"type": "image"}]
            # The pictures of one conversation: some processors cut a picture that is alone in tiles.
            media = {"images": [[Image.fromarray(frame) for frame in frames]]}
        asked = {"role": "user", "content": [*parts, {"type": "text", "text": text}]}
        with (
            foreign(f"the processor of {self.name} refuses a clip", "try --clip.send frames, or other frames"),
            without_notes(),
        ):
            written = self._written(asked, said)
            # A template may write the token that the tokenizer puts before each text.
            begin = self.processor.tokenizer.bos_token
            if begin is not None and written.startswith(begin):
                media["add_special_tokens"] = False
            found = self.processor(text=[written], return_tensors="pt", **media)
        device, dtype = self.model.device, self.model.dtype
        return {
            name: value.to(device, dtype if value.is_floating_point() else None)
            for name, value in found.items()
            if isinstance(value, torch.Tensor)
        }

    def _written(self, asked: dict[str, Any], said: str | None) -> str:
        """A question as the chat template writes it, with its answer or ready for it."""
        prompt = str(self.processor.apply_chat_template([asked], add_generation_prompt=True, tokenize=False))
        if said is None:
            return prompt
        answer = {"role": "assistant", "content": [{"type": "text", "text": said}]}
        written = str(self.processor.apply_chat_template([asked, answer], tokenize=False))
        if written.startswith(prompt):
            return written
        # LLaVA-OneVision's template writes a blank before an answer that it does not write at the end of a prompt.
        at = written.find(said, len(prompt.rstrip()))
        return prompt + written[at:] if written[:at].split() == prompt.split() else written

    @cached_property
    def tail(self) -> int:
        """Tokens that the chat template writes after an answer, the end token included."""
        return tail_of(self._said("A"), self._said("B"))

    def answer_tokens(self, said: str) -> list[int]:
        """Tokens of an answer in a conversation, without those that end it; a blank before it may be among them."""
        if said not in self._answers:
            self._answers[said] = self._said(said)[self._num_asked : -self.tail]
        return self._answers[said]

    @cached_property
    def _answers(self) -> dict[str, list[int]]:
        """What `answer_tokens` has found: labels of options are few, and asked for with every question."""
        return {}

    @cached_property
    def _num_asked(self) -> int:
        """Tokens of the prompt of `_said`."""
        return len(self.inputs(NO_FRAMES, "Say A or B.")["input_ids"][0])

    def _said(self, said: str) -> list[int]:
        """Tokens of a conversation of words."""
        found: list[int] = self.inputs(NO_FRAMES, "Say A or B.", said)["input_ids"][0].tolist()
        return found
