"""A model folder that vLLM can read, made from a video-text model's folder that lacks something.

The original is never changed: it may be read-only, and vectors made with it carry the hash of its files. What is
missing goes into a folder of its own, with links to the large files.
"""

import atexit
import json
import shutil
import tempfile
from pathlib import Path
from typing import Any

from surgvl.core.errors import CheckpointError
from surgvl.core.files import write_json
from surgvl.models.model_info import find_model, load_preprocess, weight_files
from surgvl.models.schema import read_checked

KIND, PUBLISHED = "surgvl_dual", "surgvl_video_text"
ARCHITECTURE = "SurgVLEmbeddingModel"
# Subfolder of a prepared folder: a link to the original.
TOWER = "tower"
# vLLM drops the rest of a longer list of frames.
MAX_FRAMES = 256


def prepare_model(folder: Path | str, scratch: Path | None = None) -> Path:
    """A folder with everything that vLLM needs for a video-text model.

    Args:
        folder: a model folder or a run folder.
        scratch: where to put a prepared copy; by default a temporary folder that is removed at exit.

    Returns:
        The model folder itself if nothing is missing, else `scratch`.

    Raises:
        CheckpointError: this is not a video-text model, or its tokenizer cannot be read.
    """
    folder = find_model(folder).resolve()
    config: dict[str, Any] = read_checked(folder / "config.json", dict[str, Any])
    if config.get("model_type") not in (KIND, PUBLISHED):
        raise CheckpointError(
            f"{folder} holds a model of type {config.get('model_type')!r}, and embeddings need a {KIND!r} or "
            f"{PUBLISHED!r}: give a folder that `surgvl align` made, or the name of a published model"
        )
    is_published = config["model_type"] == PUBLISHED
    text = config.get("text")
    if not is_published and (not isinstance(text, dict) or text.get("kind") not in ("tiny", "open_clip", "hf")):
        raise CheckpointError(f"{folder}/config.json has no text tower of a known kind: export the model again")
    whole = all((folder / name).is_file() for name in ("tokenizer.json", "tokenizer_config.json"))
    tiny = not is_published and config["text"]["kind"] == "tiny"
    if tiny and whole and config.get("architectures") == [ARCHITECTURE]:
        return folder
    # These imports take a second, and a complete folder does not need them.
    from surgvl.models.tokenizer_files import sentence_tokenizer
    from surgvl.serve.byte_tokenizer import byte_tokenizer

    if scratch is None:
        scratch = Path(tempfile.mkdtemp(prefix="surgvl-serve-"))
        atexit.register(shutil.rmtree, scratch, ignore_errors=True)
    scratch.mkdir(parents=True, exist_ok=True)
    given = [folder / name for name in ("preprocessor_config.json", *(("tokenizer.spm",) if tiny else ()))]
    for path in (*given, *weight_files(folder)):
        (scratch / path.name).unlink(missing_ok=True)
        (scratch / path.name).symlink_to(path)
    if tiny:
        tokenizer = sentence_tokenizer(folder / "tokenizer.spm")
    else:
        tokenizer = byte_tokenizer()
        (scratch / TOWER).unlink(missing_ok=True)
        (scratch / TOWER).symlink_to(folder)
    tokenizer.save_pretrained(scratch)
    if is_published and "hidden_size" not in config:
        raise CheckpointError(f"{folder}/config.json has no hidden_size: fetch or add the model again")
    if is_published:
        # The rest is its family's, which reads it in the original.
        config = {"model_type": KIND, "dim": config["hidden_size"], "family": config["family"]}
    write_json(
        scratch / "config.json",
        {**config, "architectures": [ARCHITECTURE], "text_ids": "tokens" if tiny else "bytes"},
    )
    return scratch


def embed_flags(folder: Path | str) -> list[str]:
    """Flags of `vllm serve` for a video-text model, besides `--runner pooling`, the address and the machine's own.

    Args:
        folder: a model folder or a run folder.
    """
    frames = max(MAX_FRAMES, load_preprocess(find_model(folder)).num_frames)
    media = json.dumps({"video": {"num_frames": frames}})
    # Half precision would change the vectors by more than 1e-3; vLLM finds nothing to compile in our networks.
    return ["--dtype", "float32", "--enforce-eager", "--skip-mm-profiling", "--media-io-kwargs", media]
