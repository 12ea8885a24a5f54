"""Vectors and answers for `surgvl eval --server`, which a server's models make."""

from pathlib import Path
from typing import Any

from surgvl.core.errors import ConfigError, DataError
from surgvl.data.manifest import Manifest
from surgvl.tasks.overlap import check_overlap


def serve_inputs(
    table: Manifest,
    manifest: Path,
    out: Path,
    wanted: tuple[bool, bool],
    split: str,
    address: tuple[str, str, int, str],
    allow_overlap: bool,
    own: dict[str, list[str]],
    seed: int,
) -> tuple[Path | None, Path | None]:
    """Let a server's models write the wanted folders of vectors and answers, as far as they can.

    Args:
        table: the manifest.
        manifest: its folder.
        out: folder of the evaluation.
        wanted: whether vectors and answers are.
        split: to embed and to answer.
        address: of the server, its key, how many requests it gets at a time, and the name of its model.
        allow_overlap: also score videos that were seen in training.
        own: further videos that must not be scored (`check_overlap`).
        seed: of the answers.

    Returns:
        The folders of the vectors and of the answers.

    Raises:
        ConfigError: the server has no models to choose among.
        DataError: it serves no model that could be scored, or its models have seen the videos.
    """
    from surgvl.commands.answer_manifest import AskConfig
    from surgvl.commands.ask import ask
    from surgvl.commands.embed import embed
    from surgvl.serve.client import Server

    url, api_key, in_flight, model = address
    serves = Server(url, api_key).surgvl_facts()
    if serves is None:
        # Any other address answers questions only.
        serves, wanted = {"chat": {}}, (False, wanted[1])
    elif model:
        raise ConfigError(f"--model {model}: {url} is `surgvl serve`, which has one model of a kind: leave it out")
    # Overlap is checked before anything is computed.
    trained = [(serves.get(role) or {}).get("trained") or {} for role in ("chat", "embed")]
    seen = [name for facts in trained for name in facts.get("pretraining_video_ids", [])]
    check_overlap(table, split, seen, allow_overlap, own)
    more: dict[str, Any] = {"manifest": manifest, "resume": True, "server": url, "api_key": api_key}
    vectors, answers = None, None
    if wanted[0] and "embed" in serves:
        vectors = embed(out / "vectors", split=split, in_flight=in_flight, **more)
    if wanted[1] and "chat" in serves and table.split(split).qa_table.num_rows:
        answers = out / "answers"
        named = Path(model) if model else None
        ask(model=named, out=answers, questions=AskConfig(split=split), in_flight=in_flight, seed=seed, **more)
    if any(wanted) and vectors is None and answers is None:
        raise DataError(f"{url} serves no model that could be scored on {manifest}: see {url}/surgvl/about")
    return vectors, answers
