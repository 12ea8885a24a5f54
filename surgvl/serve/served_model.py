"""The model of a role: the folders that it accepts, and the description that clients get."""

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from surgvl.chat.vision_language_config import is_vision_language
from surgvl.core.errors import CheckpointError
from surgvl.core.version import __version__
from surgvl.models.model_info import (
    check_servable,
    find_model,
    load_answers,
    load_preprocess,
    logit_scale,
    model_hash,
    resolve_model,
    training_record,
)
from surgvl.models.schema import read_checked
from surgvl.models.store import stored_hub
from surgvl.serve.engine_process import Role
from surgvl.serve.general_model import describe_general, general_folder

MODEL_NAMES: Mapping[Role, str] = {"chat": "surgvl-chat", "embed": "surgvl-embed"}
# For each role its model types, what that is called, and the command that makes one.
KINDS: Mapping[Role, tuple[tuple[str, ...], str, str]] = {
    "chat": (("surgvl_chat",), "a chat model", "surgvl tune"),
    "embed": (("surgvl_dual", "surgvl_video_text"), "a video-text model", "surgvl align"),
}
READOUTS = ("surgvl_recogniser", "surgvl_vector_recogniser")
OTHER_KINDS = {"surgvl_video_vit": "a video encoder", **dict.fromkeys(READOUTS, "a trained readout")}


def find_served_model(role: Role, path: Path) -> Path:
    """The model folder that a role can serve.

    Args:
        role: chat or embed.
        path: run folder, model folder or name of a model; for chat also a general vision-language model, which is
            returned as it is (`surgvl.serve.general_model`).

    Raises:
        CheckpointError: it holds a different kind of model, or a damaged one.
    """
    if role == "chat" and is_vision_language(str(path)):
        general_folder(str(path))
        return path
    folder = find_model(resolve_model(path))
    config: dict[str, Any] = read_checked(folder / "config.json", dict[str, Any])
    kind = config.get("model_type")
    wanted, name, command = KINDS[role]
    if kind not in wanted:
        known = {each: what for types, what, _ in KINDS.values() for each in types} | OTHER_KINDS
        found = known.get(str(kind), f"a model of type {kind!r}")
        other = next((f" or use `surgvl serve {each}`" for each in KINDS if kind in KINDS[each][0]), "")
        other = " or use `surgvl serve readout`" if kind in READOUTS else other
        raise CheckpointError(f"{path} holds {found}, not {name}: give a folder that `{command}` made{other}")
    if role == "chat" and "projector" not in config:
        raise CheckpointError(f"{path} was written by an early version that cannot be served: tune the model again")
    check_servable(folder)
    return folder


def describe_models(folders: Mapping[Role, Path]) -> dict[str, Any]:
    """Response of /surgvl/about: what clients need to send inputs like those that the models were trained on."""
    out: dict[str, Any] = {"version": __version__}
    for role, folder in folders.items():
        if is_vision_language(str(folder)):
            out[role] = describe_general(MODEL_NAMES[role], training_record(stored_hub(str(folder))))
            continue
        out[role] = {"preprocess": asdict(load_preprocess(folder)), "hash": model_hash(folder)}
        out[role]["trained"] = training_record(folder)
        if role == "embed":
            out[role]["logit_scale"] = logit_scale(folder)
        if role == "chat":
            known = load_answers(folder)
            out[role] |= {"answers": known.answers, "questions": known.questions}
            # Clients need it to ask for the likelihood of an answer.
            out[role]["end_id"] = known.end_id
    return out
