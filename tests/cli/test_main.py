"""The command line: it starts at once, explains itself, and says in one line what is wrong and what to do."""

import contextlib
import importlib
import inspect
import io
import json
import os
import re
import shlex
import signal
import subprocess
import sys
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import yaml

from surgvl import __version__
from surgvl.cli import main as cli
from surgvl.cli.table import COMMANDS
from surgvl.cli.usage_error import UsageError
from surgvl.core.errors import ConfigError, SurgVLWarning, Terminated
from tests.helpers.in_fork import in_fork

HEAVY = ("torch", "lightning", "gradio", "faiss", "transformers", "jsonargparse", "numpy")
# The shortest words that a command can be parsed with, below a recipe's.
PRETRAIN = "pretrain --recipe surgrec_mae_phantom --manifest m --out o"


def python(code: str, **env: str) -> "subprocess.CompletedProcess[str]":
    """Run code in a process of its own."""
    argv = [sys.executable, "-c", code]
    return subprocess.run(argv, capture_output=True, text=True, env={**os.environ, **env})


def function_of(name: str) -> Callable[..., Any]:
    """The function of a command."""
    module, _, attribute = COMMANDS[name].target.partition(":")
    found: Callable[..., Any] = vars(importlib.import_module(module))[attribute]
    return found


def one_line(capsys: pytest.CaptureFixture[str], words: str, status: int) -> str:
    """Run a command that must fail; its single line on standard error."""
    assert cli.main(shlex.split(words)) == status
    out, err = capsys.readouterr()
    assert out == ""
    assert err.count("\n") == 1
    assert err.startswith("surgvl: ")
    # Folders of temporary files have paths of any length.
    assert len(re.sub(r"/\S+/", "", err)) < 300
    return err.removeprefix("surgvl: ").strip()


# ---- start


@pytest.mark.slow
def test_the_bare_command_starts_at_once() -> None:
    report = f"print(time.process_time(), [name for name in sys.modules if name in {HEAVY}])"
    code = f"import sys, time\nfrom surgvl.cli import main as cli\nstatus = cli.main([])\n{report}\nsys.exit(status)"

    def measure(code: str) -> float:
        done = python(code)
        assert done.returncode == 0, done.stderr
        seconds, loaded = done.stdout.splitlines()[-1].split(maxsplit=1)
        assert loaded == "[]"
        return float(seconds)

    # A process may be slow because the machine is busy with something else.
    assert any(measure(code) - measure(f"import sys, time\n{report}") < 0.3 for _ in range(3))


def test_the_overview_shows_every_command_in_order(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main([]) == 0
    text = capsys.readouterr().out
    path = [name for name in COMMANDS if name not in ("quickstart", "demo")]
    places = [text.index(f"\n    surgvl {name}".replace("\n", "  ")) for name in path]
    assert places == sorted(places)
    assert all(f"surgvl {name} {command.example}".rstrip() in text for name, command in COMMANDS.items())
    assert max(map(len, text.splitlines())) <= 120


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["--version"]) == 0
    assert capsys.readouterr().out.strip() == __version__


# ---- help


def forget(*packages: str) -> dict[str, ModuleType]:
    """Take packages out of the imported modules, as if they had not been imported; these modules, by their names."""
    return {name: sys.modules.pop(name) for name in list(sys.modules) if name.partition(".")[0] in packages}


def hide(*packages: str) -> None:
    """Let packages not be found."""
    forget(*packages)
    for name in packages:
        sys.modules[name] = None  # type: ignore[assignment]


def outcome(words: list[str]) -> tuple[str, str]:
    """What ends the parse of some words, if anything does, and what it prints; in a fork that has imported it anew."""
    from surgvl.cli import main as cli
    from surgvl.cli.usage_error import UsageError

    with contextlib.redirect_stdout(io.StringIO()) as out:
        try:
            cli.parse(words)
            return "", out.getvalue()
        except (SystemExit, UsageError) as stopped:
            return str(stopped), out.getvalue()


