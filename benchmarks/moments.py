"""From scores of clips to moments: fixed windows, merging of high clips, and thresholds at every peak, side by side.

    make quickstart
    python benchmarks/moments.py [--run runs/quickstart]

A known item is a labelled moment whose label occurs once in its recording; its recording is searched with the first
sentence of the label's prompt set (`phantom_triplet`, `phantom_phase`). Measured are the temporal IoU of the first hit,
and whether one of the first one or five hits has an IoU of at least 0.5 (R@1, R@5). In the archive-wide searches, every
moment of the label counts. `extents.HEIGHT` is chosen on the validation recordings. The page goes to
benchmarks/results/moments.md.
"""

import argparse
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from surgvl import __version__
from surgvl.cli import main as cli
from surgvl.core.files import write_text
from surgvl.core.tables import markdown_table
from surgvl.core.version import commit
from surgvl.data.manifest import Manifest
from surgvl.embed.vectors import Texts, Vectors, unit
from surgvl.retrieval.extents import HEIGHT, find_extents

PAGE = Path(__file__).resolve().parent / "results" / "moments.md"
SETS = {"triplet": "phantom_triplet", "phase": "phantom_phase"}
HITS, ENOUGH, DRAWS = 5, 0.5, 2000
HEIGHTS = (0.5, 0.6, 0.7, 0.75, 0.8)
Span = tuple[str, float, float]


@dataclass(frozen=True)
class Clips:
    """Clips of some recordings with their scores: names [H], start_s, end_s and scores [H]."""

    names: NDArray[np.str_]
    start_s: NDArray[np.float64]
    end_s: NDArray[np.float64]
    scores: NDArray[np.float64]


@dataclass(frozen=True)
class Search:
    """A search: a sentence's vector, the moments that are right, and the recording that is searched ("": all)."""

    task: str
    vector: NDArray[np.float32]
    right: list[Span]
    recording: str


Method = Callable[[Clips], list[Span]]


def windows(clips: Clips, length_s: float) -> list[Span]:
    """A window of a fixed length around each of the best clips; 0: the clips themselves."""
    best = np.argsort(-clips.scores, kind="stable")[:HITS].tolist()
    if not length_s:
        return [(str(clips.names[at]), float(clips.start_s[at]), float(clips.end_s[at])) for at in best]
    middles = (clips.start_s + clips.end_s) / 2
    starts = np.maximum(0, middles - length_s / 2)
    return [(str(clips.names[at]), float(starts[at]), float(starts[at] + length_s)) for at in best]


def merged(clips: Clips, gap_s: float = 1.0, max_s: float = 30.0) -> list[Span]:
    """What surgvl did before: from the best clip down, clips join the moments of their recording that they touch.

    A clip joins if its score is at least halfway between the median and the best of its recording, and if the moment
    stays at most `max_s` long; otherwise it is left out.
    """
    extents: dict[int, Span] = {}
    floors = {}
    for name in np.unique(clips.names):
        mine = clips.scores[clips.names == name]
        floors[str(name)] = (np.median(mine) + mine.max()) / 2
    for at in np.argsort(-clips.scores, kind="stable").tolist():
        name, start_s, end_s = str(clips.names[at]), float(clips.start_s[at]), float(clips.end_s[at])
        touched = [
            best
            for best, (other, from_s, to_s) in extents.items()
            if other == name and start_s <= to_s + gap_s and end_s >= from_s - gap_s
        ]
        if not touched:
            extents[at] = (name, start_s, end_s)
        elif clips.scores[at] >= floors[name]:
            start_s, end_s = (
                min(start_s, *(extents[each][1] for each in touched)),
                max(end_s, *(extents[each][2] for each in touched)),
            )
            if end_s - start_s <= max_s:
                for best in touched[1:]:
                    del extents[best]
                extents[touched[0]] = (name, start_s, end_s)
    return [extents[best] for best in sorted(extents, key=lambda best: (-clips.scores[best], best))][:HITS]


