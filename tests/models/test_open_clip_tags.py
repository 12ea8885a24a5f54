"""Every tag of open_clip's table becomes an entry with the addresses that the table has."""

import open_clip
import pytest

from surgvl.core.errors import ConfigError
from surgvl.models.open_clip_tags import open_clip_entry


def test_every_tag_with_an_address_is_an_entry() -> None:
    for arch, tag in open_clip.list_pretrained():
        cfg = open_clip.get_pretrained_cfg(arch, tag)
        if not cfg.get("hf_hub") and not cfg.get("url"):
            continue
        entry = open_clip_entry(arch, tag)
        first = entry.files[0]
        if cfg.get("hf_hub"):
            assert cfg["hf_hub"].removesuffix("/") in (first.hub, f"{first.hub}/{first.name}")
        else:
            assert first.url == cfg["url"]
        assert entry.asks


def test_the_hash_in_an_address_of_openai_is_known(monkeypatch: pytest.MonkeyPatch) -> None:
    url = open_clip.get_pretrained_cfg("ViT-B-16", "openai")["url"]
    monkeypatch.setattr(open_clip, "get_pretrained_cfg", lambda arch, tag: {"url": url})
    (file,) = open_clip_entry("ViT-B-16", "openai").files
    assert (file.name, file.url, file.hub) == ("ViT-B-16.pt", url, None)
    assert file.sha256 == url.split("/")[-2]


def test_a_tokenizer_of_its_own_belongs_to_the_files() -> None:
    files = open_clip_entry("ViT-B-16-SigLIP2-256", "webli").files
    assert [file.name for file in files[:2]] == ["open_clip_model.safetensors", "tokenizer*.json"]
    assert files[0].otherwise == "open_clip_pytorch_model.bin"
    assert len(open_clip_entry("ViT-B-16", "laion2b_s34b_b88k").files) == 1


@pytest.mark.parametrize(
    ("arch", "tag", "said"),
    [("ViT-B-61", "openai", "did you mean ViT-B-16"), ("ViT-B-16", "opneai", "choose one of openai, ")],
)
def test_unknown_names_are_told(arch: str, tag: str, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        open_clip_entry(arch, tag)
