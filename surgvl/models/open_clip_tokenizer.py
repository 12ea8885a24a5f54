"""Tokenizers of open_clip; CLIP's own, which takes long to read, is read once for all models that use it alike."""

import json
from collections.abc import Mapping
from typing import Any

_READ: dict[str, Any] = {}


def open_clip_tokenizer(name: str, text_cfg: Mapping[str, Any]) -> Any:
    """The tokenizer of a model of open_clip, which nobody changes.

    Args:
        name: of the model in open_clip, or `local-dir:FOLDER`.
        text_cfg: the model's entry of this name.
    """
    import open_clip

    if text_cfg.get("hf_tokenizer_name"):
        # Its files may change.
        return open_clip.get_tokenizer(name)
    folder, _, _ = name.partition(":")
    key = f"{folder} {json.dumps(text_cfg, sort_keys=True)}"
    if key not in _READ:
        _READ[key] = open_clip.get_tokenizer(name)
    return _READ[key]
