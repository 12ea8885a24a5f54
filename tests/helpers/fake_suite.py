"""Stands for `surgvl` in tests of suites: notes its words, and writes scores that depend on the encoder alone.

`python fake_suite.py LOG WORDS`: a probe waits while the file LOG.hold exists; one of the encoder `broken` fails.
"""

import json
import sys
import time
from pathlib import Path

LEVELS = {"runs/good": 0.9, "runs/poor": 0.3, "random": 0.2}


def main(log: Path, words: list[str]) -> None:
    with open(log, "a", encoding="utf-8") as file:
        file.write(" ".join(words) + "\n")
    given = dict(zip(words[1:], words[2:], strict=False))
    if words[0] == "data":
        return
    encoder = "random" if "--random_encoder=true" in words else given.get("--encoder", given.get("--predictions", ""))
    if words[0] == "probe":
        while Path(f"{log}.hold").exists():
            time.sleep(0.02)
        if encoder == "broken":
            sys.exit("surgvl: it is broken")
    out = Path(given["--out"])
    out.mkdir(parents=True, exist_ok=True)
    if words[0] == "probe":
        level = LEVELS[encoder]
        videos = [level - 0.01, level, level + 0.01, level]
        (out / "videos.json").write_text(json.dumps({"videos": list("abcd"), "phase": [[value] for value in videos]}))
    else:
        level = next(LEVELS[name] for name in LEVELS if name.rpartition("/")[2] in encoder)
    row = {
        "task": "phase",
        "metric": "accuracy" if words[0] == "probe" else "jaccard",
        "value": level,
        "low": level - 0.05,
        "high": level + 0.05,
        "num_videos": 4,
        "num_clips": 40,
        "baselines": {"majority": 0.25},
        "protocol": f"made by {words[0]}",
        "encoder": "frozen",
        "num_trainable": 7,
        "per_class": None,
    }
    (out / "result.json").write_text(json.dumps([row]))


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2:])
