"""SurgVISTA (arXiv 2506.02692): reconstruct masked tubes as pixels and as tokens of a frozen image teacher.

One encoder, two separate decoders. Targets: VideoMAE's normalised pixels with weight 1.0 and squared error, teacher
tokens with weight 0.05 and SmoothL1 (beta 1). The teacher sees the first frame of each tubelet, unmasked. From the
released code: tube mask 0.85, decoders of width 384, depth 4 (pixels) and 2 (tokens), 3-D sin-cos table, stochastic
depth 0.1 in the decoders too, no norm on the teacher's tokens. Its teacher is EndoSSL's ViT-L on frames normalised like
the student's; here each teacher keeps its own preprocessing.
Shapes: B clips, N tokens in the grid (T', H', W'), K kept, M masked, E teacher width.
"""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from surgvl.core.errors import ConfigError
from surgvl.models.vit import VideoViT
from surgvl.pretrain.base import Recipe, gather, resize_grid
from surgvl.pretrain.masks import tube
from surgvl.pretrain.teachers import load_teacher
from surgvl.pretrain.videomae import Decoder, normalised_pixels

DISTANCES = {"smooth_l1": F.smooth_l1_loss, "l1": F.l1_loss, "l2": F.mse_loss}


class SurgVISTA(Recipe):
    """Masked reconstruction of video with distillation from an image teacher.

    Args:
        encoder: the encoder to train.
        teacher: frozen image model, such as endossl:FILE, timm:NAME, hf:ID or surgvl:FOLDER; see `teachers`. Needed
            unless `distil_weight` is 0.
        mask_ratio: masked fraction of the patches.
        pixel_weight: of the pixel term.
        distil_weight: of the teacher term; 0 disables teacher and decoder.
        distil_distance: smooth_l1, l1 or l2.
        norm_teacher: layer-norm the teacher's tokens (off as released).
        pixel_depth: blocks of the pixel decoder.
        token_depth: blocks of the token decoder.
        decoder_dim: width of both decoders.
        decoder_heads: their attention heads.
        drop_path: of the decoders; the encoder has its own.

    Raises:
        ConfigError: an unknown distance, or a teacher that is missing.
    """

    name = "surgvista"

    def __init__(
        self,
        encoder: VideoViT,
        teacher: str = "",
        mask_ratio: float = 0.85,
        pixel_weight: float = 1.0,
        distil_weight: float = 0.05,
        distil_distance: str = "smooth_l1",
        norm_teacher: bool = False,
        pixel_depth: int = 4,
        token_depth: int = 2,
        decoder_dim: int = 384,
        decoder_heads: int = 6,
        drop_path: float = 0.1,
    ):
        super().__init__(encoder)
        if distil_distance not in DISTANCES:
            raise ConfigError(f"distil_distance must be one of {', '.join(DISTANCES)}, got {distil_distance!r}")
        if distil_weight and not teacher:
            raise ConfigError(
                "surgvista needs a teacher: give --objective.init_args.teacher, or set distil_weight to 0"
            )
        self.mask_ratio, self.pixel_weight, self.distil_weight = mask_ratio, pixel_weight, distil_weight
        self.distance, self.norm_teacher = DISTANCES[distil_distance], norm_teacher
        position = "sincos_3d" if encoder.config.position == "rope" else encoder.config.position
        shape = (position, True, drop_path)
        self.pixels = Decoder(encoder, encoder.config.patch_dim, decoder_dim, pixel_depth, decoder_heads, *shape)
        if distil_weight:
            self.teacher = load_teacher(teacher)
            self.tokens = Decoder(encoder, self.teacher.dim, decoder_dim, token_depth, decoder_heads, *shape)

    def teacher_tokens(self, video: Tensor) -> Tensor:
        """The teacher's patch features on the student's grid, float32 [B, N, E]."""
        B = video.shape[0]
        frames = video[:, :, :: self.encoder.config.tubelet].transpose(1, 2).flatten(0, 1)
        with torch.no_grad():
            patches = resize_grid(self.teacher(frames)[1], self.encoder.grid[1:])
            tokens = patches.float().reshape(B, self.encoder.num_tokens, -1)
            return F.layer_norm(tokens, tokens.shape[-1:]) if self.norm_teacher else tokens

    def masks(self, num_clips: int, device: torch.device) -> tuple[Tensor, Tensor]:
        """Kept int64 [B, K] and masked int64 [B, M]."""
        return tube(num_clips, self.encoder.grid, self.mask_ratio, device)

    def forward(self, batch: dict[str, Any]) -> dict[str, Tensor]:
        """Losses of a batch with `video` [B, 3, T, H, W]."""
        video = batch["video"]
        keep, hide = self.masks(video.shape[0], video.device)
        visible = self.encoder(video, keep)
        with torch.no_grad():
            patches = gather(self.encoder.patches(video), hide) / 255
            target = normalised_pixels(patches, self.encoder.config.patch_dim // 3)
        losses = {"pixels": F.mse_loss(self.pixels(visible, keep, hide).float(), target)}
        total = self.pixel_weight * losses["pixels"]
        if self.distil_weight:
            predicted = self.tokens(visible, keep, hide).float()
            losses["distil"] = self.distance(predicted, gather(self.teacher_tokens(video), hide))
            total = total + self.distil_weight * losses["distil"]
        return {"loss": total, **losses}
