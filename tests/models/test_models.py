"""Encoder, pool, text towers, model folders: shapes, parity with outside code, strictness."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from surgvl.core.errors import CheckpointError, ConfigError
from surgvl.models.checkpoint import load_model, save_model
from surgvl.models.dual_encoder import DualEncoder
from surgvl.models.model_info import model_hash
from surgvl.models.named import convert_open_clip, open_clip_folder
from surgvl.models.position import sinusoid
from surgvl.models.text import TextTower, build_text
from surgvl.models.tokenizer import SentencePieceTokenizer, train_tokenizer
from surgvl.models.vit import VideoViT
from surgvl.models.vit_config import ViTConfig
from surgvl.video.clip import Preprocess

SMALL = {"size_px": 16, "num_frames": 4, "patch_px": 8, "tubelet": 2, "dim": 32, "depth": 2, "heads": 2}
PREPROCESS = Preprocess(num_frames=4, fps=2.0, size_px=16)


def small_encoder() -> VideoViT:
    torch.manual_seed(0)
    return VideoViT(ViTConfig(**SMALL)).eval()  # type: ignore[arg-type]


def clips(num: int = 2) -> Tensor:
    return torch.randint(0, 256, (num, 3, 4, 16, 16), dtype=torch.uint8, generator=torch.Generator().manual_seed(1))


def test_sinusoid_is_the_formula() -> None:
    table = sinusoid(7, 6).numpy()
    for position in range(7):
        for column in range(6):
            angle = position / 10000 ** (2 * (column // 2) / 6)
            want = np.sin(angle) if column % 2 == 0 else np.cos(angle)
            assert table[position, column] == pytest.approx(want, abs=1e-6)


def test_encoder_equals_transformers_videomae_with_copied_weights() -> None:
    from transformers import VideoMAEConfig, VideoMAEModel

    config = VideoMAEConfig(  # type: ignore[call-arg]
        image_size=16,
        patch_size=8,
        num_frames=4,
        tubelet_size=2,
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=128,
        layer_norm_eps=1e-6,
        use_mean_pooling=False,
        qkv_bias=True,
    )
    theirs = VideoMAEModel(config).eval()
    torch.manual_seed(3)
    for parameter in theirs.parameters():
        torch.nn.init.normal_(parameter, std=0.05)
    ours = small_encoder()
    state = theirs.state_dict()
    with torch.no_grad():
        ours.embed.weight.copy_(state["embeddings.patch_embeddings.projection.weight"].flatten(1))
        ours.embed.bias.copy_(state["embeddings.patch_embeddings.projection.bias"])
        for number, block in enumerate(ours.blocks):
            layer = theirs.encoder.layer[number]
            attention = layer.attention.attention
            weights = [attention.query.weight, attention.key.weight, attention.value.weight]
            bias = [attention.query.bias, attention.key.bias, attention.value.bias]
            zero = torch.zeros(32)
            block.attn.qkv.weight.copy_(torch.cat(weights))  # type: ignore[union-attr, operator]
            block.attn.qkv.bias.copy_(torch.cat([b if b is not None else zero for b in bias]))  # type: ignore[union-attr, operator]
            for mine, their in (
                (block.attn.proj, layer.attention.output.dense),  # type: ignore[union-attr]
                (block.norm1, layer.layernorm_before),
                (block.norm2, layer.layernorm_after),
                (block.mlp[0], layer.intermediate.dense),  # type: ignore[index]
                (block.mlp[2], layer.output.dense),  # type: ignore[index]
            ):
                mine.load_state_dict(their.state_dict())  # type: ignore[union-attr]
        ours.norm.load_state_dict(theirs.layernorm.state_dict())
        video = clips()
        keep = torch.tensor([[0, 3, 5], [1, 2, 7]])
        masked = torch.ones(2, 8, dtype=torch.bool).scatter_(1, keep, False)
        pixels = ours.normalise(video).transpose(1, 2)
        want = theirs(pixels, bool_masked_pos=masked).last_hidden_state
        got = ours(video, keep)
        assert torch.allclose(got, want, atol=1e-5)
        assert torch.allclose(ours(video), theirs(pixels).last_hidden_state, atol=1e-5)


def test_dropped_tokens_are_those_of_the_full_patch_list() -> None:
    encoder = small_encoder()
    every = torch.arange(8).expand(2, -1)
    assert torch.equal(encoder(clips(), every), encoder(clips()))
    shuffled = every[:, torch.randperm(8)]
    assert torch.allclose(encoder(clips(), shuffled), encoder(clips())[:, shuffled[0]], atol=1e-5)


def test_normalise_is_by_channel() -> None:
    encoder = small_encoder()
    video = clips()
    want = (video.double() / 255 - encoder.get_buffer("mean")) / encoder.get_buffer("std")
    assert torch.allclose(encoder.normalise(video).double(), want, atol=1e-5)
    assert torch.allclose(encoder.normalise(video.float()), encoder.normalise(video))


def test_sizes_that_do_not_fit_name_both_numbers() -> None:
    with pytest.raises(ConfigError, match="encoder.size_px must be a multiple of patch_px = 8, got 20"):
        ViTConfig(**{**SMALL, "size_px": 20})  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match=r"\(3, 2, 16, 16\) does not fit an encoder of \(3, 4, 16, 16\)"):
        small_encoder()(clips()[:, :, :2])


def test_folder_round_trip_and_strictness(tmp_path: Path) -> None:
    encoder = small_encoder()
    save_model(encoder, tmp_path / "a", PREPROCESS)
    loaded, preprocess = load_model(tmp_path / "a")
    assert preprocess == PREPROCESS
    assert isinstance(loaded, VideoViT)
    assert torch.equal(loaded(clips()), encoder(clips()))
    before = model_hash(tmp_path / "a")
    assert before == model_hash(tmp_path / "a")

    from safetensors.torch import load_file, save_file

    weights = load_file(tmp_path / "a" / "model.safetensors")
    weights.pop("norm.weight")
    save_file(weights, tmp_path / "a" / "model.safetensors")
    assert model_hash(tmp_path / "a") != before
    with pytest.raises(CheckpointError, match=r"missing \['norm.weight'\]"):
        load_model(tmp_path / "a")
    (tmp_path / "a" / "config.json").write_text(json.dumps({"model_type": "bert"}))
    with pytest.raises(CheckpointError, match="model_type must be one of .*, got 'bert'"):
        load_model(tmp_path / "a")
    with pytest.raises(CheckpointError, match=r"holds no config\.json"):
        load_model(tmp_path)


@pytest.mark.slow
def test_dual_round_trip_has_unit_vectors_in_float32(tmp_path: Path) -> None:
    dual = DualEncoder(small_encoder(), build_text("tiny", 24), 24).eval()
    save_model(dual, tmp_path, PREPROCESS)
    loaded, _ = load_model(tmp_path)
    assert isinstance(loaded, DualEncoder)
    with torch.no_grad():
        video, text = loaded.encode_video(clips()), loaded.encode_text(["the hook dissects the cystic duct", "a"])
        assert torch.equal(video, dual.encode_video(clips()))
        assert torch.equal(text, dual.encode_text(["the hook dissects the cystic duct", "a"]))
    for vectors in (video, text):
        assert vectors.dtype == torch.float32
        assert torch.allclose(vectors.norm(dim=1), torch.ones(2), atol=1e-5)


def test_what_is_read_is_not_drawn_before(tmp_path: Path) -> None:
    save_model(small_encoder(), tmp_path, PREPROCESS)
    before = torch.get_rng_state()
    again, _ = load_model(tmp_path)
    assert torch.equal(torch.get_rng_state(), before)
    assert all(torch.equal(a, b) for a, b in zip(again.parameters(), small_encoder().parameters(), strict=True))


def test_text_vectors_do_not_depend_on_the_batch() -> None:
    tower = build_text("tiny", 24).eval()
    sentences = ["the hook dissects the cystic duct", "a", "we begin the packaging of the gallbladder in the bag"]
    with torch.no_grad():
        together = tower(sentences)
        alone = torch.cat([tower([sentence]) for sentence in sentences])
    assert torch.allclose(together, alone, atol=1e-5)


def test_long_sentences_keep_their_end_token() -> None:
    tower = build_text("tiny", 24)
    ids = tower.tokenize(["cut the cystic duct " * 40])
    assert ids.shape == (1, tower.context_length)
    assert tower.tokenizer is not None
    assert int(ids[0, -1]) == tower.tokenizer.eos_id


def test_shipped_vocabulary_is_small_and_reads_back_any_text() -> None:
    tokenizer = SentencePieceTokenizer()
    assert len(tokenizer.model) < 50_000
    for text in ("the grasper retracts the gallbladder", "pancreatojejunostomy 42 µm, é!"):
        assert tokenizer.decode(tokenizer.encode(text)) == text
    assert len(tokenizer.encode("calot triangle dissection")) <= 4
    assert max(tokenizer.encode("anything")) < tokenizer.vocab_size


def test_a_vocabulary_can_be_trained(tmp_path: Path) -> None:
    path = tmp_path / "tokenizer.spm"
    path.write_bytes(train_tokenizer([f"the hook cuts tissue number {n}" for n in range(200)], 300))
    tokenizer = SentencePieceTokenizer(path)
    assert (tokenizer.pad_id, tokenizer.bos_id, tokenizer.eos_id) == (0, 2, 3)
    assert tokenizer.decode(tokenizer.encode("The hook cuts")) == "the hook cuts"


@pytest.mark.slow
def test_any_transformers_text_tower_by_folder(tmp_path: Path) -> None:
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import BertConfig, BertModel, PreTrainedTokenizerFast

    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "the", "hook", "cuts", "duct"]
    inner = Tokenizer(models.WordLevel({word: at for at, word in enumerate(words)}, unk_token="[UNK]"))
    inner.pre_tokenizer = pre_tokenizers.Whitespace()
    PreTrainedTokenizerFast(
        tokenizer_object=inner, pad_token="[PAD]", unk_token="[UNK]", cls_token="[CLS]", sep_token="[SEP]"
    ).save_pretrained(tmp_path / "bert")
    torch.manual_seed(0)
    config = BertConfig(vocab_size=8, hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=32)
    bert = BertModel(config).eval()
    bert.save_pretrained(tmp_path / "bert")

    tower = build_text(f"hf:{tmp_path / 'bert'}", 24).eval()
    with torch.no_grad():
        got = tower(["the hook cuts", "duct"])
        hidden = bert(input_ids=torch.tensor([[2, 4, 5, 6, 3]])).last_hidden_state.mean(1)
        want = tower.inner.get_submodule("proj")(hidden)
    assert torch.allclose(got[:1], want, atol=1e-5)

    dual = DualEncoder(small_encoder(), tower, 24).eval()
    save_model(dual, tmp_path / "dual", PREPROCESS)
    loaded, _ = load_model(tmp_path / "dual")
    assert isinstance(loaded, DualEncoder)
    with torch.no_grad():
        assert torch.allclose(loaded.text(["the hook cuts", "duct"]), got, atol=1e-6)


@pytest.mark.slow
def test_an_open_clip_text_tower_by_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import open_clip

    config = {
        "embed_dim": 16,
        "vision_cfg": {"image_size": 32, "layers": 1, "width": 64, "patch_size": 16},
        "text_cfg": {"context_length": 77, "vocab_size": 49408, "width": 32, "heads": 2, "layers": 1},
    }
    (tmp_path / "surgvl-test-tiny.json").write_text(json.dumps(config))
    open_clip.add_model_config(tmp_path / "surgvl-test-tiny.json")
    torch.manual_seed(0)
    full = open_clip.create_model("surgvl-test-tiny", force_custom_text=True).eval()
    torch.save(full.state_dict(), tmp_path / "weights.pt")

    tower = build_text(f"open_clip:surgvl-test-tiny@{tmp_path / 'weights.pt'}", 24).eval()
    sentences = ["the hook cuts", "a duct"]
    with torch.no_grad():
        want = full.encode_text(open_clip.get_tokenizer("ViT-B-32")(sentences))
        assert torch.allclose(tower.inner(tower.tokenize(sentences)), want, atol=1e-5)
        assert tower(sentences).shape == (2, 24)
    # A tag is that of a fetched model, in the store; nothing is downloaded.
    monkeypatch.setenv("SURGVL_MODELS", str(tmp_path / "store"))
    monkeypatch.setattr(open_clip, "get_pretrained_cfg", lambda model, tag: {"url": "https://example.org"})
    with pytest.raises(CheckpointError, match="`surgvl models fetch open_clip:surgvl-test-tiny@mine`"):
        build_text("open_clip:surgvl-test-tiny@mine", 24)
    folder = open_clip_folder("surgvl-test-tiny", "mine")
    # Published files of such models name the text side without a prefix.
    torch.save({key.removeprefix("text."): value for key, value in full.state_dict().items()}, tmp_path / "plain.pt")
    convert_open_clip(folder, "surgvl-test-tiny", tmp_path / "plain.pt")
    fetched = build_text("open_clip:surgvl-test-tiny@mine", 24).eval()
    assert all(torch.equal(value, fetched.inner.state_dict()[key]) for key, value in tower.inner.state_dict().items())
    with pytest.raises(ConfigError, match="no model 'no-such-model'"):
        build_text("open_clip:no-such-model", 24)
    with pytest.raises(ConfigError, match="text tower must be tiny, .* got 'word2vec'"):
        build_text("word2vec", 24)
    assert isinstance(tower, TextTower)


@pytest.mark.slow
def test_a_scale_stored_as_a_scalar_is_read(tmp_path: Path) -> None:
    """As in model folders of version 0.1."""
    save_model(DualEncoder(small_encoder(), build_text("tiny", 16), 16), tmp_path, PREPROCESS)
    weights = load_file(tmp_path / "model.safetensors")
    assert weights["logit_scale"].shape == (1,)
    save_file({**weights, "logit_scale": torch.tensor(1.25)}, tmp_path / "model.safetensors")
    model, _ = load_model(tmp_path)
    assert isinstance(model, DualEncoder)
    assert model.logit_scale.tolist() == [1.25]
