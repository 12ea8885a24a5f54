"""Vision-language models of transformers in this process, by their own processors; tiny ones with random weights."""

import json
import string
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

# Imported here, once for all workers that meet them: peft and what processors need of Mistral take two seconds.
import peft  # noqa: F401
import pytest
import torch
import transformers.tokenization_mistral_common  # noqa: F401

from surgvl.api import load_answerer
from surgvl.chat.answerer import Question
from surgvl.chat.controls import NO_VIDEO
from surgvl.chat.hf_answerer import HfAnswerer
from surgvl.chat.hf_model import HfModel
from surgvl.chat.vision_language_config import ClipInput, ReplyConfig
from surgvl.chat.vision_language_tune import TuneVisionLanguage
from surgvl.cli import main as cli
from surgvl.core.errors import CheckpointError, ConfigError
from surgvl.core.files import read_json
from surgvl.metrics.answer_types.choice import Choice
from surgvl.metrics.answer_types.options import Options
from tests.helpers.made_organs import made_manifest
from tests.helpers.made_vision_language import answerer_of, save_qwen2_5_vl, save_qwen3_vl

CLIP = ClipInput(num_frames=4, size_px=64, fps=2.0)
ANSWERS = ["hook", "grasper", "bipolar"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_qwen3_vl(tmp_path_factory.mktemp("qwen"))


def frames(seed: int) -> Any:
    return np.random.default_rng(seed).integers(0, 256, (4, 48, 64, 3), np.uint8)


def loaded(folder: Path, **reply: Any) -> HfAnswerer:
    return answerer_of(folder, CLIP, ReplyConfig(**{"max_tokens": 6, **reply}))


@pytest.mark.slow
@pytest.mark.parametrize("send", ["video", "frames"])
def test_the_processor_gets_the_frames_and_their_times(folder: Path, send: Any) -> None:
    hf = HfModel.load(f"hf:{folder}", ClipInput(num_frames=4, size_px=64, fps=2.0, send=send))
    found = hf.inputs(frames(0), "Which?")
    text = hf.processor.tokenizer.decode(found["input_ids"][0])
    assert text.endswith("Which?<|im_end|>\n<|im_start|>assistant\n")
    if send == "frames":
        assert found["image_grid_thw"].shape[0] == 4
        assert all(f"Frame {at + 1} of 4, at {at / 2:.1f} s:" in text for at in range(4))
    else:
        # Pairs of frames, half a second apart: the middles of the pairs.
        assert found["video_grid_thw"][:, 0].tolist() == [2]
        assert "0.2 seconds" in text
        assert "1.2 seconds" in text


@pytest.mark.slow
def test_likelihoods_are_those_of_a_plain_pass(folder: Path) -> None:
    asked = loaded(folder)
    clip, hf = frames(1), asked.hf
    found = dict(asked.probabilities(clip, "Which?", ANSWERS))
    scores = []
    for letter in "ABC":
        inputs = hf.inputs(clip, Choice().prompt("Which?", Options(tuple(ANSWERS))))
        more = hf.processor.tokenizer(letter + "<|im_end|>", return_tensors="pt")["input_ids"]
        inputs["input_ids"] = torch.cat([inputs["input_ids"], more], 1)
        inputs["attention_mask"] = torch.ones_like(inputs["input_ids"])
        inputs["mm_token_type_ids"] = torch.cat([inputs["mm_token_type_ids"], torch.zeros_like(more)], 1)
        with torch.no_grad():
            logp = hf.model(**inputs).logits[0].log_softmax(-1)
        scores.append(sum(float(logp[at - 1, inputs["input_ids"][0, at]]) for at in (-2, -1)))
    wanted = torch.tensor(scores).softmax(0).tolist()
    assert [found[name] for name in ANSWERS] == pytest.approx(wanted, abs=1e-4)


@pytest.mark.slow
def test_a_choice_is_one_of_the_options_and_text_is_parsed(folder: Path) -> None:
    chosen = [loaded(folder, closed="choice").ask(frames(seed), "Which?", answers=ANSWERS) for seed in range(3)]
    assert set(chosen) <= set(ANSWERS)
    # What random weights write declares nothing.
    assert loaded(folder, closed="letters").ask(frames(0), "Which?", answers=ANSWERS) == ""
    with pytest.raises(ConfigError, match="--reply.closed must be one of .* without --server, got 'grammar'"):
        loaded(folder, closed="grammar")


def following(asked: HfAnswerer, clip: Any, text: str, written: Sequence[int] = ()) -> torch.Tensor:
    """Probabilities of the next token after a prompt and some tokens of the reply, by a pass over all of it."""
    inputs = asked.hf.inputs(clip, text)
    more = torch.tensor([list(written)], dtype=torch.long)
    inputs["input_ids"] = torch.cat([inputs["input_ids"], more], 1)
    inputs["attention_mask"] = torch.ones_like(inputs["input_ids"])
    inputs["mm_token_type_ids"] = torch.cat([inputs["mm_token_type_ids"], torch.zeros_like(more)], 1)
    with torch.no_grad():
        return torch.as_tensor(asked.hf.model(**inputs).logits[0, -1].double().softmax(-1))


@pytest.mark.slow
def test_a_choice_is_as_sure_as_its_letter_among_the_letters(folder: Path) -> None:
    asked = loaded(folder, closed="choice")
    found = asked.answer_one(frames(1), "Which?", answers=ANSWERS)
    shares = following(asked, frames(1), Choice().prompt("Which?", Options(tuple(ANSWERS))))
    letters = [float(shares[asked.hf.processor.tokenizer.convert_tokens_to_ids(letter)]) for letter in "ABC"]
    assert ANSWERS[letters.index(max(letters))] == found.text
    assert found.confidence == pytest.approx(max(letters) / sum(letters), abs=1e-5)
    # Against all that could be written, it is nothing to be sure of.
    assert sum(letters) < 0.5


@pytest.mark.slow
def test_text_is_as_sure_as_its_tokens(folder: Path) -> None:
    asked = loaded(folder)
    question = Question(frames(1), "What is seen?", ())
    written: list[int] = []
    product = 1.0
    for _ in range(6):
        shares = following(asked, frames(1), asked.request(question).text, written)
        written.append(int(shares.argmax()))
        product *= float(shares.max())
    found = asked.answer([question])[0]
    assert found.raw == asked.hf.processor.tokenizer.decode(written, skip_special_tokens=True)
    assert found.confidence == pytest.approx(product ** (1 / 6), abs=1e-5)


@pytest.mark.slow
def test_a_letter_that_was_not_forced_is_as_sure_as_it_is_among_the_letters(folder: Path) -> None:
    asked = loaded(folder, closed="letters", max_tokens=1)
    # No letter begins these.
    names = tuple(f"~{at}" for at in range(26))
    tokenizer, told = asked.hf.processor.tokenizer, 0
    for seed in range(8):
        found = asked.answer_one(frames(seed), "Which?", answers=names)
        shares = following(asked, frames(seed), Choice().prompt("Which?", Options(names)))
        by_text = {tokenizer.decode([at]): float(share) for at, share in enumerate(shares)}
        if not found.text:
            assert found.confidence is None
            continue
        told += 1
        letter = string.ascii_uppercase[names.index(found.text)]
        own = by_text[letter] + by_text[letter.lower()] + by_text["~"]
        every = sum(by_text[each] for each in string.ascii_letters) + by_text["~"]
        assert max(shares) - 1e-6 <= (found.confidence or 0) <= own / every + 1e-6
    assert told


def test_a_question_without_a_video_is_the_question_alone(folder: Path) -> None:
    asked = loaded(folder, closed="likelihood")
    question = Question(NO_VIDEO, "Which?", tuple(ANSWERS))
    found = asked.answer([question])[0]
    # The same as for the text, whatever is shown beside it.
    words = Choice().prompt("Which?", Options(tuple(ANSWERS)))
    alone = torch.tensor(asked.likelihoods(frames(0)[:0], words, list("ABC"))).softmax(0).tolist()
    assert [dict(found.probabilities)[name] for name in ANSWERS] == pytest.approx(alone, abs=1e-5)
    shown = asked.answer([Question(frames(0), "Which?", tuple(ANSWERS))])[0]
    assert dict(shown.probabilities)["hook"] != pytest.approx(alone[0], abs=1e-5)
    assert found.seconds is not None


def test_what_cannot_be_loaded_is_one_line(tmp_path: Path) -> None:
    for name, why in ((f"hf:{tmp_path}", "cannot be read"), ("hf:nobody/nothing", "is not on this machine")):
        with pytest.raises(CheckpointError, match=f"hf:.* {why}") as error:
            load_answerer(name)
        assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("tune --model hf:any --random_encoder", "--random_encoder cannot be given with --model hf:any"),
        ("tune --model hf:any --finetune head", "--stages.finetune cannot be given with --model hf:any"),
        ("ask video.mp4 Which? --model hf:any", "manifest has its own videos, questions and answers: leave VIDEO"),
    ],
)
def test_what_a_general_model_would_ignore_is_refused(words: str, said: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=said):
        cli.run([*words.split(), "--manifest", str(tmp_path / "manifest"), "--out", str(tmp_path / "out")])
    assert not (tmp_path / "out").exists()


