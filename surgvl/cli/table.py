"""The table of commands, in the order of the pipeline."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Command:
    """A command: its function, its purpose and its examples.

    Args:
        target: module:function.
        summary: purpose.
        example: arguments that work.
        also: arguments that work for the command's other use; empty if it has only one.
        words: arguments that may be positional; one that ends with `...` takes all words before the flags.
        rest: the flag that takes all words after it, with or without dashes.
        classes: a flag that takes a class, and the package whose classes may be given by name.
    """

    target: str
    summary: str
    example: str
    also: str = ""
    words: tuple[str, ...] = ()
    rest: str = ""
    classes: tuple[str, str] = ("", "")


COMMANDS = {
    "quickstart": Command(
        "surgvl.cli.quickstart:quickstart",
        "run all steps below on synthetic videos, in minutes",
        "--out runs/quickstart",
    ),
    "phantom": Command("surgvl.commands.phantom:phantom", "render synthetic operations with labels", "--out phantom"),
    "data list": Command("surgvl.commands.data:data_list", "list the supported data sets and their licences", ""),
    "data splits": Command(
        "surgvl.commands.data:data_splits",
        "print the published splits of a data set, and what it shares with others",
        "cholect50",
        words=("name",),
    ),
    "data check": Command(
        "surgvl.commands.data:data_check",
        "inspect a data set and report problems",
        "cholec80 downloads/cholec80",
        words=("name", "root"),
    ),
    "data convert": Command(
        "surgvl.commands.data:data_convert",
        "convert a data set to a manifest",
        "phantom phantom manifest",
        words=("name", "root", "out"),
    ),
    "data cluster": Command(
        "surgvl.commands.data:data_cluster",
        "cluster vectors, for balanced sampling",
        "--vectors vectors --out clusters.parquet",
    ),
    "data merge": Command(
        "surgvl.commands.data_merge:data_merge",
        "merge manifests, each as a source of its own",
        "--manifests manifest other --names lap other --out both",
    ),
    "data subset": Command(
        "surgvl.commands.data_subset:data_subset",
        "keep a part of the training videos",
        "manifest half --fraction 0.5",
        words=("manifest", "out"),
    ),
    "data gather": Command(
        "surgvl.commands.gather:data_gather",
        "gather the vectors of several jobs in one folder",
        "vectors-1 vectors-2 --out vectors",
        words=("folders...",),
    ),
    "models list": Command("surgvl.commands.models:models_list", "list published models and their licences", ""),
    "models info": Command(
        "surgvl.commands.models:models_info", "show all that is known of a published model", "surgclip", words=("name",)
    ),
    "models fetch": Command(
        "surgvl.commands.models:models_fetch",
        "fetch a published model",
        "surgclip",
        "peskavlp --accept_licence",
        words=("name",),
    ),
    "models add": Command(
        "surgvl.commands.models:models_add",
        "add the weights of a published model that you have",
        "surgclip downloads/surgclip_beta.pth",
        words=("name", "file"),
    ),
    "models check": Command(
        "surgvl.commands.models_check:models_check", "check a model on this machine", "phantom", words=("name",)
    ),
    "pretrain": Command(
        "surgvl.commands.pretrain:pretrain",
        "train a video encoder without labels",
        "--recipe surgrec_mae_phantom --manifest manifest --out mae",
        classes=("objective", "surgvl.pretrain"),
    ),
    "probe": Command(
        "surgvl.commands.probe:probe",
        "measure what a frozen encoder represents",
        "--encoder mae --manifest manifest --out probe",
    ),
    "finetune": Command(
        "surgvl.commands.finetune:finetune",
        "train an encoder on labels, and score it",
        "--encoder mae --manifest manifest --out finetuned",
    ),
    "align": Command(
        "surgvl.commands.align:align",
        "align video with sentences in one embedding space",
        "--manifest manifest --encoder mae --out dual",
    ),
    "embed": Command(
        "surgvl.commands.embed:embed",
        "embed videos: of a manifest, or your own recordings",
        "--model dual --manifest manifest --out vectors",
        "--model dual --videos recordings --out vectors",
    ),
    "timeline": Command(
        "surgvl.commands.timeline:timeline",
        "write phases, triplets and tools of videos as files",
        "video.mp4 --model dual --out video.eaf",
        "--archive archive --out timelines --format csv",
        words=("videos...",),
    ),
    "tune": Command(
        "surgvl.commands.tune:tune",
        "tune a language model to answer questions",
        "--manifest manifest --encoder dual --out chat",
        "--manifest manifest --model hf:Qwen/Qwen3-VL-2B-Instruct --out adapter",
    ),
    "ask": Command(
        "surgvl.commands.ask:ask",
        "ask about a video, or answer a manifest's questions",
        'video.mp4 "What is the surgical phase shown in the image?" --model chat',
        "--model chat --manifest manifest --out answers",
        words=("video", "question"),
    ),
    "judge": Command(
        "surgvl.commands.judge:judge",
        "let a language model mark free answers",
        "--answers answers --server http://127.0.0.1:8000 --marks marks.csv --out judged",
        "--answers answers --to_mark 100 --out to_mark",
    ),
    "eval": Command(
        "surgvl.commands.eval:evaluate",
        "score with baselines and confidence intervals",
        "--vectors vectors --manifest manifest --out eval",
        "--suite phantom --out runs/suite",
    ),
    "compare": Command(
        "surgvl.commands.compare:compare",
        "compare runs of eval, with paired tests",
        "first second --out compared",
        words=("runs...",),
    ),
    "index": Command(
        "surgvl.commands.index:index",
        "build a search index of vectors",
        "--vectors vectors --manifest manifest --out index",
    ),
    "search": Command(
        "surgvl.commands.search:search",
        "find moments by a sentence or a clip",
        '"the clipper clips the cystic duct" --index index',
        "--like video01@12.5 --index index",
        words=("query",),
    ),
    "archive create": Command(
        "surgvl.commands.archive:archive_create",
        "make an archive of your own recordings",
        "archive --model surgclip",
        words=("folder",),
    ),
    "archive set": Command(
        "surgvl.commands.archive:archive_set",
        "change an archive's name or chat model",
        "archive --chat chat",
        words=("folder",),
    ),
    "archive add": Command(
        "surgvl.commands.archive:archive_add",
        "add recordings: embed and index them",
        "archive recordings",
        words=("folder", "files..."),
    ),
    "archive update": Command(
        "surgvl.commands.archive:archive_update",
        "embed recordings that wait or have changed",
        "archive",
        words=("folder",),
    ),
    "archive watch": Command(
        "surgvl.commands.archive:archive_watch",
        "add recordings as they arrive in a folder",
        "archive recordings",
        words=("folder", "source"),
    ),
    "archive list": Command(
        "surgvl.commands.archive_read:archive_list",
        "list recordings with their case details",
        "archive",
        "archive --surgeon A --date_from 2024",
        words=("folder",),
    ),
    "archive info": Command(
        "surgvl.commands.archive_read:archive_info", "show what an archive holds", "archive", words=("folder",)
    ),
    "archive details": Command(
        "surgvl.commands.archive_read:archive_details",
        "show or change case details",
        "archive video01 --procedure cholecystectomy --tags teaching",
        words=("folder", "recording"),
    ),
    "archive remove": Command(
        "surgvl.commands.archive:archive_remove",
        "remove recordings from an archive",
        "archive video01",
        words=("folder", "recordings..."),
    ),
    "archive verify": Command(
        "surgvl.commands.archive_read:archive_verify",
        "report damage, and repair the index",
        "archive",
        words=("folder",),
    ),
    "archive duplicates": Command(
        "surgvl.commands.archive_read:archive_duplicates",
        "list recordings that share footage",
        "archive",
        words=("folder",),
    ),
    "archive merge": Command(
        "surgvl.commands.archive_read:archive_merge",
        "add the recordings of another archive",
        "archive other_archive",
        words=("folder", "other"),
    ),
    "archive export": Command(
        "surgvl.commands.archive_read:archive_export",
        "write labels, details and clips as files",
        "archive --out exported --formats csv eaf manifest",
        words=("folder",),
    ),
    "archive reindex": Command(
        "surgvl.commands.archive:archive_reindex",
        "embed an archive with another model",
        "archive --model other",
        words=("folder",),
    ),
    "bench": Command("surgvl.commands.bench:bench", "list the benchmark suites", ""),
    "bench recipes": Command(
        "surgvl.commands.bench:bench_recipes",
        "compare all pretraining recipes by frozen probes",
        "--out runs/bench",
    ),
    "serve chat": Command(
        "surgvl.commands.serve:serve_chat", "serve a chat model over HTTP (vLLM)", "--model chat", rest="engine_args"
    ),
    "serve embed": Command(
        "surgvl.commands.serve:serve_embed",
        "serve a video-text model over HTTP",
        "--model dual",
        rest="engine_args",
    ),
    "serve readout": Command(
        "surgvl.commands.serve:serve_readout",
        "serve a trained readout over HTTP",
        "--model probe",
    ),
    "serve all": Command(
        "surgvl.commands.serve:serve_all",
        "serve both models at one address",
        "--model chat --embed_model dual",
        rest="engine_args",
    ),
    "demo": Command(
        "surgvl.cli.demo:demo",
        "open the web page: search, ask, timeline, labels, clips",
        "recordings",
        "--archive archive",
        words=("videos...",),
    ),
}
