"""SurgMotion (arXiv 2602.05638): the later name of UniSurg."""

from surgvl.pretrain.unisurg import UniSurg


class SurgMotion(UniSurg):
    """UniSurg under its later name; the same recipe and arguments."""

    name = "surgmotion"
