"""`config.json` of a chat model, as transformers and vLLM read it."""

from typing import Any

from transformers import AutoConfig, PreTrainedConfig

from surgvl.video.clip import Anchor, Crop


class SurgVLConfig(PreTrainedConfig):
    """A video encoder, a projector and a causal language model.

    Args:
        encoder: fields of `ViTConfig`.
        projector: arguments of `Projector`, without the two widths and the encoder's grid.
        text_config: configuration of the language model, with its `model_type`.
        image_token_id: placeholder of one visual token of an image.
        video_token_id: placeholder of one visual token of a video.
        fps: frames per second of a clip.
        crop: how frames are cropped, see `video.clip.Preprocess`.
        anchor: which frame of a clip shows its moment.
        step_s: seconds between the moments of clips.
    """

    model_type = "surgvl_chat"
    sub_configs = {"text_config": AutoConfig}  # type: ignore[dict-item]

    encoder: dict[str, Any] | None = None
    projector: dict[str, Any] | None = None
    text_config: dict[str, Any] | PreTrainedConfig | None = None
    image_token_id: int = -1
    video_token_id: int = -1
    fps: float = 1.0
    crop: Crop = "none"
    anchor: Anchor = "centre"
    step_s: float = 1.0
    tie_word_embeddings: bool = False

    def __post_init__(self, **kwargs: Any) -> None:
        """Build the language model's configuration, which decides whether word embeddings are tied."""
        if isinstance(self.text_config, dict):
            self.text_config = AutoConfig.for_model(**self.text_config)
        self.tie_word_embeddings = bool(self.text_config is not None and self.text_config.tie_word_embeddings)
        super().__post_init__(**kwargs)  # type: ignore[no-untyped-call]


AutoConfig.register(SurgVLConfig.model_type, SurgVLConfig, exist_ok=True)
