"""SurgRec-MAE (arXiv 2603.29966): VideoMAE on surgical video with balanced sampling.

Stated by its authors: tube mask 0.9, ViT-B/16, a decoder of depth 4, sampling balanced over the corpus. Not stated:
width of the decoder (VideoMAE's 384 and 6 heads stand in), rate, batch and initialisation. Balancing belongs to the
data: `surgvl pretrain --balance cluster`, whose form is inferred (see `data.sampler`).
"""

from surgvl.pretrain.videomae import VideoMAE


class SurgRecMAE(VideoMAE):
    """VideoMAE under the name and with the settings of SurgRec-MAE; its arguments are those of `VideoMAE`."""

    name = "surgrec_mae"
