"""A classification head on the trunk of a chat model: the baseline that chooses among known answers without writing.

As in PitVQA-Net (He et al., arXiv 2405.13949), visual tokens and question pass the language model once, and a linear
layer over the last token's state scores every closed answer; projector and language model learn with it.
It lies in `head/` of a model folder, and not beside `model.safetensors`, because vLLM reads every weight file there.
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


class Head(nn.Module):
    """A linear layer from the language model's state to a score for each answer.

    Args:
        width: M.
        answers: A different answers, in the order of the scores.

    Raises:
        DataError: no answers, or two are the same.
    """

    def __init__(self, width: int, answers: Sequence[str]):
        super().__init__()
        if not answers or len(set(answers)) != len(answers):
            raise DataError(f"{len(answers)} answers, {len(set(answers))} different: give each answer once")
        self.answers = list(answers)
        self.number = {answer: at for at, answer in enumerate(self.answers)}
        self.linear = nn.Linear(width, len(self.answers))

    @classmethod
    def of(cls, chat: Chat, answers: Sequence[str]) -> "Head":
        """An untrained head for a chat model."""
        return cls(int(chat.config.text_config.get_text_config().hidden_size), answers)

    def forward(self, states: Tensor) -> Tensor:
        """Scores float32 [B, A] of states [B, M]."""
        out: Tensor = self.linear(states.to(self.linear.weight.dtype))
        return out.float()

    def numbers(self, answers: Sequence[str]) -> Tensor:
        """Numbers int64 [B] of answers.

        Raises:
            DataError: an answer that the head does not have.
        """
        if unknown := sorted(set(answers) - set(self.number)):
            raise DataError(
                f"answer {unknown[0]!r} is none of the head's {len(self.answers)}: train on closed questions"
            )
        return torch.tensor([self.number[answer] for answer in answers])


def states(chat: Chat, pooled: Tensor, questions: Sequence[str]) -> Tensor:
    """State [B, M] of the language model at the last token of the prompt, from which it would go on to the answer.

    Args:
        chat: the trunk.
        pooled: what `chat.see` gave of each clip, [B, V, D].
        questions: B questions.
    """
    prompts = [prompt_ids(chat.ready, question) for question in questions]
    last = torch.tensor([len(prompt) - 1 for prompt in prompts], device=pooled.device)
    # Padding stands behind, where a causal model does not look, so it needs no mask, and any token will do.
    longest = max(len(prompt) for prompt in prompts)
    filler = int(chat.ready.tokenizer.eos_token_id)
    ids = torch.tensor([prompt + [filler] * (longest - len(prompt)) for prompt in prompts], device=pooled.device)
    decoder: Any = chat.language.get_decoder()
    out: Tensor = decoder(inputs_embeds=chat.embed(ids, pooled), use_cache=False).last_hidden_state
    return out[torch.arange(len(prompts), device=out.device), last]


@torch.no_grad()
def predict(
    chat: Chat, head: Head, pooled: Tensor, question: str, candidates: Sequence[str] | None = None, batch: int = 64
) -> list[str]:
    """The head's answer to one question about B clips: the first of those that score highest.

    Args:
        chat: the trunk.
        head: the head.
        pooled: what `chat.see` gave of each clip, [B, V, D].
        question: asked of every clip.
        candidates: allowed answers, all of the head's where they are left out.
        batch: clips in one pass.

    Raises:
        DataError: a candidate that the head does not have.
    """
    allowed = head.answers if candidates is None else list(candidates)
    columns = head.numbers(allowed).to(pooled.device)
    found: list[str] = []
    for at in range(0, len(pooled), batch):
        part = pooled[at : at + batch]
        scores = head(states(chat, part, [question] * len(part)))
        found += [allowed[best] for best in scores[:, columns].argmax(1).tolist()]
    return found


class HeadTune(Objective):
    """Cross-entropy of the head over all its answers.

    Args:
        chat: trained in place, but for the encoder.
        head: trained in place.
        train: `full` (projector, language model and head) or `head` (the head alone).

    Raises:
        ConfigError: `train` is none of these.
    """

    def __init__(self, chat: Chat, head: Head, train: str = "full"):
        super().__init__()
        if train not in ("full", "head"):
            raise ConfigError(f"train={train!r} is unknown; allowed are full, head: choose one")
        self.chat, self.head = chat, head
        chat.requires_grad_(False)
        if train == "full":
            chat.projector.requires_grad_(True)
            chat.language.get_decoder().requires_grad_(True)

    def modules_to_compile(self) -> list[nn.Module]:
        """Nothing: the length of a text differs from batch to batch."""
        return []

    def forward(self, batch: dict[str, Any]) -> dict[str, Tensor]:
        """Loss and accuracy of a batch: `pooled` [B, V, D] or `video` [B, 3, T, H, W], lists `question`, `answer`."""
        pooled = batch["pooled"] if "pooled" in batch else self.chat.see(batch["video"])
        scores = self.head(states(self.chat, pooled, batch["question"]))
        expected = self.head.numbers(batch["answer"]).to(scores.device)
        accuracy = (scores.argmax(1) == expected).float().mean()
        return {"loss": F.cross_entropy(scores, expected), "accuracy": accuracy}


# ---- folders


def save_head(head: Head, model: Path) -> None:
    """Write a head into a model folder; its answers first, the weights last."""
    write_json(model / FOLDER / "answers.json", {"answers": head.answers})
    with atomic(model / FOLDER / "head.safetensors") as path:
        save_file({name: value.detach().cpu().contiguous() for name, value in head.state_dict().items()}, path)


def has_head(model: Path) -> bool:
    """Whether a model folder has a head."""
    return (model / FOLDER / "head.safetensors").is_file()


def load_head(chat: Chat, model: Path, device: str = "cpu") -> Head:
    """The head of a model folder.

    Args:
        chat: the model of the folder.
        model: the model folder.
        device: torch device.

    Raises:
        CheckpointError: there is none, or it does not fit the model to the letter.
    """
    if not has_head(model):
        raise CheckpointError(f"{model} has no classification head: tune one with surgvl tune --finetune head")
    head = Head.of(chat, read_checked(model / FOLDER / "answers.json", AnswersFile).answers)
    load_weights(head, model / FOLDER / "head.safetensors")
    return head.to(device).eval()