def wrong_usage(name: str) -> list[str]:
    """Usage errors of a command that do not say what they should."""
    parameters = inspect.signature(function_of(name)).parameters.values()
    example = [*name.split(), *shlex.split(COMMANDS[name].example)]
    wanted = [("unknown flag --no_such_flag", [*example, "--no_such_flag", "3"])]
    if any(each.default is each.empty for each in parameters):
        wanted.append(("must be given", name.split()))
    if not any(word.endswith("...") for word in COMMANDS[name].words):
        wanted.append(("unexpected", [*name.split(), *["stray"] * 5]))
    one_of_each_kind = {each.annotation: each.name for each in parameters}
    for flag in (one_of_each_kind[kind] for kind in (int, float, bool) if kind in one_of_each_kind):
        wanted.append((f"--{flag} must be ", [*example, f"--{flag}=many"]))
    said = [(part, outcome(words)[0]) for part, words in wanted]
    return [f"{part!r} is not in {error!r}" for part, error in said if part not in error]


def wrong_examples(name: str, help: str, file: Path) -> list[str]:
    """Examples in the help of a command whose configuration does not repeat them."""
    from surgvl.cli import main as cli

    shown = re.findall(rf"^  surgvl ({name}\b.*)", help.partition("\nexample")[2], re.M)
    wrong = [] if shown else ["there is none"]
    for line in shown:
        _, parser, config = cli.parse(shlex.split(line))
        file.write_text(parser.dump(config, skip_validation=True))
        if name == "data list":
            repeats = yaml.safe_load(file.read_text()) == {}
        else:
            repeats = cli.parse([*name.split(), "--config", str(file)])[2] == config
        wrong += [] if repeats else [line]
    return wrong


@dataclass(frozen=True)
class Told:
    """What a command says of itself.

    Attributes:
        ended: status that --help ends with.
        help: what it prints on a terminal of 1000 columns.
        usage: usage errors that do not say what they should.
        loaded: what help and usage errors have imported of what takes long.
        examples: examples in the help whose configuration does not repeat them.
    """

    ended: str
    help: str
    usage: list[str]
    loaded: list[str]
    examples: list[str]


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Told]:
    """Of every command; found out in one fork, because a parser takes long to build."""
    out = tmp_path_factory.mktemp("told")
    slow = ("torch", "transformers", "lightning", "gradio")

    def ask() -> None:
        os.environ["COLUMNS"] = "1000"
        forget("surgvl")
        forgotten = forget(*slow)
        found: dict[str, list[Any]] = {}
        for name in COMMANDS:
            ended, help = outcome([*name.split(), "--help"])
            usage = wrong_usage(name)
            found[name] = [ended, help, usage, [each for each in slow if each in sys.modules]]
        sys.modules.update(forgotten)
        for name, (_, help, *_) in found.items():
            found[name].append(wrong_examples(name, help, out / "config.yaml"))
        (out / "told.json").write_text(json.dumps(found))

    assert in_fork(ask) == 0
    return {name: Told(*told) for name, told in json.loads((out / "told.json").read_text()).items()}


@pytest.mark.slow
@pytest.mark.parametrize("name", COMMANDS)
def test_help_and_typing_errors_import_no_torch(name: str, told: dict[str, Told]) -> None:
    assert (told[name].ended, told[name].usage, told[name].loaded) == ("0", [], [])


@pytest.mark.slow
@pytest.mark.parametrize("name", COMMANDS)
def test_every_example_in_the_help_parses_and_its_configuration_repeats_it(name: str, told: dict[str, Told]) -> None:
    assert told[name].examples == []


