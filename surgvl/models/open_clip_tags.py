"""Any weights that open_clip's table of pretrained models names, as an entry like those of the registry."""

import re
from typing import Any

from surgvl.core.checks import did_you_mean
from surgvl.core.errors import ConfigError
from surgvl.models.published import Original, Published, TrainedOn

# Files of a tokenizer of transformers.
TOKENIZER = ("tokenizer*.json", "special_tokens_map.json", "vocab.*", "merges.txt", "*.model")
WEIGHTS, PICKLE = "open_clip_model.safetensors", "open_clip_pytorch_model.bin"


def open_clip_entry(arch: str, tag: str) -> Published:
    """The entry of a tag. The table says nothing about licences: the page must be read.

    Args:
        arch: name of the architecture in open_clip.
        tag: name of the weights.

    Raises:
        ConfigError: open_clip does not know them, or has no address of the weights.
    """
    import open_clip

    if (model := open_clip.get_model_config(arch)) is None:
        raise ConfigError(f"open_clip has no model {arch!r}: {did_you_mean(arch, open_clip.list_models())}")
    cfg, tags = open_clip.get_pretrained_cfg(arch, tag), open_clip.list_pretrained_tags_by_model(arch)
    if not cfg:
        raise ConfigError(f"open_clip has no weights {tag!r} of {arch}: choose one of {', '.join(tags) or '(none)'}")
    weights = _weights(cfg)
    if weights is None:
        raise ConfigError(f"open_clip has no address of {arch}@{tag}: give its file, as open_clip:{arch}@FILE")
    tokenizer = model["text_cfg"].get("hf_tokenizer_name")
    return Published(
        name=f"open_clip/{arch}@{tag}",
        title=f"open_clip {arch}, {tag}",
        kind="video-text",
        purpose="any picture by sentences",
        family="open_clip",
        arguments={"arch": arch, "tag": tag},
        licence="stated on its page",
        commercial="ask",
        source=weights.where,
        sees="frames",
        trained_on=(TrainedOn(data_set="unknown", unknown="the table does not say", source="open_clip's table"),),
        files=(weights, *(Original(name=name, hub=tokenizer) for name in TOKENIZER if tokenizer)),
    )


def _weights(cfg: dict[str, Any]) -> Original | None:
    """Where the weights are: on the hub if they are there, else at an address, of which OpenAI's hold the hash."""
    owner, _, rest = cfg.get("hf_hub", "").partition("/")
    repo, _, file = rest.partition("/")
    if repo:
        return Original(name=file or WEIGHTS, otherwise=None if file else PICKLE, hub=f"{owner}/{repo}")
    url = cfg.get("url", "")
    if not url:
        return None
    found = re.search(r"/([0-9a-f]{64})/[^/]+$", url)
    return Original(name=url.rpartition("/")[2], url=url, sha256=found[1] if found else None)
