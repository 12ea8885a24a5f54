"""SurgRec-MAE (arXiv 2603.29966): VideoMAE on surgical video with balanced sampling.

Stated by its authors: tube mask 0.9, ViT-B/16, a decoder of depth 4, sampling balanced over the corpus. Not stated:
width of the decoder (VideoMAE's 384 and 6 heads are used), learning rate, batch and initialisation. Balancing is in the
data sampler: `surgvl pretrain --balance cluster`, whose form is inferred (see `data.sampler`).
"""

from surgvl.pretrain.videomae import VideoMAE


class SurgRecMAE(VideoMAE):
    """VideoMAE under the name and with the settings of SurgRec-MAE; its arguments are those of `VideoMAE`."""

    name = "surgrec_mae"
