"""Vision-language models of transformers by family: what they answer is what a plain use of transformers gives."""

from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
from PIL import Image
from transformers import AutoModelForImageTextToText, AutoProcessor

from surgvl.api import load_answerer
from surgvl.chat.hf_answerer import HfAnswerer
from surgvl.chat.hf_model import HfModel
from surgvl.chat.vision_language_config import ClipInput, ReplyConfig
from surgvl.chat.vision_language_tune import TuneVisionLanguage
from surgvl.core.errors import ConfigError
from surgvl.metrics.answer_types.choice import Choice
from surgvl.metrics.answer_types.options import Options
from tests.helpers.made_chat_families import FAMILIES
from tests.helpers.made_vision_language import answerer_of

FPS = 2.0
QUESTION, ANSWERS = "What is seen?", ["hook", "grasper", "bipolar"]
END = {"smolvlm": "<end_of_utterance>", "gemma3": "<end_of_turn>"}


class Family(NamedTuple):
    name: str
    folder: Path

    @property
    def ways(self) -> list[Any]:
        return ["frames"] if self.name == "gemma3" else ["frames", "video"]

    @property
    def lead(self) -> str:
        """What its template writes between a prompt and an answer."""
        return " " if self.name == "smolvlm" else ""


@pytest.fixture(scope="module", params=FAMILIES)
def family(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Family:
    if request.param == "smolvlm":
        pytest.importorskip("num2words", reason="transformers' SmolVLM needs it")
    return Family(request.param, FAMILIES[request.param](tmp_path_factory.mktemp(request.param)))


def frames() -> Any:
    return np.random.default_rng(0).integers(0, 256, (4, 48, 64, 3), np.uint8)


def asked(folder: Path, send: Any, **reply: Any) -> HfAnswerer:
    clip = ClipInput(num_frames=4, size_px=64, fps=FPS, send=send)
    return answerer_of(folder, clip, ReplyConfig(max_tokens=6, **reply))


@cache
def of_transformers(folder: Path) -> tuple[Any, Any]:
    """Processor and model, apart from those of the answerers."""
    return AutoProcessor.from_pretrained(folder), AutoModelForImageTextToText.from_pretrained(folder)


def plain(folder: Path, send: str, text: str) -> tuple[Any, Any, Any]:
    """Model, processor, and the inputs of a prompt, as transformers' documentation has it."""
    processor, model = of_transformers(folder)
    parts: list[dict[str, Any]] = [{"type": "video", "video": frames()}]
    more: dict[str, Any] = {"do_sample_frames": False}
    more["video_metadata"] = [{"fps": FPS, "total_num_frames": 4, "frames_indices": [0, 1, 2, 3], "duration": 2.0}]
    if send == "frames":
        parts, more = [], {}
        for at, frame in enumerate(frames()):
            parts.append({"type": "text", "text": f"Frame {at + 1} of 4, at {at / FPS:.1f} s:"})
            parts.append({"type": "image", "image": Image.fromarray(frame)})
    messages = [{"role": "user", "content": [*parts, {"type": "text", "text": text}]}]
    inputs = processor.apply_chat_template(
        messages,
        tokenize=True,
        return_dict=True,
        return_tensors="pt",
        add_generation_prompt=True,
        processor_kwargs=more,
    )
    return model, processor, inputs


@pytest.mark.slow
def test_answers_are_those_of_transformers(family: Family) -> None:
    for send in family.ways:
        model, processor, inputs = plain(family.folder, send, QUESTION)
        made = model.generate(**inputs, max_new_tokens=6, do_sample=False)[0, inputs["input_ids"].shape[1] :]
        wanted = processor.tokenizer.decode(made, skip_special_tokens=True)
        assert wanted
        assert asked(family.folder, send).answer_one(frames(), QUESTION).raw == wanted


@pytest.mark.slow
def test_options_are_scored_as_transformers_scores_them(family: Family) -> None:
    for send in family.ways:
        model, processor, inputs = plain(family.folder, send, Choice().prompt(QUESTION, Options(tuple(ANSWERS))))
        length, scores, paths = inputs["input_ids"].shape[1], [], []
        for letter in "ABC":
            said = processor.tokenizer(
                family.lead + letter + END.get(family.name, "<|im_end|>"), return_tensors="pt", add_special_tokens=False
            )["input_ids"]
            grown = {**inputs, "input_ids": torch.cat([inputs["input_ids"], said], 1)}
            grown["attention_mask"] = torch.ones_like(grown["input_ids"])
            if "token_type_ids" in inputs:
                grown["token_type_ids"] = torch.cat([inputs["token_type_ids"], torch.zeros_like(said)], 1)
            with torch.no_grad():
                logp = model(**grown).logits[0, length - 1 : -1].log_softmax(-1).gather(1, said[0, :, None])[:, 0]
            # What all options begin with tells nothing.
            scores.append(float(logp[-2:].sum()))
            paths.append(said[0].tolist())
        found = asked(family.folder, send, closed="likelihood")
        wanted = torch.tensor(scores).softmax(0).tolist()
        assert [dict(found.probabilities(frames(), QUESTION, ANSWERS))[name] for name in ANSWERS] == pytest.approx(
            wanted, abs=1e-4
        )
        # Token by token, it writes an option as its template does.
        hf = found.hf
        assert [hf.answer_tokens(letter) for letter in "ABC"] == [path[:-1] for path in paths]
        assert asked(family.folder, send, closed="choice").ask(frames(), QUESTION, answers=ANSWERS) in ANSWERS


@pytest.mark.slow
def test_adapters_learn_and_are_loaded_again(family: Family, tmp_path: Path) -> None:
    torch.manual_seed(0)
    clip = ClipInput(num_frames=4, size_px=64, fps=FPS)
    tuned = TuneVisionLanguage(HfModel.load(f"hf:{family.folder}", clip), {QUESTION: tuple(ANSWERS)}, rank=2)
    trained = [each for each in tuned.parameters() if each.requires_grad]
    optimizer = torch.optim.SGD(trained, lr=1.0)
    video = torch.from_numpy(frames()).permute(3, 0, 1, 2)
    batch = {"video": [video, video], "question": [QUESTION, "Where?"], "answer": ["grasper", "in a duct"]}
    losses = []
    for _ in range(2):
        loss = tuned(batch)["loss"]
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()))
    assert losses[1] < losses[0]
    tuned.eval()
    tuned.save(tmp_path, clip)
    found = load_answerer(str(tmp_path), reply=ReplyConfig(max_tokens=6))
    assert isinstance(found, HfAnswerer)
    assert found.hf.model.peft_config["default"].base_model_name_or_path == str(family.folder)
    own = [tuned._hf, found.hf]
    with torch.no_grad():
        one, two = (hf.model(**hf.inputs(frames(), QUESTION)).logits for hf in own)
        base = HfModel.load(f"hf:{family.folder}", clip)
        before = base.model(**base.inputs(frames(), QUESTION)).logits
    assert torch.allclose(one, two, atol=1e-5)
    assert not torch.allclose(two, before, atol=1e-3)


@pytest.mark.slow
def test_a_model_without_videos_says_so(tmp_path: Path) -> None:
    folder = FAMILIES["gemma3"](tmp_path / "model")
    assert HfModel.load(f"hf:{folder}", ClipInput()).sends == "frames"
    with pytest.raises(ConfigError, match="--clip.send video: .* takes no videos: send frames"):
        HfModel.load(f"hf:{folder}", ClipInput(send="video"))


@pytest.mark.slow
def test_a_package_that_a_model_needs_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("num2words", reason="transformers' SmolVLM needs it")
    folder = FAMILIES["smolvlm"](tmp_path / "model")
    monkeypatch.setattr("transformers.models.smolvlm.processing_smolvlm.num2words", None)
    with pytest.raises(
        ConfigError, match=r"hf:.* needs a package .*num2words.*: pip install 'surgvl\[smolvlm\]'"
    ) as error:
        HfModel.load(f"hf:{folder}", ClipInput())
    assert "\n" not in str(error.value)
