"""Processor of a chat model: messages with images and videos to token ids and pixels.

The templated text has one mark per visual, `<video>` or `<image>`. Each is expanded, time group by time group, to its
time as text (`0.5s`, from the start of the clip) and one placeholder per visual token. An image is a clip of one
repeated frame without times.
Shapes: B texts, L tokens of the longest, N visuals in the order of their marks, T frames, S side in pixels.
"""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import torch
from transformers import BatchFeature, PreTrainedTokenizerBase
from transformers.processing_utils import ProcessorMixin

from surgvl.core.arrays import UInt8Array
from surgvl.core.errors import ConfigError, DataError
from surgvl.video.clip import resample_frames

VIDEO, IMAGE = "<video>", "<image>"
# Template for tokenizers without one, in the format of models trained before messages were supported:
# `question: ... answer: ...`.
TEMPLATE = (
    "{{- bos_token -}}"
    "{%- for message in messages -%}"
    "{%- if message['content'] is string -%}{%- set text = message['content'] -%}{%- set marks = '' -%}"
    "{%- else -%}{%- set ns = namespace(text='', marks='') -%}"
    "{%- for part in message['content'] -%}"
    "{%- if part['type'] == 'text' -%}{%- set ns.text = ns.text + part['text'] -%}"
    "{%- elif 'video' in part['type'] -%}{%- set ns.marks = ns.marks + '<video>' -%}"
    "{%- else -%}{%- set ns.marks = ns.marks + '<image>' -%}{%- endif -%}"
    "{%- endfor -%}{%- set text = ns.text -%}{%- set marks = ns.marks -%}{%- endif -%}"
    "{%- if message['role'] == 'assistant' -%}{{- ' ' + text + eos_token -}}"
    "{%- elif message['role'] == 'user' -%}{{- marks + 'question: ' + text + ' answer:' -}}"
    "{%- else -%}{{- marks + text + ' ' -}}{%- endif -%}"
    "{%- endfor -%}"
)
# Wraps a text-only template: message parts are flattened to text first, marks before words.
_FLATTEN = (
    "{%- set flat = namespace(messages=[]) -%}"
    "{%- for message in messages -%}"
    "{%- set ns = namespace(text='', marks='') -%}"
    "{%- if message['content'] is string -%}{%- set ns.text = message['content'] -%}"
    "{%- else -%}{%- for part in message['content'] -%}"
    "{%- if part['type'] == 'text' -%}{%- set ns.text = ns.text + part['text'] -%}"
    "{%- elif 'video' in part['type'] -%}{%- set ns.marks = ns.marks + '<video>' -%}"
    "{%- else -%}{%- set ns.marks = ns.marks + '<image>' -%}{%- endif -%}"
    "{%- endfor -%}{%- endif -%}"
    "{%- set one = {'role': message['role'], 'content': ns.marks + ns.text} -%}"
    "{%- set flat.messages = flat.messages + [one] -%}"
    "{%- endfor -%}{%- set messages = flat.messages -%}"
)


def with_marks(tokenizer: PreTrainedTokenizerBase) -> PreTrainedTokenizerBase:
    """Add the two marks, and a chat template that handles them, to a tokenizer in place, where missing.

    Raises:
        ConfigError: its chat template has several variants, none of which is the default.
    """
    vocabulary = tokenizer.get_vocab()
    if missing := [mark for mark in (IMAGE, VIDEO) if mark not in vocabulary]:
        tokenizer.add_special_tokens({"extra_special_tokens": missing}, replace_extra_special_tokens=False)
    template: Any = tokenizer.chat_template
    if isinstance(template, dict):
        if "default" not in template:
            raise ConfigError(f"no default among the chat templates {', '.join(template)}: set tokenizer.chat_template")
        template = template["default"]
    if not template:
        tokenizer.chat_template = TEMPLATE
    elif VIDEO not in template:
        tokenizer.chat_template = _FLATTEN + template
    return tokenizer


