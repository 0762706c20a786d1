"""Entries of an experiment file: what is wrong is named with its place and its mend."""

from math import inf, nan

import pytest

from actors.description import Description, nearest, number, whole
from actors.errors import ConfigurationError


def test_values_are_taken_with_their_defaults() -> None:
    entry = Description({"rate": 0.5, "copies": 3, "keep": True}, "here")
    assert entry.number("rate", least=0, most=1) == 0.5
    assert entry.whole("copies") == 3
    assert entry.flag("keep", False) is True
    assert entry.number("other", 7.0) == 7.0
    assert entry.whole("another", 2) == 2
    assert entry.flag("no", True) is True
    entry.finish()


def test_an_unknown_key_names_the_nearest_known_one() -> None:
    entry = Description({"probabilty": 0.5}, "faults[3]")
    entry.number("probability", 1.0)
    with pytest.raises(
        ConfigurationError, match=r"faults\[3\].probabilty: unknown key. Did you mean 'probability'"
    ):
        entry.finish()


def test_a_missing_key_is_explained_by_a_misspelt_one() -> None:
    with pytest.raises(ConfigurationError, match=r"widnow: unknown key. Did you mean 'window'"):
        Description({"widnow": 3}, "faults[0]").number("window")


def test_a_missing_key_is_named() -> None:
    with pytest.raises(ConfigurationError, match=r"faults\[0\].window: missing"):
        Description({}, "faults[0]").number("window")


@pytest.mark.parametrize("value", [True, "1", None, nan, -1, 2, inf, [1]])
def test_what_is_not_a_number_in_range_is_refused_with_the_range(value: object) -> None:
    with pytest.raises(ConfigurationError, match=r"x: .* is not a number from 0 to 1"):
        number(value, "x", 0, 1)


@pytest.mark.parametrize("value", [True, 1.0, "1", 0])
def test_what_is_not_a_whole_number_in_range_is_refused(value: object) -> None:
    with pytest.raises(ConfigurationError, match=r"x: .* is not a whole number of 1 or more"):
        whole(value, "x", 1)


def test_what_is_not_a_dictionary_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="here: 3 is not a dictionary"):
        Description(3, "here")


def test_names_far_from_all_known_ones_get_the_list() -> None:
    assert nearest("zzz", ["ring", "grid"]) == " Known: ring, grid."
    assert nearest("rng", ["ring", "grid"]) == " Did you mean 'ring'?"
