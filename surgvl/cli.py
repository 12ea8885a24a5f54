"""The command line: a table of commands, each a typed function that is imported only when it is called."""

import importlib
import os
import re
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from surgvl import __version__
from surgvl.credentials import VARIABLE, in_words, mask, wipe
from surgvl.errors import ConfigError, SurgVLError
from surgvl.usage import UsageError, check_configs, explain, name_words, nearest, spell_out, take_rest, way_on


@dataclass(frozen=True)
class Command:
    """A command: where its function is, what it is for, and how it is typed.

    Args:
        target: module:function.
        summary: what it is for.
        example: arguments that work.
        words: flags that may go without their names.
        rest: the flag that takes all words after it, dashes or not.
    """

    target: str
    summary: str
    example: str
    words: tuple[str, ...] = ()
    rest: str = ""


# In the order of the pipeline.
COMMANDS = {
    "quickstart": Command(
        "surgvl.quickstart:quickstart", "the whole path below on made videos, in minutes", "--out runs/quickstart"
    ),
    "phantom": Command("surgvl.data.phantom_run:phantom", "render operations with exact labels", "--out phantom"),
    "data list": Command("surgvl.data.run:data_list", "data sets that can be read, with their licences", ""),
    "data check": Command(
        "surgvl.data.run:data_check", "what a data set holds and what does not fit", "cholec80 ROOT", ("name", "root")
    ),
    "data convert": Command(
        "surgvl.data.run:data_convert", "a data set to a manifest", "phantom phantom manifest", ("name", "root", "out")
    ),
    "data cluster": Command(
        "surgvl.data.run:data_cluster",
        "vectors to nested clusters, to draw from alike",
        "--vectors vectors --out clusters.parquet",
    ),
    "data merge": Command(
        "surgvl.data.merge:data_merge",
        "several manifests to one, each a source",
        "--manifests manifest other --names lap other --out both",
    ),
    "pretrain": Command(
        "surgvl.pretrain.run:pretrain",
        "train a video encoder from video alone",
        "--recipe surgrec_mae_phantom --manifest manifest --out mae",
    ),
    "probe": Command(
        "surgvl.probe.run:probe",
        "what a frozen encoder knows: phase, instrument, verb, target",
        "--encoder mae --manifest manifest --out probe",
    ),
    "align": Command(
        "surgvl.align.run:align", "give video and sentences one space", "--manifest manifest --encoder mae --out dual"
    ),
    "embed": Command("surgvl.embed:embed", "videos to vectors", "--model dual --manifest manifest --out vectors"),
    "tune": Command(
        "surgvl.chat.run:tune", "teach a language model to answer", "--manifest manifest --encoder dual --out chat"
    ),
    "ask": Command(
        "surgvl.chat.ask:ask",
        "a question about a video, or all of a manifest",
        "VIDEO QUESTION --model chat",
        ("video", "question"),
    ),
    "eval": Command(
        "surgvl.tasks.run:evaluate",
        "scores with baselines and intervals",
        "--vectors vectors --manifest manifest --out eval",
    ),
    "index": Command(
        "surgvl.retrieval.run:index",
        "vectors to a searchable index",
        "--vectors vectors --manifest manifest --out index",
    ),
    "search": Command(
        "surgvl.retrieval.run:search",
        "moments like a sentence or a clip",
        '"the clipper clips the cystic duct" --index index',
        ("query",),
    ),
    "bench": Command("surgvl.bench.run:bench", "list the benchmarks of many runs", ""),
    "bench recipes": Command(
        "surgvl.bench.run:bench_recipes", "all pretraining recipes side by side, by frozen probes", "--out runs/bench"
    ),
    "serve chat": Command(
        "surgvl.serve.run:serve_chat", "answer questions over HTTP (vLLM)", "--model chat", rest="engine_args"
    ),
    "serve embed": Command(
        "surgvl.serve.run:serve_embed", "sentences and clips to vectors over HTTP", "--model dual", rest="engine_args"
    ),
    "serve all": Command(
        "surgvl.serve.run:serve_all", "both at one address", "--model chat --embed_model dual", rest="engine_args"
    ),
    "demo": Command("surgvl.demo.app:demo", "the page: ask, search, timeline", ""),
}
RECIPES = Path(__file__).parent / "recipes"
# Packages that only an extra brings, and the extra.
EXTRAS = {
    "lightning": "train",
    "peft": "train",
    "faiss": "retrieval",
    "gradio": "demo",
    "vllm": "serve",
    "httpx": "serve",
    "openai": "client",
    "starlette": "serve",
    "uvicorn": "serve",
}