class SurgVLProcessor(ProcessorMixin):
    """Tokenizes messages and resamples frames for a chat model.

    Args:
        tokenizer: with the marks, see `with_marks`.
        num_frames: T.
        fps: frames per second of video time.
        size_px: S.
        num_groups: time groups of a visual.
        group_size: visual tokens of a group.
        chat_template: None: the tokenizer's.
    """

    tokenizer: Any

    def __init__(
        self,
        tokenizer: PreTrainedTokenizerBase,
        num_frames: int,
        fps: float,
        size_px: int,
        num_groups: int,
        group_size: int,
        chat_template: str | None = None,
    ):
        self.num_frames, self.fps, self.size_px = num_frames, fps, size_px
        self.num_groups, self.group_size = num_groups, group_size
        own = chat_template or tokenizer.chat_template
        super().__init__(tokenizer, chat_template=own)  # type: ignore[no-untyped-call]
        ids: Any = tokenizer.convert_tokens_to_ids([VIDEO, IMAGE])
        self.video_id, self.image_id = ids

    @property
    def num_tokens(self) -> int:
        """Visual tokens of one visual, V."""
        return self.num_groups * self.group_size

    # ---- text

    def render(self, messages: Sequence[dict[str, Any]], add_generation_prompt: bool = True) -> str:
        """Messages as text, with one mark per visual; see transformers' chat templates."""
        text: str = self.tokenizer.apply_chat_template(
            list(messages),
            tokenize=False,
            add_generation_prompt=add_generation_prompt,
            chat_template=self.chat_template,
        )
        return text

    def encode(self, text: str) -> list[int]:
        """Token ids of a templated text; nothing is added, marks are not expanded."""
        ids: list[int] = self.tokenizer.encode(text, add_special_tokens=False)
        return ids

    def times_s(self, frames_s: Sequence[float] | None = None) -> list[float]:
        """Centre of each time group, seconds, for frames at these times or for a clip from its start."""
        at = [(frame + 0.5) / self.fps for frame in range(self.num_frames)] if frames_s is None else list(frames_s)
        edges = np.linspace(0, len(at), self.num_groups + 1)
        return [float(np.mean(at[int(a) : max(int(a) + 1, int(b))])) for a, b in zip(edges, edges[1:], strict=False)]

    def places(self, mark: int, times_s: Sequence[float] | None = None) -> list[int]:
        """Token ids of one expanded visual, of which `num_tokens` are `mark`."""
        if mark == self.image_id:
            return [mark] * self.num_tokens
        ids = []
        for time_s in self.times_s() if times_s is None else times_s:
            ids += [*self.encode(f"{time_s:.1f}s"), *[mark] * self.group_size]
        return ids

    def expand(self, ids: Sequence[int], times_s: Iterator[Sequence[float] | None] | None = None) -> list[int]:
        """Expand each mark."""
        out: list[int] = []
        for token in ids:
            if token == self.image_id:
                out += self.places(token)
            elif token == self.video_id:
                out += self.places(token, None if times_s is None else next(times_s))
            else:
                out.append(token)
        return out

    # ---- pixels

    def pixels(self, frames: UInt8Array) -> torch.Tensor:
        """Resample frames uint8 [F, H, W, 3], or one image [H, W, 3], to a clip uint8 [3, T, S, S].

        Raises:
            DataError: not such an array.
        """
        clip = resample_frames(frames[None] if frames.ndim == 3 else frames, self.num_frames, self.size_px)
        return torch.from_numpy(clip).permute(3, 0, 1, 2)

    # ---- both

    def __call__(
        self,
        text: str | Sequence[str],
        videos: Sequence[UInt8Array] = (),
        images: Sequence[UInt8Array] = (),
        times_s: Sequence[Sequence[float]] | None = None,
    ) -> BatchFeature:
        """Templated texts and their visuals.

        Args:
            text: one or B texts with marks, as `render` gives them.
            videos: frames uint8 [F, H, W, 3] of each `<video>`, in order over all texts.
            images: uint8 [H, W, 3] of each `<image>`, in order over all texts.
            times_s: times of each video's frames, [F] seconds; None: from the start of the clip.

        Returns:
            `input_ids` and `attention_mask` int64 [B, L], left-padded for generation, and `visuals`
            uint8 [N, 3, T, S, S].

        Raises:
            DataError: marks and visuals differ in number, or an array does not hold frames.
        """
        texts = [text] if isinstance(text, str) else list(text)
        bare = [self.encode(each) for each in texts]
        order = [token for ids in bare for token in ids if token in (self.video_id, self.image_id)]
        for mark, name, given in ((self.video_id, VIDEO, videos), (self.image_id, IMAGE, images)):
            if order.count(mark) != len(given):
                raise DataError(
                    f"the text has {order.count(mark)} marks {name}, got {len(given)} visuals: give one per mark"
                )
        left = {self.video_id: iter(videos), self.image_id: iter(images)}
        clips = [self.pixels(np.asarray(next(left[mark]))) for mark in order]
        middles = None if times_s is None else iter([self.times_s(each) for each in times_s])
        rows = [self.expand(ids, middles) for ids in bare]
        longest = max(map(len, rows))
        pad = self.tokenizer.pad_token_id if self.tokenizer.pad_token_id is not None else self.tokenizer.eos_token_id
        out = {
            "input_ids": torch.tensor([[pad] * (longest - len(row)) + row for row in rows]),
            "attention_mask": torch.tensor([[0] * (longest - len(row)) + [1] * len(row) for row in rows]),
        }
        if clips:
            out["visuals"] = torch.stack(clips)
        return BatchFeature(out)
