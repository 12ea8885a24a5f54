"""A video-text model as an answerer of closed questions: the option whose sentence is most similar to the clip.

The sentence of an option is the question and the option (Song et al., arXiv 2203.07190); probabilities are the softmax
of the cosines by the model's own scale (CLIP, arXiv 2103.00020). It writes no free text.
Shapes: B questions, A options, E width of the space.
"""

from collections.abc import Container, Sequence
from pathlib import Path
from typing import ClassVar

import numpy as np
import torch

from surgvl.chat.answerer import Answer, Answerer, Question, Window, most_probable
from surgvl.chat.question_rows import window_frames
from surgvl.core.arrays import Float32Array, UInt8Array
from surgvl.core.errors import ConfigError, Unreadable
from surgvl.data.frame_store import FrameStore
from surgvl.metrics.answer import to_text
from surgvl.models.checkpoint import LoadedModel
from surgvl.models.model_info import training_record
from surgvl.models.schema import AnswersFile
from surgvl.models.video_text import VideoText
from surgvl.video.clip import Preprocess


class ZeroShotAnswerer(LoadedModel, Answerer):
    """A video-text model in this process.

    Args:
        model: in evaluation mode.
        preprocess: how clips are cut.
        folder: where it came from.
        device: torch device.
    """

    model: VideoText
    can_write: ClassVar[bool] = False
    takes_options: ClassVar[bool] = True

    def __init__(self, model: VideoText, preprocess: Preprocess, folder: Path, device: str = "cpu"):
        super().__init__(model, preprocess, folder, device)
        self.known, self.training = AnswersFile(answers=[]), training_record(folder)
        self._vectors: dict[Window, Float32Array] = {}
        self._options: dict[tuple[str, tuple[str, ...]], Float32Array] = {}

    def prepare(self, store: FrameStore, windows: Sequence[Window], folder: Path) -> Container[Window]:
        """Encode the windows; a video that cannot be read is named in the store's `problems`."""
        for window in dict.fromkeys(windows):
            try:
                self._vectors[window] = self._encode(window_frames(store, window))
            except Unreadable as error:
                store.problems.setdefault(error.video_id, str(error))
        return self._vectors

    def choose(self, questions: Sequence[Question]) -> list[Answer]:
        """The option whose sentence is most similar to the clip."""
        found = []
        for question in questions:
            clip = question.clip
            vector = self._vectors[clip] if isinstance(clip, Window) else self._encode(clip)
            scale = float(self.model.logit_scale.detach().exp())
            found.append(most_probable(question, scale * self._sentences(question) @ vector))
        return found

    def write(self, questions: Sequence[Question]) -> list[Answer]:
        """A video-text model writes nothing.

        Raises:
            ConfigError: always.
        """
        raise ConfigError(
            f"{questions[0].text!r} needs a free-text answer, and {self.folder} is a video-text model, which only "
            "chooses: give answers to choose from (--answers), or a model of `surgvl tune` or hf:ID"
        )

    @torch.inference_mode()
    def _encode(self, frames: UInt8Array) -> Float32Array:
        """The unit vector of a clip, float32 [E]."""
        vector: Float32Array = self.model.encode_video(self.batch([frames]))[0].cpu().numpy()
        return vector

    @torch.inference_mode()
    def _sentences(self, question: Question) -> Float32Array:
        """Unit vectors of the options of a question, float32 [A, E]; encoded once."""
        key = (question.text, question.answers or ())
        if key not in self._options:
            sentences = [f"{question.text} {to_text(each)}" for each in key[1]]
            self._options[key] = np.asarray(self.model.encode_text(sentences).cpu().numpy(), np.float32)
        return self._options[key]
