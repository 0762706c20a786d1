"""What agents left, shown by its shape."""

import pytest

from cluster.section import CHARACTERS, ROWS, Cell, bar_section, heading, section


@pytest.mark.parametrize(
    ("value", "kind"),
    [
        ("a sentence", "text"),
        ([{"a": 1}, {"a": 2}], "table"),
        ([{"a": 1}, {"b": 2}], "json"),
        ([["x", 1], ["y", 2.5]], "bars"),
        ([["x", "1"]], "json"),
        ({"a": 1, "b": "two", "c": None}, "facts"),
        ({"a": {"b": 1}}, "json"),
        ([], "text"),
        ({}, "text"),
        ([1, 2, 3], "json"),
    ],
)
def test_the_shape_of_a_value_decides_its_form(value: object, kind: str) -> None:
    assert section("name", value).kind == kind


def test_a_column_is_aligned_as_one_and_what_is_missing_follows_it() -> None:
    made = section("slow_modules", [{"module": "a", "lines": None}, {"module": "b", "lines": 1200}])
    assert made.title == "Slow modules"
    assert made.head == (Cell("Module"), Cell("Lines", numeric=True))
    assert made.rows == ((Cell("a"), Cell("\u2013", numeric=True)), (Cell("b"), Cell("1,200", numeric=True)))


def test_bars_start_at_a_common_zero() -> None:
    bars = bar_section("balance", [("gain", 3.0), ("loss", -1.0), ("unknown", float("nan"))]).bars
    assert [(bar.start, bar.length) for bar in bars] == [(25.0, 75.0), (0.0, 25.0), (25.0, 0.0)]
    assert [bar.text for bar in bars] == ["3", "\u22121", "\u2013"]


def test_what_is_cut_says_so() -> None:
    assert section("t", "x" * (CHARACTERS + 1)).cut == "the first 5,000 of 5,001 characters"
    table = section("t", [{"n": i} for i in range(ROWS + 1)])
    assert (len(table.rows), table.cut) == (ROWS, "the first 200 of 201 rows")
    assert section("t", [[str(i), i] for i in range(ROWS + 5)]).cut == "the first 200 of 205 rows"
    assert section("t", {str(i): i for i in range(ROWS + 5)}).cut == "the first 200 of 205 rows"


def test_a_name_becomes_a_heading() -> None:
    assert heading("most_depended_upon") == "Most depended upon"
    assert heading("") == ""
