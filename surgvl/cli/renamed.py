"""Names of arguments: in full, without their group, and, for one release, their old names.

They are the same on the command line, in recipes and in the `config.yaml` of a run folder.
"""

import warnings
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields, is_dataclass
from inspect import signature
from typing import Any

import yaml

from surgvl.core.errors import SurgVLWarning

# Old name -> new name, both in full. A line is removed with the next release. Arguments that only moved into a group
# need none, because their own name still works.
RENAMED: Mapping[str, str] = {
    "store": "frame_cache",
    "second": "stages.finetune",
    "clip_frames": "clip.num_frames",
    "optim.floor": "optim.min_lr_ratio",
    "optim.start": "optim.warmup_start",
    "optim.muon": "optim.muon_lr_ratio",
    "optim.stretch": "optim.schedule_scale",
    "run.spike": "run.skip_loss_std",
    "questions.ablate": "questions.only_control",
    "ablated": "controls",
}

# Groups of arguments that used to be a class with arguments of its own, and its names: `--encoder VideoViT`,
# `--encoder.init_args.dim 96`, and `class_path` in files. They are removed with the next release, too.
CLASSES: Mapping[str, tuple[str, ...]] = {
    "encoder": ("VideoViT", "surgvl.models.vit.VideoViT", "surgvl.models.video_vit.VideoViT"),
}


def arguments(function: Callable[..., Any]) -> dict[str, Any]:
    """Arguments of a command by their full names, those inside groups included (`run.steps`), and their annotations."""
    found: dict[str, Any] = {}
    for each in signature(function).parameters.values():
        found[each.name] = each.annotation
        if is_dataclass(each.annotation):
            found |= {f"{each.name}.{field.name}": field.type for field in fields(each.annotation)}
    return found


def names(function: Callable[..., Any]) -> dict[str, str]:
    """Every accepted name of an argument of a command -> its current full name.

    A name without its group is accepted if only one argument has it.
    """
    known = arguments(function)
    before = {old: new for old, new in RENAMED.items() if new in known and old not in known}
    full = {name: name for name in known} | before
    counts = Counter(_own(name) for name in full)
    return {_own(name): now for name, now in full.items() if counts[_own(name)] == 1} | full


def rename_words(argv: Sequence[str], known: Mapping[str, str]) -> list[str]:
    """Words of a command with the full name of each flag: `--dry-run` is `--dry_run`, `--devices` is `--run.devices`.

    Args:
        argv: words after the command.
        known: from `names`.
    """
    out = []
    for word in without_classes(argv, known):
        flag, equals, value = word.removeprefix("--").partition("=")
        given = flag if flag in known else flag.replace("-", "_")
        if word.startswith("--") and given in known:
            word = f"--{_now(given, known, '--')}{equals}{value}"
        out.append(word)
    return out


def without_classes(argv: Sequence[str], known: Mapping[str, str]) -> list[str]:
    """Words of a command without the class that a group of arguments used to be; see `CLASSES`.

    Args:
        argv: words after the command.
        known: from `names`.
    """
    out: list[str] = []
    words = iter(argv)
    for word in words:
        flag, equals, value = word.partition("=")
        group, _, rest = flag.removeprefix("--").partition(".")
        if not flag.startswith("--") or group not in CLASSES or not _is_group(group, known):
            out.append(word)
        elif rest.startswith("init_args."):
            out.append(f"--{group}.{rest.removeprefix('init_args.')}{equals}{value}")
        elif rest in ("", "class_path"):
            given = [] if equals else [next(words, "")]
            if (value if equals else given[0]) not in CLASSES[group]:
                out += [word, *filter(None, given)]
            else:
                _tell_class(f"--{group}", group)
        else:
            out.append(word)
    return out


def rename_config(config: Mapping[Any, Any], known: Mapping[str, str]) -> dict[Any, Any]:
    """A mapping of arguments, as a file of `--config` holds it, with the full name of each; groups are mappings.

    Args:
        config: the mapping.
        known: from `names`.
    """
    groups = {name.partition(".")[0] for name in known.values() if "." in name}
    out: dict[Any, Any] = {}
    for key, value in config.items():
        if key in groups and isinstance(value, Mapping) and value.get("class_path") in CLASSES.get(key, ()):
            _tell_class(key, key)
            value = value.get("init_args") or {}
        if key in groups and isinstance(value, Mapping):
            pairs = [(f"{key}.{field}", each) for field, each in value.items()]
        else:
            pairs = [(key, value)]
        for name, each in pairs:
            now = _now(name, known, "") if name in known else name
            group, _, field = str(now).partition(".")
            if field and group in groups and isinstance(out.setdefault(group, {}), dict):
                out[group][field] = each
            else:
                out[now] = each
    return out


def config_text(text: str, known: Mapping[str, str]) -> str:
    """The text of a YAML mapping of arguments with current names; unchanged if it already has them."""
    config = yaml.safe_load(text)
    renamed = rename_config(config, known)
    return text if renamed == config else yaml.safe_dump(renamed, sort_keys=False)


def _is_group(name: str, known: Mapping[str, str]) -> bool:
    """Whether a command has arguments below this name."""
    return any(full.startswith(f"{name}.") for full in known.values())


def _tell_class(name: str, group: str) -> None:
    line = f"{name} no longer takes a class: give {name}.NAME only; {CLASSES[group][0]} will go with the next release"
    warnings.warn(line, SurgVLWarning, stacklevel=3)


def _own(name: str) -> str:
    """The name of an argument without its group."""
    return name.rpartition(".")[2]


def _now(name: str, known: Mapping[str, str], dashes: str) -> str:
    """The full name of a known argument; an old name causes a warning."""
    if _own(known[name]) != _own(name):
        line = f"{dashes}{name} is now {dashes}{known[name]}; the old name will go with the next release"
        warnings.warn(line, SurgVLWarning, stacklevel=2)
    return known[name]
