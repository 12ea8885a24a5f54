"""The table of commands, in the order of the pipeline, and how the list of them is printed."""

from collections.abc import Collection
from dataclasses import dataclass

from surgvl.core.version import __version__


@dataclass(frozen=True)
class Command:
    """A command: where its function is, what it is for, and how it is typed.

    Args:
        target: module:function.
        summary: what it is for.
        example: arguments that work.
        also: arguments that work for the command's other use; empty: it has one use.
        words: flags that may go without their names.
        rest: the flag that takes all words after it, dashes or not.
        classes: a flag that takes a class, and the package whose classes go by their names.
    """

    target: str
    summary: str
    example: str
    also: str = ""
    words: tuple[str, ...] = ()
    rest: str = ""
    classes: tuple[str, str] = ("", "")


COMMANDS = {
    "quickstart": Command(
        "surgvl.cli.quickstart:quickstart", "the whole path below on made videos, in minutes", "--out runs/quickstart"
    ),
    "phantom": Command("surgvl.commands.phantom:phantom", "render operations with exact labels", "--out phantom"),
    "data list": Command("surgvl.commands.data:data_list", "data sets that can be read, with their licences", ""),
    "data check": Command(
        "surgvl.commands.data:data_check",
        "what a data set holds and what does not fit",
        "cholec80 downloads/cholec80",
        words=("name", "root"),
    ),
    "data convert": Command(
        "surgvl.commands.data:data_convert",
        "a data set to a manifest",
        "phantom phantom manifest",
        words=("name", "root", "out"),
    ),
    "data cluster": Command(
        "surgvl.commands.data:data_cluster",
        "vectors to nested clusters, to draw from alike",
        "--vectors vectors --out clusters.parquet",
    ),
    "data merge": Command(
        "surgvl.commands.data_merge:data_merge",
        "several manifests to one, each a source",
        "--manifests manifest other --names lap other --out both",
    ),
    "pretrain": Command(
        "surgvl.commands.pretrain:pretrain",
        "train a video encoder from video alone",
        "--recipe surgrec_mae_phantom --manifest manifest --out mae",
        classes=("objective", "surgvl.pretrain"),
    ),
    "probe": Command(
        "surgvl.commands.probe:probe",
        "what a frozen encoder knows: phase, instrument, verb, target",
        "--encoder mae --manifest manifest --out probe",
    ),
    "align": Command(
        "surgvl.commands.align:align",
        "give video and sentences one space",
        "--manifest manifest --encoder mae --out dual",
    ),
    "embed": Command(
        "surgvl.commands.embed:embed",
        "videos to vectors: of a manifest, or your own recordings",
        "--model dual --manifest manifest --out vectors",
        "--model dual --videos recordings --out vectors",
    ),
    "tune": Command(
        "surgvl.commands.tune:tune", "teach a language model to answer", "--manifest manifest --encoder dual --out chat"
    ),
    "ask": Command(
        "surgvl.commands.ask:ask",
        "a question about a video, or all of a manifest",
        'video.mp4 "What is the surgical phase shown in the image?" --model chat',
        "--model chat --manifest manifest --out answers",
        words=("video", "question"),
    ),
    "eval": Command(
        "surgvl.commands.eval:evaluate",
        "scores with baselines and intervals",
        "--vectors vectors --manifest manifest --out eval",
    ),
    "index": Command(
        "surgvl.commands.index:index",
        "vectors to a searchable index",
        "--vectors vectors --manifest manifest --out index",
    ),
    "search": Command(
        "surgvl.commands.search:search",
        "moments like a sentence or a clip",
        '"the clipper clips the cystic duct" --index index',
        "--like video01@12.5 --index index",
        words=("query",),
    ),
    "bench": Command("surgvl.commands.bench:bench", "list the benchmarks that train several models", ""),
    "bench recipes": Command(
        "surgvl.commands.bench:bench_recipes",
        "all pretraining recipes side by side, by frozen probes",
        "--out runs/bench",
    ),
    "serve chat": Command(
        "surgvl.commands.serve:serve_chat", "answer questions over HTTP (vLLM)", "--model chat", rest="engine_args"
    ),
    "serve embed": Command(
        "surgvl.commands.serve:serve_embed",
        "sentences and clips to vectors over HTTP",
        "--model dual",
        rest="engine_args",
    ),
    "serve all": Command(
        "surgvl.commands.serve:serve_all", "both at one address", "--model chat --embed_model dual", rest="engine_args"
    ),
    "demo": Command("surgvl.cli.demo:demo", "the page: ask, search, timeline", "", "--run runs/quickstart"),
}


def overview() -> str:
    """The pipeline in order, with the examples of each command."""
    first = ("quickstart", "demo")
    lines = [
        f"surgvl {__version__}: ask, search and measure surgical video. Not for clinical use.",
        "",
        "  start here",
        *_rows(first),
        "",
        "  the path, step by step",
        *_rows([name for name in COMMANDS if name not in first]),
        "",
        "surgvl COMMAND --help shows every argument; --print_config prints a file that --config takes.",
        "Exit status: 0 done; 1 it cannot be done, or some files of many were set aside and named; 2 wrong words;",
        "130 stopped by Ctrl-C.",
    ]
    return "\n".join(lines)


def group(word: str) -> list[str]:
    """Commands of two words that begin with a word."""
    return [name for name in COMMANDS if name.startswith(f"{word} ")]


def group_help(word: str) -> str:
    """What the commands that begin with a word are for, with the examples of each."""
    lines = [f"usage: surgvl {word} COMMAND", "", *_rows(group(word)), ""]
    return "\n".join([*lines, f"surgvl {word} COMMAND --help shows every argument."])


def examples(name: str) -> list[str]:
    """Lines that run a command as they stand."""
    command = COMMANDS[name]
    return [f"surgvl {name} {each}".rstrip() for each in (command.example, *filter(None, [command.also]))]


def _rows(names: Collection[str]) -> list[str]:
    wide = max(map(len, COMMANDS))
    lines = []
    for name in names:
        lines.append(f"  {name:{wide}}  {COMMANDS[name].summary}")
        lines += [f"  {'':{wide}}    {each}" for each in examples(name)]
    return lines
