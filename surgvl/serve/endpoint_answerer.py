"""A general vision-language model behind any OpenAI-compatible address, as an answerer.

answerer = EndpointAnswerer(Endpoint("http://127.0.0.1:8000"), ClipInput(), ReplyConfig())
answerer.ask("operation.mp4", "Which instrument is used?", answers=["hook", "grasper"])
"""

from collections.abc import Sequence
from dataclasses import replace
from functools import cached_property, partial
from typing import Any

from surgvl.chat.option_scores import option_scores
from surgvl.chat.replies import Reply
from surgvl.chat.vision_language import Keep, Request, VisionLanguageAnswerer, confidence_of
from surgvl.chat.vision_language_config import ClipInput, ReplyConfig
from surgvl.core.arrays import UInt8Array
from surgvl.core.errors import Unreadable
from surgvl.serve.abilities import (
    Abilities,
    clip_parts,
    constraint,
    likelihood_body,
    media_fields,
    probe,
    prompt_tokens,
)
from surgvl.serve.endpoint import Endpoint, reply_of, text_message
from surgvl.serve.in_flight import in_order
from surgvl.serve.payloads import tokens_of

# Bytes of a reply that is constrained, besides the longest label: JSON's braces, quotes and field.
FRAME_BYTES = 24


class EndpointAnswerer(VisionLanguageAnswerer):
    """A model of an address.

    Args:
        endpoint: the address, with the model.
        clip: what the model is shown.
        reply: how it replies.
        seed: of sampling, and of the order of options.
        by_likelihood: choose among options by their likelihood, with one request for each, where the address offers it.
    """

    def __init__(
        self, endpoint: Endpoint, clip: ClipInput, reply: ReplyConfig, seed: int = 0, by_likelihood: bool = False
    ) -> None:
        super().__init__(endpoint.model, endpoint.url, clip, reply, seed)
        self.endpoint, self.by_likelihood = endpoint, by_likelihood and reply.closed == "auto"

    @cached_property
    def abilities(self) -> Abilities:
        """What the address can do; found out at the first question."""
        return probe(self.endpoint, self.clip_input, self.reply_config, self.by_likelihood)

    @property
    def sent_as(self) -> str:
        """How clips are sent."""
        return self.abilities.sends

    @property
    def closed_by(self) -> str:
        """How options are chosen."""
        return self.abilities.closed

    @property
    def facts(self) -> dict[str, Any]:
        """What is sent with every question, and the server's build."""
        return {**super().facts, "server": self.abilities.version}

    def complete(self, requests: Sequence[Request], keep: Keep) -> None:
        """Send requests, several at a time."""

        def one(request: Request) -> None:
            try:
                frames = self.cut(request.question)
            except Unreadable as error:
                keep(request, self.unread(request, error), {})
                return
            sent = {"server": self.abilities.version, "frames": len(frames), "pixels": list(frames.shape[1:3])}
            keep(request, self._reply(request, frames), sent)

        for _ in in_order(one, requests, self.endpoint.in_flight):
            pass

    def _reply(self, request: Request, frames: UInt8Array) -> Reply:
        can = self.abilities
        parts = clip_parts(frames, self.preprocess.fps, can.sends)
        messages = text_message([*parts, {"type": "text", "text": request.text}])
        more = media_fields(len(frames), self.preprocess.fps) if can.media_kwargs and len(frames) else {}
        if request.options and can.closed == "likelihood":
            return self._scored(messages, request.options.labels, more)
        fields = self.reply_config.sampling(self.seed)
        if request.options and can.closed != "letters":
            labels = request.options.labels
            more |= constraint(can.closed, labels)
            # A token has at least one byte.
            fields["max_tokens"] = max(fields["max_tokens"], max(len(each.encode()) for each in labels) + FRAME_BYTES)
        more |= can.token_fields(request.options is not None, fields["max_tokens"])
        return self.endpoint.complete(
            {"messages": messages, **can.sampling(fields), **more}, partial(_read, request, can.closed != "letters")
        )

    def _scored(self, messages: list[dict[str, Any]], labels: Sequence[str], more: dict[str, Any]) -> Reply:
        """A reply by the likelihood of each label, with one request for each."""
        prompts, facts = [], {"seconds": 0.0, "input_tokens": 0, "tries": 0}
        for label in labels:
            scored: list[list[tuple[int, float]]] = []

            def read(got: Any, scored: list[list[tuple[int, float]]] = scored) -> Reply:
                scored.append(prompt_tokens(got))
                return reply_of(got)

            reply = self.endpoint.complete({**likelihood_body(messages, label), **more}, read)
            if not scored:
                return reply
            prompts.append(scored[-1])
            facts = {name: round(value + (reply.facts.get(name) or 0), 3) for name, value in facts.items()}
        scores = option_scores(prompts, self.abilities.tail)
        return Reply(text=labels[scores.index(max(scores))], scores=scores, facts=facts)


def _read(request: Request, held: bool, got: Any) -> Reply:
    """The reply in a response to a question, with how sure the model is of it."""
    reply = reply_of(got)
    sure = None if reply.problem else confidence_of(request, reply.text, tokens_of(got), held)
    return replace(reply, confidence=sure)
