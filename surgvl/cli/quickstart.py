"""The `quickstart` command: every stage on synthetic operations, from rendering to the web page, in minutes.

It is a list of commands, run in this process in order; finished stages are skipped and an interrupted one is resumed.
The control repeats the same stages, with the same numbers of steps, on an encoder with random, frozen weights.
"""

from pathlib import Path
from typing import Any

from surgvl.cli.stages import Stage, run_stages
from surgvl.core import files
from surgvl.core.checks import check_above, check_range
from surgvl.core.errors import ConfigError
from surgvl.core.result_page import to_markdown
from surgvl.core.results import Result, read_results


def stages(out: Path, videos: tuple[int, int, int], duration_s: float, effort: float, seed: int) -> list[Stage]:
    """Names and commands of all stages, in order."""

    def at(name: str) -> str:
        return str(out / name)

    def steps(number: int) -> str:
        return str(max(2, round(number * effort)))

    train, val, test = map(str, videos)
    common = ["--manifest", at("manifest"), "--frame_cache", at("frames")]
    seeded = ["--run.seed", str(seed)]

    def learn(to: str, control: bool) -> list[Stage]:
        """Align, embed, evaluate, tune, answer, evaluate; the control's encoder is random and frozen."""
        align = ["align", "--recipe", "align_phantom", *common, "--encoder", at("pretrain"), "--out", at(f"{to}align")]
        align += ["--run.steps", steps(ALIGN_STEPS), *seeded]
        # Without augmentation and with all tokens, so that the frozen encoder encodes each second only once.
        frozen = ["--frozen_encoder=true", "--random_encoder=true", "--augment=false", "--token_keep=1"]
        align += frozen if control else []
        tune = ["tune", "--recipe", "tune_phantom", *common, "--encoder", at(f"{to}align"), "--out", at(f"{to}tune")]
        tune += ["--run.steps", steps(TUNE_STEPS), "--projector_steps", steps(PROJECTOR_STEPS), *seeded]
        tune += ["--held_out", ""]
        embed = ["embed", "--model", at(f"{to}align"), "--manifest", at("manifest"), "--out", at(f"{to}vectors")]
        embed += ["--split", "test"]
        evaluate = ["eval", "--manifest", at("manifest"), "--smooth_s", SMOOTH_S]
        ask = ["ask", "--model", at(f"{to}tune"), *common, "--out", at(f"{to}answers"), "--every_s", EVERY_S]
        ask += ["--controls=true"]
        return [
            (f"{to}align", align),
            (f"{to}embed", embed),
            (f"{to}zero-shot", [*evaluate, "--vectors", at(f"{to}vectors"), "--out", at(f"{to}zero-shot")]),
            (f"{to}tune", tune),
            (f"{to}ask", ask),
            (f"{to}vqa", [*evaluate, "--answers", at(f"{to}answers"), "--out", at(f"{to}vqa")]),
        ]

    phantom = ["phantom", "--train", train, "--val", val, "--test", test, "--duration_s", str(duration_s)]
    pretrain = ["pretrain", "--recipe", "surgrec_mae_phantom", *common, "--out", at("pretrain"), *PRETRAIN_OPTIM]
    index = ["index", "--vectors", at("vectors"), "--manifest", at("manifest"), "--out", at("index")]
    trained = learn("", control=False)
    return [
        ("phantom", [*phantom, "--seed", str(seed), "--out", at("phantom")]),
        ("convert", ["data", "convert", "phantom", at("phantom"), at("manifest")]),
        ("pretrain", [*pretrain, "--run.steps", steps(PRETRAIN_STEPS), *seeded]),
        *trained[:3],
        ("index", index),
        *trained[3:],
        *learn("control/", control=True),
    ]


# Sized so that two idle cores without AVX-512 get from a clone to the trained models in ten minutes, with installation;
# answers, scores and the control follow. Optimizer, smoothing, alignment's token_keep and its steps were chosen on the
# validation videos of a phantom of another seed; the number of videos was chosen with earlier test scores in view.
PRETRAIN_STEPS, ALIGN_STEPS, TUNE_STEPS, PROJECTOR_STEPS = 120, 420, 210, 30
PRETRAIN_OPTIM = ["--run.batch", "32", "--optim.lr", "3e-4", "--optim.muon_lr_ratio", "4"]
EVERY_S, SMOOTH_S = "8", "5"


def quickstart(
    out: Path = Path("runs/quickstart"),
    videos: tuple[int, int, int] = (48, 4, 8),
    duration_s: float = 90.0,
    effort: float = 1.0,
    seed: int = 0,
) -> Path:
    """Run every stage on synthetic operations: render, pretrain, align, embed, tune, ask, evaluate, index.

    Resumes an interrupted run if the arguments match.

    Args:
        out: run folder.
        videos: number of training, validation and test videos.
        duration_s: length of each video, seconds.
        effort: factor on all numbers of training steps; with 1, training takes about nine minutes on two cores.
        seed: random seed of all stages.
    """
    _check(videos, duration_s, effort, seed)
    plan = stages(out, videos, duration_s, effort, seed)
    asked = {"videos": list(videos), "duration_s": duration_s, "effort": effort, "seed": seed}
    ready = (
        f"The trained models are ready: {files.command('demo', run=out)}\n"
        "Next: their answers to the questions about the test videos, their scores, and the same for the control."
    )
    seconds = sum(run_stages(out, plan, asked, {"tune": ready}).values())
    trained, control = results(out), results(out / "control")
    table = to_markdown(trained, control, "random frozen encoder")
    note = (
        "Phantom numbers: they show that the software works, and say nothing about patients. Both columns share "
        "videos, sentences, questions and numbers of steps; the control's encoder is random and not trained, so it "
        "sees each second once, without augmentation."
    )
    files.write_text(out / "result.md", f"{table}\n{note}\n")
    rows = {name: raw_results(folder) for name, folder in (("trained", out), ("control", out / "control"))}
    files.write_json(out / "result.json", rows)
    print(f"\n{table}\n{note}\n\n{len(plan)} stages, {seconds:.0f} s, in {out}; next: {files.command('demo', run=out)}")
    return out


def _check(videos: tuple[int, int, int], duration_s: float, effort: float, seed: int) -> None:
    """Check the values that a later stage would refuse only after minutes.

    Raises:
        ConfigError: a number is out of range.
    """
    train, val, test = videos
    if train < 1 or val < 0 or test < 2:
        raise ConfigError(
            f"--videos must be >= 1 for training, >= 0 for validation and >= 2 for test (a control asks each question "
            f"about another test video), got {train} {val} {test}"
        )
    check_range("--duration_s", duration_s, 10)
    check_above("--effort", effort)
    check_range("--seed", seed, 0)


def results(folder: Path) -> list[Result]:
    """Zero-shot results, then those of question answering."""
    return [*read_results(folder / "zero-shot" / "result.json"), *read_results(folder / "vqa" / "result.json")]


def raw_results(folder: Path) -> list[Any]:
    """The same rows as they are stored."""
    return [row for name in ("zero-shot", "vqa") for row in files.read_json(folder / name / "result.json")]
