"""The plan of `surgvl bench recipes`: its rows, the effects expected between them, and the commands to run.

A row is one way to obtain an encoder; all rows share encoder size, number of clips, seeds and probes. The effects are
those claimed by the recipes' papers, and were written down before anything was measured.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from surgvl.bench.jobs import Job
from surgvl.core.errors import ConfigError

BATCH = 16
PROBES = ("phase", "verb", "instrument", "target")
RANDOM, RARE_RANDOM = "random", "random, rare source"
ALL_FRAMES, BALANCED_AGAINST = "image_mae, all frames read out", "surgrec_mae, frames alike"


@dataclass(frozen=True)
class Row:
    """One line of the table.

    Attributes:
        name: in the table.
        recipe: of `surgvl pretrain --recipe`; empty for random weights or if `encoder` is given.
        args: further arguments of `pretrain`; {ROW} of a teacher and {clusters} stand for outputs of other jobs.
        encoder: another row whose encoder is probed here in a different way.
        probe: further arguments of `probe`.
        images: whether the encoder sees single frames.
        skewed: whether it is pretrained on two sources, 20 : 1, and probed on the rare one.
        teachers: rows whose encoders are its teachers; their clips count as seen, too.
    """

    name: str
    recipe: str = ""
    args: tuple[str, ...] = ()
    encoder: str = ""
    probe: tuple[str, ...] = ()
    images: bool = False
    skewed: bool = False
    teachers: tuple[str, ...] = ()

    @property
    def trained(self) -> str:
        """The row whose pretraining gives the encoder; empty for random weights."""
        return self.encoder or (self.name if self.recipe else "")


_TEACHER = "--objective.init_args.teacher"
# The clips of the video recipes.
_CLIP = ("--clip.num_frames", "8", "--fps", "4")
ROWS: tuple[Row, ...] = (
    Row(RANDOM),
    # First the middle frame of each tubelet, which gives the readout as many tokens as the others; then all frames.
    Row("image_mae", "image_mae_phantom", probe=(*_CLIP, "--frame_step", "4"), images=True),
    Row(ALL_FRAMES, encoder="image_mae", probe=_CLIP, images=True),
    Row("videomae", "videomae_phantom"),
    Row("vjepa", "vjepa_phantom"),
    Row("surgvista", "surgvista_phantom", (_TEACHER, "surgvl:{vjepa}"), teachers=("vjepa",)),
    Row("surgrec_mae", "surgrec_mae_phantom"),
    Row("surgrec_jepa", "surgrec_jepa_phantom"),
    Row("unisurg", "unisurg_phantom"),
    Row(
        "zen",
        "zen_phantom",
        (f"{_TEACHER}s", "[surgvl:{vjepa},surgvl:{surgrec_mae}]"),
        teachers=("vjepa", "surgrec_mae"),
    ),
    Row("surgvista, no distillation", "surgvista_phantom", ("--objective.init_args.distil_weight", "0")),
    Row("unisurg, no motion", "unisurg_phantom", ("--objective.init_args.motion_weight", "0")),
    Row("unisurg, equal tubes", "unisurg_phantom", ("--objective.init_args.gamma", "0")),
    Row("unisurg, no affinity", "unisurg_phantom", ("--objective.init_args.affinity_weight", "0")),
    Row("unisurg, no variance", "unisurg_phantom", ("--objective.init_args.variance_weight", "0")),
    Row(RARE_RANDOM, skewed=True),
    Row(BALANCED_AGAINST, "surgrec_mae_phantom", ("--balance", "frames"), skewed=True),
    Row(
        "surgrec_mae, clusters alike",
        "surgrec_mae_phantom",
        ("--balance", "cluster", "--clusters", "{clusters}"),
        skewed=True,
    ),
)
VIDEO = ("videomae", "vjepa", "surgvista", "surgrec_mae", "surgrec_jepa", "unisurg", "zen")


@dataclass(frozen=True)
class Effect:
    """An expected effect: in each pair the first row scores higher than the second, on each of the probes."""

    text: str
    pairs: tuple[tuple[str, str], ...]
    probes: tuple[str, ...] = PROBES


EFFECTS: tuple[Effect, ...] = (
    Effect("every video recipe beats random initialisation on every probe", tuple((row, RANDOM) for row in VIDEO)),
    Effect(
        "every video recipe beats the image-only one on verbs", tuple((row, "image_mae") for row in VIDEO), ("verb",)
    ),
    Effect(
        "so it does where the image-only one is read out from every frame, four times the tokens",
        tuple((row, ALL_FRAMES) for row in VIDEO),
        ("verb",),
    ),
    Effect("SurgVISTA gains by its teacher", (("surgvista", "surgvista, no distillation"),)),
    Effect("UniSurg gains by its motion term", (("unisurg", "unisurg, no motion"),)),
    Effect("UniSurg gains by weighting tubes by their motion", (("unisurg", "unisurg, equal tubes"),)),
    Effect("UniSurg gains by its affinity term", (("unisurg", "unisurg, no affinity"),)),
    Effect("UniSurg gains by its variance term", (("unisurg", "unisurg, no variance"),)),
    Effect(
        "SurgRec gains by balanced sampling on the rare one of two sources",
        (("surgrec_mae, clusters alike", BALANCED_AGAINST),),
    ),
)


def select_rows(only: Sequence[str] | None) -> list[Row]:
    """The rows with these names (all if None) and the rows they depend on: random weights, teachers, clusters.

    Raises:
        ConfigError: a name is unknown.
    """
    names = [row.name for row in ROWS]
    if unknown := [name for name in only or () if name not in names]:
        raise ConfigError(f"--only {unknown[0]!r} is not a row; rows are {'; '.join(names)}")
    wanted = set(names if only is None else only)
    for row in [row for row in ROWS if row.name in wanted]:
        wanted |= {RARE_RANDOM, BALANCED_AGAINST} if row.skewed else {RANDOM, *row.teachers, row.encoder}
    if not any(row.name in wanted for row in ROWS if _gives_shape(row, False)) and RANDOM in wanted:
        wanted.add(VIDEO[0])
    return [row for row in ROWS if row.name in wanted]


def _gives_shape(row: Row, skewed: bool) -> bool:
    """Whether the random encoder can copy the architecture of this row: a video encoder on the same corpus."""
    return bool(row.recipe) and row.skewed == skewed and not row.images


@dataclass(frozen=True)
class Plan:
    """The commands of a benchmark.

    Attributes:
        out: folder of the benchmark.
        rows: rows to measure.
        seeds: training seeds.
        clips: clips seen in each pretraining, in batches of `BATCH`.
        videos: numbers of rendered training, validation and test videos of each of the two phantoms.
        threads: cores per job.
        device: torch device of embedding and probes; pretraining uses a GPU if there is one.
        readout: of the probes.
    """

    out: Path
    rows: Sequence[Row]
    seeds: Sequence[int]
    clips: int
    videos: tuple[int, int, int]
    threads: int
    device: str = "cpu"
    readout: str = "linear"

    @property
    def steps(self) -> int:
        """Pretraining steps."""
        return max(1, self.clips // BATCH)

    def jobs(self) -> list[Job]:
        """All commands, seed by seed; `needs` gives their dependencies."""
        found = self._corpus("main", 0, ())
        found += self._skewed() if any(row.skewed for row in self.rows) else []
        found += self._clusters() if any("{clusters}" in row.args for row in self.rows) else []
        for seed in self.seeds:
            for row in self.rows:
                found += [self._pretrain(row, seed)] if row.recipe else []
                found.append(self._probe(row, seed))
        return found

    def job_name(self, stage: str, row: str, seed: int) -> str:
        """Name of a row's `pretrain` or `probe` job, which is also the path of its folder."""
        return f"{stage}/{row.replace(', ', '-').replace(' ', '_')}-s{seed}"

    def folder(self, stage: str, row: str, seed: int) -> Path:
        """Folder of a row's `pretrain` or `probe` run."""
        return self.out / self.job_name(stage, row, seed)

    def _at(self, name: str) -> str:
        return str(self.out / name)

    def _corpus(self, name: str, seed: int, options: tuple[str, ...]) -> list[Job]:
        train, val, test = map(str, self.videos)
        render = ["phantom", "--out", self._at(f"{name}/phantom"), "--train", train, "--val", val, "--test", test]
        render += ["--seed", str(seed), "--workers", str(self.threads), *options]
        convert = ["data", "convert", "phantom", self._at(f"{name}/phantom"), self._at(f"{name}/manifest")]
        return [Job(f"{name}/phantom", render), Job(f"{name}/manifest", convert, (f"{name}/phantom",))]

    def _skewed(self) -> list[Job]:
        """A second phantom, rendered as by an older laparoscope, with few pretraining videos next to many of the first.

        The probes may use all labels of the rare source: it is rare only in pretraining.
        """
        many = min(20, self.videos[0])
        join = ["data", "merge", "--manifests", self._at("main/manifest"), self._at("rare/manifest")]
        join += ["--names", "common", "rare", "--specialties", "common", "rare", "--train", str(many), "1"]
        name = ["data", "merge", "--manifests", self._at("rare/manifest"), "--names", "rare"]
        return [
            *self._corpus("rare", 1, ("--size_px", "48")),
            Job("skewed/manifest", [*join, "--out", self._at("skewed/manifest")], ("main/manifest", "rare/manifest")),
            Job("rare/named", [*name, "--out", self._at("rare/named")], ("rare/manifest",)),
        ]

    def _clusters(self) -> list[Job]:
        """Clusters of the skewed corpus, from mean tokens of the encoder pretrained without balancing."""
        encoder = self.job_name("pretrain", BALANCED_AGAINST, self.seeds[0])
        embed = ["embed", "--model", self._at(encoder), "--manifest", self._at("skewed/manifest")]
        embed += ["--split", "train", "--device", self.device, "--out", self._at("skewed/vectors")]
        cluster = ["data", "cluster", "--vectors", self._at("skewed/vectors"), "--out", self._clusters_file]
        return [
            Job("skewed/vectors", embed, (encoder, "skewed/manifest")),
            Job("skewed/clusters", cluster, ("skewed/vectors",), resumes=False),
        ]

    @property
    def _clusters_file(self) -> str:
        return self._at("skewed/clusters.parquet")

    def _pretrain(self, row: Row, seed: int) -> Job:
        corpus = "skewed" if row.skewed else "main"
        teachers = {name: self.job_name("pretrain", name, seed) for name in row.teachers}
        given = {name: self._at(job) for name, job in teachers.items()} | {"clusters": self._clusters_file}
        args = [arg.format(**given) for arg in row.args]
        argv = ["pretrain", "--recipe", row.recipe, "--manifest", self._at(f"{corpus}/manifest")]
        argv += ["--frame_cache", self._at("frames"), "--run.steps", str(self.steps), "--run.batch", str(BATCH)]
        argv += ["--run.seed", str(seed), *args, "--out", str(self.folder("pretrain", row.name, seed))]
        needs = [f"{corpus}/manifest", *teachers.values()]
        needs += ["skewed/clusters"] if "{clusters}" in row.args else []
        return Job(self.job_name("pretrain", row.name, seed), argv, tuple(needs))

    def _probe(self, row: Row, seed: int) -> Job:
        shape = row.trained or next(each.name for each in self.rows if _gives_shape(each, row.skewed))
        table = "rare/named" if row.skewed else "main/manifest"
        argv = ["probe", "--encoder", str(self.folder("pretrain", shape, seed)), "--manifest", self._at(table)]
        argv += ["--frame_cache", self._at("frames"), "--seed", str(seed), "--device", self.device, *row.probe]
        argv += ["--readout", self.readout]
        argv += [] if row.trained else ["--random_encoder", "true"]
        argv += ["--out", str(self.folder("probe", row.name, seed))]
        return Job(self.job_name("probe", row.name, seed), argv, (self.job_name("pretrain", shape, seed), table))
