"""Keys and passwords: where they are read from, and that they show nowhere."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from surgvl.cli import main as cli
from surgvl.core.credentials import in_words, mask, read_key
from surgvl.core.errors import ConfigError
from surgvl.core.invocation import Invocation, current

SECRET = "s3cret-Key"


def test_a_key_comes_from_a_word_a_file_or_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SURGVL_API_KEY", raising=False)
    assert read_key(None) == read_key("") == ""
    monkeypatch.setenv("SURGVL_API_KEY", "from-environment")
    assert read_key("") == "from-environment"
    assert read_key("given") == "given"
    (tmp_path / "key").write_text(f"{SECRET}\nsecond line\n")
    assert read_key(f"@{tmp_path / 'key'}") == SECRET
    monkeypatch.setenv("SURGVL_API_KEY", f"@{tmp_path / 'key'}")
    assert read_key(None) == SECRET


@pytest.mark.parametrize("content", [b"", b"\n", b"\xff\xfe\x00", b"two words\n", "schlüssel".encode()])
def test_a_file_that_holds_no_key_is_named(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "key"
    path.write_bytes(content)
    with pytest.raises(ConfigError, match="the key file") as error:
        read_key(f"@{path}")
    assert str(path) in str(error.value)
    assert "words" not in str(error.value)
    with pytest.raises(ConfigError, match="No such file"):
        read_key("@/no/such/file")
    for bad in (f"{SECRET} {SECRET}", f"{SECRET}\r\nX: y", f"{SECRET}é"):
        with pytest.raises(ConfigError, match="the key must be printable ASCII") as error:
            read_key(bad)
        assert SECRET not in str(error.value)


@pytest.mark.parametrize(
    ("words", "found"),
    [
        (["serve", "chat", "--api_key", SECRET], {SECRET}),
        (["serve", "chat", f"--api-key={SECRET}"], {SECRET}),
        (["serve", "chat", "--server.api_key", SECRET, "--port", "1"], {SECRET}),
        (["eval", "--server", f"http://me:{SECRET}@host:1/v1"], {f"me:{SECRET}"}),
        (["eval", f"--server=https://{SECRET}@host"], {SECRET}),
        (["serve", "chat", "--api_key", "@/a/file"], set()),
        (["serve", "chat", "--api_key"], set()),
        (["demo", "--password", SECRET, "--token", "true"], {SECRET}),
        (["demo", f"--password={SECRET}"], {SECRET}),
        (["demo", "--password", "@/a/file"], set()),
        (["search", "a@b", "--index", "http://host/a@b"], set()),
    ],
)
def test_secrets_are_found_among_words(words: list[str], found: set[str]) -> None:
    assert in_words(words) == found


def test_messages_have_stars() -> None:
    assert mask("no http://me:pw@h:1/v1?x=http://q@h2 here") == "no http://***@h:1/v1?x=http://***@h2 here"
    assert mask("http://host/a@b and me@example.org") == "http://host/a@b and me@example.org"
    assert mask(f"'{SECRET}' is no flag; skip", {SECRET, "k"}) == "'***' is no flag; skip"


@pytest.mark.parametrize(
    "words",
    [
        ["ask", "v.mp4", "What?", "--server", f"http://me:{SECRET}@127.0.0.1:9"],
        ["ask", "v.mp4", "What?", "--server", f"ftp://me:{SECRET}@127.0.0.1"],
        ["ask", "v.mp4", "What?", "--server", f"http://me:{SECRET}@127.0.0.1:port"],
        ["search", "x", "--index", f"http://me:{SECRET}@127.0.0.1/index"],
        ["serve", "chat", "--model", f"https://me:{SECRET}@127.0.0.1/m"],
        ["serve", "chat", "--model", "m", "--api_key", f"{SECRET} x"],
        ["serve", "chat", "--model", "m", "--api_key", SECRET, SECRET],
    ],
)
def test_no_error_shows_a_credential(
    words: list[str], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("openai", reason="openai is not installed: pip install 'surgvl[serve]'")
    # Between the attempts to reach a server.
    monkeypatch.setattr("time.sleep", lambda seconds: None)
    assert cli.main(words) != 0
    said = capsys.readouterr()
    assert SECRET not in said.out + said.err
    assert said.err.startswith("surgvl: ")


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux has /proc and lets a process write to its own words")
def test_the_list_of_processes_shows_no_key() -> None:
    program = (
        "import sys, time\nfrom surgvl.core.credentials import in_words, wipe\n"
        "print(wipe(in_words(sys.argv[1:])), flush=True)\nsys.stdin.read()"
    )
    words = ["--port", "k", "--api_key", "k", "--server", f"http://me:{SECRET}@h", f"--api-key={SECRET}é"]
    with subprocess.Popen(
        [sys.executable, "-c", program, *words], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "True\n"
        shown = os.fsdecode(Path(f"/proc/{process.pid}/cmdline").read_bytes()).split("\0")[3:-1]
        assert process.stdin is not None
        process.stdin.close()
    # `k` stands there as a whole word twice: both are hidden, and no letter of another word.
    stars = "*" * len(SECRET)
    assert shown == ["--port", "*", "--api_key", "*", "--server", f"http://***{stars}@h", f"--api-key={stars}**"]


def test_a_run_folder_holds_no_password(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[Invocation] = []

    def record(query: str = "", server: str = "", api_key: str = "") -> None:
        seen.append(current())
        assert (server, api_key) == (f"http://me:{SECRET}@h", SECRET)

    monkeypatch.setattr(cli, "parse", _parser_of(record))
    cli.run(["search", "--server", f"http://me:{SECRET}@h", "--api_key", SECRET])
    assert SECRET not in json.dumps([seen[0].words, seen[0].config])
    assert "http://***@h" in seen[0].config


def _parser_of(function: Callable[..., Any]) -> object:
    import jsonargparse

    def parse(argv: list[str]) -> object:
        parser = jsonargparse.ArgumentParser(exit_on_error=False)
        parser.add_function_arguments(function, as_group=False)
        return function, parser, parser.parse_args(argv[1:])

    return parse