@pytest.mark.parametrize("word", ["data", "serve"])
@pytest.mark.parametrize("flag", ["-h", "--help"])
def test_a_group_shows_its_commands(word: str, flag: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main([word, flag]) == 0
    out, err = capsys.readouterr()
    below = [name for name in COMMANDS if name.startswith(f"{word} ")]
    assert len(below) > 2
    assert all(f"surgvl {name} {COMMANDS[name].example}".rstrip() in out for name in below)
    assert err == ""


@pytest.mark.parametrize(
    ("name", "usage"),
    [
        ("ask", "usage: surgvl ask [VIDEO] [QUESTION] [options]"),
        ("search", "usage: surgvl search [QUERY] [options]"),
        ("data check", "usage: surgvl data check NAME ROOT [options]"),
        ("data convert", "usage: surgvl data convert NAME ROOT OUT [options]"),
        ("embed", "usage: surgvl embed --out OUT [options]"),
        ("timeline", "usage: surgvl timeline [VIDEOS...] --out OUT [options]"),
        ("compare", "usage: surgvl compare RUNS... --out OUT [options]"),
    ],
)
def test_usage_has_bare_words_as_they_are_typed(name: str, usage: str, told: dict[str, Told]) -> None:
    assert told[name].help.splitlines()[0] == usage


@pytest.mark.parametrize("name", COMMANDS)
def test_help_is_free_of_types_as_programs_have_them(name: str, told: dict[str, Told]) -> None:
    shown = " ".join(told[name].help.split())
    for noise in (
        "customizes",
        "Optional[",
        "Union[",
        "Literal[",
        "null",
        "<class",
        "default: )",
        "class_path",
        "tuple[",
        "+ ",
    ):
        assert noise not in shown, noise


def test_the_overview_shows_the_way_for_own_recordings(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["--help"]) == 0
    line = next(line for line in capsys.readouterr().out.splitlines() if "--videos" in line)
    assert cli.parse(shlex.split(line)[1:])[2].videos == [Path("recordings")]


def test_classes_in_the_help_of_pretrain_are_those_that_are_there(told: dict[str, Told]) -> None:
    shown = " ".join(told["pretrain"].help.split())
    listed = set(re.search(r"--objective is one of (.*?), or a dotted path", shown)[1].split(", "))  # type: ignore[index]
    from surgvl.pretrain.known import RECIPES

    assert listed == {each.__name__ for each in RECIPES.values()}


@pytest.mark.parametrize("name", COMMANDS)
def test_help_names_every_flag_with_its_line(name: str, told: dict[str, Told]) -> None:
    shown = " ".join(told[name].help.split())
    function = function_of(name)
    text = inspect.getdoc(function) or ""
    assert text.splitlines()[0] in shown
    assert "<class" not in shown
    described = dict(re.findall(r"^    (\w+): ((?:.|\n {8})+)", text, re.M))
    for flag in inspect.signature(function).parameters:
        assert f"--{flag}" in shown
        # A group's line is its heading, which has no full stop.
        assert " ".join(described[flag].split()).rstrip(".") in shown, flag


@pytest.mark.skipif(os.name == "nt", reason="pipes of POSIX")
@pytest.mark.parametrize("words", ["", "data", "bench", "bench --help"])
@pytest.mark.slow
def test_whoever_reads_may_stop_reading(words: str) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    argv = [sys.executable, "-m", "surgvl", *words.split()]
    done = subprocess.run(argv, stdout=writing, stderr=subprocess.PIPE, text=True)
    os.close(writing)
    if words == "data":  # prints nothing but its error
        assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    else:
        # argparse itself passes over what it cannot print.
        assert done.returncode in ((0, 141) if words == "bench --help" else (141,))
        assert done.stderr == ""


def test_a_warning_of_ours_is_one_line_each_time_and_others_are_as_they_were(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def warn(argv: object) -> None:
        for _ in range(2):
            warnings.warn("3 tokens were left out", SurgVLWarning, stacklevel=2)
        warnings.warn("soon gone", FutureWarning, stacklevel=2)

    monkeypatch.setattr(cli, "run", warn)
    with warnings.catch_warnings():
        warnings.simplefilter("default")
        assert cli.main(["search", "hook"]) == 0
    first, second, third = capsys.readouterr().err.splitlines()[:3]
    assert first == second == "surgvl: 3 tokens were left out"
    assert "FutureWarning: soon gone" in third


# ---- short forms


@pytest.mark.slow
@pytest.mark.parametrize(
    ("words", "key", "value"),
    [
        ("phantom --out o --preview", "preview", True),
        ("phantom --preview --out o", "preview", True),
        ("phantom --out o --preview false", "preview", False),
        ("phantom --out o --preview=false", "preview", False),
        ("tune --manifest m --encoder e --out o --grid 1 2 3", "tokens.grid", (1, 2, 3)),
        ("tune --manifest m --encoder e --out o --grid [1,2,3]", "tokens.grid", (1, 2, 3)),
        ("embed --model m --out o --videos 'a b.mp4' [c].mp4", "videos", [Path("a b.mp4"), Path("[c].mp4")]),
        ("embed --model m --out o --videos 2024", "videos", [Path("2024")]),
        ("embed --model m --out o --videos null", "videos", None),
        ("ask clip.mp4 'Which phase?' --model m", "question", "Which phase?"),
        ("ask --model m --answers yes no", "answers", ["yes", "no"]),
        ("search --query -3 --index i", "query", "-3"),
        (f"{PRETRAIN} --run.steps 7", "run.steps", 7),
        ("pretrain --run.steps 7 --manifest m --out o --recipe=surgrec_mae_phantom", "run.steps", 7),
        (f"{PRETRAIN} --encoder.dim 48", "encoder.dim", 48),
        (f"{PRETRAIN} --objective SurgRecMAE", "objective.class_path", "surgvl.pretrain.surgrec_mae.SurgRecMAE"),
    ],
)
def test_short_forms(words: str, key: str, value: object) -> None:
    assert cli.parse(shlex.split(words))[2][key] == value


# ---- errors


@pytest.mark.slow
@pytest.mark.parametrize(
    ("words", "parts"),
    [
        ("pretrian", ["unknown command 'pretrian'", "did you mean pretrain?"]),
        ("xyzzy", ["unknown command 'xyzzy'", "commands are quickstart"]),
        ("data", ["surgvl data must be followed by one of list, splits, check, convert"]),
        ("data chek", ["surgvl data must be followed by one of list, splits, check, convert"]),
        ("phantom --trian 3", ["unknown flag --trian", "did you mean --train?"]),
        ("phantom --tra 3 --out o", ["unknown flag --tra", "did you mean --train?"]),
        ("phantom --zzz", ["unknown flag --zzz", "surgvl phantom --help"]),
        (f"{PRETRAIN} --run.stps 3", ["unknown flag --run.stps", "did you mean --run.steps?"]),
        (f"{PRETRAIN} --encoder.dimm 3", ["unknown flag --encoder.dimm", "did you mean --encoder.dim?"]),
        (f"{PRETRAIN} --objective.mask 3", ["unknown argument objective.mask", "--objective.help"]),
        ("phantom --train x --out o", ["--train must be an integer, got 'x'"]),
        ("phantom --fps fast --out o", ["--fps must be a number, got 'fast'"]),
        ("phantom --preview maybe --out o", ["--preview must be true or false, got 'maybe'"]),
        ("tune --manifest m --encoder e --out o --grid 1 2", ["--tokens.grid must be 3 words, got [1, 2]"]),
        ("tune --manifest m --encoder e --out o --grid 1 2 x", ["--tokens.grid must be an integer, got 'x'"]),
        (
            "tune --manifest m --encoder e --out o --projector x",
            ["must be one of grid, mlp, perceiver"],
        ),
        (f"{PRETRAIN} --run.steps 1.5", ["--run.steps must be an integer, got '1.5'"]),
        (f"{PRETRAIN} --objective.decoder_dim x", ["--objective.decoder_dim must be an integer, got 'x'"]),
        (f"{PRETRAIN} --encoder.dim x", ["--encoder.dim must be an integer, got 'x'"]),
        (f"{PRETRAIN} --objective Foo", ["--objective Foo is not a known class", "dotted path"]),
        (f"{PRETRAIN} --objective no.such.Foo", ["--objective no.such.Foo (No module named 'no')", "dotted path"]),
        (f"{PRETRAIN} --optim 3", ["--optim must be a YAML file, got '3'", "--optim.NAME"]),
        ("phantom --out", ["--out needs a value"]),
        ("phantom", ["--out must be given", "surgvl phantom --out phantom"]),
        ("align --out o --manifest m", ["--encoder must be given", "--encoder mae --out dual"]),
        ("data check", ["NAME, ROOT must be given", "surgvl data check cholec80 downloads/cholec80"]),
        ("phantom here", ["unexpected 'here'", "put its flag before it"]),
        ("search a b --index i", ["unexpected 'b'", "QUERY"]),
        ("search --index i hook", ["unexpected 'hook'", "QUERY must come before all flags"]),
        ("search hook -k 3", ["unknown flag -k", "did you mean --k?"]),
        ("phantom --config nowhere.yaml", ["--config", "nowhere.yaml does not exist", "check the path"]),
        ("align --recipe algin_phantom", ["no recipe 'algin_phantom'", "did you mean align_phantom?"]),
        ("align --recipe surgrec_mae_phantom", ["no recipe 'surgrec_mae_phantom'", "align_phantom"]),
        ("embed --recipe fast", ["no recipe 'fast'", "recipes: none", "leave --recipe out"]),
    ],
)
def test_wrong_words_give_one_line(capsys: pytest.CaptureFixture[str], words: str, parts: list[str]) -> None:
    line = one_line(capsys, words, status=2)
    assert all(part in line for part in parts), line


@pytest.mark.parametrize(
    ("content", "parts"),
    [
        ("trian: 3\n", ["unknown argument trian", "did you mean --train?"]),
        ("train: some\n", ["--train must be an integer, got 'some'"]),
        ('train: "3\n', ["while scanning", "line 1"]),
        ("- 3\n", ["wrong.yaml must be a mapping of arguments"]),
    ],
)
def test_a_wrong_configuration_gives_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], content: str, parts: list[str]
) -> None:
    file = tmp_path / "wrong.yaml"
    file.write_text(content)
    line = one_line(capsys, f"phantom --out o --config {file}", status=2)
    assert all(part in line for part in parts), line


