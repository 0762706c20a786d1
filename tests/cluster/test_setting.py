"""The settings of an arm in few words."""

import pytest

from cluster.setting import arm_text, path_names, value_text


@pytest.mark.parametrize(
    ("value", "told"),
    [
        ("complete", "complete"),
        (0.25, "0.25"),
        (12000, "12,000"),
        (True, "yes"),
        (None, "none"),
        ([], "none"),
        ({}, "none"),
        ([1, 2], "1; 2"),
        ({"kind": "ring"}, "ring"),
        ({"kind": "grid", "periodic": True, "diagonal": False}, "grid (periodic, not diagonal)"),
        ([{"crash": "surveyor/1", "at": 35}], "crash surveyor/1, at 35"),
        ({"delay": {"exponential": 2}, "from": 3}, "delay (exponential 2), from 3"),
    ],
)
def test_a_value_is_told_without_the_marks_of_its_file(value: object, told: str) -> None:
    assert value_text(value) == told


def test_a_path_is_named_by_its_last_words_without_numbers_of_items() -> None:
    assert path_names(["swarm.topology", "faults.0.drop", "seed", "swarm.roles.bidder.count"]) == {
        "swarm.topology": "topology",
        "faults.0.drop": "drop",
        "seed": "seed",
        "swarm.roles.bidder.count": "bidder count",
    }


def test_two_paths_never_get_the_same_name() -> None:
    names = path_names(["faults.0.drop", "faults.1.drop"])
    assert names == {"faults.0.drop": "faults 0 drop", "faults.1.drop": "faults 1 drop"}


def test_an_arm_is_one_line() -> None:
    assert arm_text({"swarm.cells": 2, "faults": []}) == "cells = 2, faults = none"
    assert arm_text({}) == ""
