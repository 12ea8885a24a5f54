"""The `serve` commands: a chat model and a video-text model over HTTP, by vLLM, and a trained readout beside them."""

import sys
from collections.abc import Mapping
from pathlib import Path

from surgvl.core.errors import ConfigError
from surgvl.models.model_info import resolve_model
from surgvl.serve.engine_process import Role, is_cpu_build
from surgvl.serve.plugin import require_vllm
from surgvl.serve.recognise import Recognise
from surgvl.serve.served_model import find_served_model
from surgvl.serve.server import run_server
from surgvl.serve.settings import ServerSettings


def serve_chat(
    model: Path | None = None,
    server: ServerSettings = ServerSettings(),  # noqa: B008 (frozen)
    engine_args: list[str] | None = None,
    archive: Path | None = None,
) -> None:
    """Serve a chat model: answer questions about video over HTTP, for OpenAI's clients.

    Args:
        model: run folder or model folder of a chat model; or hf: and the folder or hub id of any vision-language model
            that vLLM knows, or a run folder with an adapter of one.
        server: where to listen, and what to accept.
        engine_args: all words after this flag are passed to `vllm serve` unchanged.
        archive: archive (surgvl archive create) whose model is served, where --model is not given.
    """
    _serve({"chat": _model(model, "--model", archive, "chat")}, server, engine_args)


def serve_embed(
    model: Path | None = None,
    server: ServerSettings = ServerSettings(),  # noqa: B008 (frozen)
    engine_args: list[str] | None = None,
    archive: Path | None = None,
) -> None:
    """Serve a video-text model: embed sentences and clips over HTTP.

    Args:
        model: run folder or model folder of a video-text model.
        server: where to listen, and what to accept.
        engine_args: all words after this flag are passed to `vllm serve` unchanged.
        archive: archive (surgvl archive create) whose model is served, where --model is not given.
    """
    _serve({"embed": _model(model, "--model", archive, "embed")}, server, engine_args)


def serve_all(
    model: Path | None = None,
    embed_model: Path | None = None,
    server: ServerSettings = ServerSettings(),  # noqa: B008 (frozen)
    engine_args: list[str] | None = None,
    archive: Path | None = None,
    readout: Path | None = None,
    device: str = "cpu",
    encoder: Path | None = None,
) -> None:
    """Serve a chat model and a video-text model at one address, and a trained readout if one is given.

    Args:
        model: run folder or model folder of a chat model.
        embed_model: run folder or model folder of a video-text model.
        server: where to listen, and what to accept.
        engine_args: all words after this flag are passed to `vllm serve` unchanged, for both models.
        archive: archive (surgvl archive create) whose models are served, where they are not given.
        readout: run folder of `surgvl probe` or `finetune`, whose model answers /surgvl/recognise.
        device: torch device of the readout, such as cpu or cuda.
        encoder: for a readout of stored vectors: where the model that made them is now, if it was moved.
    """
    chat = _model(model, "--model", archive, "chat")
    models: dict[Role, Path] = {"chat": chat, "embed": _model(embed_model, "--embed_model", archive, "embed")}
    if encoder is not None and readout is None:
        raise ConfigError(f"--encoder {encoder} is for a --readout: give one, or leave it out")
    _serve(models, server, engine_args, readout, device, encoder)


def serve_readout(
    model: Path,
    server: ServerSettings = ServerSettings(),  # noqa: B008 (frozen)
    device: str = "cpu",
    encoder: Path | None = None,
) -> None:
    """Serve a trained readout: phases, tools or skill of posted videos over HTTP; needs no vLLM.

    Args:
        model: run folder or model folder of `surgvl probe` or `finetune`.
        server: where to listen, and what to accept.
        device: torch device, such as cpu or cuda.
        encoder: for a readout of stored vectors: where the model that made them is now, if it was moved.
    """
    _serve({}, server, None, model, device, encoder)


def _model(given: Path | None, flag: str, archive: Path | None, role: Role) -> Path:
    """The model that is given, or the archive's.

    Raises:
        ConfigError: there is none.
    """
    if given is not None:
        return given
    if archive is None:
        raise ConfigError(f"give {flag}, or --archive")
    # Imports faiss, which servers do without.
    from surgvl.archive.archive import Archive

    with Archive.open(archive) as opened:
        name = opened.chat if role == "chat" else opened.model
    if not name:
        raise ConfigError(f"{archive} names no model that answers questions: give it as {flag}")
    return Path(name)


def _serve(
    models: Mapping[Role, Path],
    server: ServerSettings,
    engine_args: list[str] | None,
    readout: Path | None = None,
    device: str = "cpu",
    encoder: Path | None = None,
) -> None:
    """Serve models until Ctrl-C or SIGTERM.

    Raises:
        ConfigError: vLLM is not installed, or the address cannot be used.
        CheckpointError: a folder does not hold what is to be served.
        ServerError: an engine did not start, or died twice.
    """
    if models:
        # First, because it says how to install vLLM.
        is_cpu_build()
        require_vllm()
    folders = {role: find_served_model(role, path) for role, path in models.items()}
    loaded = None if readout is None else _readout(readout, device, encoder)
    run_server(folders, server, engine_args or (), _inform, _warn, loaded)


def _readout(folder: Path, device: str, encoder: Path | None) -> Recognise:
    # Imports torch, which servers without a readout need not.
    from surgvl.probe.recognition import Recognition

    return Recognise(Recognition.load(resolve_model(folder), device, encoder and resolve_model(encoder)))


def _inform(line: str) -> None:
    print(line, flush=True)


def _warn(line: str) -> None:
    print(f"surgvl: {line}", file=sys.stderr, flush=True)
