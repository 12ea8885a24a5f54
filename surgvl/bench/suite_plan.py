"""The commands of a suite: convert what is there, pretrain, train readouts, score; and what is absent and why."""

import dataclasses
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import surgvl.data.readers
import surgvl.tasks
from surgvl.bench.jobs import Job
from surgvl.bench.suite import RUN_OF, Row, Suite
from surgvl.core.errors import ConfigError
from surgvl.core.registry import discover
from surgvl.data.licences import licence_line
from surgvl.data.readers.base import VideoDataset
from surgvl.tasks.base import Task

RANDOM = "random"
# Begins the names of jobs that convert a data set.
MANIFESTS = "manifests/"
_RECIPES = Path(__file__).resolve().parent.parent / "recipes"


@dataclass(frozen=True)
class Run:
    """One number of a suite: a readout of an encoder on a row, trained on a share of the training videos.

    Attributes:
        row: the row.
        readout: name of the readout.
        encoder: as it was named.
        share: of the training videos, 0 ... 1.
    """

    row: Row
    readout: str
    encoder: str
    share: float = 1.0

    @property
    def label(self) -> str:
        """The readout and encoder, as in tables."""
        return f"{self.readout} of {self.encoder}" + (f", {100 * self.share:g} %" if self.share < 1 else "")

    @property
    def name(self) -> str:
        """Name of its job, which is its folder."""
        at = f"@{self.share:g}" if self.share < 1 else ""
        return f"runs/{self.row.name}/{self.readout}-{_slug(self.encoder)}{at}"


