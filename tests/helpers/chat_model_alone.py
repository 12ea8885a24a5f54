"""vLLM's own engine on a chat folder, without a server: part of `vllm_alone`."""

import os
from typing import Any

os.environ.update(
    VLLM_ENABLE_V1_MULTIPROCESSING="0", VLLM_CPU_OMP_THREADS_BIND="nobind",
    VLLM_LOGGING_LEVEL="ERROR", VLLM_NO_USAGE_STATS="1",
)  # fmt: skip


def prompt(case: dict[str, Any]) -> dict[str, Any]:
    """A case as vLLM's engine takes it."""
    from PIL import Image

    media: dict[str, Any] = {}
    if case.get("embeds") is not None:
        media["video"] = case["embeds"][None]
    elif case["videos"]:
        media["video"] = [frames.numpy() for frames in case["videos"]]
    if case["images"]:
        media["image"] = [Image.fromarray(frame.numpy()) for frame in case["images"]]
    return {"prompt": case["text"], **({"multi_modal_data": media} if media else {})}


def answer(folder: str, cases: str) -> list[dict[str, Any]]:
    """Answers to cases of a file.

    Each case is a dict of `text`, lists `videos` and `images` of frames, or `embeds`, `adapter` (a folder or empty),
    `turn` and `num` tokens; for each there are prompt ids, token ids and their log-probabilities, or the message of
    what was refused.
    """
    import torch
    from vllm import LLM, SamplingParams
    from vllm.lora.request import LoRARequest

    asked = torch.load(cases, weights_only=True)
    # A budget below the length of a prompt: it is worked through in parts.
    engine: Any = LLM(
        folder, dtype="float32", enforce_eager=True, max_model_len=1024, max_num_seqs=16, max_num_batched_tokens=64,
        block_size=32, kv_cache_memory_bytes=1 << 26,
        limit_mm_per_prompt={"video": 4, "image": 4}, enable_prefix_caching=True, enable_mm_embeds=True,
        enable_lora=True, max_lora_rank=8,
    )  # fmt: skip
    adapters = {name: LoRARequest(name, 1, name) for name in {case.get("adapter") for case in asked} if name}
    found: list[Any] = [None] * len(asked)
    # What is asked in a later turn can find what an earlier one left in the cache.
    turns = [(turn, name) for turn in (0, 1) for name in ("", *adapters)]
    for turn, adapter in turns:
        numbers = [
            at
            for at, case in enumerate(asked)
            if (case.get("turn", 0), case["adapter"]) == (turn, adapter) and not case.get("refused")
        ]
        settings = [
            SamplingParams(temperature=0, max_tokens=asked[at]["num"], logprobs=0, ignore_eos=True) for at in numbers
        ]
        outputs = engine.generate(
            [prompt(asked[at]) for at in numbers], settings, use_tqdm=False, lora_request=adapters.get(adapter)
        )
        for at, output in zip(numbers, outputs, strict=True):
            best = output.outputs[0]
            logprobs = [float(each[token].logprob) for each, token in zip(best.logprobs, best.token_ids, strict=True)]
            found[at] = {
                "prompt": list(output.prompt_token_ids),
                "tokens": list(best.token_ids),
                "logprobs": logprobs,
                "cached": output.num_cached_tokens,
            }
    for at, case in enumerate(asked):
        if case.get("refused"):
            try:
                engine.generate([prompt(case)], SamplingParams(max_tokens=1), use_tqdm=False)
            except Exception as error:
                found[at] = {"refused": str(error)}
    return found
