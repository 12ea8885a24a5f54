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
import shlex
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import torch
from serving_peers import (
    BATCH,
    MODELS,
    NEW_TOKENS,
    Asked,
    Timed,
    asked,
    built,
    by_likelihood,
    in_process,
    parts,
)

from surgvl import __version__
from surgvl.chat.question import to_text
from surgvl.core.files import write_text
from surgvl.core.tables import markdown_table
from surgvl.core.version import commit
from surgvl.data.formats.pitvis_qa import ANSWERS
from surgvl.models.chat import Chat
from surgvl.models.checkpoint import load_model, save_model
from surgvl.serve.payloads import video_part
from surgvl.video.clip import Preprocess

IN_FLIGHT = (1, 8, 32)
PER_CLIP = 12
NO_CACHE = ("--no-enable-prefix-caching", "--mm-processor-cache-gb", "0")


@contextmanager
def serving(folder: Path, extra: Sequence[str]) -> Iterator[str]:
    """`surgvl serve chat`; gives its address."""
    argv = [sys.executable, "-m", "surgvl", "serve", "chat", "--model", str(folder), "--port", "0"]
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
    parts = [video_part(clip), {"type": "text", "text": question}]
    out: dict[str, Any] = {"model": "surgvl-chat", "messages": [{"role": "user", "content": parts}], "temperature": 0}
    if closed:
        choices = [blank + to_text(each) for each in ANSWERS for blank in ("", " ")]
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


def equal(mine: Sequence[str], theirs: Sequence[str]) -> str:
    count = min(len(mine), len(theirs))
    return f"{sum(a == b for a, b in zip(mine, theirs, strict=False))} of {count}"


HEAD = ("way", "requests/s", "p50 ms", "p95 ms", "times one by one", "same answers")


def row(what: str, timed: Timed, base: float, same: str) -> list[str]:
    total, took, said = timed
    middle, late = np.percentile(took, [50, 95])
    rate = len(said) / total
    return [what, f"{rate:.2f}", f"{1000 * middle:.0f}", f"{1000 * late:.0f}", f"{rate / base:.2f}", same]


def beside(chat: Chat, todo: Sequence[Asked], few: int, closed: bool) -> tuple[list[list[str]], float, list[str]]:
    """Rows of the ways without a server, requests/s one by one, and the answers of batches."""
    one = in_process(chat, todo[:few], closed, 1)
    together = in_process(chat, todo, closed, BATCH)
    base = few / one[0]
    rows = [
        row("transformers, one by one", one, base, "-"),
        row(f"transformers, batches of {BATCH}", together, base, equal(together[2], one[2])),
    ]
    if closed:
        own = by_likelihood(chat, todo[:few])
        rows.append(row("surgvl in process, likelihoods", own, base, equal(own[2], one[2])))
    return rows, base, together[2]


def through(
    chat: Chat, url: str, todo: Sequence[Asked], few: int, closed: bool, seed: int, base: float, told: Sequence[str]
) -> tuple[list[list[str]], float]:
    """Rows of the server, and how many times the rate one by one it has at its busiest."""
    # Other clips than are timed; what is compiled or filled at the first request is there then.
    served(url, asked(chat, 4, seed + 100 + closed), closed, 2)
    rows, times = [], 0.0
    for number, in_flight in enumerate(IN_FLIGHT):
        # Each level has clips of its own, so that no cache knows them; those of the last are the peers'.
        last = in_flight == IN_FLIGHT[-1]
        count = few if number == 0 else len(todo) // 2
        timed = served(url, todo if last else asked(chat, count, seed + 10 + 20 * closed + number), closed, in_flight)
        same = equal(timed[2], told) if last else "-"
        rows.append(row(f"surgvl serve, {in_flight} in flight", timed, base, same))
        times = len(timed[2]) / timed[0] / base
    return rows, times


def measured(name: str, counts: tuple[int, int], place: Path, seed: int) -> str:
    """What is said of one model."""
    folder = place / name
    made = built(name)
    clip = Preprocess(num_frames=made.ready.num_frames, fps=2.0, size_px=made.ready.size_px)
    save_model(made, folder, clip)
    chat, _ = load_model(folder)
    assert isinstance(chat, Chat)
    millions = [sum(p.numel() for p in part.parameters()) / 1e6 for part in (chat.encoder, chat.language)]
    few, many = counts
    todo = {closed: asked(chat, many, seed + closed) for closed in (True, False)}
    made_of = parts(chat, todo[False][0])
    alone = {closed: beside(chat, each, few, closed) for closed, each in todo.items()}
    shared = asked(chat, 8 * PER_CLIP, seed + 7, PER_CLIP)
    tables: dict[bool, str] = {}
    times: dict[bool, float] = {}
    with serving(folder, ()) as url:
        for closed, each in todo.items():
            rows, base, told = alone[closed]
            more, times[closed] = through(chat, url, each, few, closed, seed, base, told)
            tables[closed] = "\n".join(markdown_table(HEAD, rows + more, right=HEAD[1:]))
        with_cache = served(url, shared, True, 8)
    with serving(folder, NO_CACHE) as url:
        served(url, asked(chat, 4, seed + 200), True, 2)
        without = served(url, shared, True, 8)
    gain = without[0] / with_cache[0]
    floor = {
        False: made_of["clip"] + made_of["prompt"] + (NEW_TOKENS - 1) * made_of[f"token of {BATCH}"],
        True: made_of["clip"] + made_of["prompt"],
    }
    listed = ", ".join(f"{key} {value:.1f} ms" for key, value in made_of.items() if key != "prompt tokens")
    best = {closed: 1000 / alone[closed][1] / floor[closed] for closed in (True, False)}
    return (
        f"## {name}: encoder {millions[0]:.1f} M, language model {millions[1]:.1f} M parameters\n\n"
        f"Prompts have {made_of['prompt tokens']:.0f} tokens, 32 of them visual; clips "
        f"{clip.num_frames} x {clip.size_px} x {clip.size_px}.\n\n"
        f"Closed, {len(ANSWERS)} answers:\n\n{tables[True]}\n\n"
        f"Open, {NEW_TOKENS} tokens:\n\n{tables[False]}\n\n"
        f"What an answer is made of, in transformers in this process: {listed}. Were clip, prompt and tokens all that "
        f"a server of distinct clips had to do, at that speed and with {BATCH} answers a step, it would be "
        f"{best[True]:.1f} times as fast as one by one for closed and {best[False]:.1f} times for open questions "
        f"(closed: no more than clip and prompt counted); measured with {IN_FLIGHT[-1]} in flight: "
        f"{times[True]:.1f} and {times[False]:.1f}.\n\n"
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
        f"`{shlex.join(['python', 'benchmarks/serving.py', *sys.argv[1:]])}` at {commit()}: "
        f"surgvl {__version__}, vLLM {vllm.__version__}, torch {torch.__version__}, {os.cpu_count()} CPU cores, "
        f"load before the last part {os.getloadavg()[0]:.1f}.\n\n" + "\n".join(found)
    )
    out = Path(__file__).parent / "results" / "serving.md"
    write_text(out, text)
    print(text)


if __name__ == "__main__":
    main()
