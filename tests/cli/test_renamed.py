"""An argument is found by its full name, without its group, and by the name it had before; typed and in files."""

import shlex
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml

from surgvl.cli import main as cli
from surgvl.cli import renamed
from surgvl.core.errors import SurgVLWarning


@dataclass(frozen=True)
class Group:
    """Arguments of a made command."""

    rate: float = 1.0
    size_px: int | None = None


@dataclass(frozen=True)
class Other:
    """More of them; `rate` is in both."""

    rate: float = 1.0


def command(
    out: Path,
    frame_cache: Path | None = None,
    group: Group = Group(),  # noqa: B008 (frozen)
    other: Other = Other(),  # noqa: B008 (frozen)
) -> None:
    """A made command."""


@pytest.fixture
def known(monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    table = {"store": "frame_cache", "group.side": "group.size_px", "nowhere": "no_such", "out": "frame_cache"}
    monkeypatch.setattr(renamed, "RENAMED", table)
    return renamed.names(command)


def test_names_are_full_short_where_they_are_one_arguments_and_of_before(known: dict[str, str]) -> None:
    assert known == {
        "out": "out",
        "frame_cache": "frame_cache",
        "store": "frame_cache",
        "group": "group",
        "group.rate": "group.rate",
        "group.size_px": "group.size_px",
        "size_px": "group.size_px",
        "group.side": "group.size_px",
        "side": "group.size_px",
        "other": "other",
        "other.rate": "other.rate",
    }


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        ("--store=a --out b", "--frame_cache=a --out b"),
        ("--frame-cache a store", "--frame_cache a store"),
        ("--size-px 3 --side=4", "--group.size_px 3 --group.size_px=4"),
        ("--rate 3 --nowhere --encoder.dim=2", "--rate 3 --nowhere --encoder.dim=2"),
    ],
)
@pytest.mark.filterwarnings("ignore::surgvl.core.errors.SurgVLWarning")
def test_words_have_full_names(known: dict[str, str], typed: str, meant: str) -> None:
    assert shlex.join(renamed.rename_words(shlex.split(typed), known)) == meant


@pytest.mark.filterwarnings("ignore::surgvl.core.errors.SurgVLWarning")
def test_a_file_has_full_names_and_keeps_what_is_unknown(known: dict[str, str]) -> None:
    text = "store: a\nsize_px: null\ngroup: {rate: 2}\nother: other.yaml\nzzz: {store: 1}\n3: 4\n"
    assert yaml.safe_load(renamed.config_text(text, known)) == {
        "frame_cache": "a",
        "group": {"size_px": None, "rate": 2},
        "other": "other.yaml",
        "zzz": {"store": 1},
        3: 4,
    }
    same = "out: b   # as it was\ngroup: {size_px: 3, zzz: 1}\n"
    assert renamed.config_text(same, known) == same


def test_only_a_renamed_argument_is_told(known: dict[str, str], recwarn: pytest.WarningsRecorder) -> None:
    renamed.rename_words(["--size_px", "3", "--out", "b"], known)
    renamed.config_text("size_px: 3\n", known)
    assert not recwarn.list
    with pytest.warns(SurgVLWarning, match="^--side is now --group.size_px; the old name will go"):
        renamed.rename_words(["--side=3"], known)
    with pytest.warns(SurgVLWarning, match="^group.side is now group.size_px"):
        renamed.config_text("group: {side: 3}", known)


@pytest.mark.slow
def test_a_command_a_recipe_and_a_stored_configuration_take_the_old_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(renamed, "RENAMED", {"optim.speed": "optim.lr", "duration": "manifest"})
    (tmp_path / "mine.yaml").write_text(
        "# surgvl align --recipe mine --encoder e --out o\nduration: m\nsteps: 3\noptim: {speed: 3e-4}\n"
    )
    monkeypatch.setattr(cli, "RECIPES", tmp_path)
    with (
        pytest.warns(SurgVLWarning, match="optim.speed is now optim.lr"),
        pytest.warns(SurgVLWarning, match="duration is now manifest"),
    ):
        _, parser, config = cli.parse(shlex.split("align --recipe mine --encoder e --out o --run.batch 4"))
    assert (config.optim.lr, config.manifest, config.run.steps, config.run.batch) == (3e-4, Path("m"), 3, 4)
    with pytest.warns(SurgVLWarning, match="--speed is now --optim.lr"):
        typed = cli.parse(shlex.split("align --manifest m --encoder e --out o --speed 3e-4 --steps 3 --batch 4"))[2]
    assert typed == config
    stored = parser.dump(config, skip_validation=True)
    (tmp_path / "config.yaml").write_text(stored)
    assert cli.parse(["align", "--config", str(tmp_path / "config.yaml")])[2] == config
    (tmp_path / "config.yaml").write_text(stored.replace("lr:", "speed:"))
    with pytest.warns(SurgVLWarning, match="optim.speed is now optim.lr"):
        assert cli.parse(["align", "--config", str(tmp_path / "config.yaml")])[2] == config


@pytest.mark.parametrize(
    "typed",
    [
        "--encoder VideoViT --encoder.dim 96 --encoder.heads=3",
        "--encoder=surgvl.models.vit.VideoViT --encoder.init_args.dim=96 --encoder.init_args.heads 3",
        "--encoder.class_path surgvl.models.video_vit.VideoViT --encoder.dim 96 --encoder.heads 3",
    ],
)
@pytest.mark.slow
def test_an_encoder_may_still_be_typed_as_the_class_it_was(typed: str) -> None:
    words = shlex.split("pretrain --manifest m --out o")
    with pytest.warns(SurgVLWarning, match="^--encoder no longer takes a class"):
        found = cli.parse([*words, *shlex.split(typed)])[2]
    assert found == cli.parse([*words, "--encoder.dim=96", "--encoder.heads=3"])[2]


@pytest.mark.slow
def test_a_stored_configuration_may_still_hold_the_encoder_as_the_class_it_was(tmp_path: Path) -> None:
    """As surgvl 0.1 wrote it into the run folder."""
    (tmp_path / "config.yaml").write_text(
        "encoder:\n  class_path: surgvl.models.video_vit.VideoViT\n  init_args:\n    size_px: 64\n    mean:\n"
        "    - 0.5\n    - 0.5\n    - 0.5\n    table_grid: null\nmanifest: m\nout: o\n"
    )
    with pytest.warns(SurgVLWarning, match="^encoder no longer takes a class"):
        found = cli.parse(["pretrain", "--config", str(tmp_path / "config.yaml")])[2]
    assert (found.encoder.size_px, found.encoder.mean, found.encoder.table_grid) == (64, (0.5, 0.5, 0.5), None)
    assert found.encoder.depth == 12


def test_a_folder_called_like_the_class_is_a_folder() -> None:
    assert cli.parse(shlex.split("align --manifest m --out o --encoder VideoViT"))[2].encoder == Path("VideoViT")
