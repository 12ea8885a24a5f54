"""Arguments of general vision-language models: what they are shown, and how they reply."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from surgvl.core.checks import check_above, check_choice, check_range
from surgvl.models.schema import read_checked
from surgvl.video.clip import Anchor, Preprocess

Send = Literal["auto", "video", "frames"]
Closed = Literal["auto", "likelihood", "choice", "guided_choice", "json_schema", "grammar", "letters"]
# Files of an adapter's folder: peft's, and how the clips were cut that it was trained on.
ADAPTER, CLIP_FILE = "adapter_config.json", "clip.json"
CLOSED = ("auto", "likelihood", "choice", "guided_choice", "json_schema", "grammar", "letters")


def adapter_folder(name: str) -> Path | None:
    """The folder of a peft adapter: a folder itself, or `model/` in a run folder of `surgvl tune`; None if neither."""
    return next((each for each in (Path(name), Path(name) / "model") if (each / ADAPTER).is_file()), None)


def is_vision_language(name: str) -> bool:
    """Whether a name means a general vision-language model: `hf:...`, or a folder with an adapter of one."""
    return name.startswith("hf:") or adapter_folder(name) is not None


def trained_on(name: str, clip: "ClipInput") -> "ClipInput":
    """The clips that an adapter was trained on, unless others were asked for; those asked for with any other model."""
    adapter = adapter_folder(name)
    path = adapter and adapter / CLIP_FILE
    if clip != ClipInput() or path is None or not path.is_file():
        return clip
    return read_checked(path, ClipInput)


@dataclass(frozen=True, kw_only=True)
class ClipInput:
    """What a general vision-language model is shown of a video (other models say themselves how they take clips).

    Args:
        num_frames: frames of a clip.
        fps: frames per second of video time in a clip.
        size_px: longer side of the frames, which keep their aspect ratio.
        anchor: which frame of a clip shows the moment that is asked about: last, centre or first.
        send: a clip as a video, or as frames with their times in words; auto: as a video where the model takes it.
    """

    num_frames: int = 8
    fps: float = 1.0
    size_px: int = 448
    anchor: Anchor = "centre"
    send: Send = "auto"

    def __post_init__(self) -> None:
        """Check the values.

        Raises:
            ConfigError: one is out of range.
        """
        check_range("--clip.num_frames", self.num_frames, 1, 4096)
        check_above("--clip.fps", self.fps)
        check_range("--clip.size_px", self.size_px, 28, 4096)
        check_choice("--clip.send", self.send, ("auto", "video", "frames"))

    @property
    def may_be_video(self) -> bool:
        """Whether it may be sent as a video; a single frame is a picture."""
        return self.send == "video" or (self.send == "auto" and self.num_frames > 1)

    @property
    def preprocess(self) -> Preprocess:
        """How clips are cut."""
        return Preprocess(
            num_frames=self.num_frames,
            fps=self.fps,
            size_px=self.size_px,
            anchor=self.anchor,
            geometry="fit",
        )


@dataclass(frozen=True, kw_only=True)
class ReplyConfig:
    """How a general vision-language model replies.

    Args:
        closed: how it chooses among the options of a closed question. choice, guided_choice, json_schema and grammar:
            the server lets it write nothing else, by that field of the request; letters: its text is parsed;
            likelihood: the most probable option. auto: the first of these fields that the server obeys, else letters;
            for a single question, likelihood where the server offers `prompt_logprobs`.
        shuffle_options: show the options of each question in an order drawn by --seed.
        max_tokens: maximum number of tokens of a reply; reasoning models need thousands.
        temperature: of sampling; 0: the most probable token.
        limit_s: longest wait for a reply, retries included; a later one counts as late.
        retries: maximum number of retries of a request that fails for a reason that may pass.
    """

    closed: Closed = "auto"
    shuffle_options: bool = False
    max_tokens: int = 64
    temperature: float = 0.0
    limit_s: float = 120.0
    retries: int = 5

    def __post_init__(self) -> None:
        """Check the values.

        Raises:
            ConfigError: one is out of range.
        """
        check_choice("--reply.closed", self.closed, CLOSED)
        check_range("--reply.max_tokens", self.max_tokens, 1)
        check_range("--reply.temperature", self.temperature, 0, 10)
        check_above("--reply.limit_s", self.limit_s)
        check_range("--reply.retries", self.retries, 0)

    def sampling(self, seed: int) -> dict[str, Any]:
        """Fields of a request that decide how tokens are drawn."""
        return {"temperature": self.temperature, "max_tokens": self.max_tokens, "seed": seed}
