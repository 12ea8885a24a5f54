"""LoRA tuning of a vision-language model of transformers on questions about clips (arXiv 2106.09685).

Adapters go into the linear layers of its language model; its vision tower, its projector and its output layer are
frozen. It learns to answer the prompts that `surgvl ask` sends: an option by its letter, or free text.
Shapes: B samples, L tokens of a conversation.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from surgvl.chat.hf_model import NO_FRAMES, HfModel
from surgvl.chat.template import IGNORE
from surgvl.chat.vision_language_config import CLIP_FILE, ClipInput
from surgvl.core.errors import CheckpointError, DataError
from surgvl.core.files import write_json
from surgvl.metrics.answer import to_text
from surgvl.metrics.answer_types.choice import Choice
from surgvl.metrics.answer_types.options import Options
from surgvl.train.lora import with_lora
from surgvl.train.objective import Objective


class TuneVisionLanguage(Objective):
    """Next-token loss on answers.

    Args:
        hf: the model, whose language model gets adapters in place.
        options: question -> its options; other questions are answered in free text.
        rank: of the adapters.
    """

    def __init__(self, hf: HfModel, options: Mapping[str, tuple[str, ...]], rank: int = 8) -> None:
        super().__init__()
        self.options = options
        self.language = with_adapters(hf.model, rank, hf.name)
        self._hf = HfModel(hf.name, self.language, hf.processor, hf.sends, hf.fps)

    def modules_to_compile(self) -> list[nn.Module]:
        """Nothing: lengths differ from batch to batch."""
        return []

    def forward(self, batch: dict[str, Any]) -> dict[str, Tensor]:
        """Loss and token accuracy of a batch: lists `video` (uint8 [3, T, H, W]), `question` and `answer`."""
        losses, right, asked = list[Tensor](), torch.tensor(0), torch.tensor(0)
        for video, question, answer in zip(batch["video"], batch["question"], batch["answer"], strict=True):
            inputs, labels = self.conversation(video, question, answer)
            logits = self.language(**inputs).logits[0, :-1].float()
            expected = labels[1:]
            losses.append(F.cross_entropy(logits, expected, ignore_index=IGNORE))
            is_answer = expected != IGNORE
            right = right + (logits.argmax(-1)[is_answer] == expected[is_answer]).sum().cpu()
            asked = asked + is_answer.sum().cpu()
        return {"loss": torch.stack(losses).mean(), "token_accuracy": right / asked}

    def conversation(self, video: Tensor, question: str, answer: str) -> tuple[dict[str, Any], Tensor]:
        """Inputs of the model, and labels int64 [L]: the answer and its end token, IGNORE elsewhere.

        Raises:
            DataError: the chat template writes an answered question in another way than a prompt.
        """
        allowed = self.options.get(question, ())
        text, said = question, to_text(answer)
        if answer in allowed:
            options = Options(allowed)
            text, said = Choice().prompt(question, options), options.labels[allowed.index(answer)]
        frames = video.permute(1, 2, 3, 0).cpu().numpy()
        inputs = self._hf.inputs(frames, text, said)
        ids = inputs["input_ids"][0]
        # Where the answer begins is told by the words: pictures take a processor longest, and are looked at once.
        prompt, words = (self._hf.inputs(NO_FRAMES, text, each)["input_ids"][0] for each in (None, said))
        own = words[len(prompt) :]
        if not torch.equal(words[: len(prompt)], prompt) or not torch.equal(ids[-len(own) :], own):
            raise DataError(f"the chat template of {self._hf.name} rewrites a prompt once it is answered: tune another")
        labels = ids.clone()
        labels[: -len(own)] = IGNORE
        labels[len(ids) - self._hf.tail + 1 :] = IGNORE
        return inputs, labels

    def save(self, folder: Path, clip: ClipInput) -> None:
        """Write the adapters as peft does, with what they were trained on."""
        self.language.save_pretrained(folder)
        write_json(folder / CLIP_FILE, asdict(clip))


def with_adapters(model: Any, rank: int, name: str) -> Any:
    """A model with trainable low-rank adapters in the linear layers of its language model; all else is frozen.

    Args:
        model: of transformers.
        rank: of the adapters.
        name: of the model, folder or hub id, which the adapters' folder will state.

    Raises:
        ConfigError: peft is not installed.
        CheckpointError: it has no language model of its own.
    """
    decoder = model.get_decoder()
    prefix = next((name for name, module in model.named_modules() if module is decoder and name), "")
    if not prefix:
        raise CheckpointError(f"{type(model).__name__} has no language model apart from its vision tower: tune another")
    targets = [
        name
        for name, module in model.named_modules()
        if isinstance(module, nn.Linear) and name.startswith(f"{prefix}.")
    ]
    base = name.removeprefix("hf:")
    tuned = with_lora(model, rank, targets, "CAUSAL_LM")
    tuned.peft_config["default"].base_model_name_or_path = str(Path(base).resolve()) if Path(base).is_dir() else base
    return tuned


def collate(samples: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Lists of each field: clips may differ in aspect."""
    return {key: [sample[key] for sample in samples] for key in samples[0]}
