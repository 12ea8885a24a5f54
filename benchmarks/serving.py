"""Questions about video through `surgvl serve` against transformers' `generate`: the same weights, the same prompts.

    python benchmarks/serving.py [--models phantom small] [--seed 0]

Closed questions have PitVQA's 59 answers (the server's constrained choice; peers: `generate` over a trie of the same
tokens), open ones get 32 tokens. Every question has a clip of its own, except in the part on a shared clip: PitVQA's
kinds of question, 12 for each clip, with vLLM's caches of prefixes and of clips and without any.
Peers get pixels, the server gets PNGs over HTTP and gives JSON; both sides run alone, one after the other, in one run.
Weights are random, so that the work is real and the answers mean nothing. Open answers are compared token by token; a
closed one may be spelt by other tokens through the server, as random weights often do. Writes
benchmarks/results/serving.md.
"""

import argparse
import os
import re
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import torch
from transformers import AutoConfig, AutoModelForCausalLM

from surgvl import __version__
from surgvl.chat.answer import choose
from surgvl.chat.template import answer_ids, user, words
from surgvl.data.pitvis_qa import ANSWERS, STEPS
from surgvl.io import write_text
from surgvl.models.chat import Chat, tiny_language_config
from surgvl.models.folder import Preprocess, load_model, save_model
from surgvl.models.tokenizer import SentencePieceTokenizer
from surgvl.models.video_vit import SIZES, VideoViT
from surgvl.serve.wire import video

# Encoder (size, frames, side), language model: small as in the quickstart, or ViT-S and SmolLM2-135M's shape.
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
IN_FLIGHT = (1, 8, 32)
BATCH = 32
PER_CLIP = 12
QUESTIONS = (
    "What is the surgical step shown in the image?",
    "What is the surgical phase shown in the image?",
    "What is the surgical operation shown in the image?",
    "How many instruments are present in the image?",
    "What surgical instruments are seen in the image?",
    *(f"Is the next step after this image {step.replace('_', ' ')}?" for step in STEPS[:7]),
)
NO_CACHE = ("--no-enable-prefix-caching", "--mm-processor-cache-gb", "0")
Asked = tuple[Any, str]
Timed = tuple[float, list[float], list[str]]


def built(name: str) -> Chat:
    """A chat model of random weights, whose greedy answers are far from ties."""
    torch.manual_seed(0)
    (size, frames, side), language = MODELS[name]
    dim, depth, heads, ratio = SIZES[size]
    encoder = VideoViT(size_px=side, num_frames=frames, dim=dim, depth=depth, heads=heads, mlp_ratio=ratio)
    tokenizer = SentencePieceTokenizer()
    config = {**tiny_language_config(tokenizer), **language}
    model: Any = AutoModelForCausalLM.from_config(AutoConfig.for_model(**config))  # type: ignore[no-untyped-call]
    for parameter in model.parameters():
        if parameter.dim() > 1:
            torch.nn.init.normal_(parameter, std=0.06)
    chat = Chat.of(encoder, model, tokenizer, {"grid": [2, 4, 4]}, fps=2.0)
    chat.train(False)
    return chat


