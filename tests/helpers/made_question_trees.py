"""Small trees of data sets of questions in their published layouts: some operations of each split, six pictures each.

They are as in `tests.helpers.made_trees`.
"""

from collections.abc import Callable
from pathlib import Path

from tests.helpers.label_files import put
from tests.helpers.made_trees import SECONDS, Ids, every, picture_bytes, pictures

# One question about each second, whose answer changes in the middle.
QUESTION = "What is the surgical phase shown in the image?"


def answer(second: int, first: str, later: str) -> str:
    return first if 2 * second < SECONDS else later


def pitvqa(root: Path, ids: Ids) -> None:
    for name in every(ids):
        pictures(root / "images" / name, "{:05d}.png")
        for at in range(SECONDS):
            put(root / "QA" / name / f"{at:05d}.txt", f"{QUESTION}|{answer(at, 'sellar', 'closure')}\n")


def endovis18_vqa(root: Path, ids: Ids) -> None:
    for name in every(ids):
        pictures(root / name / "left_frames", "frame{:03d}.png")
        for at in range(SECONDS):
            text = f"What is the state of bipolar_forceps?|{answer(at, 'Idle', 'Grasping')}\n"
            put(root / name / "vqa" / "Classification" / f"frame{at:03d}_QA.txt", text)


def cholec80_vqa(root: Path, ids: Ids) -> None:
    for name in every(ids):
        number = str(int(name.removeprefix("video")))
        for at in range(0, 100 * SECONDS, 100):
            put(root / "cropped_image" / number / f"{at}.png", picture_bytes("PNG"))
            text = f"what is the phase of image?|{answer(at // 100, 'preparation', 'calot triangle dissection')}\n"
            put(root / "Classification" / number / f"{at}_QA.txt", text)


def ssg_vqa(root: Path, ids: Ids) -> None:
    seen = "Which anatomical structures are present?|liver\n\nWhich tools are present?|hook\n"
    for name in every(ids):
        pictures(root / "data" / name, "{:06d}.png")
        for at in range(SECONDS):
            row = f"Are there hooks?|{answer(at, 'True', 'False')}|zero_hop.json|exist|NA\n"
            put(root / "qa_txt" / name / f"{at}.txt", seen + row)


def psi_ava_vqa(root: Path, ids: Ids) -> None:
    """Without published ids: the folders are the splits."""
    for folder, cases in (("Train", ("CASE001", "CASE002")), ("Val", ("CASE003", "CASE004"))):
        rows = ""
        for case in cases:
            pictures(root / "keyframes" / case, "{:05d}.jpg", first=1)
            for at in range(SECONDS):
                rows += f"{case}/{at + 1:05d}.jpg|What phase?|{answer(at, 'LPAI', 'LPAD')}\n"
        put(root / folder / "C3_phase.txt", rows)


MAKERS: dict[str, Callable[[Path, Ids], None]] = {
    make.__name__: make for make in (pitvqa, endovis18_vqa, cholec80_vqa, ssg_vqa, psi_ava_vqa)
}
