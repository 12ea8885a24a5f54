"""Runs a list of command lines in this process; finished stages are skipped and an interrupted one is resumed."""

import json
import shlex
import time
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

from surgvl.cli import main as cli
from surgvl.core import files
from surgvl.core.errors import ConfigError

Stage = tuple[str, list[str]]


def run_stages(
    out: Path, plan: list[Stage], asked: dict[str, Any], after: Mapping[str, str] = MappingProxyType({})
) -> dict[str, float]:
    """Run the commands of stages in this process, in order, except those that `quickstart.json` lists as finished.

    Args:
        out: run folder.
        plan: names and commands.
        asked: the arguments of the whole run, recorded in the folder.
        after: name of a stage -> text to print once it is done.

    Returns:
        Seconds that each stage took.

    Raises:
        ConfigError: the folder was started with other arguments.
    """
    out.mkdir(parents=True, exist_ok=True)
    record = out / "quickstart.json"
    state = files.read_json(record) if record.is_file() else {"asked": asked, "seconds": {}}
    if state["asked"] != asked:
        raise ConfigError(
            f"{out} was started with {json.dumps(state['asked'])}: pass the same arguments, or another --out"
        )
    for number, (name, argv) in enumerate(plan, 1):
        if name in state["seconds"]:
            continue
        print(f"\n[{number}/{len(plan)}] surgvl {shlex.join(argv)}", flush=True)
        begun = time.monotonic()
        cli.run([*argv, "--resume=true"])
        state["seconds"][name] = round(time.monotonic() - begun, 1)
        files.write_json(record, state)
        if name in after:
            print(f"\n{after[name]}", flush=True)
    return dict(state["seconds"])
