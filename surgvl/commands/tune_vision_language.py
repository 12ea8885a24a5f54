"""The part of `tune` for vision-language models of transformers: LoRA adapters, which vLLM serves too."""

from pathlib import Path

from surgvl.chat.config import TuningStages
from surgvl.chat.vision_language_config import ClipInput
from surgvl.commands.common import device_name, split_store
from surgvl.core.files import command
from surgvl.core.run_folder import RunFolder
from surgvl.data.manifest import Manifest
from surgvl.models.model_info import pretraining_video_ids
from surgvl.models.store import stored_hub
from surgvl.train.config import Optim, Run


def tune_vision_language(
    manifest: Path,
    model: str,
    out: Path,
    clip: ClipInput,
    stages: TuningStages,
    narration: bool,
    weights: dict[str, float] | None,
    split: str,
    frame_cache: Path | None,
    optim: Optim,
    run: Run,
    resume: bool,
) -> Path:
    """Tune adapters of a vision-language model; for the arguments see `surgvl.commands.tune.tune`."""
    import torch

    from surgvl.chat.dataset import QuestionDataset, training_rows
    from surgvl.chat.hf_model import HfModel
    from surgvl.chat.vision_language_tune import TuneVisionLanguage, collate
    from surgvl.metrics.answer_options import options_of
    from surgvl.train.distributed import main_process
    from surgvl.train.loop import fit

    with RunFolder(out, resume, seed=run.seed, device=device_name(), writes=main_process()) as folder:
        table = Manifest.load(manifest)
        torch.manual_seed(run.seed)
        hf = HfModel.load(model, clip)
        store, good = split_store(folder, table, split, clip.preprocess, frame_cache)
        tuned = TuneVisionLanguage(hf, options_of(table.qa_table.to_pydict()), stages.lora_rank)
        trained = [each for each in tuned.parameters() if each.requires_grad]
        folder.record(
            table.hash,
            [*pretraining_video_ids(stored_hub(model)), *table.qualified(good)],
            second="lora",
            frozen=True,
            num_trainable=sum(each.numel() for each in trained),
            base=hf.name,
            clip=vars(clip),
        )
        data = QuestionDataset(None, store, training_rows(table, good, narration), run.seed, weights)
        store.problems.update(fit(tuned, data, collate, out, optim, run, name="tune"))
        if main_process():
            tuned.save(folder.model, clip)
            folder.next(f"adapter in {folder.model}", command("ask", model=out, manifest=manifest, out="answers"))
    return out