@dataclass(frozen=True)
class SuitePlan:
    """The commands of a suite for the data below a root.

    Attributes:
        suite: the suite.
        root: folder with a folder for each data set; None for a suite that renders its own.
        out: folder of the runs.
        encoders: names or folders of models; `random` for random weights in the shape of the first other one; names of
            recipes are pretrained, where the suite renders its own data.
        shares: shares of the training videos, each a subset of the next larger one.
        seed: of everything.
        device: torch device.
        every_s: seconds between clips of probes; 0: as the encoder and the readout say.
        tokens_gb: maximum size of a probe's tokens on disk, GB.
        allow_overlap: also score videos that a model was trained on, and mark every result.
    """

    suite: Suite
    root: Path | None
    out: Path
    encoders: Sequence[str]
    shares: Sequence[float] = (1.0,)
    seed: int = 0
    device: str = "cpu"
    every_s: float = 0.0
    tokens_gb: float = 16.0
    allow_overlap: bool = False

    def __post_init__(self) -> None:
        """Check the words.

        Raises:
            ConfigError: an encoder twice, only random weights, a recipe without data, or no root.
        """
        if len({_slug(name) for name in self.encoders}) != len(self.encoders) or not self.encoders:
            given = " ".join(self.encoders) or "none"
            raise ConfigError(f"--encoders must be one or more names or folders, all different, got {given}")
        if set(self.encoders) == {RANDOM}:
            raise ConfigError(f"--encoders {RANDOM} needs another encoder, whose shape it takes: name one, too")
        if not self.suite.render and (recipes := [name for name in self.encoders if is_recipe(name)]):
            fact = "is a recipe, and what it should be pretrained on is not known"
            raise ConfigError(f"--encoders {recipes[0]} {fact}: run surgvl pretrain, and give its folder")
        if self.root is None and not self.suite.render:
            raise ConfigError(f"--suite {self.suite.name} needs --root: a folder with a folder for each data set")

    # ---- what is there

    @cached_property
    def absent(self) -> dict[str, str]:
        """Row -> why it is not measured, and how to get what is missing."""
        readers = discover(surgvl.data.readers, VideoDataset)  # type: ignore[type-abstract]
        found = {}
        for row in self.suite.rows:
            if row.lacks:
                found[row.name] = f"lacks {row.lacks}"
            elif row.data not in readers:
                found[row.name] = "no reader of that name"
            elif row.split and row.split not in readers[row.data].SPLITS:
                found[row.name] = f"its reader has no split {row.split}"
            elif not self.suite.render and not self.data_folder(row).is_dir():
                reader = readers[row.data]
                found[row.name] = (
                    f"{self.data_folder(row)} is not a folder; get it from: {reader.SOURCE}; licence: "
                    f"{licence_line(reader.LICENCE, reader.LICENCE_FROM)}"
                )
        return found

    @cached_property
    def rows(self) -> list[Row]:
        """Rows that are measured."""
        return [row for row in self.suite.rows if row.name not in self.absent]

    @cached_property
    def runs(self) -> list[Run]:
        """Everything that is measured."""
        return [
            Run(row, readout, encoder, share)
            for row in self.rows
            for share in sorted(set(self.shares))
            for readout in self.suite.readouts_of(row)
            for encoder in self.encoders
            if not (encoder == RANDOM and self.verb(readout) in ("embed", "ask"))
        ]

    def verb(self, readout: str) -> str:
        """The command of a readout: probe, finetune, embed or ask."""
        return self.suite.readouts[readout].split()[0]

    def start(self, run: Run) -> Run | None:
        """The run that a run begins with, instead of its encoder."""
        name = self.suite.start_of(run.readout)
        return dataclasses.replace(run, readout=name) if name else None

    def data_folder(self, row: Row) -> Path:
        """Folder of a data set."""
        return (self.out / "data" if self.suite.render else self.root or Path()) / (row.folder or row.data)

    def manifest(self, row: Row, share: float = 1.0) -> Path:
        """Manifest of a row, of a share of its training videos."""
        return self.out / self._manifest_job(row, share)

    def folder(self, run: Run) -> Path:
        """Folder of a run."""
        return self.out / run.name

    def predictions(self, run: Run) -> Path:
        """File of the predictions that a run writes; absent after several draws of few shots."""
        return self.folder(run) / "predictions" / f"{run.row.kind}.parquet"

    def scores(self, run: Run) -> Path:
        """Folder of all metrics of a run, where a task scores its kind of label."""
        return self.out / run.name.replace("runs/", "scores/", 1)

    # ---- jobs

    def jobs(self) -> list[Job]:
        """All commands, in the order in which they may start."""
        found: dict[str, Job] = {}
        for job in (*self._data(), *self._pretraining(), *(job for run in self.runs for job in self._run(run))):
            found.setdefault(job.name, job)
        return list(found.values())

    def _data(self) -> list[Job]:
        jobs = []
        for row in self.rows:
            folder = self.data_folder(row)
            needs: tuple[str, ...] = ()
            if self.suite.render:
                words = ["phantom", *self.suite.render.split(), "--seed", str(self.seed), "--out", str(folder)]
                jobs.append(Job("data/phantom", words))
                needs = ("data/phantom",)
            convert = ["data", "convert", row.data, str(folder), str(self.manifest(row))]
            convert += ["--split_protocol", row.split] if row.split else []
            written = self.manifest(row) / "run.json"
            jobs.append(Job(self._manifest_job(row, 1.0), convert, needs, writes=written))
            shares = sorted(share for share in set(self.shares) if share < 1)
            for share in shares:
                words = ["data", "subset", str(self.manifest(row)), str(self.manifest(row, share))]
                words += ["--fraction", f"{share:g}", "--seed", str(self.seed)]
                jobs.append(Job(self._manifest_job(row, share), words, (self._manifest_job(row, 1.0),)))
        return jobs

    def _pretraining(self) -> list[Job]:
        if not self.suite.render or not self.rows:
            return []
        row = self.rows[0]
        common = ["--manifest", str(self.manifest(row)), "--frame_cache", str(self.out / "frames")]
        return [
            Job(
                f"pretrain/{_slug(name)}",
                [
                    *("pretrain", "--recipe", name, *common, "--run.seed", str(self.seed)),
                    *("--out", str(self.out / "pretrain" / _slug(name)), *self._training),
                ],
                (self._manifest_job(row, 1.0),),
            )
            for name in self.encoders
            if is_recipe(name)
        ]

    @property
    def _training(self) -> list[str]:
        """The device as the training loop takes it, which counts devices and has no number for one."""
        return ["--run.accelerator", self.device.partition(":")[0]]

    @property
    def _overlap(self) -> list[str]:
        return ["--allow_overlap=true"] if self.allow_overlap else []

    def _run(self, run: Run) -> list[Job]:
        verb, *words = self.suite.readouts[run.readout].split()
        words += run.row.arguments.get(run.readout, "").split()
        manifest, out = str(self.manifest(run.row, run.share)), str(self.folder(run))
        needs = [self._manifest_job(run.row, run.share)]
        shape = next(name for name in self.encoders if name != RANDOM) if run.encoder == RANDOM else run.encoder
        model = shape
        if is_recipe(shape):
            needs.append(f"pretrain/{_slug(shape)}")
            model = str(self.out / needs[-1])
        if (start := self.start(run)) is not None:
            needs.append(start.name)
            words = [RUN_OF.sub(str(self.folder(start)), word) for word in words]
        given = ["--manifest", manifest, "--out", out]
        given += self._training if verb == "finetune" else ["--device", self.device]
        if verb in ("probe", "finetune"):
            argv = [verb, *(["--encoder", model] if start is None else []), *given, "--heads", run.row.kind, *words]
            argv += ["--frame_cache", str(self.out / "frames")]
            argv += ["--seed" if verb == "probe" else "--run.seed", str(self.seed)]
            argv += ["--random_encoder=true"] if run.encoder == RANDOM and start is None else []
            if verb == "probe":
                argv += ["--tokens_gb", f"{self.tokens_gb:g}"]
                argv += ["--clip.every_s", f"{self.every_s:g}"] if self.is_sparse(run) else []
            argv += self._overlap
            scored = ["--predictions", str(self.predictions(run))]
        elif verb == "embed":
            argv = ["embed", "--model", model, *given, "--split", "test", *words]
            scored = ["--vectors", out]
        else:
            argv = ["ask", "--model", model, *given, "--seed", str(self.seed), *words]
            scored = ["--answers", out]
        written = {"embed": "vectors.json", "ask": "answers.jsonl"}.get(verb, "result.json")
        jobs = [Job(run.name, argv, tuple(needs), writes=self.folder(run) / written)]
        if self.is_scored(run):
            score = ["eval", "--manifest", manifest, *scored, "--seed", str(self.seed)]
            score += ["--tasks", run.row.kind, "--out", str(self.scores(run)), *self._overlap]
            jobs.append(Job(_score_job(run), score, (run.name,)))
        return jobs

    @cached_property
    def _tasks(self) -> dict[str, type[Task]]:  # type: ignore[type-arg]
        return discover(surgvl.tasks, Task)  # type: ignore[type-abstract]

    def is_scored(self, run: Run) -> bool:
        """Whether `surgvl eval` scores what the run wrote; draws of few shots are scored by the probe itself."""
        return run.row.kind in self._tasks and "--few_shot" not in self.suite.readouts[run.readout]

    def is_sparse(self, run: Run) -> bool:
        """Whether a probe's clips are `every_s` apart; a readout may state its own step."""
        words = self.suite.readouts[run.readout]
        return bool(self.every_s) and words.startswith("probe ") and "--clip.every_s" not in words

    def is_done(self, run: Run, done: Sequence[str] | dict[str, float]) -> bool:
        """Whether a run and its scores are there."""
        return run.name in done and (not self.is_scored(run) or _score_job(run) in done)

    def _manifest_job(self, row: Row, share: float) -> str:
        name = "-".join(filter(None, (row.data, row.about, row.split)))
        return f"{MANIFESTS}{name}" + (f"@{share:g}" if share < 1 else "")


def is_recipe(name: str) -> bool:
    """Whether an encoder is the name of a recipe that ships."""
    return (_RECIPES / f"{name}.yaml").is_file()


def _score_job(run: Run) -> str:
    return run.name.replace("runs/", "scores/", 1)


def _slug(name: str) -> str:
    return re.sub(r"[^\w.-]+", "_", name).strip("_.")
