"""`Chat` in vLLM: our encoder and projector, followed by vLLM's own implementation of the language model.

Source: vLLM's contract of multimodal models (docs.vllm.ai, contributing/model/multimodal).
Shapes: N visuals, V visual tokens of each, T frames, S side of a frame, P positions of a batch, M language width.
"""

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn

from surgvl.models.config import SurgVLConfig
from surgvl.models.projector import Projector
from surgvl.models.schema import checked
from surgvl.models.vit import VideoViT
from surgvl.models.vit_config import ViTConfig
from surgvl.serve.chat_input import ChatDummyInputs, ChatMultiModalProcessor, ChatProcessingInfo
from surgvl.serve.plugin import vllm_names

with vllm_names():
    from vllm.config import VllmConfig
    from vllm.model_executor.models.interfaces import MultiModalEmbeddings, SupportsLoRA, SupportsMultiModal, SupportsPP
    from vllm.model_executor.models.module_mapping import MultiModelKeys
    from vllm.model_executor.models.utils import (
        AutoWeightsLoader,
        WeightsMapper,
        init_vllm_registered_model,
        maybe_prefix,
    )
    from vllm.multimodal import MULTIMODAL_REGISTRY
    from vllm.sequence import IntermediateTensors


@MULTIMODAL_REGISTRY.register_processor(ChatMultiModalProcessor, info=ChatProcessingInfo, dummy_inputs=ChatDummyInputs)
class SurgVLForConditionalGeneration(nn.Module, SupportsMultiModal, SupportsPP, SupportsLoRA):
    """Video encoder, projector and a causal language model.

    Args:
        vllm_config: configuration of the engine.
        prefix: prefix of the names of its layers.
    """

    # Our folders call it `language`; under vLLM's usual name, adapters find its layers.
    hf_to_vllm_mapper = WeightsMapper(orig_to_new_prefix={"language.": "language_model."})

    @classmethod
    def get_placeholder_str(cls, modality: str, i: int) -> str | None:
        """The placeholder of a visual in a text."""
        return f"<{modality}>"

    def __init__(self, *, vllm_config: VllmConfig, prefix: str = "") -> None:
        super().__init__()
        config = vllm_config.model_config.hf_config
        assert isinstance(config, SurgVLConfig)
        assert config.encoder is not None
        assert config.projector is not None
        self.config = config
        with self._mark_tower_model(vllm_config, {"image", "video"}):
            self.encoder = VideoViT(checked(config.encoder, ViTConfig, "config.json"))
            width = vllm_config.model_config.get_inputs_embeds_size()
            self.projector = Projector(self.encoder.dim, width, self.encoder.grid, **config.projector)
        with self._mark_language_model(vllm_config):
            self.language_model: Any = init_vllm_registered_model(
                vllm_config=vllm_config,
                hf_config=config.get_text_config(),
                prefix=maybe_prefix(prefix, "language_model"),
            )
        self.make_empty_intermediate_tensors: Any = self.language_model.make_empty_intermediate_tensors

    def get_mm_mapping(self) -> MultiModelKeys:
        """Names of the parts, so that adapters apply to the language model only."""
        return MultiModelKeys.from_string_field(
            language_model="language_model", connector="projector", tower_model="encoder"
        )

    def embed_multimodal(self, **kwargs: object) -> MultiModalEmbeddings:
        """Visual tokens [V, M] of each visual: computed from pixels, or as a trusted client sent them."""
        found: list[Tensor] = []
        # In vLLM's order of modalities; a call holds items of one.
        for name, given in kwargs.items():
            if name in ("image_clips", "video_clips"):
                found += self.encode_clips(_stacked(given)).unbind(0)
            elif name in ("image_embeds", "video_embeds"):
                found += list(_stacked(given).unbind(0))
        return found

    def encode_clips(self, clips: Tensor) -> Tensor:
        """Clips uint8 [N, 3, T, S, S] -> visual tokens [N, V, M]."""
        weight = self.projector.norm.weight
        out: Tensor = self.projector(self.projector.pool(self.encoder(clips.to(weight.device))))
        return out.to(weight.dtype)

    def forward(
        self,
        input_ids: Tensor | None,
        positions: Tensor,
        intermediate_tensors: IntermediateTensors | None = None,
        inputs_embeds: Tensor | None = None,
        **kwargs: object,
    ) -> Tensor | IntermediateTensors:
        """Hidden states [P, M] of the language model."""
        if intermediate_tensors is not None:
            inputs_embeds = None
        out: Tensor | IntermediateTensors = self.language_model.model(
            input_ids, positions, intermediate_tensors, inputs_embeds=inputs_embeds
        )
        return out

    def compute_logits(self, hidden_states: Tensor) -> Tensor | None:
        """Logits [P, vocabulary]."""
        logits: Tensor | None = self.language_model.compute_logits(hidden_states)
        return logits

    def load_weights(self, weights: Iterable[tuple[str, Tensor]]) -> set[str]:
        """Load the folder's weights."""
        done: set[str] = AutoWeightsLoader(self).load_weights(weights, mapper=self.hf_to_vllm_mapper)
        return done


def _stacked(given: object) -> Tensor:
    """Items of a batch as one tensor [N, ...]."""
    if isinstance(given, Tensor):
        return given
    assert isinstance(given, list | tuple)
    return torch.stack([each for each in given if isinstance(each, Tensor)])
