"""A sweep: the trials of a run, each one arm (a choice of values) with one replicate (a seed).

Rules:
* Full factorial: every combination of the values, the last path changing fastest.
* Replicate i has the same seed in every arm (common random numbers: Law, Simulation Modeling and Analysis, 11.2), so
  arms are compared in pairs and what they share in luck cancels.
* Seeds are spawned from the experiment's by `numpy.random.SeedSequence`, which keeps them independent. More repeats
  add seeds and change none.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np


@dataclass(frozen=True)
class Trial:
    """One arm with one seed."""

    number: int
    arm: Mapping[str, Any]
    """For each path of the sweep its value here; empty without a sweep."""
    replicate: int
    seed: int


def arms_of(sweep: Mapping[str, Sequence[Any]]) -> Iterator[dict[str, Any]]:
    """The arms: every combination of values. One empty arm if nothing is swept."""
    if not sweep:
        yield {}
        return
    *paths, last = sweep
    for arm in arms_of({path: sweep[path] for path in paths}):
        for value in sweep[last]:
            yield {**arm, last: value}


def seeds_of(seed: int, repeats: int) -> list[int]:
    """The replicates' seeds. Below 2**53: every reader of JSON holds them exactly."""
    children = np.random.SeedSequence(seed).spawn(repeats)
    return [int(child.generate_state(1, np.uint64)[0]) >> 11 for child in children]


def trials_of(sweep: Mapping[str, Sequence[Any]], seed: int, repeats: int) -> list[Trial]:
    """All trials in order: the replicates of the first arm, those of the second, and so on."""
    seeds = seeds_of(seed, repeats)
    return [
        Trial(number * repeats + replicate, arm, replicate, seeds[replicate])
        for number, arm in enumerate(arms_of(sweep))
        for replicate in range(repeats)
    ]