def overview() -> str:
    """The pipeline in order, with one example a command."""
    wide = max(map(len, COMMANDS))
    lines = [
        f"surgvl {__version__}: ask, search and measure surgical video. Not for clinical use.",
        "",
        "  start here",
        *(_row(name, wide) for name in ("quickstart", "demo")),
        "",
        "  the path, step by step",
        *(_row(name, wide) for name in COMMANDS if name not in ("quickstart", "demo")),
        "",
        "surgvl COMMAND --help shows every argument; --print_config prints a file that --config takes.",
    ]
    return "\n".join(lines)


def _row(name: str, wide: int) -> str:
    command = COMMANDS[name]
    return f"  {name:{wide}}  {command.summary}\n  {'':{wide}}    surgvl {name} {command.example}".rstrip()


def _split(argv: Sequence[str]) -> tuple[str, list[str]]:
    """Command name (of one or two words) and the rest."""
    for words in (2, 1):
        name = " ".join(argv[:words])
        if name in COMMANDS:
            return name, list(argv[words:])
    group = [name for name in COMMANDS if name.startswith(argv[0] + " ")]
    if group:
        raise UsageError(f"{argv[0]!r} is followed by one of {', '.join(n.split()[1] for n in group)}: add it")
    hint = nearest(argv[0], COMMANDS, f"commands are {', '.join(COMMANDS)}")
    raise UsageError(f"there is no command {argv[0]!r}: {hint}")


def recipes(name: str) -> list[str]:
    """Names of a command's shipped recipes: each file starts with a comment that holds the command."""
    start = f"# surgvl {name} "
    return sorted(file.stem for file in RECIPES.glob("*.yaml") if file.read_text(encoding="utf-8").startswith(start))


def _recipe(argv: list[str], name: str) -> list[str]:
    """Replace `--recipe NAME` by `--config FILE` of the shipped recipe, in front: what is typed wins over it."""
    configs: list[str] = []
    others: list[str] = []
    words = iter(argv)
    for word in words:
        if word != "--recipe" and not word.startswith("--recipe="):
            others.append(word)
            continue
        wanted, known = word.partition("=")[2] or next(words, ""), recipes(name)
        if wanted not in known:
            there = ", ".join(known) or "none"
            hint = nearest(wanted, known, "choose one of them" if known else "leave --recipe out")
            raise UsageError(f"`surgvl {name}` has no recipe {wanted!r}; there is {there}: {hint}")
        configs.append(f"--config={RECIPES / wanted}.yaml")
    return configs + others