@pytest.mark.slow
def test_a_folder_that_is_not_empty_gives_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "kept").touch()
    line = one_line(capsys, f"phantom --out {tmp_path} --train 1 --val 0 --test 0", status=1)
    assert line == f"--out {tmp_path} is not empty: give another folder, or --resume to continue in it"
    assert [path.name for path in tmp_path.iterdir()] == ["kept"]


@pytest.mark.slow
def test_a_folder_that_cannot_be_made_gives_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "file").touch()
    line = one_line(capsys, f"phantom --out {tmp_path}/file/below --train 1 --val 0 --test 0", status=1)
    assert line.startswith(f"{tmp_path}/file/below: Not a directory: check the path")


def test_what_the_command_refuses_gives_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert "--size_px must be even and >= 32, got 3" in one_line(capsys, "phantom --out o --size_px 3", status=1)


@pytest.mark.parametrize(
    ("words", "error"),
    [
        ("pretrian", UsageError("unknown command 'pretrian'")),
        ("phantom --out o --size_px 3", ConfigError("--size_px must be even and >= 32, got 3")),
    ],
)
def test_debugging_shows_the_traceback(words: str, error: Exception, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SURGVL_DEBUG", "1")
    with pytest.raises(type(error), match=str(error)):
        cli.main(words.split())


NEEDS_NO_EXTRA = [
    ["phantom", "--out", "o"],
    ["data", "list"],
    ["embed", "--model", "m", "--out", "o"],
    ["eval", "--manifest", "m", "--out", "o"],
    ["ask", "--model", "m"],
]
NEEDS = {
    "faiss": ("retrieval", ["index", "--out", "o"]),
    "lightning": ("train", PRETRAIN.split()),
    "gradio": ("demo", ["demo"]),
}


@pytest.mark.slow
def test_without_extras_what_needs_none_works_and_the_rest_says_what_to_install() -> None:
    """Reading, embedding, scoring and asking need none of the packages that extras bring."""

    def without() -> None:
        forget("surgvl")
        installed = forget(*cli.EXTRAS)
        hide(*cli.EXTRAS)
        from surgvl.cli import main

        for words in NEEDS_NO_EXTRA:
            main.parse(words)
        for package, (extra, words) in NEEDS.items():
            forget(*cli.EXTRAS)
            sys.modules.update(installed)
            hide(package)
            with contextlib.redirect_stderr(io.StringIO()) as told:
                assert main.main(words) == 1
            error = told.getvalue()
            assert error.count("\n") == 1, error
            assert package in error
            assert f"pip install 'surgvl[{extra}]'" in error

    assert in_fork(without) == 0


# ---- recipes


@pytest.mark.slow
def test_every_recipe_parses_as_its_first_line_says() -> None:
    files = sorted(cli.RECIPES.glob("*.yaml"))
    assert files
    for file in files:
        first = file.read_text(encoding="utf-8").splitlines()[0]
        assert first.startswith("# surgvl "), f"{file.name} must start with the command that runs it"
        words = shlex.split(first.removeprefix("# surgvl "))
        assert words[words.index("--recipe") + 1] == file.stem
        _, _, config = cli.parse(words)
        for key, value in yaml.safe_load(file.read_text(encoding="utf-8")).items():
            if not isinstance(value, dict):
                assert config[key] == (tuple(value) if isinstance(value, list) else value)


def test_a_recipe_that_does_not_fit_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "mine.yaml").write_text("# surgvl phantom --recipe mine --out o\ntrian: 3\n")
    monkeypatch.setattr(cli, "RECIPES", tmp_path)
    with pytest.raises(UsageError, match="unknown argument trian"):
        cli.parse(["phantom", "--recipe", "mine", "--out", "o"])


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("search hook --index i", "surgvl: stopped\n"),
        ("phantom --out o", "surgvl: stopped; run the same command with --resume to continue\n"),
        ("quickstart", "surgvl: stopped; run the same command to continue\n"),
        ("models fetch surgclip", "surgvl: stopped; run the same command to continue\n"),
        ("--fetch models fetch surgclip", "surgvl: stopped; run the same command to continue\n"),
    ],
)
def test_a_stopped_command_names_only_a_way_on_that_it_has(
    words: str, said: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    cli.parse([word for word in words.split() if word != "--fetch"])

    def stop(argv: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(cli, "run", stop)
    assert cli.main(words.split()) == 130
    assert capsys.readouterr().err == said


@pytest.mark.slow
def test_training_that_sigterm_has_ended_is_no_finished_run(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    cli.parse(PRETRAIN.split())

    def end(argv: object) -> None:
        raise Terminated("after 5 steps")

    monkeypatch.setattr(cli, "run", end)
    assert cli.main(PRETRAIN.split()) == 128 + signal.SIGTERM
    said = "surgvl: stopped by SIGTERM after 5 steps; run the same command with --resume to continue\n"
    assert capsys.readouterr().err == said


@pytest.mark.parametrize("text", ["0:10", "0:00:12.0", "1:15.5", "12"])
def test_a_moment_is_typed_as_it_is_printed(text: str) -> None:
    assert cli.parse(["ask", "--model", "m", "--at_s", text])[2].at_s == text


@pytest.mark.parametrize("name", COMMANDS)
def test_a_nul_is_in_no_word(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main([*name.split(), "--out", "a\0b"]) == 2
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert "contains a NUL character" in said


def test_a_name_that_is_not_utf8_is_shown_and_the_way_on_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    words = ["embed", "--videos", os.fsdecode(b"b\xff.avi"), "--model", "m", "--out", "o"]
    assert cli.main(words) == 2
    said = capsys.readouterr().err
    assert said == ("surgvl: --videos b\\xff.avi: the name is not UTF-8: rename the file, or pass its folder\n")
