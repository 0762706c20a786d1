"""Files of the OR-Library: both formats, what is refused, and the published optima."""

from pathlib import Path

import pytest

from actors import ConfigurationError
from coordination.auctions import load_instances, optimum
from coordination.auctions.orlib import parse
from tests.coordination.auctions.markets import orlib

PUBLISHED = {
    "assign100.txt": [305],
    "gap1.txt": [336, 327, 339, 341, 326],
    "gap2.txt": [434, 436, 420, 419, 428],
}


def test_an_assignment_is_read_across_lines() -> None:
    (instance,) = parse("2\n 3 9 4\n 5\n")
    assert instance.is_matching
    assert optimum(instance).value == 8


def test_generalised_assignments_are_read_in_order() -> None:
    one, two = parse("2  1 2  7 8  1 1  1   2 1  3 4  2 5  2 4")
    assert one.gains.tolist() == [[7, 8]]
    assert one.capacities is not None
    assert one.capacities.tolist() == [1]
    assert two.loads is not None
    assert two.loads.tolist() == [[2], [5]]
    assert [optimum(each).value for each in (one, two)] == [8, 3]


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "is empty"),
        ("2 1.5", "line 1: '1.5' is not a whole number"),
        ("2\n 1 2\n\n 3 x4", "line 4: 'x4' is not a whole number"),
        ("1\n-4", "line 2: '-4'"),
        ("1 1_000", "line 1: '1_000'"),
        ("1 " + "9" * 5000, "line 1: '9{20}' is"),
        ("3 1 2 3", "3 x 3 costs .* 3 numbers do, .* problem 1 would be of 1 agents and 2 jobs"),
        ("2 1 1 5 1 1", "ends before problem 2"),
        ("1 1 1 5 1 1 9", "1 numbers follow"),
        ("0 1 2", "2 numbers follow"),
        ("1 9999999999999", "line 1: .* from 0 to 2"),
    ],
)
def test_a_wrong_file_is_told_with_its_fault(text: str, told: str) -> None:
    with pytest.raises(ConfigurationError, match=f"here: .*{told}"):
        parse(text, "here")


def test_a_file_that_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="cannot be read"):
        load_instances(tmp_path / "none.txt")


@pytest.mark.parametrize("name", sorted(PUBLISHED))
def test_the_oracle_meets_the_published_optima(name: str) -> None:
    found = [optimum(instance) for instance in orlib(name)]
    assert [best.value for best in found] == PUBLISHED[name]
    assert all(best.is_exact for best in found)