def runs(clips: Clips, height: float, gap_s: float = 1.0) -> list[Span]:
    """Around each peak, the run of scores above its threshold, which ends at the first score below."""
    found: list[tuple[float, Span]] = []
    for name in np.unique(clips.names):
        rows = np.flatnonzero(clips.names == name)
        rows = rows[np.argsort(clips.start_s[rows], kind="stable")]
        start_s, end_s, scores = clips.start_s[rows], clips.end_s[rows], clips.scores[rows]
        ground, is_free = np.median(scores), np.ones(len(rows), bool)
        for peak in np.argsort(-scores, kind="stable").tolist():
            if is_free[peak]:
                high = is_free & (scores >= min(scores[peak], ground + height * (scores[peak] - ground)))
                before, behind = np.flatnonzero(~high[:peak]), np.flatnonzero(~high[peak + 1 :])
                first = int(before[-1]) + 1 if len(before) else 0
                last = peak + int(behind[0]) if len(behind) else len(rows) - 1
                is_free &= (start_s > end_s[last] + gap_s) | (end_s < start_s[first] - gap_s)
                found.append((float(scores[peak]), (str(name), float(start_s[first]), float(end_s[last]))))
    return [span for _, span in sorted(found, key=lambda each: -each[0])][:HITS]


def peaks(clips: Clips, height: float) -> list[Span]:
    """The same, over dips that higher scores behind make up for (retrieval/extents.py)."""
    found = find_extents(clips.names, clips.start_s, clips.end_s, clips.scores, height=height)
    spans = zip(found.best.tolist(), found.start_s.tolist(), found.end_s.tolist(), strict=True)
    return [(str(clips.names[at]), start_s, end_s) for at, start_s, end_s in spans][:HITS]


METHODS: dict[str, Method] = {
    "clips, as stored": partial(windows, length_s=0.0),
    "windows of 5 s": partial(windows, length_s=5.0),
    "windows of 10 s": partial(windows, length_s=10.0),
    "merging": merged,
    **{f"runs, height {height:g}": partial(runs, height=height) for height in HEIGHTS[::2]},
    **{f"peaks, height {height:g}": partial(peaks, height=height) for height in HEIGHTS},
}
KEPT = f"peaks, height {HEIGHT:g}"


def overlap(one: Span, two: Span) -> float:
    """Temporal IoU; 0 in different recordings."""
    shared_s = min(one[2], two[2]) - max(one[1], two[1])
    return max(0.0, shared_s) / (max(one[2], two[2]) - min(one[1], two[1])) if one[0] == two[0] else 0.0


def sentences(texts: Texts, prompt_set: str) -> dict[str, NDArray[np.float32]]:
    """The vector of the first sentence of each class."""
    found: dict[str, NDArray[np.float32]] = {}
    for at, (name, label) in enumerate(zip(texts.prompt_sets, texts.class_names, strict=True)):
        if name == prompt_set:
            found.setdefault(label, unit(texts.vectors[at]))
    return found


def searches(vectors: Vectors, manifest: Manifest) -> tuple[list[Search], list[Search]]:
    """Known items, each in its recording; and every label that occurs, in all recordings."""
    assert vectors.texts is not None
    there = set(vectors.video_ids)
    known: list[Search] = []
    everywhere: list[Search] = []
    for task, prompt_set in SETS.items():
        spans: dict[str, list[Span]] = {}
        for row in manifest.segments:
            if row.task == task and row.video_id in there:
                spans.setdefault(row.label, []).append((row.video_id, row.start_s, row.end_s))
        said = sentences(vectors.texts, prompt_set)
        for label in sorted(spans.keys() & said.keys()):
            everywhere.append(Search(task, said[label], spans[label], ""))
            for name in sorted(there):
                mine = [span for span in spans[label] if span[0] == name]
                known += [Search(task, said[label], mine, name)] if len(mine) == 1 else []
    return known, everywhere


def outcomes(vectors: Vectors, asked: list[Search], method: Method) -> NDArray[np.float64]:
    """IoU of the first hit, and hits among the first one and five: [Q, 3]."""
    rows, names = unit(vectors.vectors), np.array(vectors.video_ids)
    found = []
    for search in asked:
        kept = names == search.recording if search.recording else np.ones(len(names), bool)
        scores = np.round(rows[kept].astype(np.float64) @ search.vector, 6)
        hits = method(Clips(names[kept], vectors.start_s[kept], vectors.end_s[kept], scores))
        best = [max(overlap(hit, right) for right in search.right) for hit in hits]
        found.append([best[0], best[0] >= ENOUGH, max(best) >= ENOUGH])
    return np.array(found, np.float64)


