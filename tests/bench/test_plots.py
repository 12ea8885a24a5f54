"""Plots are well-formed SVG whose shapes stand where the numbers put them."""

from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest

from surgvl.bench import plots
from surgvl.bench.svg import Drawing
from surgvl.metrics.calibration import reliability

NAMESPACE = "{http://www.w3.org/2000/svg}"
NAMES = ["Preparation", "CalotTriangleDissection", "Clipping"]


def parsed(drawing: Drawing, folder: Path) -> ElementTree.Element:
    return ElementTree.parse(drawing.save(folder / "plot.svg")).getroot()


def tips(root: ElementTree.Element) -> dict[str, ElementTree.Element]:
    return {rect[0].text or "": rect for rect in root.iter(f"{NAMESPACE}rect") if len(rect)}


def words(root: ElementTree.Element) -> list[str]:
    return [text.text or "" for text in root.iter(f"{NAMESPACE}text")]


def test_confusion_shows_shares_of_the_true_class(tmp_path: Path) -> None:
    counts = np.array([[3, 1, 0], [0, 8, 2], [0, 0, 0]])
    root = parsed(plots.confusion("phase", counts, NAMES), tmp_path)
    assert {"Preparation predicted as CalotTriangleDissection: 1 of 4"} <= set(tips(root))
    assert sorted(word for word in words(root) if word in {"75", "25", "80", "20"}) == ["20", "25", "75", "80"]
    # A class that never occurs has no shares, and darker means more.
    shades = {tip: rect.get("fill") for tip, rect in tips(root).items()}
    assert len({shades[f"Clipping predicted as {name}: 0 of 0"] for name in NAMES}) == 1
    most, least = shades["CalotTriangleDissection predicted as CalotTriangleDissection: 8 of 10"], "#ffffff"
    assert most is not None
    assert most < least


def test_ribbons_change_where_the_classes_do(tmp_path: Path) -> None:
    ten, five = np.arange(10, dtype=np.float64), np.arange(5, dtype=np.float64)
    strip = plots.Strip("video01", ten, np.repeat([0, 1], [4, 6]), np.repeat([0, 2, 1], [2, 3, 5]))
    unknown = plots.Strip("<b>&", five, np.full(5, -1), np.zeros(5, np.int64))
    root = parsed(plots.ribbons("phase", [strip, unknown], NAMES), tmp_path)
    found = tips(root)
    assert set(found) == {
        "truth: Preparation, 0 to 4 s",
        "truth: CalotTriangleDissection, 4 to 10 s",
        "prediction: Preparation, 0 to 2 s",
        "prediction: Clipping, 2 to 5 s",
        "prediction: CalotTriangleDissection, 5 to 10 s",
        "prediction: Preparation, 0 to 5 s",
    }
    wide, narrow = (float(found[f"truth: {tip}"].get("width", "")) for tip in list_of_truth())
    assert wide / narrow == pytest.approx(6 / 4, rel=0.01)
    assert "<b>&" in words(root)


def list_of_truth() -> tuple[str, str]:
    return "CalotTriangleDissection, 4 to 10 s", "Preparation, 0 to 4 s"


def test_bars_leave_out_what_is_not_defined(tmp_path: Path) -> None:
    series = {"linear": {"Preparation": 0.25, "Clipping": float("nan")}, "tecno": {"Preparation": 0.5}}
    root = parsed(plots.bars("F1", series, {"Preparation": 0.125}), tmp_path)
    assert set(tips(root)) == {"Preparation: 0.250", "Preparation: 0.500"}
    widths = [float(rect.get("width", "")) for rect in tips(root).values()]
    assert widths[1] == pytest.approx(2 * widths[0])


def test_errors_above_one_stay_inside(tmp_path: Path) -> None:
    root = parsed(plots.bars("MAE", {"linear": {"Preparation": 3.05, "Clipping": 1.55}}), tmp_path)
    widths = [float(tips(root)[name].get("width", "")) for name in ("Preparation: 3.050", "Clipping: 1.550")]
    assert widths == pytest.approx([400 * 3.05 / 3.1, 400 * 1.55 / 3.1], abs=0.1)
    points = [plots.Point(0.5, 2.0, 1.0, 3.05), plots.Point(1.0, -0.1, float("nan"), float("nan"))]
    root = parsed(plots.curves("scale", {"mae": points}, "mae"), tmp_path)
    heights = [float(dot.get("cy", "")) for dot in root.iter(f"{NAMESPACE}circle")]
    assert heights == pytest.approx([36 + 300 * (1 - 2 / 3.1), 336], abs=0.1)
    assert "3.1" in words(root)


def test_a_calibrated_model_lies_on_the_diagonal(tmp_path: Path) -> None:
    # Of 10 rows with a confidence of 0.2, two are right; of 10 with 0.8, eight.
    confidence = np.repeat([0.2, 0.8], 10)
    right = np.array([True] * 2 + [False] * 8 + [True] * 8 + [False] * 2)
    table = reliability(confidence, right, np.zeros(20, np.int64), 5).pooled()
    root = parsed(plots.reliability("reliability", {"model": table}), tmp_path)
    dots = [(float(dot.get("cx", "")), float(dot.get("cy", ""))) for dot in root.iter(f"{NAMESPACE}circle")]
    (x0, y0), (x1, y1) = dots
    assert x1 - x0 == pytest.approx(y0 - y1)
    assert x0 - 60 == pytest.approx(336 - y0)


def test_curves_rise_with_the_score(tmp_path: Path) -> None:
    points = [plots.Point(0.5, 0.2, 0.1, 0.3), plots.Point(1.0, 0.6, float("nan"), float("nan"))]
    root = parsed(plots.curves("scale", {"mae": points}, "accuracy"), tmp_path)
    first, second = [(float(dot.get("cx", "")), float(dot.get("cy", ""))) for dot in root.iter(f"{NAMESPACE}circle")]
    assert first[0] < second[0]
    assert first[1] - second[1] == pytest.approx(0.4 * 300)