def parse(argv: Sequence[str]) -> tuple[Any, Any, Any]:
    """Read the words of a command without running it: its function, its parser and its configuration.

    Raises:
        UsageError: the words do not fit the command.
        SystemExit: they ask for help or for the configuration, which was printed.
    """
    name, rest = _split(argv)
    command = COMMANDS[name]
    words = _recipe(name_words(take_rest(rest, command.rest), command.words), name)
    module, _, attribute = command.target.partition(":")
    function = vars(importlib.import_module(module))[attribute]
    check_configs(words, function)

    import jsonargparse

    class Help(jsonargparse.DefaultHelpFormatter):
        """Types by their plain names."""

        def _expand_help(self, action: Any) -> str:
            return re.sub(r"<class '(?:[\w.]*\.)?(\w+)'>", r"\1", super()._expand_help(action))

    jsonargparse.set_parsing_settings(docstring_parse_attribute_docstrings=False)
    shipped = recipes(name)
    parser = jsonargparse.ArgumentParser(
        prog=f"surgvl {name}",
        exit_on_error=False,
        allow_abbrev=False,
        formatter_class=Help,
        description=(function.__doc__ or "").strip().split("\n\n")[0],
        epilog=f"--recipe NAME is --config with a file that ships: {', '.join(shipped)}" if shipped else None,
    )
    parser.add_argument("--config", action="config", help="a YAML file with arguments; what is typed after it wins")
    parser.add_function_arguments(function, as_group=False, fail_untyped=True)
    try:
        config = parser.parse_args(spell_out(words, function))
    except (AttributeError, TypeError, ValueError, KeyError, OverflowError) as error:
        # jsonargparse takes the shape of a file's values for granted.
        raise UsageError(f"a value has the wrong type ({error}): see surgvl {name} --help") from error
    except jsonargparse.ArgumentError as error:
        flags = [f"--{each}" for each in (*parser.get_defaults(skip_validation=True).keys(), "recipe")]
        raise UsageError(explain(str(error), name, command.example, flags, command.words)) from error
    config.pop("config", None)
    return function, parser, config


def run(argv: Sequence[str]) -> Any:
    """Run one command, given as it would be typed after `surgvl`, and return what its function returns.

    Raises:
        UsageError: the words do not fit the command.
        SurgVLError: the command cannot do what was asked, or a package that it needs is not installed.
    """
    from surgvl import io

    before = io.INVOCATION
    try:
        function, parser, config = parse(argv)
        shown = config.clone()
        keys = {name: value for name, value in config.items() if name.rpartition(".")[2] == "api_key" and value}
        for name in keys:
            shown[name] = ""
        words = [mask(word) for word in io.without_keys(["surgvl", *argv], set(keys.values()))]
        io.INVOCATION = io.Invocation(words, mask(parser.dump(shown, skip_validation=True)), function)
        return function(**vars(parser.instantiate(config)))
    except ModuleNotFoundError as error:
        package = (error.name or "").partition(".")[0]
        if package not in EXTRAS:
            raise
        remedy = f"pip install 'surgvl[{EXTRAS[package]}]'"
        raise ConfigError(f"`surgvl {argv[0]}` needs {package}, which is not installed: {remedy}") from error
    finally:
        io.INVOCATION = before


def main(argv: Sequence[str] | None = None) -> int:
    """Entry point; returns the exit status: 0, 1 for what went wrong, 2 for usage, 130 for Ctrl-C."""
    argv = list(sys.argv[1:] if argv is None else argv)
    keys = in_words(argv)
    if keys and not wipe(keys):
        print(f"surgvl: the key shows in the list of processes: set {VARIABLE} or give @FILE", file=sys.stderr)
    if not argv or argv[0] in ("-h", "--help", "help"):
        print(overview())
        return 0
    if argv[0] == "--version":
        print(__version__)
        return 0
    try:
        run(argv)
    except (UsageError, SurgVLError) as error:
        if os.environ.get("SURGVL_DEBUG") == "1":
            raise
        print(f"surgvl: {mask(str(error), keys)}", file=sys.stderr)
        return 2 if isinstance(error, UsageError) else 1
    except BrokenPipeError:
        return 1
    except OSError as error:
        if os.environ.get("SURGVL_DEBUG") == "1" or error.strerror is None:
            raise
        named = f"{error.filename}: " if error.filename else ""
        print(f"surgvl: {named}{error.strerror}: check the path, its permissions and the free space", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print(f"surgvl: stopped{way_on(COMMANDS[_split(argv)[0]].target)}", file=sys.stderr)
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
