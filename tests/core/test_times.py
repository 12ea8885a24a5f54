"""Moments as people write them."""

import re

import pytest

from surgvl.core.errors import ConfigError
from surgvl.core.times import clock, seconds


@pytest.mark.parametrize(
    ("text", "want"),
    [
        ("12.5", 12.5),
        ("0", 0.0),
        (7, 7.0),
        (7.25, 7.25),
        (".5", 0.5),
        ("0:10", 10.0),
        ("00:10", 10.0),
        ("0:00:12.0", 12.0),
        ("1:02:03.5", 3723.5),
        ("01:02:03", 3723.0),
        ("90:00", 5400.0),
        ("75", 75.0),
        ("00:02.7", 2.7),
        (" 0:10 ", 10.0),
        (1e-05, 0.00001),
        (0.1 + 0.2, 0.3),
    ],
)
def test_what_is_read(text: str | float, want: float) -> None:
    assert seconds(text) == pytest.approx(want, abs=1e-9)


@pytest.mark.parametrize(
    "text",
    ["", "-1", -1.0, "1:5", "0:60", "1:60:00", "1:00:60", "0:-5", "a", "nan", "inf", float("nan"), float("inf"),
     "1e400", "1:2:3:4", ":10", "10:", "0:10s", "12,5", "٣", "1_0", "null", "True"],
)  # fmt: skip
def test_what_is_not(text: str | float) -> None:
    with pytest.raises(ConfigError, match=re.escape("--at_s")) as refused:
        seconds(text, "--at_s")
    assert "write seconds (75.5), m:ss (1:15.5) or h:mm:ss (0:01:15.5)" in str(refused.value)


@pytest.mark.parametrize("time_s", [0.0, 9.96, 59.96, 75.5, 3599.9, 3600.0, 86399.9])
def test_what_is_printed_is_read(time_s: float) -> None:
    assert re.fullmatch(r"\d+:\d\d:\d\d\.\d", clock(time_s))
    assert seconds(clock(time_s)) == pytest.approx(time_s, abs=0.0501)
