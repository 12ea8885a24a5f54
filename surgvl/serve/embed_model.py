"""A video-text model as a pooling model of vLLM: a text or a clip in, a unit vector out, equal to its own.

vLLM does the serving: batching, limits, decoding of media, a cache of repeated clips. The networks are ours, or those
of a published family, and run unchanged, so that there is one implementation. A clip is one position of vLLM's
sequence, and its vector is the embedding there; a text goes through the text tower when vLLM asks for the pooled
output, because only then the ids of each request are available. There is no attention between positions.

Shapes: N requests, P positions (ids) of a batch, T frames, S side of a frame, E width of the space.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence, Set
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers import BatchFeature

from surgvl.core.errors import CheckpointError, DataError
from surgvl.models.build_published import build_published
from surgvl.models.dual_encoder import DualEncoder
from surgvl.models.model_info import load_preprocess
from surgvl.models.video_text import VideoText
from surgvl.serve.byte_tokenizer import decode_bytes
from surgvl.serve.dual_config import DualConfig
from surgvl.serve.plugin import vllm_names
from surgvl.serve.prepare_model import TOWER
from surgvl.video.clip import Preprocess, resample_frames

with vllm_names():
    from vllm.config import VllmConfig
    from vllm.config.multimodal import MultiModalDummyOptions
    from vllm.exceptions import VLLMValidationError
    from vllm.inputs import MultiModalDataDict, MultiModalInput
    from vllm.model_executor.layers.pooler import Pooler, PoolingParamsUpdate
    from vllm.model_executor.models.interfaces import IsAttentionFree, MultiModalEmbeddings, SupportsMultiModal
    from vllm.model_executor.models.interfaces_base import attn_type
    from vllm.multimodal import MULTIMODAL_REGISTRY
    from vllm.multimodal.inputs import MultiModalFieldConfig, MultiModalKwargsItems
    from vllm.multimodal.parse import MultiModalDataItems, VideoProcessorItems
    from vllm.multimodal.processing import (
        BaseDummyInputsBuilder,
        BaseMultiModalProcessor,
        BaseProcessingInfo,
        ProcessorInputs,
        PromptIndexTargets,
        PromptInsertion,
        PromptUpdate,
        TimingContext,
    )
    from vllm.sequence import IntermediateTensors
    from vllm.tasks import PoolingTask
    from vllm.v1.pool.metadata import PoolingMetadata

# Clips and texts that a tower encodes at a time.
CLIP_BATCH, TEXT_BATCH = 8, 64


class DualProcessingInfo(BaseProcessingInfo):
    """What vLLM needs to know about the inputs."""

    def get_supported_mm_limits(self) -> Mapping[str, int | None]:
        """One clip a request, since it makes one vector."""
        return {"video": 1}

    def get_mm_max_tokens_per_item(self, seq_len: int, mm_counts: Mapping[str, int]) -> Mapping[str, int]:
        """A clip takes one position."""
        return {"video": 1}

    def get_supported_mm_processor_kwargs(self) -> dict[str, set[str]]:
        """None: preprocessing is part of the model, and requests cannot change it."""
        return {}

    @property
    def preprocess(self) -> Preprocess:
        """The model's preprocessing."""
        return load_preprocess(self.model_id)

    @property
    def video_id(self) -> int:
        """Placeholder id of a clip: the padding token, which no text contains."""
        return int(self.get_tokenizer().pad_token_id)


class DualDummyInputs(BaseDummyInputsBuilder[DualProcessingInfo]):
    """The largest inputs, with which vLLM warms up."""

    def get_dummy_text(self, mm_counts: Mapping[str, int]) -> str:
        """A clip comes without text."""
        return ""

    def get_dummy_mm_data(
        self, seq_len: int, mm_counts: Mapping[str, int], mm_options: MultiModalDummyOptions
    ) -> MultiModalDataDict:
        """Clips of the model's input size."""
        want = self.info.preprocess
        size = (want.num_frames, want.size_px, want.size_px, 3)
        return {"video": [np.zeros(size, np.uint8)] * mm_counts.get("video", 0)}


