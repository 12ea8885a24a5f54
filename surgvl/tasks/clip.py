"""Classification of whole clips: the class of a clip against its label, as SurgRec and SurgicalActions160 score it.

SurgRec (arXiv 2603.29966) prints top-1 accuracy over clips; Schoeffmann et al., Multimedia Tools and Applications 2018.
"""

from typing import ClassVar

from surgvl.core.arrays import Int64Array
from surgvl.metrics.averages import Average
from surgvl.tasks.phase import Phase

_METRICS = ("accuracy", "precision_pooled", "balanced_accuracy", "macro_f1", "jaccard_pooled", "weighted_f1")


class Clip(Phase):
    """One class for each clip, which is a video of its own."""

    name = "clip"
    kind = "clip"
    MAIN: ClassVar[tuple[str, ...]] = ("accuracy", "balanced_accuracy", "macro_f1")
    PROTOCOLS: ClassVar[dict[str, str]] = {
        metric: "mean over clips" if metric == "accuracy" else rule.replace("frames", "clips")
        for metric, rule in Phase.PROTOCOLS.items()
    }

    def measure(
        self, truth: Int64Array, predicted: Int64Array, videos: Int64Array, num_classes: int
    ) -> dict[str, Average]:
        """The metrics of phases that do not depend on the order of moments."""
        found = super().measure(truth, predicted, videos, num_classes)
        return {metric: found[metric] for metric in _METRICS}
