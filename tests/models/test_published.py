"""The registry: every file is whole, says whose the model is, and agrees with what others publish about it."""

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from surgvl.core.errors import ConfigError
from surgvl.models.published import FREE, REGISTRY, published, read_entry, registry
from surgvl.models.shipped import MODELS

ENTRIES = registry()
FULL: dict[str, Any] = {
    "title": "Mine",
    "kind": "chat",
    "purpose": "a test",
    "licence": "MIT",
    "commercial": "yes",
    "source": "https://example.org/mine",
    "files": [{"name": "a.bin", "url": "https://example.org/a.bin"}],
    "trained_on": [{"data_set": "Theatre", "videos": ["op01"], "source": "a paper"}],
}


def test_the_models_that_people_ask_for_are_there() -> None:
    wanted = "surgvlp hecvl peskavlp surgclip siglip2-b-16-256 pe-core-b-16 mobileclip2-s0 mobileclip2-b medsiglip"
    wanted += " qwen3-vl-embedding-2b qwen3-vl-embedding-8b uai-nexus-medvlm"
    assert set(wanted.split()) | set(MODELS) <= set(ENTRIES)


@pytest.mark.parametrize("name", ENTRIES)
def test_an_entry_says_whose_it_is_and_what_may_be_done(name: str) -> None:
    entry = ENTRIES[name]
    assert entry.name == name == name.lower()
    assert entry.shipped == (name in MODELS)
    assert entry.shipped or entry.source
    assert entry.asks == (entry.licence not in FREE)
    if re.search(r"\bNC\b|research only", entry.licence):
        assert entry.commercial == "no"
    assert entry.shipped == (not entry.trained_on)
    # What is written by hand starts with where it is from.
    assert (REGISTRY / f"{name}.yaml").read_text(encoding="utf-8").startswith("# ")


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name, entry in ENTRIES.items() if entry.family == "open_clip"])
def test_entries_of_open_clip_are_as_its_table_has_them(name: str) -> None:
    open_clip = pytest.importorskip("open_clip")
    entry = ENTRIES[name]
    found = open_clip.get_pretrained_cfg(entry.arguments["arch"], entry.arguments["tag"])
    assert found["hf_hub"].rstrip("/") == entry.files[0].hub
    assert entry.preprocess is not None
    assert entry.preprocess["interpolation"] == found["interpolation"]
    assert entry.preprocess["geometry"] == {"squash": "squash", "shortest": "crop"}[found["resize_mode"]]
    model = open_clip.get_model_config(entry.arguments["arch"])
    assert entry.preprocess["size_px"] == model["vision_cfg"]["image_size"]
    # A model with a tokenizer of its own needs its files, too.
    assert ("hf_tokenizer_name" in model["text_cfg"]) == (len(entry.files) > 1)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"licence": None}, "licence"),
        ({"commercial": False}, "commercial"),
        ({"colour": "red"}, "colour"),
        ({"files": []}, "a model has files unless it is shipped"),
        ({"kind": "video-text"}, "needs family and sees"),
        ({"files": [{"name": "../a", "url": "https://example.org"}]}, "leads out of its folder"),
        ({"files": [{"name": "a", "url": "ftp://example.org/a"}]}, "files.0.url"),
        ({"files": [{"name": "a"}]}, "give url or hub"),
        ({"files": [{"name": "*.bin", "url": "https://example.org"}]}, "a pattern needs a hub"),
        ({"files": [{"name": "a", "hub": "mine/a/b", "sha256": "a" * 64}]}, "files.0.hub"),
        ({"files": [{"name": "a", "url": "https://example.org/a", "sha256": "a" * 63}]}, "files.0.sha256"),
        ({"name": "other"}, "without a name"),
        ({"trained_on": []}, "data_set: unknown where nobody does"),
        ({"trained_on": [{"data_set": "Theatre", "source": "a paper"}]}, "or unknown with the reason"),
        ({"trained_on": [{"data_set": "Theatre", "videos": ["op01"]}]}, "trained_on.0.source"),
    ],
)
def test_a_wrong_entry_is_refused_in_one_line(tmp_path: Path, change: dict[str, Any], said: str) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(yaml.safe_dump(FULL), encoding="utf-8")
    assert read_entry(path).name == "mine"
    path.write_text(yaml.safe_dump({**FULL, **change}), encoding="utf-8")
    with pytest.raises(ConfigError) as raised:
        read_entry(path)
    assert said in str(raised.value)
    assert str(path) in str(raised.value)
    assert "\n" not in str(raised.value)


def test_an_unknown_name_gets_a_hint() -> None:
    with pytest.raises(ConfigError, match="did you mean peskavlp"):
        published("peskvlp")
    with pytest.raises(ConfigError, match="surgvl models list shows all"):
        published("zzz")
