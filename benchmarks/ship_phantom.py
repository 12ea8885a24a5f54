"""Pack the two models of a quickstart run into the package, with their scores on unseen operations.

    surgvl quickstart --out runs/quickstart
    python benchmarks/ship_phantom.py runs/quickstart

Eight operations of the same phantom that no run renders (numbers 61 to 68) are rendered, embedded, asked about and
scored with the packed weights, which are rounded to float16. The scores go to `surgvl/models/phantom/scores.json`, with
those of the first two operations alone and a third of their questions, which a test repeats, and to the model card
`README.md` next to it.
"""

import argparse
import tempfile
from pathlib import Path

from surgvl.cli import main as cli
from surgvl.core import files
from surgvl.core.results import Result, read_results
from surgvl.core.tables import markdown_table
from surgvl.data.manifest import Manifest
from surgvl.models.model_info import find_model
from surgvl.models.shipped import MODELS, PACKED, pack

KEPT = ("commit", "seed", "device", "packages", "written", "pretraining_video_ids", "frozen", "num_trainable")
# Scores shown on the card; the file has all.
SHOWN = ("phase accuracy", "phase macro_f1", "triplet mAP_IVT", "retrieval recall@5", "vqa accuracy")
FIRST, NUM, EVERY_S = 61, 8, 6
FEW, FEW_EVERY_S = 2, 18
# Commands that render and score {num} operations in the folder {at}.
SCORE = (
    f"phantom --train 0 --val 0 --test {{num}} --first {FIRST} --resume=true --out {{at}}/phantom",
    "data convert phantom {at}/phantom {at}/manifest",
    "embed --model phantom --manifest {at}/manifest --out {at}/vectors",
    "eval --vectors {at}/vectors --manifest {at}/manifest --smooth_s 5 --out {at}/zero-shot",
    "ask --model phantom-chat --manifest {at}/manifest --every_s {every_s} --out {at}/answers",
    "eval --answers {at}/answers --manifest {at}/manifest --out {at}/vqa",
)

CARD = """# The models that ship: `phantom` and `phantom-chat`

- **What they are.** `phantom` puts clips and sentences into one space (search, phases and triplets without labels);
  `phantom-chat` answers questions about a clip. Both stand on one encoder of {parameters:.1f} million parameters,
  pretrained without labels (SurgRec-MAE), of clips of 8 frames at 4 frames a second and 64 x 64 pixels.
- **What they were trained on.** {videos} operations rendered by `surgvl phantom --seed {seed}`: no patient, no
  published data, no published weights. They have seen nothing else, so their output on real footage is meaningless.
- **Licence.** Apache-2.0, as the package.
- **Not for clinical use.**
- **How they were made.** `surgvl quickstart`, then `python benchmarks/ship_phantom.py RUN`; commit {commit}, seed
  {seed}, weights rounded to float16 ({megabytes:.1f} MB in all).
- **sha256** (first 16 digits): {hashes}.

Scores on {num} operations of the same phantom that were not trained on (numbers {first} to {last}), with 95 % intervals
over videos. They show that the software works, and say nothing about patients.

{table}
"""


def score(at: Path, num: int, every_s: int = EVERY_S) -> dict[str, Result]:
    """Score the first `num` operations in a folder, and render those that are not there yet.

    Args:
        at: the folder.
        num: number of operations.
        every_s: seconds from one moment that is asked about to the next.

    Returns:
        The result of each task and metric.
    """
    for command in SCORE:
        cli.run(command.format(at=at, num=num, every_s=every_s).split())
    found = [row for name in ("zero-shot", "vqa") for row in read_results(at / name / "result.json")]
    return {f"{row.task} {row.metric}": row for row in found}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path, help="run folder of `surgvl quickstart`")
    run = parser.parse_args().run
    records = {kind: files.read_json(run / name / "run.json") for kind, name in (("dual", "align"), ("chat", "tune"))}
    facts = {kind: {key: record[key] for key in KEPT if key in record} for kind, record in records.items()}
    table = Manifest.load(run / "manifest")
    drawn = set(table.qualified(row.video_id for row in table.videos if row.rendered))
    for record in facts.values():
        # The manifest does not ship, so the record says how many of these videos are rendered.
        record["num_rendered"] = len(drawn.intersection(record["pretraining_video_ids"]))
    pack(find_model(run / "align"), find_model(run / "tune"), facts)
    size = sum(path.stat().st_size for path in PACKED.rglob("*") if path.is_file())
    with tempfile.TemporaryDirectory() as folder:
        whole, few = score(Path(folder) / "whole", NUM), score(Path(folder) / "few", FEW, FEW_EVERY_S)
    rows = [
        {"name": name, "value": row.value, "low": row.low, "high": row.high, "few": few[name].value}
        for name, row in whole.items()
    ]
    files.write_json(PACKED / "scores.json", rows)
    shown = [row for row in rows if row["name"] in SHOWN]
    cells = [
        [*str(row["name"]).split(" ", 1), f"{row['value']:.3f} [{row['low']:.3f}, {row['high']:.3f}]"] for row in shown
    ]
    weights = ("encoder.safetensors", *(f"{kind}/model.safetensors" for kind in MODELS.values()))
    card = CARD.format(
        parameters=(PACKED / "encoder.safetensors").stat().st_size / 2e6,
        videos=len(records["dual"]["pretraining_video_ids"]),
        seed=records["dual"]["seed"],
        commit=records["dual"]["commit"],
        megabytes=size / 1e6,
        hashes=", ".join(f"{name} {files.file_hash(PACKED / name)[:16]}" for name in weights),
        num=NUM,
        first=FIRST,
        last=FIRST + NUM - 1,
        table="\n".join(markdown_table(["task", "metric", "value"], cells, right=["value"])),
    )
    files.write_text(PACKED / "README.md", card)
    print(card)


if __name__ == "__main__":
    main()