def interval(values: NDArray[np.float64], groups: list[str]) -> str:
    """Mean, and a 95 % interval by bootstrap over groups of searches (recordings, or single searches)."""
    rng = np.random.default_rng(0)
    each = [values[[at for at, group in enumerate(groups) if group == name]] for name in dict.fromkeys(groups)]
    sums, counts = np.array([part.sum() for part in each]), np.array([len(part) for part in each])
    drawn = rng.integers(0, len(each), (DRAWS, len(each)))
    low, high = np.percentile(sums[drawn].sum(1) / counts[drawn].sum(1), [2.5, 97.5])
    return f"{values.mean():.3f} [{low:.3f}, {high:.3f}]"


def table(vectors: Vectors, asked: list[Search]) -> list[str]:
    """A row a method."""
    groups = [search.recording or str(at) for at, search in enumerate(asked)]
    body = []
    for name, method in METHODS.items():
        found = outcomes(vectors, asked, method)
        shown = f"**{name}**" if name == KEPT else name
        body.append([shown, *(interval(found[:, at], groups) for at in range(3))])
    return markdown_table(["moments", "mean IoU of the first hit", "R@1, IoU 0.5", "R@5, IoU 0.5"], body)


def twenty(known: list[Search]) -> list[Search]:
    """Ten known items of each task, drawn by seed 0."""
    rng = np.random.default_rng(0)
    mine = [[search for search in known if search.task == task] for task in SETS]
    return [each[at] for each in mine for at in sorted(rng.choice(len(each), 10, replace=False).tolist())]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--run", type=Path, default=Path("runs/quickstart"), help="folder of `surgvl quickstart`")
    parser.add_argument("--validation", type=Path, help="vectors of the validation videos; by default RUN/moments")
    parser.add_argument("--out", type=Path, default=PAGE)
    args = parser.parse_args()
    folder = args.validation or args.run / "moments"
    if not (folder / "vectors.json").is_file():
        argv = ["embed", "--model", str(args.run / "align"), "--manifest", str(args.run / "manifest")]
        cli.run([*argv, "--split", "val", "--prompt_sets", *SETS.values(), "--out", str(folder), "--resume=true"])
    manifest = Manifest.load(args.run / "manifest")
    test, val = Vectors.load(args.run / "vectors"), Vectors.load(folder)
    known, everywhere = searches(test, manifest)
    chosen_on, _ = searches(val, manifest)
    parts: list[tuple[str, Vectors, list[Search]]] = [
        ("20 known items, each in its recording", test, twenty(known)),
        (
            "All known items: actions (instrument, verb, target)",
            test,
            [each for each in known if each.task == "triplet"],
        ),
        ("All known items: phases", test, [each for each in known if each.task == "phase"]),
        ("All labels in all recordings", test, everywhere),
        ("Validation recordings, on which `peaks` and its height are chosen", val, chosen_on),
    ]
    lines = [
        "# Extents of moments",
        "",
        "Written by `python benchmarks/moments.py`. **A phantom**: rendered operations with exact labels, embedded by "
        "the model of `make quickstart`; this says that the machinery works, and nothing about patients.",
        "",
        "- `clips` and `windows`: fixed windows around the best clips, without merging; a clip is stored each second",
        "- `merging`: what surgvl did before: clips at least halfway between median and best of a recording are joined",
        "- `runs`: a threshold at every peak, at a height between median and peak, and non-maximum suppression in time",
        f"- `peaks`: the same over short dips, which is what surgvl does, with height {HEIGHT:g}",
        "- intervals: 95 %, bootstrap over recordings, or over searches where all recordings are searched",
    ]
    for title, vectors, asked in parts:
        lines += ["", f"## {title}", ""]
        lines += [
            f"{len(asked)} searches, {len(set(vectors.video_ids))} recordings, {len(vectors.video_ids)} clips.",
            "",
        ]
        lines += table(vectors, asked)
    lines += ["", f"surgvl {__version__}, commit {commit()}, model {test.meta.model_hash}", ""]
    write_text(args.out, "\n".join(lines))
    print("\n".join(lines))


if __name__ == "__main__":
    main()
