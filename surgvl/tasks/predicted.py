"""Predictions of any model, from files, as the clips of `surgvl eval`: classes are matched by name, gaps are counted.

Names match if they are equal but for case and punctuation. A moment is scored if its video is in the split and a label
covers it (of triplets and tools: if it is in the video); seconds of labels without a prediction, and moments without a
label, are stated with every score.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from surgvl.core.box_predictions import BoxPredictions
from surgvl.core.checks import did_you_mean
from surgvl.core.errors import ConfigError, DataError
from surgvl.core.ontology import class_kind
from surgvl.core.plurals import part_of, shorten
from surgvl.core.predictions import Predictions
from surgvl.tasks.base import LabelledScores, Scores, Unavailable
from surgvl.tasks.boxes import LabelledBoxes, join_boxes
from surgvl.tasks.numbers import LabelledNumbers, join_numbers, part_of_kind
from surgvl.tasks.predicted_classes import by_class, class_key, decided, described, with_unlabelled
from surgvl.tasks.predicted_ids import by_name
from surgvl.tasks.truth import (
    EXCLUSIVE,
    WHOLE,
    ClassesOf,
    Labels,
    class_groups,
    class_list,
    labelled_videos,
    labels_at,
    num_undecided,
    rater_labels,
    seconds_to_score,
    training_seconds,
    undecided_note,
    were_annotated,
)


class Predicted:
    """The predictions of a run, by kind of label.

    Args:
        files: predictions with the files that they come from; files of one kind hold different videos.
        manifest: labels of all splits.
        split: to score.
        kinds: kinds of label that can be scored; the kind of a file that does not say is that whose classes it names.
        published: classes of a data set.

    Raises:
        DataError: a file's kind cannot be determined, a video is unknown, or two files hold the same video.
        ConfigError: predictions are of a kind that cannot be scored.
    """

    def __init__(
        self,
        files: Sequence[tuple[Path, Predictions | BoxPredictions]],
        manifest: Labels,
        split: str,
        kinds: Sequence[str],
        published: ClassesOf,
    ) -> None:
        self.manifest, self.split, self.published = manifest, split, published
        self.test = manifest.split(split)
        self.train = manifest.split("train") if split != "train" and manifest.video_ids("train") else None
        self.notes: list[str] = []
        self.files: dict[str, list[tuple[Path, Predictions]]] = {}
        self.box_files: dict[str, list[tuple[Path, BoxPredictions]]] = {}
        self._gaps: dict[str, str] = {}
        for path, given in files:
            each = given if isinstance(given, BoxPredictions) else by_name(path, given, manifest, kinds, published)
            self._check_videos(path, each)
            kind = each.kind or self._kind_of(path, each, kinds)
            if kind not in kinds and not part_of_kind(kind, kinds):
                raise ConfigError(f"{path} predicts labels of kind {kind!r}; kinds with a task are {', '.join(kinds)}")
            for _, other, theirs in (file for file in self._all if file[0] == kind):
                if both := sorted(set(theirs.video_ids) & set(each.video_ids)):
                    raise DataError(f"{other} and {path} both predict the {kind} of {both[0]}: score them in two runs")
            if isinstance(each, BoxPredictions):
                self.box_files.setdefault(kind, []).append((path, each))
            else:
                self.files.setdefault(kind, []).append((path, each))

    def _check_videos(self, path: Path, predictions: Predictions | BoxPredictions) -> None:
        known = self.manifest.video_ids()
        if unknown := sorted(set(predictions.video_ids) - set(known)):
            hint = did_you_mean(unknown[0], known, f"its videos are {shorten(known)}")
            raise DataError(f"{path}: no video {unknown[0]!r} in the manifest: {hint}")

    def _datasets(self, ids: set[str]) -> set[str]:
        return {row.data_set for row in self.manifest.videos if row.video_id in ids}

    def _kind_of(self, path: Path, predictions: Predictions | BoxPredictions, kinds: Sequence[str]) -> str:
        """The kind of label whose classes a file names.

        Raises:
            DataError: no kind has them all, or several have.
        """
        boxed = isinstance(predictions, BoxPredictions)
        if isinstance(predictions, Predictions) and predictions.scores is None:
            raise DataError(f"{path} does not state the kind of its values: give --predictions_kind")
        own = {class_key(name) for name in predictions.class_names}
        own_form = [kind for kind in kinds if (class_kind(kind) != kind) is boxed]
        there = {kind for kind in own_form if labelled_videos(self.manifest, kind)}
        classes = {
            kind: class_list(self.manifest, kind, self._datasets(set(predictions.video_ids)), self.published)
            for kind in sorted(there)
        }
        shared = {kind: len(own & {class_key(name) for name in names}) for kind, names in classes.items()}
        fitting = [kind for kind, count in shared.items() if count == len(own)]
        if len(fitting) == 1:
            return fitting[0]
        if not fitting and any(shared.values()):
            return max(shared, key=lambda kind: shared[kind])  # its unknown classes are reported when it is scored
        known = "; ".join(f"{kind}: {shorten(names)}" for kind, names in classes.items())
        fact = f"may be of kind {' or '.join(fitting)}" if fitting else "are of no kind of label in the manifest"
        if all(name.isdigit() for name in own):
            raise DataError(
                f"{path}: classes {shorten(predictions.class_names)} are numbers, which do not say whether they count "
                f"from 0 or from 1 ({known}): write the names of classes"
            )
        raise DataError(
            f"{path}: classes {shorten(predictions.class_names)} {fact} ({known}): give --predictions_kind, or rename "
            "the classes"
        )

    def clips(self, kind: str) -> list[LabelledScores]:
        """Predictions and labels of the moments that have both; videos that share a list of classes go together.

        Raises:
            Unavailable: there are no predictions or no labels of this kind.
            DataError: classes do not fit, or no moment has both.
        """
        if kind not in self.files:
            raise Unavailable("no predictions of such labels")
        if not (labelled := labelled_videos(self.test, kind)):
            raise Unavailable(f"no {self.split} video of the manifest has labels of task {kind!r}")
        groups = class_groups(self.manifest, self.test, kind, self.published)
        found: list[LabelledScores] = []
        facts: list[str] = []
        for names, wanted in groups.items():
            if files := [(path, each) for path, each in self.files[kind] if wanted & set(each.video_ids)]:
                found.append(self._group(kind, files, names, wanted, len(groups) > 1, facts))
        there = {name for group in found for name in group.scores.video_names}
        there = there or {name for _, each in self.files[kind] for name in each.video_ids}
        self._gaps[kind] = self._gaps_of(self.files[kind], labelled, there, facts)
        return found

    def numbers(self, kind: str) -> list[LabelledNumbers]:
        """Predicted numbers of a kind and of its parts, with the labels of the same videos.

        Raises:
            Unavailable: there are no predictions of this kind.
        """
        own = [name for name in self.files if part_of_kind(name, (kind,))]
        if not own:
            raise Unavailable("no predictions of such labels")
        return [join_numbers(name, self.files[name], self.test, self.train, f"{self.split} split") for name in own]

    def boxes(self, kind: str) -> list[LabelledBoxes]:
        """Predicted and true boxes of labelled frames; videos that share a list of classes go together.

        Raises:
            Unavailable: there are no predicted boxes or no labels of this kind.
            DataError: no video has both.
        """
        if kind not in self.box_files:
            raise Unavailable("no predictions of such labels")
        groups = class_groups(self.manifest, self.test, kind, self.published)
        if not groups:
            raise Unavailable(f"no {self.split} video of the manifest has labels of task {kind!r}")
        files, facts = self.box_files[kind], list[str]()
        there = {name for _, each in files for name in each.video_ids}
        found = [
            join_boxes(self.test, files, kind, names, own, f"{self.split} split", len(groups) > 1, facts)
            for names, wanted in groups.items()
            if (own := wanted & there)
        ]
        self._gaps[kind] = self._gaps_of(files, set().union(*groups.values()), there, facts)
        return found

    def _gaps_of(
        self,
        files: Sequence[tuple[Path, Predictions | BoxPredictions]],
        labelled: set[str],
        there: set[str],
        facts: Sequence[str],
    ) -> str:
        """Which labelled videos have no predictions, and other facts, in words; `DataError` if none has any."""
        if not labelled & there:
            paths = ", ".join(str(path) for path, _ in files)
            raise DataError(
                f"{paths}: none of the videos {shorten(sorted(there))} is in split {self.split!r}, which has "
                f"{shorten(sorted(labelled))}: choose another --split"
            )
        missing = sorted(labelled - there)
        part = part_of(len(missing), len(labelled), "video", "has")
        return "; ".join([*([f"{part} no predictions: {shorten(missing)}"] if missing else []), *facts])

    def _group(
        self,
        kind: str,
        files: Sequence[tuple[Path, Predictions]],
        names: Sequence[str],
        wanted: set[str],
        several: bool,
        facts: list[str],
    ) -> LabelledScores:
        """Predictions and labels of videos that share a list of classes; `facts` takes what has no counterpart."""
        ids, times, tables = list[str](), [], []
        datasets = self._datasets(wanted)
        names, more = with_unlabelled(files, names, kind, self.published(class_kind(kind), min(datasets)))
        for path, each in files:
            scores = by_class(path, each, names, kind, sorted(datasets))
            rows = [at for at, name in enumerate(each.video_ids) if name in wanted]
            if kind in EXCLUSIVE and each.hard:
                rows = decided(path, each, rows)
            if outside := sorted(set(each.video_ids) - set(self.test.video_ids())):
                videos = part_of(len(outside), len(set(each.video_ids)), "video", "is")
                note = f"{path}: {videos} not in split {self.split}, left out: {shorten(outside)}"
                self.notes += [note] if note not in self.notes else []
            ids += [each.video_ids[at] for at in rows]
            times.append(each.times_s[rows])
            tables.append(scores[rows])
        times_s = np.concatenate(times)
        labels = labels_at(self.test, kind, ids, times_s)
        annotated = were_annotated(self.test, kind, ids, times_s, labels)
        ends_s = {row.video_id: row.duration_s for row in self.test.videos}
        kept = [
            at
            for at, (known, name, time_s) in enumerate(zip(annotated, ids, times_s.tolist(), strict=True))
            if known and (time_s < ends_s[name] or kind in WHOLE)
        ]
        sources = " and ".join(sorted({row.source for row in self.test.videos if row.video_id in wanted}))
        stride_s = files[0][1].stride_s
        missing, total = self._unpredicted(kind, ids, times_s, stride_s)
        gaps = [note for note in (more, undecided_note(kind, labels)) if note]
        if missing and not any(each.whole for _, each in files):
            gaps.append(f"{missing:,} of {total:,} seconds with {kind} labels have no prediction")
        late = sum(time_s >= ends_s[name] for name, time_s in zip(ids, times_s.tolist(), strict=True))
        if late and kind not in WHOLE:
            gaps.append(f"{late:,} of {len(labels):,} predictions are at or after the end of their video, left out")
        extra = len(labels) - len(kept) - num_undecided(kind, labels)
        if extra := extra - (late if kind not in WHOLE else 0):
            gaps.append(f"{extra:,} of {len(labels):,} predictions are of moments without a {kind} label, left out")
        if not kept:
            raise DataError(f"{files[0][0]}: {'; '.join(gaps)}: check that times are seconds of the video")
        facts += gaps
        kept_ids, kept_times_s = [ids[at] for at in kept], times_s[kept]
        return LabelledScores(
            Scores(kept_ids, kept_times_s, np.concatenate(tables)[kept], names),
            [labels[at] for at in kept],
            training_seconds(self.train, kind, {name: name for name in names}, datasets),
            f"{self.split} split of {sources}, {described(files)}",
            sources if several else "",
            1 / stride_s,
            all(each.hard for _, each in files),
            rater_labels(self.test, kind, kept_ids, kept_times_s),
        )

    def _unpredicted(self, kind: str, ids: Sequence[str], times_s: np.ndarray, stride_s: float) -> tuple[int, int]:
        """How many labelled seconds of the videos have no prediction, and how many there are.

        Of moments more than a second apart, each stands for those around it, and of kinds in `WHOLE` for the video.
        """
        seconds = seconds_to_score(self.test.select(sorted(set(ids))), kind)
        reach_s = max(stride_s - 1, 0)
        missing = 0
        own_ids, second_ids = np.asarray(ids, np.str_), np.asarray(seconds[0], np.str_)
        for name in () if kind in WHOLE else sorted(set(ids)):
            have, need = np.sort(times_s[own_ids == name]), seconds[1][second_ids == name]
            after = np.append(have, np.inf)[np.searchsorted(have, need - reach_s)]
            missing += int((after >= need + 1 + reach_s).sum())
        return missing, len(seconds[0])

    # ---- facts about what is scored

    @property
    def pretraining_ids(self) -> list[str]:
        """Ids of the videos that the models were trained on."""
        return [name for _, _, each in self._all for name in each.facts.get("pretraining_video_ids", [])]

    @property
    def _all(self) -> list[tuple[str, Path, Predictions | BoxPredictions]]:
        """Kind of label, file and predictions."""
        of_moments = [(kind, path, each) for kind, files in self.files.items() for path, each in files]
        return [*of_moments, *((kind, path, each) for kind, files in self.box_files.items() for path, each in files)]

    def encoder(self, kind: str) -> tuple[str, int]:
        """How the encoder behind a kind of label was made, and how many parameters were trained on labels."""
        facts = [each.facts for name, _, each in self._all if name == kind or part_of_kind(name, (kind,))]
        made = {str(each.get("encoder", "not stated")) for each in facts}
        count = max((int(each.get("num_trainable", 0)) for each in facts), default=0)
        return (made.pop(), count) if len(made) == 1 else ("not stated", 0)

    def gaps(self, kind: str) -> str:
        """What has no counterpart in labels or predictions of a kind, in words."""
        return self._gaps.get(kind, "")
