"""The contract of a pretraining recipe: a module with a loss and the encoder that it trains."""

from surgvl.models.video_vit import VideoViT
from surgvl.objective import Objective


class Recipe(Objective):
    """A self-supervised objective over clips alone.

    A subclass lives in a file of its own in this folder and carries that file's name in `name`. `forward(batch)` takes
    `video` [B, 3, T, H, W] (uint8 or float in 0..255) and returns {"loss": scalar, ...}.
    """

    name = ""
    encoder: VideoViT

    def __init__(self, encoder: VideoViT):
        super().__init__()
        self.encoder = encoder
