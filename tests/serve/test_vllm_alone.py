"""Both models in vLLM without a server against our own: token ids, log-probabilities, vectors; and the plug-in."""

import json
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from surgvl.chat.question_rows import window_frames, window_of
from surgvl.chat.template import prompt_ids, user
from surgvl.commands.common import frame_store
from surgvl.data.manifest import Manifest
from surgvl.models.chat import Chat
from surgvl.models.checkpoint import load_model, save_model
from surgvl.serve import plugin
from surgvl.serve.prepare_model import prepare_model
from tests.helpers import made_published, made_transformers
from tests.helpers.made_duals import old_folder, other_towers, tiny_dual
from tests.helpers.patience import patience
from tests.helpers.vllm_forks import VllmForks

QUESTIONS, TOKENS, BLOCK = 24, 8, 32


@dataclass
class Served:
    """What was asked and what the engine said, with the model that it serves, and checks of the embedding model."""

    chat: Chat
    merged: Chat
    cases: dict[str, list[dict[str, Any]]]
    said: dict[str, list[dict[str, Any]]]
    embed: dict[str, Any]


def loud(chat: Chat) -> None:
    """Weights larger than the initial ones, so that different clips get different answers."""
    generator = torch.Generator().manual_seed(0)
    for name, parameter in chat.named_parameters():
        if parameter.dim() > 1 and not name.startswith("encoder."):
            parameter.data.normal_(0, 0.3 if name.startswith("projector.") else 0.06, generator=generator)


def own_tokens(chat: Chat, case: dict[str, Any], said: list[int]) -> tuple[list[int], list[float]]:
    """The likeliest token after each beginning of what was said, and its log-probability, without a cache.

    By one full forward pass: where they are what was said, they are also what our own model would have said.
    """
    given = chat.ready(
        case["text"], videos=[each.numpy() for each in case["videos"]], images=[each.numpy() for each in case["images"]]
    )
    ids: list[int] = given["input_ids"][0].tolist()
    with torch.inference_mode():
        pooled = chat.encode_visual(given["visuals"]) if "visuals" in given else None
        logits = chat(torch.tensor([ids + said[:-1]]), pooled=pooled).logits[0, len(ids) - 1 :]
    logprobs, tokens = logits.log_softmax(-1).max(-1)
    assert len(tokens) == len(said) == case["num"]
    return tokens.tolist(), logprobs.tolist()