class DualMultiModalProcessor(BaseMultiModalProcessor[DualProcessingInfo]):
    """Frames -> a clip of the model's input size, and its position in the sequence."""

    def apply(self, inputs: ProcessorInputs, timing_ctx: TimingContext) -> MultiModalInput:
        """Reject a clip with a text, because there is no vector of both, and embeddings in place of frames.

        Raises:
            VLLMValidationError: there is a text next to the clip, or no frames in it; the server answers 400.
        """
        if not all(isinstance(given, VideoProcessorItems) for given in inputs.mm_data_items.values()):
            raise VLLMValidationError("embeddings are not accepted: send the frames of a clip")
        special = set(self.info.get_tokenizer().all_special_ids)
        if not special.issuperset(inputs.prompt):
            raise VLLMValidationError("a clip and a text in one request: send two requests, each has its own vector")
        inputs.prompt = []
        return super().apply(inputs, timing_ctx)

    def _call_hf_processor(self, hf_data: Mapping[str, object], hf_kwargs: Mapping[str, object]) -> BatchFeature:
        """Resample each clip -> `clips`, uint8 [N, 3, T, S, S], or [N, 3, T, h, w] of one that keeps aspect ratios."""
        want = self.info.preprocess
        videos = hf_data["videos"]
        assert isinstance(videos, Sequence)
        try:
            clips = [resample_frames(np.asarray(frames), want.num_frames, want.picture) for frames in videos]
        except DataError as error:
            raise VLLMValidationError(str(error)) from error
        return BatchFeature({"clips": torch.from_numpy(np.stack(clips)).permute(0, 4, 1, 2, 3).contiguous()})

    def _get_mm_fields_config(
        self, hf_inputs: BatchFeature, hf_processor_mm_kwargs: Mapping[str, object]
    ) -> Mapping[str, MultiModalFieldConfig]:
        return {"clips": MultiModalFieldConfig.batched("video")}

    def _get_prompt_updates(
        self,
        mm_items: MultiModalDataItems,
        hf_processor_mm_kwargs: Mapping[str, object],
        out_mm_kwargs: MultiModalKwargsItems,
    ) -> Sequence[PromptUpdate]:
        return [PromptInsertion("video", PromptIndexTargets.start(), [self.info.video_id])]


class DualPooler(Pooler):
    """The vector of each request: its clip's, already in the sequence, or its text's.

    Args:
        encode: ids of N texts -> unit vectors, float32 [N, E].
    """

    def __init__(self, encode: Callable[[list[list[int]]], Tensor]) -> None:
        super().__init__()
        self.encode = encode

    def get_supported_tasks(self) -> Set[PoolingTask]:
        """Embedding only."""
        return {"embed"}

    def get_pooling_updates(self, task: PoolingTask) -> PoolingParamsUpdate:
        """Ask for the ids of each request."""
        return PoolingParamsUpdate(requires_token_ids=True)

    def forward(self, hidden_states: Tensor, pooling_metadata: PoolingMetadata) -> list[Tensor | None]:
        """Vectors of clips at their positions [P, E], and ids of the requests -> N vectors [E], float32."""
        ids = [row.tolist() for row in pooling_metadata.get_prompt_token_ids_cpu()]
        out = hidden_states[pooling_metadata.get_pooling_cursor().last_token_indices_gpu].float()
        # Positions without a clip hold zeros.
        if texts := (~out.any(1)).nonzero()[:, 0].tolist():
            out[texts] = self.encode([ids[at] for at in texts])
        return list(out)


