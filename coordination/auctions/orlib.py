"""Files of the OR-Library: linear assignment and generalised assignment.

Formats (J. E. Beasley, "OR-Library: distributing test problems by electronic mail", 1990), numbers parted by any space:
* assignment: n, then n rows of n costs; the least total cost is sought;
* generalised assignment: the number of problems, and for each: agents m, jobs n, m x n values, m x n loads, m
  capacities; the greatest total value is sought.

Rules: which of the two a file is follows from its count of numbers. A file is bounded (`LARGEST_BYTES`) and checked;
what is wrong is told with the place.
"""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from actors.errors import ConfigurationError
from coordination.auctions.instance import LARGEST_GAIN, Instance

LARGEST_BYTES = 64 * 2**20

Numbers = NDArray[np.int64]


def load_instances(path: Path) -> list[Instance]:
    """The instances in a file, in order. Raises `ConfigurationError`."""
    return parse(_read(path), path.name)


def parse(text: str, name: str = "text") -> list[Instance]:
    """The instances in a file's text. Raises `ConfigurationError` naming `name` and the fault."""
    numbers = _numbers(text, name)
    side = int(numbers[0])
    if side >= 1 and len(numbers) == 1 + side * side:
        return [Instance.of_costs(numbers[1:].reshape(side, side), name)]
    return _generalised(numbers, name)


def _read(path: Path) -> str:
    try:
        if path.stat().st_size > LARGEST_BYTES:
            raise ConfigurationError(
                f"{path}: over {LARGEST_BYTES:,} bytes. Give an OR-Library file, or fewer problems."
            )
        return path.read_text(encoding="ascii")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"{path}: cannot be read: {error}. Give an OR-Library file.") from error


def _numbers(text: str, name: str) -> Numbers:
    words = text.split()
    if not words:
        raise ConfigurationError(f"{name}: is empty. Give an OR-Library file.")
    try:
        numbers = [int(word) for word in words]
    except ValueError as error:
        raise ConfigurationError(f"{name}: holds what is not a whole number: {error}.") from error
    if min(numbers) < 0 or max(numbers) > LARGEST_GAIN:
        raise ConfigurationError(f"{name}: holds a negative number, or one above 2**40.")
    return np.array(numbers, np.int64)


def _generalised(numbers: Numbers, name: str) -> list[Instance]:
    instances: list[Instance] = []
    place = 1
    for problem in range(1, int(numbers[0]) + 1):
        if place + 2 > len(numbers):
            raise ConfigurationError(
                f"{name}: ends before problem {problem} of {numbers[0]}. It is neither an assignment file (n, then n "
                f"x n costs) nor a generalised one."
            )
        agents, jobs = int(numbers[place]), int(numbers[place + 1])
        size = agents * jobs
        values, loads, capacities, rest = np.split(
            numbers[place + 2 :], [min(cut, len(numbers)) for cut in (size, 2 * size, 2 * size + agents)]
        )
        if size == 0 or len(capacities) < agents:
            raise ConfigurationError(
                f"{name}: problem {problem} should have {agents} x {jobs} values and loads and {agents} capacities, "
                f"and the file ends before. Give a whole OR-Library file."
            )
        shape = agents, jobs
        instances.append(
            Instance(values.reshape(shape), loads.reshape(shape), capacities, name=f"{name}, {problem}")
        )
        place = len(numbers) - len(rest)
    if place < len(numbers) or not instances:
        raise ConfigurationError(
            f"{name}: {len(numbers) - place} numbers follow the {numbers[0]} problems that it announces."
        )
    return instances