def phantom_cases(chat: Chat, run: Path) -> list[dict[str, Any]]:
    """Questions of the rendered videos, each about its second."""
    table = Manifest.load(run / "manifest")
    _, preprocess = load_model(run / "tune")
    store, _ = frame_store(table, table.video_ids(), preprocess, None)
    rows = table.qa_table.to_pylist()
    found = []
    for row in rows[:: max(1, len(rows) // QUESTIONS)][:QUESTIONS]:
        clip = window_frames(store, window_of(row))
        text = chat.ready.render([user(row["question"])])
        found.append(case(text, [torch.from_numpy(np.ascontiguousarray(clip))], question=row["question"]))
    return found


def case(text: str, videos: list[Tensor], images: list[Tensor] | None = None, **more: Any) -> dict[str, Any]:
    return {"text": text, "videos": videos, "images": images or [], "num": TOKENS, "adapter": "", **more}


def adapted(folder: Path, out: Path) -> Chat:
    """A LoRA adapter of the language model, written to a folder, and the model with it merged."""
    from peft import LoraConfig, get_peft_model

    chat, _ = load_model(folder)
    names = r"language\..*\.(q_proj|k_proj|v_proj|o_proj|gate_proj|up_proj|down_proj)"
    wrapped: Any = get_peft_model(chat, LoraConfig(r=4, lora_alpha=8, target_modules=names))
    torch.manual_seed(1)
    for name, parameter in wrapped.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(parameter, std=0.2)
    wrapped.save_pretrained(out)
    merged = wrapped.merge_and_unload()
    assert isinstance(merged, Chat)
    return merged


@pytest.fixture(scope="module")
def served(tiny_run: Path, vllm_forks: VllmForks, tmp_path_factory: pytest.TempPathFactory) -> Served:
    assert metadata.entry_points(group="vllm.general_plugins", name="surgvl"), "install surgvl again: no entry point"
    place = tmp_path_factory.mktemp("chat")
    chat, preprocess = load_model(tiny_run / "tune")
    assert isinstance(chat, Chat)
    loud(chat)
    save_model(chat, place / "model", preprocess)
    merged = adapted(place / "model", place / "adapter")
    seed = torch.Generator().manual_seed(2)
    one, two, third = torch.randint(0, 256, (3, 8, 64, 64, 3), dtype=torch.uint8, generator=seed)
    image = torch.randint(0, 256, (80, 48, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(3))
    render = chat.ready.render
    plain = render([user("what is happening?")])
    many = ({"type": "video"}, {"type": "image"}, {"type": "video"})
    turns = [
        {"role": "system", "content": "be brief"},
        user("which phase is it?"),
        {"role": "assistant", "content": "preparation"},
        {"role": "user", "content": "how many instruments are there?"},
    ]
    with torch.inference_mode():
        embeds = chat.projector(chat.encode_visual(third.permute(3, 0, 1, 2)[None]))[0]
    cases = {
        "phantom": phantom_cases(chat, tiny_run),
        "mixed": [case(render([user("compare them", many)]), [one, two], [image]), case(render(turns), [two])],
        "bare": [case(render([user("no picture?", ())]), [])],
        "again": [case(plain, [third]), case(plain, [third], turn=1)],
        "embeds": [case(plain, [third], embeds=embeds)],
        "adapter": [case(plain, [third], adapter=str(place / "adapter"))],
        "refused": [
            case(plain, [one], embeds=embeds[:5], refused=True),
            case(plain, [one, two], refused=True),
            case(render([user("none", ())]), [one], refused=True),
        ],
    }
    torch.save([each for group in cases.values() for each in group], place / "cases.pt")
    asked = {"embed": embed_folders(place), "chat": (str(place / "model"), str(place / "cases.pt"))}
    (place / "in.json").write_text(json.dumps(asked))
    words = ("tests.helpers.vllm_alone", str(place / "in.json"), str(place / "out.json"))
    assert vllm_forks.start(place / "log", *words).exit_status(patience(120)) == 0, (place / "log").read_text()[-3000:]
    found = json.loads((place / "out.json").read_text())
    answers = iter(found["chat"])
    said = {name: [next(answers) for _ in group] for name, group in cases.items()}
    return Served(chat, merged, cases, said, found["embed"])


def embed_folders(place: Path) -> tuple[str, list[tuple[str, str, str]]]:
    """A prepared video-text model, and kind, folder and prepared folder of each with another text tower."""
    tiny = prepare_model(old_folder(tiny_dual(), place / "old"), place / "ready")
    towers = []
    for at, other in enumerate(other_towers(place)):
        kept = old_folder(other, place / f"other{at}")
        towers.append((str(other.text.config["kind"]), str(kept), str(prepare_model(kept, place / f"prepared{at}"))))
    published = {"whole open_clip": made_published.model_folder(place / "open_clip")}
    published |= {kind: made_transformers.model_folder(kind, place / kind) for kind in ("siglip", "qwen3_vl")}
    for name, kept in published.items():
        towers.append((name, str(kept), str(prepare_model(kept, place / f"prepared {name}"))))
    return str(tiny), towers


@pytest.mark.slow
def test_phantom_questions_get_the_tokens_of_our_own_model(served: Served) -> None:
    assert len(served.cases["phantom"]) == QUESTIONS
    answers = set()
    for asked, said in zip(served.cases["phantom"], served.said["phantom"], strict=True):
        tokens, logprobs = own_tokens(served.chat, asked, said["tokens"])
        assert said["prompt"] == prompt_ids(served.chat.ready, asked["question"])
        assert said["tokens"] == tokens
        assert said["logprobs"] == pytest.approx(logprobs, abs=1e-3)
        answers.add(tuple(tokens))
    assert len(answers) > 2


@pytest.mark.slow
def test_images_several_videos_several_turns_and_none(served: Served) -> None:
    for name in ("mixed", "bare"):
        for asked, said in zip(served.cases[name], served.said[name], strict=True):
            tokens, logprobs = own_tokens(served.chat, asked, said["tokens"])
            assert said["tokens"] == tokens
            assert said["logprobs"] == pytest.approx(logprobs, abs=1e-3)


@pytest.mark.slow
def test_a_prefix_is_not_computed_again(served: Served) -> None:
    first, second = served.said["again"]
    assert first["tokens"] == second["tokens"]
    assert first["cached"] == 0
    # Whole blocks, but for the last token, whose successor is asked for.
    assert second["cached"] == (len(second["prompt"]) - 1) // BLOCK * BLOCK > 0


@pytest.mark.slow
def test_precomputed_embeddings_stand_for_their_clip(served: Served) -> None:
    assert served.said["embeds"][0]["tokens"] == served.said["again"][0]["tokens"]


@pytest.mark.slow
def test_an_adapter_is_the_merged_model(served: Served) -> None:
    said = served.said["adapter"][0]
    tokens, logprobs = own_tokens(served.merged, served.cases["adapter"][0], said["tokens"])
    assert said["tokens"] == tokens
    assert said["logprobs"] == pytest.approx(logprobs, abs=1e-3)
    assert said["logprobs"] != pytest.approx(served.said["again"][0]["logprobs"], abs=1e-2)


@pytest.mark.slow
def test_what_does_not_fit_is_refused(served: Served) -> None:
    embeds, two, none = (said["refused"] for said in served.said["refused"])
    assert "a visual needs 32 embeddings, one for each of its tokens, got 5" in embeds
    assert "video" in two
    assert "video" in none


@pytest.mark.slow
def test_the_plug_in_is_light_and_other_towers_are_themselves(served: Served) -> None:
    found = served.embed["registered"]
    assert found["known"] == sorted(plugin.MODELS)
    assert found["width"] == 24
    assert not [name for name in found["imported"] if name.endswith(("_model", ".dual", ".chat", ".vit"))]
    assert not served.embed["late"]
    assert set(served.embed["differences"]) == {"hf", "open_clip", "whole open_clip", "siglip", "qwen3_vl"}
    assert max(served.embed["differences"].values()) < 1e-5
    unprepared, missing, shape = served.embed["refusals"]
    assert "serve the folder with `surgvl serve embed`" in unprepared
    assert "'project.weight'] are missing (1 in total)" in missing
    assert "'project.weight' (23, 32) does not match" in shape
