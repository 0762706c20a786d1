"""What a benchmark found is told to people and to programs."""

import json

import pytest

from benchmarks.outcome import Outcome, in_words, median, rounded, tell

OUTCOME = Outcome("made_up", {"agents": 3, "seconds": 0.25}, ["Nothing was measured."])


def test_the_last_line_is_one_json_object_and_the_rest_is_for_people(
    capsys: pytest.CaptureFixture[str],
) -> None:
    tell(OUTCOME, as_json=True)
    told = capsys.readouterr()
    (line,) = told.out.splitlines()
    assert json.loads(line)["bench"] == "made_up"
    assert json.loads(line)["figures"] == {"agents": 3, "seconds": 0.25}
    assert "Nothing was measured." in told.err


def test_people_are_told_on_standard_output(capsys: pytest.CaptureFixture[str]) -> None:
    tell(OUTCOME, as_json=False)
    told = capsys.readouterr()
    assert "seconds" in told.out
    assert told.err == ""


def test_the_object_names_the_machine_and_the_versions() -> None:
    told = OUTCOME.to_json()
    assert told["machine"]["cpus"] >= 1
    assert told["versions"]["python"].startswith("3.")


def test_numbers_are_told_as_people_read_them() -> None:
    assert [in_words(value) for value in (1234567, 1234.5, 12.345, 0.00123)] == [
        "1,234,567",
        "1,234",
        "12.3",
        "0.00123",
    ]


def test_a_figure_has_four_significant_digits() -> None:
    assert rounded(123456.0) == 123500.0
    assert median([1.0, 3.00004, 9.0]) == 3.0