@pytest.mark.slow
def test_tuning_changes_adapters_alone_and_they_learn(tmp_path: Path) -> None:
    manifest, model = made_manifest(tmp_path), save_qwen2_5_vl(tmp_path / "model")
    words = ["--manifest", str(manifest), "--clip.num_frames", "2", "--clip.size_px", "32"]
    tune = ["tune", *words, "--model", f"hf:{model}", "--out", str(tmp_path / "tuned")]
    cli.run([*tune, "--run.steps", "6", "--run.batch", "4", "--optim.lr", "0.02", "--lora_rank", "4"])
    rows = [json.loads(line) for line in (tmp_path / "tuned" / "metrics.jsonl").read_text().splitlines()]
    assert rows[-1]["loss"] < rows[0]["loss"] / 2
    record = read_json(tmp_path / "tuned" / "run.json")
    # Nobody says what the model below was trained on.
    assert record["pretraining_video_ids"] == ["made:train_blue", "made:train_red", "unknown:*"]
    adapter = read_json(tmp_path / "tuned" / "model" / "adapter_config.json")
    assert adapter["r"] == 4
    assert not [name for name in adapter["target_modules"] if "visual" in name or "lm_head" in name]
    assert {path.name for path in (tmp_path / "tuned" / "model").glob("*.safetensors")} == {"adapter_model.safetensors"}
    # With the clips that it was trained on.
    cli.run(["ask", "--manifest", str(manifest), "--model", str(tmp_path / "tuned"), "--out", str(tmp_path / "a")])
    answers = [json.loads(line) for line in (tmp_path / "a" / "answers.jsonl").read_text().splitlines()]
    assert {row["prediction"] for row in answers} <= {"gut", "liver"}
    assert read_json(tmp_path / "a" / "run.json")["clip"]["num_frames"] == 2


@pytest.mark.slow
def test_labels_are_the_answer_and_its_end(folder: Path) -> None:
    hf = HfModel.load(f"hf:{folder}", CLIP)
    tuned = TuneVisionLanguage(hf, {"Which?": tuple(ANSWERS)})
    video = torch.from_numpy(frames(0)).permute(3, 0, 1, 2)
    for question, answer, wanted in (("Which?", "grasper", "B"), ("What is seen?", "a_hook", "a hook")):
        inputs, labels = tuned.conversation(video, question, answer)
        assert labels.shape == inputs["input_ids"][0].shape
        assert hf.processor.tokenizer.decode(labels[labels >= 0]) == f"{wanted}<|im_end|>"
    trained = [name for name, each in tuned.named_parameters() if each.requires_grad]
    assert trained
    assert all("lora_" in name and ".language_model." in name for name in trained)
