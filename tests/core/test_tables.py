"""Tables as text, character by character."""

import pytest

from surgvl.core.tables import markdown_table, plain_table


def test_markdown_columns_stand_under_one_another() -> None:
    assert markdown_table(["name", "n", "a|b"], [["x", "1", ""], ["a long name", "1,200", "c|d"]], right=["n"]) == [
        "| name        |     n | a\\|b |",
        "| ----------- | ----: | ---- |",
        "| x           |     1 |      |",
        "| a long name | 1,200 | c\\|d |",
    ]
    # A rule of Markdown has three dashes at least.
    assert markdown_table(["a"], []) == ["| a   |", "| --- |"]


def test_plain_columns_of_numbers_and_times_are_aligned_right() -> None:
    rows: list[list[object]] = [
        ["video", "clips", "at", "score"],
        ["lap/video01", 1200, "0:01:05", "0.5"],
        ["b", 3, "12:00:00", "–"],
    ]
    assert plain_table(rows, indent="> ") == (
        "> video        clips        at  score\n"
        "> lap/video01  1,200   0:01:05  0.5\n"
        "> b                3  12:00:00  –"
    )  # fmt: skip


@pytest.mark.parametrize("rows", [[["a"], ["b", "c"]], [["a", "b"], ["c"]]])
def test_a_row_of_another_length_is_an_error(rows: list[list[str]]) -> None:
    with pytest.raises(ValueError, match="argument"):
        markdown_table(rows[0], rows[1:])
    with pytest.raises(ValueError, match="argument"):
        plain_table(rows)
