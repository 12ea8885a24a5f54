"""Five wordings and three orders of options before a stand-in whose answers are a table; the scores counted by hand."""

import re
from collections import Counter, defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

pytest.importorskip("starlette", reason="starlette is not installed: pip install 'surgvl[serve]'")
pytest.importorskip("openai", reason="openai is not installed: pip install 'surgvl[client]'")

from surgvl.cli import main as cli  # noqa: E402
from surgvl.data.manifest import QA, Manifest, VideoRow  # noqa: E402
from tests.helpers.fake_engine import served  # noqa: E402
from tests.helpers.fake_gateway import Frames  # noqa: E402
from tests.helpers.fake_openai import FakeOpenAI  # noqa: E402

QUESTION = "Which organ is this?"
ORGANS = ("gut", "liver", "spleen")
"""Red, green and blue."""
SHADES = (240, 120)
"""Of the first and the second second of a video."""
BEGINNINGS = {
    QUESTION: "wording 1",
    "You see a clip": "wording 2",
    "A. ": "wording 3",
    "Look closely": "wording 4",
    "Answer with": "wording 5",
    "An example": "example",
}
# What is said in place of the truth, of both seconds or of the bright one.
WRONG: dict[tuple[object, ...], str] = {
    ("wording 2", "liver"): "gut",
    ("wording 3", "liver"): "spleen",
    ("wording 5", "liver"): "gut",
    ("wording 5", "spleen", 240): "gut",
    ("order 3", "spleen"): "gut",
    ("order 3", "liver", 240): "spleen",
}


@pytest.fixture
def running() -> Iterator[tuple[FakeOpenAI, str]]:
    fake = FakeOpenAI(can=frozenset({"image"}))
    with served(fake.app) as url:
        yield fake, url


@pytest.fixture
def manifest(tmp_path: Path) -> Path:
    """Two questions about each of three videos."""
    videos, rows = [], []
    for channel, organ in enumerate(ORGANS):
        folder = tmp_path / organ
        folder.mkdir()
        for second, shade in enumerate(SHADES):
            colour = tuple(shade if at == channel else 0 for at in range(3))
            Image.new("RGB", (32, 24), colour).save(folder / f"{second:05d}.png")
            span: dict[str, Any] = {"video_id": organ, "start_s": second, "end_s": second + 1}
            rows.append(QA(**span, question=QUESTION, answer=organ, type="organ"))
        facts: dict[str, Any] = {"path": str(folder), "source": "made", "fps": 1, "duration_s": 2, "split": "test"}
        videos.append(VideoRow(video_id=organ, **facts))
    Manifest(videos, (), rows).save(tmp_path / "manifest")
    return tmp_path / "manifest"


@pytest.mark.slow
def test_wordings_and_orders_equal_a_count_by_hand(
    running: tuple[FakeOpenAI, str], manifest: Path, tmp_path: Path
) -> None:
    shown: dict[tuple[str, int], list[tuple[str, ...]]] = defaultdict(list)
    asked: Counter[str] = Counter()

    def says(frames: Frames | None, text: str) -> str:
        if frames is None or QUESTION not in text:
            return "yes"
        organ = ORGANS[int(frames[0].mean((0, 1)).argmax())]
        shade = min(SHADES, key=lambda each: abs(each - int(frames[0].max())))
        letters = {name: letter for letter, name in re.findall(r"^([A-C])\. (gut|liver|spleen)$", text, re.MULTILINE)}
        way = next(name for begin, name in BEGINNINGS.items() if text.startswith(begin))
        if way == "wording 1":
            if (order := tuple(sorted(letters, key=letters.__getitem__))) not in shown[organ, shade]:
                shown[organ, shade].append(order)
            number = shown[organ, shade].index(order) + 1
            way = way if number == 1 else f"order {number}"
        asked[way] += 1
        said = WRONG.get((way, organ)) or WRONG.get((way, organ, shade)) or organ
        return str(letters[said])

    fake, url = running
    fake.answer = says
    words = ["--server", url, "--clip.num_frames", "1", "--clip.size_px", "64", "--wordings", "plain"]
    cli.run(["ask", "--manifest", str(manifest), "--out", str(tmp_path / "answers"), *words])
    assert asked == {**{f"wording {n}": 6 for n in range(1, 6)}, "order 2": 6, "order 3": 6, "example": 6}
    # Of each question three different orders, the first of them that of the data.
    assert [(len(set(orders)), orders[0]) for orders in shown.values()] == [(3, ORGANS)] * 6

    line = [
        "eval",
        "--manifest",
        str(manifest),
        "--answers",
        str(tmp_path / "answers"),
        "--out",
        str(tmp_path / "eval"),
    ]
    found = {row.metric: row for row in cli.run(line)}
    # Right of six: 6, 4, 4, 6, and 3 in the fifth wording; 6, 6 and 3 in the three orders.
    for what, right in (("wording", (6, 4, 4, 6, 3)), ("order", (6, 6, 3))):
        assert found[f"{what}_mean"].value == pytest.approx(sum(right) / len(right) / 6)
        assert found[f"{what}_mean"].baselines == {"usual": 1}
        assert found[f"{what}_spread"].value == pytest.approx((6 - 3) / 6)
        assert found[f"{what}_worst"].value == pytest.approx(3 / 6)
    # Both livers and one spleen change with the wording; one liver and both spleens with the order.
    assert found["wording_flip_rate"].per_class == {"gut": 0, "liver": 1, "spleen": 0.5}
    assert found["order_flip_rate"].per_class == {"gut": 0, "liver": 0.5, "spleen": 1}
    assert found["wording_flip_rate"].value == found["order_flip_rate"].value == pytest.approx(3 / 6)
    assert found["accuracy_with_example"].value == 1
    page = (tmp_path / "eval" / "result.md").read_text()
    assert "wording_flip_rate" in page
