"""Dual encoders of transformers that see clips: X-CLIP (Ni et al., arXiv 2208.02816).

X-CLIP changes the vector of a sentence by the clip that it is compared with. An index has one vector a sentence, so
that this is left out: vectors are those of transformers' `get_video_features` and `get_text_features`, and cosines
are not those of its `forward`.
Shapes: B clips, T frames, S side in pixels, E width of the space.
"""

from typing import ClassVar

import torch.nn.functional as F
import transformers
from torch import Tensor

from surgvl.models.adapters.transformers import PairOfTowers, image_processor, preprocess_of
from surgvl.models.video_text import Sees, normalised
from surgvl.video.clip import Preprocess


class TransformersClips(PairOfTowers):
    """X-CLIP."""

    name: ClassVar[str] = "transformers_clips"
    sees: ClassVar[Sees] = "clips"
    kinds: ClassVar[dict[str, type[transformers.PreTrainedModel]]] = {"xclip": transformers.XCLIPModel}

    def preprocess(self) -> Preprocess:
        """Its own number of frames; its authors spread them over videos of 10 seconds, here it is two a second."""
        fields = image_processor(self.tower)
        return preprocess_of(fields, self.tower, self.inner.config.vision_config.num_frames, fps=2.0)

    def encode_video(self, video: Tensor) -> Tensor:
        """Clips uint8 [B, 3, T, S, S] -> unit vectors, float32 [B, E]."""
        pixels = normalised(video, self.mean, self.std).transpose(1, 2)
        return F.normalize(self.inner.get_video_features(pixel_values=pixels).pooler_output.float(), dim=-1)
