"""SurgRec-JEPA (arXiv 2603.29966): V-JEPA on surgical video with balanced sampling.

Stated by its authors: V-JEPA, ViT-L/16. Not stated: masks (V-JEPA's are used), target, learning rate, batch, EMA and
initialisation. Balancing belongs to the data: `surgvl pretrain --balance cluster`, whose form is inferred (see
`data.sampler`).
"""

from surgvl.pretrain.vjepa import VJEPA


class SurgRecJEPA(VJEPA):
    """V-JEPA under the name and with the settings of SurgRec-JEPA; its arguments are those of `VJEPA`."""

    name = "surgrec_jepa"
