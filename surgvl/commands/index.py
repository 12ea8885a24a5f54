"""The `index` command: adds a vectors folder to a search index, deletes a video from one, or rebuilds it."""

from pathlib import Path

from tqdm import tqdm

from surgvl.commands.common import is_server
from surgvl.core.errors import ConfigError
from surgvl.core.files import command
from surgvl.core.invocation import recorded
from surgvl.core.plurals import plural
from surgvl.core.run_folder import RunFolder
from surgvl.data.manifest import Manifest
from surgvl.embed.vectors import Vectors
from surgvl.retrieval.clip_index import ClipIndex
from surgvl.retrieval.gpu import is_used
from surgvl.retrieval.index_config import DEFAULT, Backend, Device, IndexConfig


@recorded
def index(
    out: Path,
    vectors: Path | None = None,
    manifest: Path | None = None,
    delete: str | None = None,
    resume: bool = False,
    rebuild: bool = False,
    backend: Backend = "auto",
    recall: float = 0.95,
    memory_mb: int = 0,
    address: str = "",
    refine: bool = False,
    device: Device = "auto",
) -> None:
    """Make vectors searchable: add a vectors folder to an index, or delete a video from one.

    To extend an index, embed the new videos into a vectors folder of their own, and add that with --resume.

    Args:
        out: index folder; it is created if necessary.
        vectors: vectors folder (surgvl embed).
        manifest: manifest folder of its videos, with their paths, procedures and sources.
        delete: id of a video to delete from the index.
        resume: add to an existing index; videos that are added again are replaced.
        rebuild: build an existing index anew, as the following arguments say. Vectors that were stored with few bits
            keep that precision: for more, index the vectors folder again.
        backend: how a new index stores its vectors. flat compares all of them, exactly; hnsw is a graph in memory; ivf
            are inverted lists mapped from the disk, in a quarter of the space; ivf_pq are such lists with product
            quantisation, in an eighth, with less recall unless --refine is given; milvus is a server at --address;
            auto chooses by the number of vectors, memory and measured recall.
        recall: recall@10 that a build must reach on clips and sentences; auto falls back otherwise.
        memory_mb: what the vectors may take in memory, in MB; 0: half of the machine's.
        address: address of the Milvus server, such as http://localhost:19530; its token is read from SURGVL_API_KEY.
            Needs the extra `milvus`.
        refine: also keep full vectors on disk beside ivf and ivf_pq, and rank what these find by them: more recall, and
            exact scores, for four bytes a dimension on disk; auto does so by itself where lists alone miss the recall.
        device: where flat and ivf are searched: auto uses a GPU from 50,000 vectors on, where there is one and FAISS
            has CUDA (extra `gpu`).

    Raises:
        ConfigError: not exactly one of --vectors, --delete and --rebuild; or another process is writing to the index;
            or the existing index is stored in another way than asked for; or FAISS cannot use a GPU.
        DataError: the vectors are of another encoder, or the manifest lacks some of their videos.
    """
    config = IndexConfig(
        backend=backend, recall=recall, memory_mb=memory_mb, address=address, refine=refine, device=device
    )
    # Refuses a GPU that is not there before the work.
    is_used(device, 0)
    if rebuild + (delete is not None) + (vectors is not None) > 1:
        raise ConfigError("--delete, --vectors and --rebuild must not be given together: delete first, then add")
    if rebuild:
        with ClipIndex.open(out) as clip_index:
            clip_index.rebuild(config)
            _tell(clip_index)
            print(f"next: {_example(out, clip_index.model)}")
        return
    if delete is not None:
        with ClipIndex.open(out) as clip_index:
            count = clip_index.delete_video(delete)
            print(f"{plural(count, 'vector')} of {delete} deleted, {len(clip_index):,} left in {out}")
            if there := clip_index.version.head.num_removed:
                print(f"{plural(there, 'removed vector')} and their times stay on disk, unsearchable, until --rebuild")
            print(f"next: {_example(out, clip_index.model)}")
        return
    if vectors is None or manifest is None:
        raise ConfigError("give --vectors and --manifest, or --delete VIDEO, or --rebuild")
    found, videos = Vectors.load(vectors), Manifest.load(manifest)
    meta = found.meta
    with (
        RunFolder(out, resume) as folder,
        ClipIndex.create(out, meta.model, meta.model_hash, meta.dim, exist_ok=True, config=config) as clip_index,
    ):
        if config not in (DEFAULT, clip_index.config):
            raise ConfigError(f"{out} is stored with {clip_index.config}: leave these out, or change them by --rebuild")
        with tqdm(total=len(found.video_ids), desc="index", unit="vector", disable=None, leave=False) as bar:
            count = clip_index.add_vectors(found, videos, bar.update)
        folder.record(videos.hash, meta.pretraining_video_ids, protocol=found.protocol)
        _tell(clip_index)
        for line in meta.damaged_frames.values():
            print(line)
        videos_there = plural(len(clip_index.counts("video_id")), "video")
        made = f"{plural(count, 'vector')} added ({found.protocol}), {len(clip_index):,} of {videos_there} in {out}"
        folder.next(made, _example(out, clip_index.model))


def _tell(clip_index: ClipIndex) -> None:
    """The kind of index and why it was chosen, and whether it is searched elsewhere than on the GPU asked for."""
    print("\n".join(filter(None, (clip_index.why, clip_index.version.placed))))


def _example(out: Path, model: str) -> str:
    there = {"server": model} if is_server(model) else {}
    return command("search", "the hook dissects the gallbladder", index=out, **there)
