"""Inputs of the chat model in vLLM: pixels of clips and images, and their placeholders in the prompt.

The processor is the model's own (`surgvl.models.processor`), so the token ids are those of `Chat` itself. A list of
frames is a clip at the model's own rate; for a video file the times of the frames that vLLM decoded are in the prompt.
A trusted client may send embeddings in place of pixels.
Shapes: N visuals, V visual tokens of each, T frames, S side of a frame in pixels, t time groups, M language width.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from transformers import BatchFeature

from surgvl.core.errors import DataError
from surgvl.models.config import SurgVLConfig
from surgvl.models.processor import IMAGE, VIDEO, SurgVLProcessor
from surgvl.serve.plugin import vllm_names

with vllm_names():
    from vllm.config.multimodal import MultiModalDummyOptions
    from vllm.exceptions import VLLMValidationError
    from vllm.inputs import MultiModalDataDict
    from vllm.multimodal.inputs import MultiModalFieldConfig, MultiModalKwargsItems
    from vllm.multimodal.parse import (
        ImageEmbeddingItems,
        ImageProcessorItems,
        MultiModalDataItems,
        MultiModalDataParser,
        VideoEmbeddingItems,
        VideoProcessorItems,
    )
    from vllm.multimodal.processing import (
        BaseDummyInputsBuilder,
        BaseMultiModalProcessor,
        BaseProcessingInfo,
        PromptReplacement,
        PromptUpdate,
        PromptUpdateDetails,
    )

# vLLM's name of a video that was sent as a list of frames.
FRAME_LIST = "jpeg_sequence"


class ChatProcessingInfo(BaseProcessingInfo):
    """What vLLM needs to know about the inputs."""

    def get_hf_config(self) -> SurgVLConfig:
        """The folder's configuration."""
        return self.ctx.get_hf_config(SurgVLConfig)

    def get_hf_processor(self, **kwargs: object) -> SurgVLProcessor:
        """The folder's processor; requests cannot change it."""
        return self.ctx.get_hf_processor(SurgVLProcessor)

    def get_supported_mm_processor_kwargs(self) -> dict[str, set[str]]:
        """None: preprocessing is part of the model, and requests cannot change it."""
        return {}

    def get_supported_mm_limits(self) -> Mapping[str, int | None]:
        """No limit on either."""
        return {"image": None, "video": None}

    def get_mm_max_tokens_per_item(self, seq_len: int, mm_counts: Mapping[str, int]) -> Mapping[str, int]:
        """Tokens of one visual, times included."""
        processor = self.get_hf_processor()
        return {"image": len(processor.places(processor.image_id)), "video": len(processor.places(processor.video_id))}

    def get_data_parser(self) -> MultiModalDataParser:
        """Parser that keeps the metadata of videos."""
        return MultiModalDataParser(
            expected_hidden_size=self._get_expected_hidden_size(),
            allow_missing_mm_embeddings=self.allow_missing_mm_embeddings,
        )


class ChatDummyInputs(BaseDummyInputsBuilder[ChatProcessingInfo]):
    """The largest inputs, with which vLLM warms up."""

    def get_dummy_text(self, mm_counts: Mapping[str, int]) -> str:
        """Placeholders only."""
        return IMAGE * mm_counts.get("image", 0) + VIDEO * mm_counts.get("video", 0)

    def get_dummy_mm_data(
        self, seq_len: int, mm_counts: Mapping[str, int], mm_options: MultiModalDummyOptions
    ) -> MultiModalDataDict:
        """Clips and images of the model's input size."""
        processor = self.info.get_hf_processor()
        size = processor.size_px
        clip = np.zeros((processor.num_frames, size, size, 3), np.uint8)
        images = self._get_dummy_images(width=size, height=size, num_images=mm_counts.get("image", 0))
        return {"image": images, "video": [clip] * mm_counts.get("video", 0)}


class ChatMultiModalProcessor(BaseMultiModalProcessor[ChatProcessingInfo]):
    """Frames -> clips of the model's input size, and the expansion of their placeholders."""

    def _call_hf_processor(self, hf_data: Mapping[str, object], hf_kwargs: Mapping[str, object]) -> BatchFeature:
        """Resample each visual: `image_clips` and `video_clips` uint8 [N, 3, T, S, S]."""
        processor = self.info.get_hf_processor()
        images, videos = _listed(hf_data.get("images")), _listed(hf_data.get("videos"))
        found: dict[str, torch.Tensor] = {}
        try:
            if images:
                rgb = [np.asarray(each.convert("RGB") if hasattr(each, "convert") else each) for each in images]
                found["image_clips"] = torch.stack([processor.pixels(each) for each in rgb])
            if videos:
                found["video_clips"] = torch.stack([processor.pixels(np.asarray(each)) for each in videos])
        except DataError as error:
            raise VLLMValidationError(str(error)) from error
        return BatchFeature(found)

    def _get_mm_fields_config(
        self, hf_inputs: BatchFeature, hf_processor_mm_kwargs: Mapping[str, object]
    ) -> Mapping[str, MultiModalFieldConfig]:
        each = MultiModalFieldConfig.batched
        return {
            "image_clips": each("image"),
            "video_clips": each("video"),
            "image_embeds": each("image"),
            "video_embeds": each("video"),
        }

    def _get_prompt_updates(
        self,
        mm_items: MultiModalDataItems,
        hf_processor_mm_kwargs: Mapping[str, object],
        out_mm_kwargs: MultiModalKwargsItems,
    ) -> Sequence[PromptUpdate]:
        processor = self.info.get_hf_processor()

        def image(number: int) -> PromptUpdateDetails:
            items: Any = mm_items.get_items("image", (ImageEmbeddingItems, ImageProcessorItems))
            return _expand(processor, processor.image_id, items, number)

        def video(number: int) -> PromptUpdateDetails:
            items: Any = mm_items.get_items("video", (VideoEmbeddingItems, VideoProcessorItems))
            return _expand(processor, processor.video_id, items, number)

        return [
            PromptReplacement("image", [processor.image_id], image),
            PromptReplacement("video", [processor.video_id], video),
        ]


def _expand(processor: SurgVLProcessor, placeholder: int, items: Any, number: int) -> PromptUpdateDetails:
    """Tokens that replace a placeholder, times of a file's frames included, and which of them are visual tokens.

    Raises:
        VLLMValidationError: the number of embeddings is not that of the model's visual tokens.
    """
    if isinstance(items, ImageEmbeddingItems | VideoEmbeddingItems):
        given = items.get_feature_size(number)
        if given != processor.num_tokens:
            raise VLLMValidationError(
                f"a visual needs {processor.num_tokens} embeddings, one for each of its tokens, got {given}"
            )
    all_metadata: Any = items.metadata if isinstance(items, VideoProcessorItems) else None
    metadata = all_metadata[number] if all_metadata else None
    times_s = None
    if (
        metadata
        and metadata.get("video_backend") != FRAME_LIST
        and metadata.get("fps")
        and metadata.get("frames_indices") is not None
    ):
        at_s = [(int(frame) + 0.5) / float(metadata["fps"]) for frame in metadata["frames_indices"]]
        taken = np.linspace(0, len(at_s) - 1, processor.num_frames).round().astype(int)
        times_s = processor.times_s([at_s[frame] for frame in taken])
    return PromptUpdateDetails.select_token_id(processor.places(placeholder, times_s), placeholder)


def _listed(found: object) -> list[Any]:
    return [] if found is None else list(found) if isinstance(found, list | tuple) else [found]
