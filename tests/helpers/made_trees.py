"""Small trees of data sets in their published layouts: some operations of each split, six seconds each.

Half of each operation has one label and half another. The videos are grey films of 10 frames a second, frame folders
hold a picture a second.
"""

import io
import json
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from itertools import count
from pathlib import Path
from tempfile import TemporaryDirectory

from PIL import Image

from surgvl.core.ontology import CHOLEC80_PHASES
from surgvl.data.formats.multibypass140 import PHASES as BYPASS_PHASES
from surgvl.data.readers.aixsuture import PARTS
from surgvl.data.readers.m2cai16_workflow import PHASES as M2CAI16_PHASES
from surgvl.data.readers.prostatd import TRIPLETS
from tests.helpers.label_files import film, put, record, tool_text, vector

SECONDS, FPS = 6, 10
# Training operations enough for few shots of four.
MOST = {"train": 4, "val": 2, "test": 2}
Ids = Mapping[str, Sequence[str]]


def spread(names: Sequence[str], most: int) -> list[str]:
    """A few of many ids, from the first to the last, so that classes that are sorted occur, too."""
    most = min(most, len(names))
    return [names[at * (len(names) - 1) // max(1, most - 1)] for at in range(most)]


def some_of(splits: Ids) -> dict[str, list[str]]:
    return {split: spread(ids, MOST[split]) for split, ids in splits.items() if ids}


@cache
def film_bytes() -> bytes:
    with TemporaryDirectory() as folder:
        film(Path(folder) / "film.mp4", SECONDS, FPS)
        return (Path(folder) / "film.mp4").read_bytes()


@cache
def picture_bytes(kind: str) -> bytes:
    out = io.BytesIO()
    Image.new("RGB", (32, 32), (90, 60, 50)).save(out, kind)
    return out.getvalue()


def show(path: Path) -> None:
    put(path, film_bytes())


def pictures(folder: Path, name: str, first: int = 0) -> None:
    """A picture a second; `name` formats its number."""
    kind = "PNG" if name.endswith("png") else "JPEG"
    for second in range(SECONDS):
        put(folder / name.format(first + second), picture_bytes(kind))


def halves(rows: int, first: str, second: str, start: int = 0, mark: str = "\t", head: str = "") -> str:
    """Lines of a number and a label, which changes in the middle."""
    return head + "".join(f"{start + at}{mark}{first if 2 * at < rows else second}\n" for at in range(rows))


def every(ids: Ids) -> list[str]:
    return [name for names in ids.values() for name in names]


# ---- cholecystectomies


def cholec80(root: Path, ids: Ids) -> None:
    for name in every(ids):
        show(root / "videos" / f"{name}.mp4")
        rows = halves(SECONDS * FPS, *CHOLEC80_PHASES[1:3], head="Frame\tPhase\n")
        put(root / "phase_annotations" / f"{name}-phase.txt", rows)
        put(root / "tool_annotations" / f"{name}-tool.txt", tool_text(SECONDS))


def cholec80_cvs(root: Path, ids: Ids) -> None:
    scores = "two_structures,cystic_plate,hepatocystic_triangle"
    table = f"video,initial_minute,initial_second,final_minute,final_second,{scores}\n"
    for name in every(ids):
        show(root / "videos" / f"{name}.mp4")
        number = int(name.removeprefix("video"))
        table += f"{number},0,1,0,3,2,0,1\n{number},0,3,0,5,1,2,2\n"
    put(root / "surgeons_annotations.csv", table)


def cholect50(root: Path, ids: Ids) -> None:
    frames = {
        str(at): [vector(12, 0, 0, 13)] if 2 * at < SECONDS else [vector(60, 2, 2, 0, 1)] for at in range(SECONDS)
    }
    for name in every(ids):
        pictures(root / "videos" / name, "{:06d}.png")
        video = {"video": int(name[3:]), "num_frames": SECONDS, "annotations": frames}
        put(root / "labels" / f"{name}.json", json.dumps(record(**video)))


def endoscapes_cvs(root: Path, ids: Ids) -> None:
    votes = '"[1.0, 0.0, 0.0]","[1.0, 1.0, 0.0]","[0.0, 0.0, 1.0]"'
    table = "vid,frame,avg_cvs,C1,C2,C3,is_ds_keyframe,cvs_annotator_1,cvs_annotator_2,cvs_annotator_3,mask_path\n"
    for name in every(ids):
        show(root / "videos" / f"{name}.mp4")
        later = ",".join(['"[0.0, 1.0, 1.0]"'] * 3)
        table += f"{name},0,x,{2 / 3},{1 / 3},{1 / 3},True,{votes},\n{name},50,x,0.0,1.0,1.0,True,{later},\n"
    put(root / "all_metadata.csv", table)


def m2cai16_workflow(root: Path, ids: Ids) -> None:
    for split, names in ids.items():
        for name in names:
            show(root / f"{split}_dataset" / f"{name}.mp4")
            rows = halves(SECONDS * FPS, *M2CAI16_PHASES[1:3], head="Frame\tPhase\n")
            put(root / f"{split}_dataset" / f"{name}.txt", rows)


# ---- other operations


def autolaparo(root: Path, ids: Ids) -> None:
    for name in every(ids):
        show(root / "videos" / f"{name}.mp4")
        put(root / "labels" / f"label_{name}.txt", halves(SECONDS, "1", "2", 1, head="Frame\tPhase\n"))


def multibypass140(root: Path, ids: Ids) -> None:
    half, end = 500 * SECONDS, 1000 * SECONDS
    phases = [(0, half, "preparation", 0), (half, end, BYPASS_PHASES[1], 1)]
    named = [dict(zip(("start", "end", "label_name", "label_id"), each, strict=True)) for each in phases]
    for name in every(ids):
        centre = "bern" if name[0] == "B" else "strasbourg"
        show(root / "videos" / f"{name}.mp4")
        path = root / "labels" / centre / "labels_by70" / f"{name}.mp4.json"
        put(path, json.dumps({"phases": named, "steps": []}))


def pmlr50(root: Path, ids: Ids) -> None:
    for name in every(ids):
        pictures(root / "frames" / name, "{:08d}.jpg")
        put(root / "phase_annotations" / f"{name}.txt", halves(SECONDS, "0", "1", head="frame\tphase\n"))


def prostatd(root: Path, ids: Ids) -> None:
    box = [-1, -1, 0.5, 0.5, 0.1, 0.1]
    triplets = "aspirator,suck,fluid", "needle driver,grasp,thread"
    rows = [[TRIPLETS.index(name), *parts, *box] for name, parts in zip(triplets, ((2, 7, 8), (3, 4, 7)), strict=True)]
    frames = {str(at): [rows[2 * at >= SECONDS]] for at in range(SECONDS)}
    for split, names in ids.items():
        for name in names:
            pictures(root / "frames" / name, "{:06d}.jpg")
            put(root / "annos" / split / f"{name}.json", json.dumps(frames))


def sar_rarp50(root: Path, ids: Ids) -> None:
    for split, names in ids.items():
        for name in names:
            show(root / split / name / "video_left.mp4")
            put(root / split / name / "action_discrete.txt", halves(SECONDS * FPS, "1", "2", mark=","))


def pitvis(root: Path, ids: Ids) -> None:
    for name in every(ids):
        number = name[-2:]
        show(root / "videos" / f"{name}.mp4")
        rows = f"{int(number)},0,sellotomy,5\n{int(number)},{SECONDS // 2},durotomy,6\n"
        put(root / "steps_csv" / f"steps_{number}.csv", f"int_video,int_time,str_step,int_step\n{rows}")
        head = "int_video,int_time,str_instrument1,str_instrument2,int_instrument1,int_instrument2,"
        tools = "".join(f"{int(number)},{at},suction,no_secondary_instrument,16,-2,3,\n" for at in range(SECONDS))
        table = f"{head}pos_instrument1,pos_instrument2\n{tools}"
        put(root / "instruments_csv" / f"instruments_{number}.csv", table)


def egosurgery(root: Path, ids: Ids) -> None:
    for name in every(ids):
        pictures(root / "images" / name, f"{name}_1_{{:04d}}.jpg")
        rows = halves(SECONDS, "incision", "closure", mark=",").splitlines()
        named = "".join(f"{name}_1_{int(row.split(',')[0]):04d},{row.split(',')[1]}\n" for row in rows)
        put(root / "annotations" / "phase" / f"{name}_1.csv", f"Frame,Phase\n{named}")


# ---- the eye


def cataracts(root: Path, ids: Ids) -> None:
    for split, names in ids.items():
        folder = {"train": "train_gt", "val": "dev_gt", "test": "test_gt"}[split]
        for name in names:
            show(root / "videos" / "micro" / f"{name}.mp4")
            rows = halves(SECONDS * FPS, "0", "3", 1, ",", "Frame,Steps\n")
            put(root / "ground_truth" / "CATARACTS_2020" / folder / f"{name}.csv", rows)


def cataract21(root: Path, ids: Ids) -> None:
    for split, names in ids.items():
        folder = root / {"train": "training", "test": "validation"}[split]
        for name in names:
            show(folder / f"{name}.mp4")
            put(folder / f"{name}.csv", halves(SECONDS * FPS, "Incision", "Rhexis", mark=","))


def cataract101(root: Path, ids: Ids) -> None:
    videos, phases = "VideoID;Frames;FPS;Surgeon;Experience\n", "VideoID;FrameNo;Phase\n"
    for name in every(ids):
        number = name.removeprefix("case_")
        show(root / "videos" / f"{name}.mp4")
        videos += f"{number};{SECONDS * FPS};{FPS};4;1\n"
        phases += f"{number};0;1\n{number};{SECONDS * FPS // 2};2\n"
    put(root / "videos.csv", videos)
    put(root / "annotations.csv", phases)


def cataract1k(root: Path, ids: Ids) -> None:
    """With half a second of two phases, as in the published tables."""
    for name in every(ids):
        number = name.removeprefix("case_")
        show(root / "videos" / f"{name}.mp4")
        rows = f"{number},Incision,0,90,0,3.25\n{number},Viscoelastic,82,180,2.25,6\n"
        path = root / "annotations" / name / f"{name}_annotations_phases.csv"
        put(path, f"caseId,comment,frame,endFrame,sec,endSec\n{rows}")


def ophnet(root: Path, ids: Ids) -> None:
    """With half a second of two phases, and one of none, as in the published table."""
    table = "video_id,start,end,split,surgery_id,phase_id\n"
    for split, names in ids.items():
        for name in names:
            show(root / "videos" / f"{name}.mp4")
            table += f"{name},0,2.75,{split},5,3\n{name},2.25,5,{split},0,51\n"
    put(root / "annotation" / "OphNet2024_loca_challenge_phase.csv", table)


# ---- exercises and clips


def jigsaws(root: Path, ids: Ids) -> None:
    meta = ""
    scores = count(1)
    for name in every(ids):
        show(root / "Suturing" / "video" / f"{name}_capture1.mp4")
        put(root / "Suturing" / "transcriptions" / f"{name}.txt", "1 90 G1 \n91 180 G2 \n")
        part = 1 + next(scores) % 5
        meta += f"{name}\t\tN\t{6 * part}\t\t" + "\t".join([str(part)] * 6) + "\n"
    put(root / "Suturing" / "meta_file_Suturing.txt", meta)


def aixsuture(root: Path, ids: Ids) -> None:
    """Its split is in a file of the user's own, because none may be redistributed."""
    table = f"VIDEO,GLOBA_RATING_SCORE,{','.join(f'OSATS_{part}' for part in PARTS)}\n"
    for names in ids.values():
        for at, name in enumerate(names):
            show(root / "videos" / f"{name}.mp4")
            score = (1, 2, 4)[at % 3]
            table += f"{name},{8 * score},{','.join([str(score)] * 8)}\n" * 3
    put(root / "OSATS.csv", table)
    put(root / "splits.json", json.dumps({split: list(names) for split, names in ids.items()}))


def surgical_actions160(root: Path, ids: Ids) -> None:
    for name in every(ids):
        show(root / f"{name[:2]}_action" / f"{name}.mp4")


def surgrec_clips(root: Path, ids: Ids) -> None:
    """One list; its validation is its test, and a name is a class's position in the video, as in the published ones."""
    lists = {"train": range(1, 7), "test": range(7, 11)}
    for split, numbers in {**lists, "val": lists["test"]}.items():
        names = [f"cholec80/split_video/cholec80_{number:02d}_{1 + number % 2}.mp4" for number in numbers]
        for name in names:
            show(root / name)
        rows = "".join(f"__DATA_ROOT__/{name} {int(name[-5]) - 1}\n" for name in names)
        put(root / f"{split}.csv", rows)
    put(root / "label_map.json", '{"Preparation": 0, "CalotTriangleDissection": 1}')


AIXSUTURE = {"train": ["A01A", "A02A", "A03A", "A04A"], "val": ["B01A", "B02A"], "test": ["C01A", "C02A"]}
MAKERS: dict[str, Callable[[Path, Ids], None]] = {
    make.__name__: make
    for make in (
        *(cholec80, cholec80_cvs, cholect50, endoscapes_cvs, m2cai16_workflow),
        *(autolaparo, multibypass140, pmlr50, prostatd, sar_rarp50, pitvis, egosurgery),
        *(cataracts, cataract21, cataract101, cataract1k, ophnet),
        *(jigsaws, aixsuture, surgical_actions160, surgrec_clips),
    )
}
MAKERS["cataract21_merged"] = cataract21
