"""The command `data subset`: a part of a manifest's training videos, for curves of data scale."""

from pathlib import Path

from surgvl.core.files import command
from surgvl.core.invocation import recorded
from surgvl.core.plurals import part_of
from surgvl.core.run_folder import RunFolder
from surgvl.data.manifest import Manifest
from surgvl.data.subset import subset


@recorded
def data_subset(
    manifest: Path, out: Path, fraction: float = 0.5, split: str = "train", seed: int = 0, resume: bool = False
) -> None:
    """Keep a part of a manifest's training videos, for curves of data scale; smaller parts lie within larger ones.

    Args:
        manifest: manifest folder.
        out: manifest folder to write; videos stay where they are.
        fraction: share of the videos of each source to keep, above 0, at most 1.
        split: split that is cut; the others stay whole. Empty for all videos.
        seed: random seed of the order; parts of one seed are nested.
        resume: write to an --out folder that is not empty.
    """
    with RunFolder(out, resume, seed=seed) as folder:
        table = Manifest.load(manifest)
        kept = subset(table, fraction, seed, split)
        kept.save(out)
        folder.record(kept.hash, fraction=fraction, split=split)
        before, after = (len(each.video_ids(split or None)) for each in (table, kept))
        next_command = command("pretrain", recipe="surgrec_mae", manifest=out, out="mae")
        folder.next(f"{part_of(after, before, f'{split} video'.strip(), 'is')} kept in {out}", next_command)
