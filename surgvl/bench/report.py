"""The report of `surgvl bench recipes`: scores, differences with intervals, expected effects, settings."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from surgvl.bench.compare import VERDICTS, Difference, ScoreTables, difference, scores, verdict_of
from surgvl.bench.plan import BATCH, EFFECTS, PROBES, RANDOM, RARE_RANDOM, ROWS, Plan, Row
from surgvl.core.invocation import command_line
from surgvl.core.tables import markdown_table
from surgvl.core.version import commit

HEADS = {"phase": "phase accuracy"} | {part: f"{part} mAP_video" for part in ("verb", "instrument", "target")}
PHANTOM = "Phantom numbers: they show that the software works, and say nothing about patients."


@dataclass(frozen=True)
class RowFacts:
    """Facts about a row and its scores.

    Attributes:
        parameters: number of parameters of the encoder.
        clips_per_s: median rate of the pretraining; 0 without pretraining.
        device: of the pretraining.
        packages: versions by name.
        commit: of the checkout.
        num_videos: videos scored.
        num_clips: clips scored.
        protocol: of the probes.
        baselines: scores of the blind baselines by probe and name.
    """

    parameters: int
    clips_per_s: float
    device: str
    packages: Mapping[str, str]
    commit: str
    num_videos: int
    num_clips: int
    protocol: str
    baselines: Mapping[str, Mapping[str, float]]


def to_markdown(
    plan: Plan, tables: ScoreTables, facts: Mapping[str, RowFacts], setting: str, failed: Mapping[str, str]
) -> str:
    """The whole report as Markdown.

    Args:
        plan: the plan of the benchmark.
        tables: the scores.
        facts: facts by row.
        setting: how the jobs ran, in words.
        failed: reason of each failed job.
    """
    rows = [row for row in plan.rows if row.name in tables]
    parts = [
        "# Pretraining recipes side by side\n",
        f"{PHANTOM} Frozen probes on the test videos; all rows have the same encoder size, steps, batch and probes. "
        f"Scores are means over training seeds {', '.join(map(str, plan.seeds))} with the smallest and the largest; "
        "the rendered videos are the same for all seeds. All settings are those of the recipes and the readout; none "
        "was tuned here: learning rate, batch size, teachers and readout were chosen on the validation videos of a "
        "phantom of another seed.\n",
        "## Scores\n",
        score_table(plan, rows, tables, facts),
        "## Differences\n",
        "Mean difference over seeds [95 % interval of a paired bootstrap over test videos], and the number of seeds in "
        "which it is above 0. Intervals are not corrected for multiple comparisons.\n",
        difference_table(rows, tables),
        "## Expected effects\n",
        "Written down before the runs. `yes`: all intervals lie above 0; `no`: at least one interval has no part above "
        "0; `not clear`: otherwise.\n",
        effect_table(tables),
        "## How\n",
        *_settings(plan, facts, setting),
        *(f"- failed: {name}: {why}" for name, why in failed.items()),
    ]
    return "\n".join(parts) + "\n"


def score_table(plan: Plan, rows: Sequence[Row], tables: ScoreTables, facts: Mapping[str, RowFacts]) -> str:
    """Scores of each row with the clips seen, speed and size of its encoder, above the blind baselines."""
    lines = []
    for row in rows:
        cells = [_spread(scores(tables, row.name, probe)) for probe in PROBES]
        row_facts = facts[row.name]
        rate = f"{row_facts.clips_per_s:,.0f}" if row_facts.clips_per_s else "–"
        lines.append([row.name, *cells, _clips(plan, row), rate, f"{row_facts.parameters:,}"])
    for where, skewed in (("", False), (", rare source", True)):
        found = next((facts[row.name].baselines for row in rows if row.skewed == skewed), None)
        for kind in ("constant", "random") if found else ():
            names = ["majority" if kind == "constant" and probe == "phase" else kind for probe in PROBES]
            values = [
                (found or {}).get(probe, {}).get(name, math.nan) for probe, name in zip(PROBES, names, strict=True)
            ]
            lines.append([f"blind baseline, {kind}{where}", *map(_number, values), "–", "–", "–"])
    return _table(["row", *(HEADS[probe] for probe in PROBES), "clips seen", "clips/s", "parameters"], lines)


def difference_table(rows: Sequence[Row], tables: ScoreTables) -> str:
    """Differences of every row to random weights, then those of the expected effects."""
    pairs = [(row.name, RARE_RANDOM if row.skewed else RANDOM) for row in rows if row.trained]
    pairs += [pair for effect in EFFECTS for pair in effect.pairs if pair[1] != RANDOM]
    known = {row.name for row in rows}
    lines = [
        [f"{row} − {other}", *(_span(difference(tables, row, other, probe)) for probe in PROBES)]
        for row, other in dict.fromkeys(pairs)
        if row in known and other in known
    ]
    return _table(["difference", *(HEADS[probe] for probe in PROBES)], lines)


def effect_table(tables: ScoreTables) -> str:
    """Each expected effect with its verdict, and the comparisons that contradict it or are not clear."""
    lines = []
    for effect in EFFECTS:
        verdict, found = verdict_of(tables, effect)
        counts = {word: sum(each.verdict == word for each in found) for word in VERDICTS}
        how = ", ".join(f"{word} {count}" for word, count in counts.items() if count)
        rest = "; ".join(
            f"{word}: " + ", ".join(_named(each, len(effect.pairs)) for each in found if each.verdict == word)
            for word in ("no", "not clear")
            if counts[word]
        )
        lines.append([effect.text, verdict, how, rest or "–"])
    return _table(["expected", "found", "comparisons", "which"], lines)


def to_json(
    plan: Plan, tables: ScoreTables, facts: Mapping[str, RowFacts], failed: Mapping[str, str]
) -> dict[str, Any]:
    """The content of the report as JSON values."""
    rows = {}
    for row in plan.rows:
        if row.name in tables:
            random = RARE_RANDOM if row.skewed else RANDOM
            rows[row.name] = {
                "scores": {
                    probe: dict(zip(map(str, tables[row.name]), scores(tables, row.name, probe), strict=False))
                    for probe in PROBES
                },
                "over_random": {probe: _plain(difference(tables, row.name, random, probe)) for probe in PROBES},
                "clips": _clips(plan, row),
                "clips_per_s": facts[row.name].clips_per_s,
                "parameters": facts[row.name].parameters,
            }
    effects = []
    for effect in EFFECTS:
        verdict, found = verdict_of(tables, effect)
        effects.append({"expected": effect.text, "found": verdict, "differences": [_plain(each) for each in found]})
    return {"note": PHANTOM, "command": command_line(), "rows": rows, "effects": effects, "failed": dict(failed)}


def _settings(plan: Plan, facts: Mapping[str, RowFacts], setting: str) -> list[str]:
    lines = [f"- command: `{command_line()}`", f"- commit: {commit()}"]
    lines += [f"- commit of the runs: {commit}" for commit in dict.fromkeys(each.commit for each in facts.values())]
    train, val, test = plan.videos
    lines.append(f"- videos: {train} for training, {val} for validation (not used), {test} for testing")
    for row_facts in list(facts.values())[:1]:
        versions = ", ".join(f"{name} {version}" for name, version in row_facts.packages.items())
        lines += [f"- packages: {versions}"]
    devices = " and ".join(dict.fromkeys(each.device for each in facts.values() if each.clips_per_s))
    lines.append(f"- device: {devices or plan.device}, {setting}; clips/s is the rate of one job while the others run")
    lines += [f"- probes: {text}" for text in dict.fromkeys(each.protocol for each in facts.values())]
    scored = dict.fromkeys(f"{each.num_clips:,} clips of {each.num_videos} videos" for each in facts.values())
    lines.append(f"- scored: {'; '.join(scored)}")
    lines.append(
        "- image_mae is trained on single frames; its readout gets the tokens of the middle frame of each tubelet, as "
        "many as the other readouts get, or those of all frames, with their temporal positions"
    )
    if taught := [row for row in plan.rows if row.teachers]:
        lines.append(
            "- teachers see single frames: "
            + "; ".join(f"{row.name} learns from {' and '.join(row.teachers)}" for row in taught)
        )
    if shape := next((row.name for row in plan.rows if row.recipe and not row.images and not row.skewed), ""):
        lines.append(f"- random weights are those of an untrained encoder of {shape}, position embedding included")
    if {"videomae", "surgrec_mae"} <= {row.name for row in plan.rows}:
        lines.append(
            "- surgrec_mae is videomae with balanced sampling, which has no effect with a single source: their rows "
            "are equal, and the two rows on two sources show the effect of balancing"
        )
    if any(row.skewed for row in plan.rows):
        lines.append(
            f"- frames alike, clusters alike: frames or clusters are sampled uniformly; trained on {min(20, train)} "
            "videos of the first phantom and 1 of a second one of lower resolution; probed on the second, with all its "
            "training videos"
        )
    return lines


def _clips(plan: Plan, row: Row) -> str:
    if not row.trained:
        return "0"
    seen = {each.name: f"{plan.steps * BATCH:,}" + (" single frames" if each.images else "") for each in ROWS}
    if not row.teachers:
        return seen[row.name]
    by = "its teacher" if len(row.teachers) == 1 else "its teachers"
    return f"{seen[row.name]} (+ {' and '.join(seen[name] for name in row.teachers)} by {by})"


def _named(each: Difference, num_pairs: int) -> str:
    return f"{each.row} ({each.probe})" if num_pairs > 1 else each.probe


def _plain(each: Difference) -> dict[str, Any] | None:
    if math.isnan(each.value):
        return None
    ends = [None if math.isnan(end) else end for end in (each.low, each.high)]
    return {
        "row": each.row,
        "other": each.other,
        "probe": each.probe,
        "value": each.value,
        "interval": ends,
        "seeds_above_0": list(each.seeds),
        "verdict": each.verdict,
    }


def _number(value: float) -> str:
    return "–" if math.isnan(value) else f"{value:.3f}"


def _spread(values: Sequence[float]) -> str:
    if not values:
        return "–"
    mean = sum(values) / len(values)
    return f"{mean:.3f}" if len(values) == 1 else f"{mean:.3f} ({min(values):.3f} to {max(values):.3f})"


def _span(each: Difference) -> str:
    if math.isnan(each.value):
        return "–"
    interval = "no interval" if math.isnan(each.low) else f"{each.low:+.3f}, {each.high:+.3f}"
    return f"{each.value:+.3f} [{interval}] {each.seeds[0]}/{each.seeds[1]}"


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    return "\n".join(markdown_table(head, rows)) + "\n"
