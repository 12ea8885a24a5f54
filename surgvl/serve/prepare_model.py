"""A model folder that vLLM can read as it is, for folders that lack something.

A folder is never changed: it may be read-only, and vectors that were made with it bear the hash of its files. What is
missing is put into a folder of its own, with links to the large files.
"""

import atexit
import json
import shutil
import tempfile
from pathlib import Path
from typing import Any

from surgvl.core.errors import CheckpointError
from surgvl.core.files import write_json
from surgvl.models.model_info import find_model, load_preprocess
from surgvl.models.schema import read_checked

KIND = "surgvl_dual"
ARCHITECTURE = "SurgVLEmbeddingModel"
# Sub-folder of a prepared folder: the one that it was made from.
TOWER = "tower"
# A list of frames over the wire may have this many; vLLM leaves out the rest of a longer one.
MOST_FRAMES = 256


def prepare(folder: Path | str, scratch: Path | None = None) -> Path:
    """A folder with everything that vLLM needs of a video-text model.

    Args:
        folder: a model folder or a run folder.
        scratch: where to put a prepared copy; a temporary folder that is removed at exit, where none is given.

    Returns:
        The model folder itself, where nothing is missing; otherwise `scratch`.

    Raises:
        CheckpointError: not a folder of a video-text model, or its tokenizer cannot be read.
    """
    folder = find_model(folder).resolve()
    config: dict[str, Any] = read_checked(folder / "config.json", dict[str, Any])
    if config.get("model_type") != KIND:
        raise CheckpointError(
            f"{folder} holds a {config.get('model_type')!r}: embeddings are served by a {KIND!r}, as surgvl "
            "align makes it; give such a folder"
        )
    text = config.get("text")
    if not isinstance(text, dict) or text.get("kind") not in ("tiny", "open_clip", "hf"):
        raise CheckpointError(f"{folder}/config.json has no text tower of a known kind: export the model again")
    whole = all((folder / name).is_file() for name in ("tokenizer.json", "tokenizer_config.json"))
    tiny = text["kind"] == "tiny"
    if tiny and whole and config.get("architectures") == [ARCHITECTURE]:
        return folder
    # They take a second to import, and a folder that is ready does not need them.
    from surgvl.models.tokenizer_files import sentence_tokenizer
    from surgvl.serve.byte_text import byte_tokenizer

    if scratch is None:
        scratch = Path(tempfile.mkdtemp(prefix="surgvl-serve-"))
        atexit.register(shutil.rmtree, scratch, ignore_errors=True)
    scratch.mkdir(parents=True, exist_ok=True)
    for name in ("model.safetensors", "preprocessor_config.json", *(("tokenizer.spm",) if tiny else ())):
        (scratch / name).unlink(missing_ok=True)
        (scratch / name).symlink_to(folder / name)
    if tiny:
        tokenizer = sentence_tokenizer(folder / "tokenizer.spm")
    else:
        tokenizer = byte_tokenizer()
        (scratch / TOWER).unlink(missing_ok=True)
        (scratch / TOWER).symlink_to(folder)
    tokenizer.save_pretrained(scratch)
    write_json(
        scratch / "config.json",
        {**config, "architectures": [ARCHITECTURE], "text_ids": "tokens" if tiny else "bytes"},
    )
    return scratch


def embed_words(folder: Path | str) -> list[str]:
    """Words of `vllm serve` for a video-text model, beside `--runner pooling`, the address and the machine's own.

    Args:
        folder: a model folder or a run folder.
    """
    frames = max(MOST_FRAMES, load_preprocess(find_model(folder)).num_frames)
    media = json.dumps({"video": {"num_frames": frames}})
    # Half precision would move the vectors by more than 1e-3; vLLM finds nothing to compile in networks of ours.
    return ["--dtype", "float32", "--enforce-eager", "--skip-mm-profiling", "--media-io-kwargs", media]
