"""What is auctioned: bidders, tasks, what each task is worth to each bidder, and what each bidder can carry.

Rules:
* Mechanisms maximise the sum of `gains`. Costs c come in as gains `ceiling - c` with `ceiling = max(c) + 1`, so that
  each gain is above 0 and every task is worth awarding; values are told in the terms of the file again.
* Without `loads` a bidder takes one task (linear assignment). With them it takes tasks whose loads fit into its
  capacity (generalised assignment: Ross and Soland, "A branch and bound algorithm for the generalized assignment
  problem", 1975). A task goes to one bidder, or stays unawarded and is worth nothing.
* An instance is checked when it is made. Arrays are not copied, and nobody writes to them.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from actors.errors import ConfigurationError

Matrix = NDArray[Any]
"""Integers or floats; mechanisms are exact where the gains are integers."""

LARGEST_GAIN = 2**40
"""Above it the scaled prices of the epsilon auction could leave 64 bits for a few thousand bidders."""


@dataclass(frozen=True, eq=False)
class Instance:
    """One allocation problem."""

    gains: Matrix
    """(bidders, tasks): what is gained if the bidder does the task; at least 0."""
    loads: Matrix | None = None
    """(bidders, tasks): what the task takes of the bidder's capacity; None for one task to a bidder."""
    capacities: Matrix | None = None
    """(bidders,)"""
    ceiling: float | None = None
    """For an instance of costs: what a gain and its cost add up to."""
    name: str = "instance"

    def __post_init__(self) -> None:
        gains = self.gains
        if gains.ndim != 2 or 0 in gains.shape or gains.dtype.kind not in "iuf":
            raise ConfigurationError(
                f"{self.name}: gains are a table of numbers, bidders by tasks, not {gains.dtype} of shape "
                f"{gains.shape}. Give at least one of each."
            )
        if not np.isfinite(gains).all() or gains.min() < 0 or gains.max() > LARGEST_GAIN:
            raise ConfigurationError(
                f"{self.name}: a gain is negative, not finite or above 2**40. Give 0 for what is worth nothing."
            )
        if (self.loads is None) != (self.capacities is None):
            raise ConfigurationError(f"{self.name}: loads and capacities go together. Give both or neither.")
        if self.loads is not None and self.capacities is not None:
            shapes = self.loads.shape, self.capacities.shape
            if shapes != (gains.shape, gains.shape[:1]):
                raise ConfigurationError(
                    f"{self.name}: loads and capacities of shapes {shapes} do not fit gains of {gains.shape}."
                )
            if not all(np.isfinite(part).all() and part.min() >= 0 for part in (self.loads, self.capacities)):
                raise ConfigurationError(f"{self.name}: loads and capacities are finite and at least 0.")

    @classmethod
    def of_costs(cls, costs: Matrix, name: str = "instance") -> "Instance":
        """The linear assignment that costs least."""
        ceiling = costs.max() + 1
        return cls(ceiling - costs, ceiling=float(ceiling), name=name)

    @property
    def bidders(self) -> int:
        """How many."""
        return int(self.gains.shape[0])

    @property
    def tasks(self) -> int:
        """How many."""
        return int(self.gains.shape[1])

    @property
    def is_matching(self) -> bool:
        """True if each bidder takes one task."""
        return self.loads is None

    def gain(self, awards: Mapping[int, int]) -> float:
        """The sum of gains of awards (task to bidder)."""
        return float(sum(self.gains[bidder, task] for task, bidder in awards.items()))

    def told(self, awards: Mapping[int, int]) -> float:
        """The value of awards in the terms of the instance: the cost if it has costs, else the gain."""
        gain = self.gain(awards)
        return gain if self.ceiling is None else self.ceiling * len(awards) - gain

    def check(self, awards: Mapping[int, int]) -> None:
        """Raises `AssertionError` if awards (task to bidder) break a capacity: a mechanism that does is broken."""
        room = Room(self)
        for task in sorted(awards):
            assert 0 <= awards[task] < self.bidders, f"task {task} went to bidder {awards[task]}"
            assert room.fits(awards[task], task), f"bidder {awards[task]} cannot carry task {task} too"
            room.take(awards[task], task)


class Room:
    """What each bidder can still carry."""

    def __init__(self, instance: Instance) -> None:
        self.loads = instance.loads
        capacities = instance.capacities
        self.left: Matrix = np.ones(instance.bidders, np.int64) if capacities is None else capacities.copy()

    def fits(self, bidder: int, task: int) -> bool:
        """True if the bidder can carry the task too."""
        return bool((1 if self.loads is None else self.loads[bidder, task]) <= self.left[bidder])

    def bidders_for(self, task: int) -> Matrix:
        """(bidders,): who can carry the task too."""
        return (1 if self.loads is None else self.loads[:, task]) <= self.left

    def tasks_of(self, bidder: int, tasks: int) -> Matrix:
        """(tasks,): what the bidder can carry too."""
        if self.loads is None:
            return np.full(tasks, self.left[bidder] >= 1)
        fits: Matrix = self.loads[bidder] <= self.left[bidder]
        return fits

    def take(self, bidder: int, task: int) -> None:
        """The task is the bidder's."""
        self.left[bidder] -= 1 if self.loads is None else self.loads[bidder, task]


def generated(
    bidders: int, tasks: int, rng: np.random.Generator, *, highest: int = 100, capacity: int | None = None
) -> Instance:
    """Uniform integer gains from 1 to `highest`; with `capacity` each task takes 1 of it."""
    gains = rng.integers(1, highest, size=(bidders, tasks), endpoint=True, dtype=np.int64)
    if capacity is None:
        return Instance(gains, name=f"{bidders} x {tasks}")
    loads, capacities = np.ones_like(gains), np.full(bidders, capacity, np.int64)
    return Instance(gains, loads, capacities, name=f"{bidders} x {tasks}, {capacity} each")