# There is no attention at all; this keeps vLLM from splitting a text into chunks and from caching prefixes.
@attn_type("encoder_only")
@MULTIMODAL_REGISTRY.register_processor(DualMultiModalProcessor, info=DualProcessingInfo, dummy_inputs=DualDummyInputs)
class SurgVLEmbeddingModel(nn.Module, IsAttentionFree, SupportsMultiModal):
    """A video-text model as vLLM runs it.

    Args:
        vllm_config: vLLM's configuration; its model is a folder from `prepare_model`.
        prefix: unused; our networks contain no layers of vLLM.

    Raises:
        CheckpointError: this is not a local model folder, or its tokenizer is not the text tower's.
    """

    is_pooling_model = True

    @classmethod
    def get_placeholder_str(cls, modality: str, i: int) -> str | None:
        """None: a clip has no placeholder in a text."""
        return None

    def __init__(self, *, vllm_config: VllmConfig, prefix: str = "") -> None:
        super().__init__()
        folder = Path(vllm_config.model_config.model)
        config = vllm_config.model_config.hf_config
        assert isinstance(config, DualConfig)
        if not folder.is_dir() or not (config.family or (config.encoder and config.text)):
            raise CheckpointError(f"{folder} is not a folder of a video-text model: give one that `surgvl align` made")
        self.as_bytes = config.text_ids == "bytes"
        kind = config.family or str((config.text or {})["kind"])
        if kind != "tiny" and not self.as_bytes:
            raise CheckpointError(
                f"the text tower {kind!r} of {folder} has a tokenizer that vLLM cannot run: "
                "serve the folder with `surgvl serve embed`, which prepares it"
            )
        tower = folder / TOWER if self.as_bytes else folder
        self.dual: VideoText
        if config.family:
            self.dual = build_published(tower)
        else:
            own = {"dim": config.dim, "encoder": config.encoder, "text": config.text}
            self.dual = DualEncoder.from_config(own, tower)
        self.pooler = DualPooler(self.encode_texts)
        # vLLM sets its own dtype as the default while it builds a model.
        self.dtype = torch.get_default_dtype()

    def encode_texts(self, rows: list[list[int]]) -> Tensor:
        """Ids of N texts, with special tokens or without -> unit vectors, float32 [N, E]."""
        parts = [rows[at : at + TEXT_BATCH] for at in range(0, len(rows), TEXT_BATCH)]
        if self.as_bytes:
            return torch.cat([self.dual.encode_text([decode_bytes(row) for row in part]) for part in parts])
        assert isinstance(self.dual, DualEncoder)
        text, tokenizer = self.dual.text, self.dual.text.tokenizer
        assert tokenizer is not None
        special = {tokenizer.pad_id, tokenizer.bos_id, tokenizer.eos_id}
        found = []
        for part in parts:
            inner = [[i for i in row if i not in special and 0 <= i < tokenizer.vocab_size] for row in part]
            found.append(F.normalize(text.encode_ids(text.frame(tokenizer, inner)).float(), dim=-1))
        return torch.cat(found)

    def embed_multimodal(self, **kwargs: object) -> MultiModalEmbeddings:
        """Clips uint8 [N, 3, T, S, S], or N clips of several shapes -> N unit vectors [1, E]."""
        clips = kwargs.get("clips")
        if clips is None:
            return []
        if isinstance(clips, Tensor):
            parts = torch.split(clips, CLIP_BATCH)
        else:
            assert isinstance(clips, Sequence)
            parts = tuple(clip[None] for clip in clips)
        found = [self.dual.encode_video(part) for part in parts]
        return torch.cat(found).to(self.dtype)[:, None].unbind()

    def embed_input_ids(
        self,
        input_ids: Tensor,
        multimodal_embeddings: MultiModalEmbeddings | None = None,
        *,
        is_multimodal: Tensor | None = None,
    ) -> Tensor:
        """Ids [P] -> [P, E]: the vectors of clips at their positions, zeros for text."""
        out = torch.zeros(len(input_ids), self.dual.dim, dtype=self.dtype, device=input_ids.device)
        if multimodal_embeddings is not None and len(multimodal_embeddings) and is_multimodal is not None:
            out[is_multimodal.to(out.device)] = torch.cat(list(multimodal_embeddings))
        return out

    def forward(
        self,
        input_ids: Tensor | None,
        positions: Tensor,
        intermediate_tensors: IntermediateTensors | None = None,
        inputs_embeds: Tensor | None = None,
        **kwargs: object,
    ) -> Tensor:
        """Return the embeddings unchanged, [P, E]."""
        if inputs_embeds is not None:
            return inputs_embeds
        assert input_ids is not None
        return self.embed_input_ids(input_ids)

    def load_weights(self, weights: Iterable[tuple[str, Tensor]]) -> set[str]:
        """Load the folder's weights.

        Raises:
            CheckpointError: names or shapes do not match.
        """
        own, loaded = self.dual.saved.state_dict(), set()
        if self.dual.in_tower:
            # They came with the model, and were compared there.
            return {f"dual.{name}" for name in self.dual.state_dict()}
        for name, given in weights:
            # Scalars and vectors of one fit one another, as in surgvl.models.checkpoint.load_weights.
            if name not in own or (own[name].shape or (1,)) != (given.shape or (1,)):
                raise CheckpointError(f"weight {name!r} {tuple(given.shape)} does not match: export the model again")
            own[name].copy_(given.reshape(own[name].shape))
            loaded.add(name)
        held = {own[name].data_ptr() for name in loaded}
        if missing := sorted(name for name in own if own[name].data_ptr() not in held):
            raise CheckpointError(
                f"weights {missing[:3]} are missing ({len(missing)} in total): export the model again"
            )
        return {f"dual.{name}" for name in self.dual.state_dict()}
