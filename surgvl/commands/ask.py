"""The `ask` command: one question about a video, or all questions of a manifest."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING

from surgvl.chat.vision_language_config import ClipInput, ReplyConfig
from surgvl.commands.answer_manifest import AskConfig, answer_manifest
from surgvl.commands.conditions import chosen, needs_archive, parts
from surgvl.core.errors import ConfigError
from surgvl.core.invocation import recorded
from surgvl.core.plurals import plural
from surgvl.core.run_folder import RunFolder
from surgvl.core.times import clock, seconds
from surgvl.retrieval.where import EVERYWHERE, Where
from surgvl.video import probe
from surgvl.video.clip import Preprocess
from surgvl.video.marks import counted

# Modules that import torch are imported where they are used, so that help and usage errors need none.
if TYPE_CHECKING:
    from surgvl.archive.archive import Archive
    from surgvl.chat.answerer import Answerer


@recorded
def ask(
    model: Path | None = None,
    video: str = "",
    question: str = "",
    at_s: str | float | None = None,
    answers: list[str] | None = None,
    manifest: Path | None = None,
    out: Path | None = None,
    questions: AskConfig = AskConfig(),  # noqa: B008 (frozen)
    frame_cache: Path | None = None,
    device: str = "cpu",
    seed: int = 0,
    resume: bool = False,
    server: str = "",
    api_key: str = "",
    in_flight: int = 8,
    clip: ClipInput = ClipInput(),  # noqa: B008 (frozen)
    reply: ReplyConfig = ReplyConfig(),  # noqa: B008 (frozen)
    replies: Path | None = None,
    archive: Path | None = None,
    procedure: str = "",
    source: str = "",
    where: Where = EVERYWHERE,
) -> Path | str:
    """Ask a question about a video, or all questions of a manifest.

    Args:
        model: run folder or model folder of a chat model, or a video-text model, which chooses among --answers by the
            similarity of clip and sentence; with --server, the model that `surgvl serve` must have, or
            the name of one of the models of any other server.
        video: a video file; needs a question.
        question: the question, in plain language.
        at_s: the moment in the video, as seconds, m:ss or h:mm:ss; the middle of the video by default.
        answers: allowed answers. By default, the model chooses from its known answers to a closed question that it was
            tuned on, and answers any other question in free text.
        manifest: manifest folder whose questions to answer; needs --out.
        out: folder for answers.jsonl.
        questions: which questions of a manifest are answered, and how.
        frame_cache: folder to cache decoded frames and the encoder's tokens in; by default, no cache.
        device: torch device, such as cpu or cuda.
        seed: random seed of the choice of other videos as controls, of the order of options, and of sampling.
        resume: continue in an --out folder that is not empty.
        server: address of `surgvl serve` with a chat model, or any OpenAI-compatible address (vLLM, SGLang, llama.cpp,
            a hosted model), which answers instead of this process. A manifest's closed questions take one request each,
            in which the server chooses token by token; a single question is answered by the likelihood of each answer.
        api_key: the server's key, or @FILE that contains it; SURGVL_API_KEY by default, which is safer.
        in_flight: maximum number of concurrent requests to the server.
        clip: what a general vision-language model is shown.
        reply: how a general vision-language model replies.
        replies: file of replies of a general vision-language model, to which new ones are appended; what it holds is
            not asked again. By default, replies.jsonl in --out.
        archive: archive (surgvl archive create) of which the video is a recording, given by its id; its model answers
            by default. Without a video, the conditions must leave one recording.
        procedure: with --archive, only a recording of this procedure.
        source: with --archive, only a recording from this folder or data set.
        where: further conditions, as of `surgvl search`; the moment lies where they are met, by default in the middle
            of the first such part.
    """
    where = chosen(where, [], procedure, source)
    moment_s = None if at_s is None else seconds(at_s, "--at_s")
    if archive is None:
        needs_archive(where)
    elif manifest is not None and where != EVERYWHERE:
        raise ConfigError(f"--manifest names its videos: leave the conditions out, got {where}")
    if archive is not None:
        # Imports faiss, which answers do without.
        from surgvl.archive.archive import Archive

        with Archive.open(archive) as opened:
            if where != EVERYWHERE:
                video, moment_s = _moment(opened, video, where, moment_s)
            video = str(opened.path_of(video)) if video else video
            model = Path(opened.chat) if model is None and opened.chat and not server else model
        if model is None and not server:
            raise ConfigError(f"{archive} names no model that answers questions: give it as --model")
    if manifest is None:
        if not (video and question):
            raise ConfigError("give a video and a question, or --manifest and --out")
        if out is not None:
            raise ConfigError(f"--out {out} needs --manifest, whose answers it is for: leave it out, or give both")
    elif out is None:
        raise ConfigError("--manifest needs --out: the folder for answers.jsonl")
    elif video or question or answers or at_s is not None:
        raise ConfigError(
            f"--manifest {manifest} has its own videos, questions and answers: leave VIDEO, QUESTION, --answers and "
            "--at_s out"
        )
    from surgvl.chat.vision_language import VisionLanguageAnswerer

    def load(by_likelihood: bool) -> "Answerer":
        if server:
            from surgvl.serve.remote_answerer import remote_answerer

            return remote_answerer(model, server, api_key, in_flight, by_likelihood, clip, reply, seed)
        # Imports torch, which a question to a server does without.
        from surgvl.api import load_answerer

        return load_answerer(model, device, by_likelihood=by_likelihood, clip=clip, reply=reply, seed=seed)

    if manifest is None or out is None:
        return _answer_one(load(by_likelihood=True), video, question, moment_s, answers)
    with RunFolder(out, resume, seed=seed) as folder:
        answerer = load(by_likelihood=False)
        if isinstance(answerer, VisionLanguageAnswerer):
            answerer.store_replies(replies or folder.path / "replies.jsonl")
        return answer_manifest(answerer, folder, manifest, questions, frame_cache, seed)


def _moment(archive: "Archive", video: str, where: Where, moment_s: float | None) -> tuple[str, float | None]:
    """The recording that meets conditions, and a moment of it that does.

    Raises:
        ConfigError: no recording meets them, or several and none is named; or the moment does not.
    """
    wanted = chosen(where, [archive.recording(video).id] if video else [], "", "")
    found = parts(archive, wanted)
    if len(found) > 1:
        names = ", ".join(map(repr, list(found)[:3])) + ", ..." * (len(found) > 3)
        raise ConfigError(f"{plural(len(found), 'recording')} match {where} ({names}): name one of them")
    ((id, spans),) = found.items()
    if not archive.resolve(wanted).of_times:
        return id, moment_s
    if moment_s is None:
        return id, sum(spans[0]) / 2
    if not any(start_s <= moment_s < end_s for start_s, end_s in spans):
        there = ", ".join(f"{clock(start_s)} to {clock(end_s)}" for start_s, end_s in spans[:3])
        raise ConfigError(f"--at_s {clock(moment_s)} of {id!r} does not match {where}: {there} does")
    return id, moment_s


def _answer_one(
    answerer: "Answerer", video: str, question: str, moment_s: float | None, answers: list[str] | None
) -> str:
    with counted() as marks:
        answer = answerer.answer_one(video, question, moment_s, answers)
    print(answer.text)
    # Scripts read standard output, which is the answer alone.
    lines = [_clip_shown(video, moment_s, answerer.preprocess), *marks.lines()]
    if answer.confidence is not None and not answer.problem:
        among = plural(len(answer.question.answers), "answer") if answer.question.answers else ""
        of = f"of {among} to choose from" if among else "mean probability of its tokens"
        lines.append(f"confidence: {answer.confidence:.0%}, {of}")
    print(*lines, sep="\n", file=sys.stderr)
    if answer.problem:
        print(f"no answer, {answer.problem}: the model's reply is {answer.raw[:300]!r}", file=sys.stderr)
    elif not answer.text.strip():
        print("the model's answer is empty: give allowed answers with --answers", file=sys.stderr)
    return answer.text


def _clip_shown(video: str, moment_s: float | None, preprocess: Preprocess) -> str:
    """Which part of a video an answer is about."""
    duration_s = probe(video).duration_s
    start_s, end_s = preprocess.span_s(duration_s / 2 if moment_s is None else moment_s, duration_s)
    middle = ", the middle of the video; --at_s chooses another moment" if moment_s is None else ""
    return f"clip: {clock(start_s)} to {clock(end_s)}{middle}"
