"""A general vision-language model of transformers in this process, as an answerer.

It is shown what a server would be sent.
Shapes: T frames [T, H, W, 3], A options.
"""

import copy
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from transformers import LogitsProcessorList

from surgvl.chat.chosen_tokens import ChosenTokens
from surgvl.chat.confidence import Token, reply_confidence
from surgvl.chat.hf_model import HfModel
from surgvl.chat.option_scores import option_scores
from surgvl.chat.replies import Reply
from surgvl.chat.vision_language import Keep, Request, VisionLanguageAnswerer, confidence_of
from surgvl.chat.vision_language_config import ClipInput, ReplyConfig, adapter_folder, trained_on
from surgvl.core.arrays import UInt8Array
from surgvl.core.errors import ConfigError, Unreadable
from surgvl.core.files import text_hash
from surgvl.models.model_info import training_record
from surgvl.models.store import stored_hub

# How a model in this process can choose among options.
WAYS = ("auto", "likelihood", "choice", "letters")
# Of a reply that is parsed, the first tokens whose alternatives are looked at, and how many of them.
NUM_TOKENS, NUM_LISTED = 64, 20


class HfAnswerer(VisionLanguageAnswerer):
    """A vision-language model in this process.

    Args:
        name: see `surgvl.chat.hf_model.load_hf`.
        device: torch device.
        clip: what the model is shown.
        reply: how it replies.
        seed: of sampling, and of the order of options.
        by_likelihood: choose among options by their likelihood rather than token by token.
    """

    def __init__(
        self,
        name: str,
        device: str,
        clip: ClipInput,
        reply: ReplyConfig,
        seed: int = 0,
        by_likelihood: bool = False,
    ) -> None:
        super().__init__(_identified(name), device, trained_on(name, clip), reply, seed)
        if reply.closed not in WAYS:
            raise ConfigError(f"--reply.closed must be one of {', '.join(WAYS)} without --server, got {reply.closed!r}")
        self._by = reply.closed if reply.closed != "auto" else "likelihood" if by_likelihood else "choice"
        self.hf = HfModel.load(name, self.clip_input, device)
        self.training = training_record(stored_hub(name))

    @property
    def sent_as(self) -> str:
        """How clips are given to the processor."""
        return self.hf.sends

    @property
    def closed_by(self) -> str:
        """How options are chosen."""
        return self._by

    def complete(self, requests: Sequence[Request], keep: Keep) -> None:
        """Answer requests one by one."""
        for request in requests:
            try:
                frames = self.cut(request.question)
            except Unreadable as error:
                keep(request, self.unread(request, error), {})
                continue
            keep(request, self._reply(request, frames), {"frames": len(frames), "pixels": list(frames.shape[1:3])})

    @torch.inference_mode()
    def _reply(self, request: Request, frames: UInt8Array) -> Reply:
        begun = time.monotonic()
        labels = request.options.labels if request.options else []
        if labels and self._by == "likelihood":
            scores = self.likelihoods(frames, request.text, labels)
            seconds = round(time.monotonic() - begun, 3)
            return Reply(text=labels[scores.index(max(scores))], scores=scores, facts={"seconds": seconds})
        inputs = self.hf.inputs(frames, request.text)
        length = inputs["input_ids"].shape[1]
        config = copy.deepcopy(self.hf.model.generation_config)
        sampled = self.reply_config.temperature > 0
        heat = {"temperature": self.reply_config.temperature} if sampled else {"temperature": None}
        config.update(do_sample=sampled, max_new_tokens=self.reply_config.max_tokens, max_length=None, **heat)
        config.update(top_p=None, top_k=None if not sampled else 0)
        more: dict[str, Any] = {}
        if labels and self._by == "choice":
            more["prefix_allowed_tokens_fn"] = self._allowed(labels, length)
            config.update(max_new_tokens=1 + max(len(each) for each in self._label_ids(labels)))
        if sampled:
            torch.manual_seed(self.seed)
        chosen = ChosenTokens(NUM_LISTED if labels and self._by == "letters" else 0)
        more["logits_processor"] = LogitsProcessorList([chosen])
        made = self.hf.model.generate(**inputs, generation_config=config, **more)[0, length:]
        facts = {
            "input_tokens": length,
            "output_tokens": len(made),
            "seconds": round(time.monotonic() - begun, 3),
        }
        text = self.hf.processor.tokenizer.decode(made, skip_special_tokens=True)
        logprobs = chosen.logprobs(made[None])[0].tolist()
        if labels and self._by == "choice":
            # Of the labels alone, because nothing else may be written.
            return Reply(text=text, confidence=reply_confidence(logprobs, "choice"), facts=facts)
        tokens = self._tokens(made.tolist(), logprobs, chosen.listed)
        return Reply(text=text, confidence=confidence_of(request, text, tokens), facts=facts)

    def _tokens(
        self, ids: Sequence[int], logprobs: Sequence[float], listed: Sequence[Sequence[tuple[int, float]]]
    ) -> list[Token]:
        """Generated tokens with their texts; special ones, such as the end, have none."""

        def text(id: int) -> str:
            return str(self.hf.processor.tokenizer.decode([id], skip_special_tokens=True))

        others = [*listed[:NUM_TOKENS], *[()] * len(ids)]
        return [
            Token(text(id), logprob, tuple((text(other), value) for other, value in alternatives))
            for id, logprob, alternatives in zip(ids, logprobs, others, strict=False)
        ]

    def likelihoods(self, frames: UInt8Array, text: str, labels: Sequence[str]) -> tuple[float, ...]:
        """Log-likelihood of each of A labels, with the end token, as the answer to a text about a clip."""
        scored = []
        for label in labels:
            inputs = self.hf.inputs(frames, text, label)
            ids = inputs["input_ids"][0, 1:]
            logp = self.hf.model(**inputs).logits[0, :-1].float().log_softmax(-1)
            values = logp.gather(1, ids[:, None])[:, 0]
            scored.append(list(zip(ids.tolist(), values.tolist(), strict=True)))
        return option_scores(scored, self.hf.tail)

    # ---- options, token by token

    def _label_ids(self, labels: Sequence[str]) -> list[list[int]]:
        return [self.hf.answer_tokens(label) for label in labels]

    def _allowed(self, labels: Sequence[str], length: int) -> Any:
        """A function that lets the model write one of the labels only; a prompt of `length` tokens comes before."""
        end = self.hf.model.generation_config.eos_token_id
        ends = end if isinstance(end, list) else [end]
        paths = self._label_ids(labels)

        def allowed(_: int, ids: torch.Tensor) -> list[int]:
            done = ids[length:].tolist()
            fitting = [path for path in paths if path[: len(done)] == done]
            following = {path[len(done)] for path in fitting if len(path) > len(done)}
            finished = not fitting or any(len(path) == len(done) for path in fitting)
            return sorted(following | set(ends if finished else ()))

        return allowed


def _identified(name: str) -> str:
    """A name with a hash of the files' names, sizes and times, because a folder may get other weights."""
    folder = adapter_folder(name) or Path(name.removeprefix("hf:"))
    if not folder.is_dir():
        return name
    files = sorted(each for each in folder.iterdir() if each.suffix in (".json", ".safetensors"))
    states = [(each.name, each.stat().st_size, each.stat().st_mtime_ns) for each in files]
    return f"{name}@{text_hash(str(states))}"
