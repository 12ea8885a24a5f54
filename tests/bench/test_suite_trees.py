"""Suites on small trees in the published layouts: every row is converted, and predictions by the labels are perfect."""

import json
import shutil
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from surgvl.bench.suite import Row, Suite, load_suite, suite_names
from surgvl.bench.suite_plan import Run, SuitePlan
from surgvl.bench.suite_report import Measured, collect
from surgvl.cli import main as cli
from surgvl.commands.common import split_ids
from surgvl.commands.data import datasets
from surgvl.commands.probe import overlap_warning
from surgvl.core.results import write_results
from surgvl.data.manifest import Manifest
from surgvl.models.checkpoint import save_model
from surgvl.probe.labels import heads_of, truth_of
from surgvl.probe.predicted import write_all
from surgvl.probe.score import ProbedClips, score, training_of
from tests.helpers import made_question_trees, made_trees
from tests.helpers.label_files import put
from tests.helpers.made_duals import tiny_dual
from tests.models.test_models import PREPROCESS

MAKERS = {**made_trees.MAKERS, **made_question_trees.MAKERS}
READERS = datasets()
NAMES = [name for name in suite_names() if not load_suite(name).render]
# Where 0 is best.
ERRORS = ("mae",)


def make_trees(root: Path, suite: Suite) -> dict[str, str]:
    """A tree for each data set of a suite that is not told to lack something; what each holds, by its folder."""
    trees = {}
    for row in suite.rows:
        if not row.lacks and not (folder := root / (row.folder or row.data)).exists():
            ids = made_trees.some_of(splits_of(row))
            MAKERS[row.data](folder, ids)
            trees[str(folder)] = f"{row.data} of {ids}"
    return trees


class Once:
    """Folders that were made, by the words that made them: the same words on the same inputs make the same again."""

    def __init__(self, inputs: dict[str, str]) -> None:
        # What each path among the words holds.
        self.inputs, self.made = inputs, dict[tuple[str, ...], Path]()

    def make(self, folder: Path, words: Sequence[str], work: Callable[[], object]) -> None:
        """Do some work that makes a folder, or copy what it has made already."""
        known = self.inputs | {str(folder): "itself"}
        key = tuple(known.get(word, word) for word in words)
        if key in self.made:
            shutil.copytree(self.made[key], folder)
        else:
            work()
            self.made[key] = folder
        self.inputs[str(folder)] = " ".join(key)


@pytest.fixture(scope="module")
def once() -> Once:
    return Once({})


def splits_of(row: Row) -> made_trees.Ids:
    published = READERS[row.data].SPLITS
    if row.data == "aixsuture":
        return made_trees.AIXSUTURE
    return published[row.split] if row.split else next(iter(published.values()), {})


def moments(table: Manifest, split: str) -> tuple[list[str], list[float]]:
    """The middle of each second of a split's videos: their ids, and times in seconds."""
    found = [(row.video_id, at + 0.5) for row in table.split(split).videos for at in range(int(row.duration_s))]
    return [name for name, _ in found], [time_s for _, time_s in found]


def predict_by_labels(plan: SuitePlan, run: Run) -> None:
    """What a probe writes whose readout is never wrong."""
    table = Manifest.load(plan.manifest(run.row))
    heads = heads_of(table, [run.row.kind], set(split_ids(table, "train")))
    assert overlap_warning(table, "test", [], allowed=False) == ""
    training, at_s = moments(table, "train")
    known = training_of(truth_of(table, heads, training, at_s), heads, training)
    ids, times_s = moments(table, "test")
    truth = truth_of(table, heads, ids, times_s)
    (head,), labels = heads, truth[run.row.kind]
    assert len(head.classes) > 1 or head.kind == "number"
    if head.kind == "number":
        logits = np.nan_to_num(labels)[:, None]
    else:
        one_hot = np.arange(head.size) == labels[:, None] if head.kind == "one" else labels == 1
        logits = np.where(one_hot, 5.0, -5.0).astype(np.float32)
    said = {head.name: logits.astype(np.float32)}
    write_all(plan.folder(run) / "predictions", heads, ids, np.array(times_s), said, {"model": "labels"})
    clips = ProbedClips(ids, np.array(times_s), truth, heads, known, "by labels", 1.0, 0)
    write_results(plan.folder(run) / "result.json", score(clips, said)[0])


def answer_by_labels(plan: SuitePlan, run: Run) -> None:
    """What `ask` writes of a model that is never wrong."""
    rows = Manifest.load(plan.manifest(run.row)).split("test").qa
    columns = ("video_id", "start_s", "end_s", "question", "answer", "type")
    how = {"matched": True, "mode": "closed", "ablated": ""}
    lines = [{**{name: getattr(row, name) for name in columns}, "prediction": row.answer, **how} for row in rows]
    put(plan.folder(run) / "answers.jsonl", "".join(json.dumps(line) + "\n" for line in lines))


def is_perfect(measured: Measured) -> bool:
    return all(each.value == pytest.approx(0.0 if each.metric in ERRORS else 1.0) for each in measured.main())


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_every_row_runs_on_its_published_layout(
    name: str, once: Once, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """A command that differs from one of another row only in its paths, and not in what they hold, is run once."""
    suite, home = load_suite(name), tmp_path_factory.mktemp(name)
    once.inputs |= make_trees(home / "data", suite)
    by_text = "embed" in {words.split()[0] for words in suite.readouts.values()}
    encoder = "runs/mae"
    if by_text:
        save_model(tiny_dual(), home / "dual", PREPROCESS)
        encoder = str(home / "dual")
    plan = SuitePlan(suite, home / "data", home / "out", (encoder,))
    assert list(plan.absent) == [row.name for row in suite.rows if row.lacks]
    runs = {run.name: run for run in plan.runs}
    seen: set[str] = set()
    done: dict[str, float] = {}
    for job in plan.jobs():
        run = runs.get(job.name.replace("scores/", "runs/", 1))
        # The scores of a row's first readout stand for those of others, whose files have the same form.
        if run is not None and run.readout != suite.readouts_of(run.row)[0]:
            continue
        folder = plan.out / job.name
        if run is None or job.name.startswith("scores/") or by_text:
            once.make(folder, job.argv, partial(cli.run, [*job.argv, "--resume=true"]))
        else:
            words = " ".join([*job.argv[:1], *job.argv[7:]])
            if words not in seen:
                cli.parse([*job.argv, "--resume=true"])
            seen.add(words)
            by_labels = answer_by_labels if plan.verb(run.readout) == "ask" else predict_by_labels
            manifest = str(plan.manifest(run.row))
            once.make(folder, [by_labels.__name__, run.row.kind, manifest], partial(by_labels, plan, run))
            once.inputs[str(plan.predictions(run))] = once.inputs[str(folder)]
        done[job.name] = 1.0
    measured = collect(plan, done)
    assert [each.run.row for each in measured] == plan.rows
    for each in measured:
        assert tuple(result.metric for result in each.main()) == each.run.row.metrics, each.run.name
        assert by_text or is_perfect(each), each.run.name
