"""API keys and passwords: read from arguments, files or the environment, and hidden in messages and process lists."""

import os
import re
from collections.abc import Collection, Sequence
from pathlib import Path

from surgvl.core.errors import ConfigError

VARIABLE = "SURGVL_API_KEY"
# The part of a URL before the host: user and password, or a token.
_IN_ADDRESS = re.compile(r"(?<=://)[^/?#\s'\"]*(?=@)")
_FLAG = re.compile(r"--(?:[\w.]+\.)?(?:api(?:[-_]key)?|password)(=|$)")
_SHOWN = "***"


def read_key(given: str | None, what: str = "the key") -> str:
    """Resolve a key: the value itself, the first line of a file (@FILE), or SURGVL_API_KEY by default.

    Args:
        given: as it was typed.
        what: its name in messages.

    Returns:
        The key; empty if there is none.

    Raises:
        ConfigError: the file cannot be read, or the value cannot be a key; the message does not contain it.
    """
    given = given or os.environ.get(VARIABLE, "")
    if given.startswith("@"):
        what = f"{what} file {given[1:]}"
        try:
            lines = Path(given[1:]).read_text(encoding="utf-8").split("\n")
        except OSError as error:
            raise ConfigError(f"{what} cannot be read ({error.strerror}): check the path after @") from error
        except ValueError:
            raise ConfigError(f"{what} is not text: write the key to its first line") from None
        given = lines[0].strip()
        if not given:
            raise ConfigError(f"{what} is empty: write the key to its first line")
    # Only these characters are valid in an HTTP header.
    if not given.isascii() or not all("!" <= letter <= "~" for letter in given):
        raise ConfigError(f"{what} must be printable ASCII without blanks or line breaks")
    return given


def in_words(words: Sequence[str]) -> set[str]:
    """Keys and passwords among the words of a command."""
    found = {each for word in words for each in _IN_ADDRESS.findall(word)}
    for word, after in zip(words, [*words, ""][1:], strict=True):
        if flag := _FLAG.match(word):
            found.add(word[flag.end() :] if flag[1] else after)
    return {each for each in found if each and not each.startswith(("@", "-"))}


def without_keys(words: Sequence[str], keys: Collection[str]) -> list[str]:
    """The words of a command with KEY in place of the values of --api_key, for run folders and tables."""
    shown = list(words)
    for at, word in enumerate(words):
        option, _, given = word.partition("=")
        if "api" in option and given in keys:
            shown[at] = f"{option}=KEY"
        elif word in keys and at and words[at - 1].startswith("--") and "api" in words[at - 1]:
            shown[at] = "KEY"
    return shown


def mask(text: str, keys: Collection[str] = ()) -> str:
    """A text with *** in place of passwords in URLs, and of keys."""
    text = _IN_ADDRESS.sub(_SHOWN, text)
    for key in sorted(keys, key=len, reverse=True):
        text = re.sub(rf"(?<!\w){re.escape(key)}(?!\w)", _SHOWN, text)
    return text


def wipe(keys: Collection[str]) -> bool:
    """Overwrite keys in the command line of this process, which `ps` shows, with stars.

    Returns:
        Whether all keys are hidden; only Linux lets a process do this.
    """
    hidden = b"|".join(re.escape(os.fsencode(key)) for key in sorted(keys, key=len, reverse=True))
    places = re.compile(rb"(?<=[\0=/])(" + hidden + rb")(?=[\0@])")
    words, memory = Path("/proc/self/cmdline"), Path("/proc/self/mem")
    try:
        shown = words.read_bytes()
        # After the name in brackets, the 46th field is the address of the arguments (arg_start of proc(5)).
        start = int(Path("/proc/self/stat").read_text("utf-8", "replace").rpartition(")")[2].split()[45])
        with memory.open("r+b", buffering=0) as file:
            for found in places.finditer(shown):
                file.seek(start + found.start())
                file.write(b"*" * len(found[0]))
        return not places.search(words.read_bytes())
    except OSError:
        return False