def asked(chat: Chat, count: int, seed: int, per_clip: int = 1) -> list[Asked]:
    """Clips uint8 [T, S, S, 3] of coarse noise, each with `per_clip` questions."""
    rng = np.random.default_rng(seed)
    frames, side = chat.ready.num_frames, chat.ready.size_px
    out: list[Asked] = []
    for number in range(count // per_clip):
        coarse = rng.integers(0, 256, (frames, side // 8, side // 8, 3), dtype=np.uint8)
        clip = coarse.repeat(8, 1).repeat(8, 2)
        out += [(clip, QUESTIONS[(number + at) % len(QUESTIONS)]) for at in range(per_clip)]
    return out


# ---- transformers


def trie(chat: Chat) -> Callable[[int, torch.Tensor], list[int]]:
    """Which tokens may follow what was generated, for `generate`."""
    allowed: dict[tuple[int, ...], set[int]] = {}
    for answer in ANSWERS:
        ids = tuple(answer_ids(chat.ready, answer))
        for at, token in enumerate(ids):
            allowed.setdefault(ids[:at], set()).add(token)
    end = int(chat.ready.tokenizer.eos_token_id)
    return lambda _, ids: sorted(allowed.get(tuple(ids.tolist()), {end}))


def generated(chat: Chat, batch: Sequence[Asked], closed: bool) -> list[str]:
    """Answers of one call of `generate`."""
    texts = [chat.ready.render([user(question)]) for _, question in batch]
    given = chat.ready(texts, videos=[clip for clip, _ in batch])
    if closed:
        more: dict[str, Any] = {"prefix_allowed_tokens_fn": trie(chat)}
    else:
        more = {"min_new_tokens": NEW_TOKENS}
    with torch.inference_mode():
        out = chat.generate(**given, max_new_tokens=NEW_TOKENS, **more)
    tokenizer = chat.ready.tokenizer
    # Random weights write bytes that are no text, so open answers are compared by their tokens.
    return [tokenizer.decode(row, skip_special_tokens=True).strip() if closed else str(row.tolist()) for row in out]


def in_process(chat: Chat, todo: Sequence[Asked], closed: bool, batch: int) -> Timed:
    """Seconds in all, of each call, and the answers."""
    generated(chat, todo[:1], closed)
    took, said = [], []
    for at in range(0, len(todo), batch):
        begun = time.perf_counter()
        said += generated(chat, todo[at : at + batch], closed)
        took.append(time.perf_counter() - begun)
    return sum(took), took, said


def by_likelihood(chat: Chat, todo: Sequence[Asked]) -> Timed:
    """Our own way with closed questions: all candidates side by side behind one prefix."""
    took, said = [], []
    for clip, question in todo:
        begun = time.perf_counter()
        with torch.inference_mode():
            pooled = chat.see(chat.ready.pixels(clip)[None])
            said += [words(each) for each in choose(chat, pooled, question, ANSWERS)]
        took.append(time.perf_counter() - begun)
    return sum(took), took, said


def parts(chat: Chat, one: Asked) -> dict[str, float]:
    """Milliseconds of what an answer is made of, medians of five: nobody can answer in less."""
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
        pooled = chat.see(pixels)
        embedded = chat.embed(given["input_ids"], pooled)

        def step(size: int) -> Callable[[], Any]:
            first = chat.language(inputs_embeds=embedded.expand(size, -1, -1), use_cache=True)
            cache, token = first.past_key_values, torch.zeros(size, 1, dtype=torch.long)
            return lambda: chat.language(input_ids=token, past_key_values=cache)

        return {
            "clip": ms(lambda: chat.see(pixels)),
            "prompt": ms(lambda: chat.language(inputs_embeds=embedded, use_cache=True)),
            "token": ms(step(1)),
            f"token of {BATCH}": ms(step(BATCH)) / BATCH,
            "prompt tokens": float(embedded.shape[1]),
        }


# ---- the server


@contextmanager
def serving(folder: Path, extra: Sequence[str]) -> Iterator[str]:
    """`surgvl serve chat`; gives its address."""
    argv = [sys.executable, "-m", "surgvl.cli", "serve", "chat", "--model", str(folder), "--port", "0"]
    argv += ["--engine_args", "--max-model-len", "1024", "--max-num-seqs", "32", *extra]
    process = subprocess.Popen(argv, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        said = ""
        while "Ctrl-C" not in said:
            line = process.stdout.readline()
            if not line:
                sys.exit(f"the server did not start:\n{said}")
            said += line
        found = re.search(r"at (http://\S+)/v1", said)
        assert found
        yield found[1]
    finally:
        process.send_signal(signal.SIGINT)
        process.wait(60)


def body(one: Asked, closed: bool) -> dict[str, Any]:
    """A request."""
    clip, question = one
    parts = [video(clip), {"type": "text", "text": question}]
    out: dict[str, Any] = {"model": "surgvl-chat", "messages": [{"role": "user", "content": parts}], "temperature": 0}
    if closed:
        choices = [blank + words(each) for each in ANSWERS for blank in ("", " ")]
        return {**out, "max_tokens": 160, "structured_outputs": {"choice": choices}}
    return {**out, "max_tokens": NEW_TOKENS, "min_tokens": NEW_TOKENS, "return_token_ids": True}


def served(url: str, todo: Sequence[Asked], closed: bool, in_flight: int) -> Timed:
    """The same through the server; requests are written beforehand."""
    bodies = [body(one, closed) for one in todo]
    limits = httpx.Limits(max_connections=in_flight)
    with httpx.Client(base_url=url, timeout=600, limits=limits) as client, ThreadPoolExecutor(in_flight) as pool:

        def ask(each: dict[str, Any]) -> tuple[float, str]:
            begun = time.perf_counter()
            answer = client.post("/v1/chat/completions", json=each).raise_for_status().json()
            choice = answer["choices"][0]
            said = choice["message"]["content"].strip() if closed else str(choice["token_ids"])
            return time.perf_counter() - begun, said

        begun = time.perf_counter()
        found = list(pool.map(ask, bodies))
        return time.perf_counter() - begun, [took for took, _ in found], [said for _, said in found]


# ---- the table


def equal(mine: Sequence[str], theirs: Sequence[str]) -> str:
    count = min(len(mine), len(theirs))
    return f"{sum(a == b for a, b in zip(mine, theirs, strict=False))} of {count}"


def row(what: str, timed: Timed, base: float, same: str) -> str:
    total, took, said = timed
    middle, late = np.percentile(took, [50, 95])
    rate = len(said) / total
    return f"| {what} | {rate:.2f} | {1000 * middle:.0f} | {1000 * late:.0f} | {rate / base:.2f} | {same} |"


def measured(name: str, counts: tuple[int, int], place: Path, seed: int) -> str:
    folder = place / name
    made = built(name)
    clip = Preprocess(num_frames=made.ready.num_frames, fps=2.0, size_px=made.ready.size_px)
    save_model(made, folder, clip)
    chat, _ = load_model(folder)
    assert isinstance(chat, Chat)
    millions = [sum(p.numel() for p in part.parameters()) / 1e6 for part in (chat.encoder, chat.language)]
    few, many = counts
    tables: dict[bool, list[str]] = {}
    bases: dict[bool, float] = {}
    told: dict[bool, list[str]] = {}
    todo = {closed: asked(chat, many, seed + closed) for closed in (True, False)}
    made_of = parts(chat, todo[False][0])
    for closed, each in todo.items():
        one = in_process(chat, each[:few], closed, 1)
        together = in_process(chat, each, closed, BATCH)
        bases[closed], told[closed] = few / one[0], together[2]
        rows = [
            row("transformers, one by one", one, bases[closed], "-"),
            row(f"transformers, batches of {BATCH}", together, bases[closed], equal(together[2], one[2])),
        ]
        if closed:
            own = by_likelihood(chat, each[:few])
            rows.append(row("surgvl in process, likelihoods", own, bases[closed], equal(own[2], one[2])))
        tables[closed] = rows
    shared = asked(chat, 8 * PER_CLIP, seed + 7, PER_CLIP)
    spread = {True: "", False: ""}
    with serving(folder, ()) as url:
        for closed, each in todo.items():
            # Other clips than are timed; what is compiled or filled at the first request is there then.
            served(url, asked(chat, 4, seed + 100 + closed), closed, 2)
            for number, in_flight in enumerate(IN_FLIGHT):
                # Each level has clips of its own, so that no cache knows them; those of the last are the peers'.
                last = in_flight == IN_FLIGHT[-1]
                own_clips = (
                    each if last else asked(chat, few if number == 0 else many // 2, seed + 10 + 20 * closed + number)
                )
                timed = served(url, own_clips, closed, in_flight)
                same = equal(timed[2], told[closed]) if last else "-"
                tables[closed].append(row(f"surgvl serve, {in_flight} in flight", timed, bases[closed], same))
                if last:
                    spread[closed] = f"{(len(timed[2]) / timed[0]) / bases[closed]:.1f}"
        with_cache = served(url, shared, True, 8)
    with serving(folder, NO_CACHE) as url:
        served(url, asked(chat, 4, seed + 200), True, 2)
        without = served(url, shared, True, 8)
    del chat
    gain = without[0] / with_cache[0]
    floor = {
        False: made_of["clip"] + made_of["prompt"] + (NEW_TOKENS - 1) * made_of[f"token of {BATCH}"],
        True: made_of["clip"] + made_of["prompt"],
    }
    head = "| way | requests/s | p50 ms | p95 ms | times one by one | same answers |\n|---|---|---|---|---|---|\n"
    listed = ", ".join(f"{key} {value:.1f} ms" for key, value in made_of.items() if key != "prompt tokens")
    best = {closed: 1000 / bases[closed] / floor[closed] for closed in (True, False)}
    return (
        f"## {name}: encoder {millions[0]:.1f} M, language model {millions[1]:.1f} M parameters\n\n"
        f"Prompts have {made_of['prompt tokens']:.0f} tokens, 32 of them visual; clips "
        f"{clip.num_frames} x {clip.size_px} x {clip.size_px}.\n\n"
        f"Closed, {len(ANSWERS)} answers:\n\n{head}" + "\n".join(tables[True]) + "\n\n"
        f"Open, {NEW_TOKENS} tokens:\n\n{head}" + "\n".join(tables[False]) + "\n\n"
        f"What an answer is made of, in transformers in this process: {listed}. Were clip, prompt and tokens all that "
        f"a server of distinct clips had to do, at that speed and with {BATCH} answers a step, it would be "
        f"{best[True]:.1f} times as fast as one by one for closed and {best[False]:.1f} times for open questions "
        f"(closed: no more than clip and prompt counted); measured with {IN_FLIGHT[-1]} in flight: {spread[True]} and "
        f"{spread[False]}.\n\n"
        f"One clip, {PER_CLIP} closed questions each, 8 in flight: {len(shared) / with_cache[0]:.2f} requests/s with "
        f"caches, {len(shared) / without[0]:.2f} without (`{' '.join(NO_CACHE)}`): **{gain:.1f} times**; "
        f"same answers {equal(with_cache[2], without[2])}.\n"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", nargs="+", choices=MODELS, default=list(MODELS))
    parser.add_argument("--few", type=int, default=12, help="requests that are asked one by one")
    parser.add_argument("--many", type=int, default=96, help="requests of the largest level")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    torch.set_num_threads(os.cpu_count() or 1)
    import vllm

    with tempfile.TemporaryDirectory() as place:
        found = [measured(name, (args.few, args.many), Path(place), args.seed) for name in args.models]
    text = (
        "# Serving\n\nWritten by `python benchmarks/serving.py`. Random weights, float32; the rates are real, the "
        "answers mean nothing. Open answers are compared token by token with those of batches; closed ones by their "
        "words, which the server may spell by other tokens, as random weights often do: there they need not be the "
        "same.\n\n"
        f"surgvl {__version__}, vLLM {vllm.__version__}, torch {torch.__version__}, {os.cpu_count()} CPU cores, "
        f"load before the last part {os.getloadavg()[0]:.1f}.\n\n" + "\n".join(found)
    )
    out = Path(__file__).parent / "results" / "serving.md"
    write_text(out, text)
    print(text)


if __name__ == "__main__":
    main()
