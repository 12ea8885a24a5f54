"""Models and questions of `serving.py`, and ways to answer them without a server.

Peers are transformers' `generate`, one by one or in batches, with a trie of the 59 answers for closed questions, and
our likelihoods of all candidates after one shared prefix.
"""

import statistics
import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from transformers import AutoConfig, AutoModelForCausalLM

from surgvl.chat.answerers import candidate_scores
from surgvl.chat.template import answer_ids, user
from surgvl.data.formats.pitvis_qa import ANSWERS, STEPS
from surgvl.metrics.answer import to_text
from surgvl.models.chat import Chat, tiny_language_config
from surgvl.models.tokenizer import SentencePieceTokenizer
from surgvl.models.vit import VideoViT
from surgvl.models.vit_config import SIZES, ViTConfig
from surgvl.video.clip import Preprocess

# Encoder (size, frames, pixels) and language model: small as in the quickstart, or ViT-S and the size of SmolLM2-135M.
SMALL = {
    "hidden_size": 576,
    "intermediate_size": 1536,
    "num_hidden_layers": 30,
    "num_attention_heads": 9,
    "num_key_value_heads": 3,
}
MODELS: dict[str, tuple[tuple[str, int, int], dict[str, int]]] = {
    "phantom": (("Ti", 8, 64), {}),
    "small": (("S", 8, 112), SMALL),
    "small-224": (("S", 8, 224), SMALL),
}
NEW_TOKENS = 32
BATCH = 32
QUESTIONS = (
    "What is the surgical step shown in the image?",
    "What is the surgical phase shown in the image?",
    "What is the surgical operation shown in the image?",
    "How many instruments are present in the image?",
    "What surgical instruments are seen in the image?",
    *(f"Is the next step after this image {step.replace('_', ' ')}?" for step in STEPS[:7]),
)
ClipQuestion = tuple[Any, str]
Timed = tuple[float, list[float], list[str]]


def built(name: str) -> Chat:
    """A chat model with random weights whose greedy answers are far from ties."""
    torch.manual_seed(0)
    (size, frames, side), language = MODELS[name]
    dim, depth, heads, ratio = SIZES[size]
    encoder = VideoViT(ViTConfig(size_px=side, num_frames=frames, dim=dim, depth=depth, heads=heads, mlp_ratio=ratio))
    tokenizer = SentencePieceTokenizer()
    config = {**tiny_language_config(tokenizer), **language}
    model: Any = AutoModelForCausalLM.from_config(AutoConfig.for_model(**config))
    for parameter in model.parameters():
        if parameter.dim() > 1:
            torch.nn.init.normal_(parameter, std=0.06)
    chat = Chat.of(encoder, model, tokenizer, {"grid": [2, 4, 4]}, Preprocess(num_frames=frames, fps=2.0, size_px=side))
    chat.train(False)
    return chat


def draw_questions(chat: Chat, count: int, seed: int, per_clip: int = 1) -> list[ClipQuestion]:
    """Clips uint8 [T, S, S, 3] of coarse noise, each with `per_clip` questions."""
    rng = np.random.default_rng(seed)
    frames, side = chat.ready.num_frames, chat.ready.size_px
    out: list[ClipQuestion] = []
    for number in range(count // per_clip):
        coarse = rng.integers(0, 256, (frames, side // 8, side // 8, 3), dtype=np.uint8)
        clip = coarse.repeat(8, 1).repeat(8, 2)
        out += [(clip, QUESTIONS[(number + at) % len(QUESTIONS)]) for at in range(per_clip)]
    return out


def trie(chat: Chat) -> Callable[[int, torch.Tensor], list[int]]:
    """The tokens allowed after a generated prefix, for `generate`."""
    allowed: dict[tuple[int, ...], set[int]] = {}
    for answer in ANSWERS:
        ids = tuple(answer_ids(chat.ready, answer))
        for at, token in enumerate(ids):
            allowed.setdefault(ids[:at], set()).add(token)
    end = int(chat.ready.tokenizer.eos_token_id)
    return lambda _, ids: sorted(allowed.get(tuple(ids.tolist()), {end}))


def generated(chat: Chat, batch: Sequence[ClipQuestion], closed: bool) -> list[str]:
    """Answers from one call of `generate`."""
    texts = [chat.ready.render([user(question)]) for _, question in batch]
    given = chat.ready(texts, videos=[clip for clip, _ in batch])
    if closed:
        more: dict[str, Any] = {"prefix_allowed_tokens_fn": trie(chat)}
    else:
        more = {"min_new_tokens": NEW_TOKENS}
    with torch.inference_mode():
        out = chat.generate(**given, max_new_tokens=NEW_TOKENS, **more)
    tokenizer = chat.ready.tokenizer
    # Random weights generate bytes that are not valid text, so open answers are compared by their tokens.
    return [tokenizer.decode(row, skip_special_tokens=True).strip() if closed else str(row.tolist()) for row in out]


def in_process(chat: Chat, todo: Sequence[ClipQuestion], closed: bool, batch: int) -> Timed:
    """Total seconds, seconds of each call, and the answers."""
    generated(chat, todo[:1], closed)
    took, said = [], []
    for at in range(0, len(todo), batch):
        begun = time.perf_counter()
        said += generated(chat, todo[at : at + batch], closed)
        took.append(time.perf_counter() - begun)
    return sum(took), took, said


def by_likelihood(chat: Chat, todo: Sequence[ClipQuestion]) -> Timed:
    """Our own way with closed questions: all candidates side by side behind one prefix."""
    took, said = [], []
    for clip, question in todo:
        begun = time.perf_counter()
        with torch.inference_mode():
            pooled = chat.encode_visual(chat.ready.pixels(clip)[None])
            said.append(to_text(ANSWERS[int(candidate_scores(chat, pooled, question, ANSWERS).argmax())]))
        took.append(time.perf_counter() - begun)
    return sum(took), took, said


def parts(chat: Chat, one: ClipQuestion) -> dict[str, float]:
    """Milliseconds of what an answer is made of, medians of five, as transformers computes it."""
    given = chat.ready(chat.ready.render([user(one[1])]), videos=[one[0]])
    pixels = given["visuals"]

    def ms(work: Callable[[], Any]) -> float:
        work()
        took = []
        for _ in range(5):
            begun = time.perf_counter()
            work()
            took.append(1000 * (time.perf_counter() - begun))
        return statistics.median(took)

    with torch.inference_mode():
        pooled = chat.encode_visual(pixels)
        embedded = chat.embed(given["input_ids"], pooled)

        def step(size: int) -> Callable[[], Any]:
            first = chat.language(inputs_embeds=embedded.expand(size, -1, -1), use_cache=True)
            cache, token = first.past_key_values, torch.zeros(size, 1, dtype=torch.long)
            return lambda: chat.language(input_ids=token, past_key_values=cache)

        return {
            "clip": ms(lambda: chat.encode_visual(pixels)),
            "prompt": ms(lambda: chat.language(inputs_embeds=embedded, use_cache=True)),
            "token": ms(step(1)),
            f"token of {BATCH}": ms(step(BATCH)) / BATCH,
            "prompt tokens": float(embedded.shape[1]),
        }
