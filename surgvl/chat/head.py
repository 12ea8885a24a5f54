"""A classification head on the backbone of a chat model: a baseline that chooses among known answers.

As in PitVQA-Net (He et al., arXiv 2405.13949), visual tokens and question pass the language model once, and a linear
layer over the last token's state scores every closed answer; projector and language model learn with it.
It is stored in `head/` of a model folder, not next to `model.safetensors`, because vLLM reads every weight file there.
Shapes: B questions, L tokens of the longest prompt, M language width, A answers, V stored tokens of a clip.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from safetensors.torch import save_file
from torch import Tensor, nn

from surgvl.chat.template import prompt_ids
from surgvl.core.errors import CheckpointError, ConfigError, DataError
from surgvl.core.files import atomic, write_json
from surgvl.models.chat import Chat
from surgvl.models.checkpoint import load_weights
from surgvl.models.schema import AnswersFile, read_checked
from surgvl.train.objective import Objective

FOLDER = "head"


class AnswerHead(nn.Module):
    """A linear layer from the language model's state to a score for each answer.

    Args:
        width: M.
        answers: A different answers, in the order of the scores.

    Raises:
        DataError: no answers, or two of them are equal.
    """

    def __init__(self, width: int, answers: Sequence[str]):
        super().__init__()
        if not answers or len(set(answers)) != len(answers):
            distinct = len(set(answers))
            raise DataError(f"answers of a head must be distinct, got {len(answers)}, of which {distinct} distinct")
        self.answers = list(answers)
        self.number = {answer: at for at, answer in enumerate(self.answers)}
        self.linear = nn.Linear(width, len(self.answers))

    @classmethod
    def of(cls, chat: Chat, answers: Sequence[str]) -> "AnswerHead":
        """An untrained head for a chat model."""
        return cls(int(chat.config.text_config.get_text_config().hidden_size), answers)

    def forward(self, states: Tensor) -> Tensor:
        """Scores float32 [B, A] of states [B, M]."""
        out: Tensor = self.linear(states.to(self.linear.weight.dtype))
        return out.float()

    def numbers(self, answers: Sequence[str]) -> Tensor:
        """Class indices int64 [B] of answers.

        Raises:
            DataError: an answer that the head does not have.
        """
        if unknown := sorted(set(answers) - set(self.number)):
            raise DataError(f"answer {unknown[0]!r} is not one of the {len(self.answers)} that the head was tuned on")
        return torch.tensor([self.number[answer] for answer in answers])


def head_states(chat: Chat, pooled: Tensor, questions: Sequence[str]) -> Tensor:
    """Hidden states [B, M] at the last token of the prompt, from which the language model would predict the answer.

    Args:
        chat: the trunk.
        pooled: from `chat.encode_visual`, one clip a question, [B, V, D].
        questions: B questions.
    """
    prompts = [prompt_ids(chat.ready, question) for question in questions]
    last = torch.tensor([len(prompt) - 1 for prompt in prompts], device=pooled.device)
    # Right padding needs no mask, and may be any token: attention is causal.
    longest = max(len(prompt) for prompt in prompts)
    filler = int(chat.ready.tokenizer.eos_token_id)
    ids = torch.tensor([prompt + [filler] * (longest - len(prompt)) for prompt in prompts], device=pooled.device)
    decoder: Any = chat.language.get_decoder()
    out: Tensor = decoder(inputs_embeds=chat.embed(ids, pooled), use_cache=False).last_hidden_state
    return out[torch.arange(len(prompts), device=out.device), last]


class HeadTune(Objective):
    """Cross-entropy of the head over all its answers.

    Args:
        chat: trained in place, except for its encoder.
        head: trained in place.
        train: `full` (projector, language model and head) or `head` (the head alone).

    Raises:
        ConfigError: another value of `train`.
    """

    def __init__(self, chat: Chat, head: AnswerHead, train: str = "full"):
        super().__init__()
        if train not in ("full", "head"):
            raise ConfigError(f"train must be one of full, head, got {train!r}")
        self.chat, self.head = chat, head
        chat.requires_grad_(False)
        if train == "full":
            chat.projector.requires_grad_(True)
            chat.language.get_decoder().requires_grad_(True)

    def modules_to_compile(self) -> list[nn.Module]:
        """Nothing: text lengths differ from batch to batch."""
        return []

    def forward(self, batch: dict[str, Any]) -> dict[str, Tensor]:
        """Loss and accuracy of a batch: `pooled` [B, V, D] or `video` [B, 3, T, H, W], lists `question`, `answer`."""
        pooled = batch["pooled"] if "pooled" in batch else self.chat.encode_visual(batch["video"])
        scores = self.head(head_states(self.chat, pooled, batch["question"]))
        expected = self.head.numbers(batch["answer"]).to(scores.device)
        accuracy = (scores.argmax(1) == expected).float().mean()
        return {"loss": F.cross_entropy(scores, expected), "accuracy": accuracy}


# ---- folders


def save_head(head: AnswerHead, model: Path) -> None:
    """Write a head into a model folder: answers first, weights last."""
    write_json(model / FOLDER / "answers.json", {"answers": head.answers})
    with atomic(model / FOLDER / "head.safetensors") as path:
        save_file({name: value.detach().cpu().contiguous() for name, value in head.state_dict().items()}, path)


def has_head(model: Path) -> bool:
    """Whether a model folder has a head."""
    return (model / FOLDER / "head.safetensors").is_file()


def load_head(chat: Chat, model: Path, device: str = "cpu") -> AnswerHead:
    """The head of a model folder.

    Args:
        chat: the model of the folder.
        model: the model folder.
        device: torch device.

    Raises:
        CheckpointError: there is none, or its weights do not fit the model exactly.
    """
    if not has_head(model):
        raise CheckpointError(f"{model} has no classification head: tune one with surgvl tune --finetune head")
    head = AnswerHead.of(chat, read_checked(model / FOLDER / "answers.json", AnswersFile).answers)
    load_weights(head, model / FOLDER / "head.safetensors")
    return head.to(device).eval()
