"""A video-text model chooses among options by the similarity of clip and sentence, and writes nothing."""

import json
from pathlib import Path

import numpy as np
import open_clip
import pytest
import torch
from PIL import Image
from scipy.special import softmax

from surgvl.api import load_answerer
from surgvl.chat.zero_shot_answerer import ZeroShotAnswerer
from surgvl.cli import main as cli
from surgvl.core.errors import ConfigError
from surgvl.core.files import read_json
from tests.helpers.made_organs import made_manifest
from tests.helpers.made_published import TINY, tiny_clip

QUESTION, ANSWERS = "Which instrument is seen?", ["hook", "clip_applier", "grasper"]


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_clip(tmp_path_factory.mktemp("tiny"))


@pytest.fixture(autouse=True)
def own_store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SURGVL_MODELS", str(tmp_path / "store"))


@pytest.mark.slow
def test_probabilities_are_those_of_open_clip(weights: Path) -> None:
    frames = np.random.default_rng(0).integers(0, 256, (4, 32, 32, 3), np.uint8)
    found = load_answerer(f"open_clip:{TINY}@{weights}")
    assert isinstance(found, ZeroShotAnswerer)
    theirs, _, prepare = open_clip.create_model_and_transforms(TINY, pretrained=str(weights))
    theirs.eval()
    with torch.no_grad():
        pictures = theirs.encode_image(torch.stack([prepare(Image.fromarray(each)) for each in frames]), normalize=True)
        sentences = [f"{QUESTION} {each}" for each in ("hook", "clip applier", "grasper")]
        words = theirs.encode_text(open_clip.get_tokenizer(TINY)(sentences), normalize=True)
        clip = torch.nn.functional.normalize(pictures.mean(0), dim=0)
        wanted = softmax((theirs.logit_scale.exp() * words @ clip).numpy())
    answer = dict(found.probabilities(frames, QUESTION, ANSWERS))
    assert [answer[each] for each in ANSWERS] == pytest.approx(wanted.tolist(), abs=1e-5)
    assert found.ask(frames, QUESTION, answers=ANSWERS) == ANSWERS[int(wanted.argmax())]
    sure = found.answer_one(frames, QUESTION, answers=ANSWERS).confidence
    assert sure == pytest.approx(float(wanted.max()), abs=1e-5)
    nothing: list[list[str] | None] = [None, []]
    for answers in nothing:
        with pytest.raises(ConfigError, match="needs a free-text answer, and .* only chooses: give answers to choose"):
            found.ask(frames, QUESTION, answers=answers)


@pytest.mark.slow
def test_a_manifest_is_answered_with_its_controls(weights: Path, tmp_path: Path) -> None:
    name, manifest = f"open_clip:{TINY}@{weights}", made_manifest(tmp_path)
    argv = ["ask", "--manifest", str(manifest), "--model", name, "--out", str(tmp_path / "answers")]
    cli.run([*argv, "--questions.controls", "true"])
    record = read_json(tmp_path / "answers" / "run.json")
    assert {row["prediction"] for row in _rows(tmp_path / "answers")} <= {"gut", "liver"}
    assert {row["ablated"] for row in _rows(tmp_path / "answers")} == {"", "black", "other"}
    # Every question about the black video has one answer.
    assert len({row["prediction"] for row in _rows(tmp_path / "answers") if row["ablated"] == "black"}) == 1
    assert sum(record["outcomes"].values()) == len([row for row in _rows(tmp_path / "answers") if not row["ablated"]])
    with pytest.raises(ConfigError, match="--open_ended needs a model that generates text, and this one only chooses"):
        cli.run([*argv[:-1], str(tmp_path / "open"), "--questions.open_ended", "true"])


def _rows(folder: Path) -> list[dict[str, str]]:
    return [json.loads(line) for line in (folder / "answers.jsonl").read_text().splitlines()]
