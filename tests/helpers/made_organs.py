"""Operations of one colour each, whose only question needs the picture, and a tiny model that can tell them."""

from pathlib import Path
from typing import Any

import torch
from PIL import Image

from surgvl.chat.template import end_of_turn
from surgvl.chat.tune import Tune
from surgvl.core.files import write_json
from surgvl.data.manifest import QA, Manifest, VideoRow
from surgvl.models.chat import Chat
from surgvl.models.checkpoint import save_model
from tests.models.test_chat_model import small_chat
from tests.models.test_models import PREPROCESS

SECONDS = 4
QUESTION = "Which organ is this?"
ORGANS = {"red": "gut", "blue": "liver"}
COLOURS = {"red": (200, 30, 30), "blue": (30, 30, 200)}


def colour_clips() -> torch.Tensor:
    """A clip of each colour: uint8 [2, 3, 4, 16, 16]."""
    colours = torch.tensor([COLOURS[name] for name in ORGANS], dtype=torch.uint8)
    return colours[:, :, None, None, None].expand(2, 3, 4, 16, 16)


def made_manifest(folder: Path) -> Path:
    """Four videos of one colour each, as folders of pictures: a red and a blue one for training, the same for test."""
    videos, questions = [], []
    for split in ("train", "test"):
        for name, organ in ORGANS.items():
            video_id = f"{split}_{name}"
            (folder / video_id).mkdir(parents=True)
            for number in range(SECONDS):
                Image.new("RGB", (32, 24), COLOURS[name]).save(folder / video_id / f"{number:05d}.png")
            row: dict[str, Any] = {
                "path": str(folder / video_id),
                "source": "made",
                "fps": 1,
                "duration_s": SECONDS,
                "split": split,
            }
            videos.append(VideoRow(video_id=video_id, **row))
            for second in range(SECONDS):
                span: dict[str, Any] = {"video_id": video_id, "start_s": second, "end_s": second + 1}
                questions.append(QA(**span, question=QUESTION, answer=organ, type="organ"))
    Manifest(videos, (), questions).save(folder / "manifest")
    return folder / "manifest"


def taught() -> Chat:
    """A chat model that tells red from blue."""
    # vLLM's attention on a CPU has heads of 32 or more.
    chat = small_chat(width=64)
    chat.language.apply(chat.language._init_weights)
    objective = Tune(chat, "full")
    batch = {"video": colour_clips(), "question": [QUESTION] * 2, "answer": list(ORGANS.values())}
    optimizer = torch.optim.AdamW([p for p in objective.parameters() if p.requires_grad], lr=6e-3)
    for _ in range(30):
        optimizer.zero_grad()
        objective(batch)["loss"].backward()
        optimizer.step()
    chat.train(False)
    return chat


def save_run(chat: Chat, run: Path) -> Path:
    save_model(chat, run / "model", PREPROCESS)
    known = {"answers": list(ORGANS.values()), "questions": {QUESTION: "organ"}, "end_id": end_of_turn(chat.ready)}
    write_json(run / "model" / "answers.json", known)
    write_json(run / "run.json", {"frozen": True, "num_trainable": 7, "pretraining_video_ids": ["train_red"]})
    return run
