"""Files of the OR-Library: linear assignment and generalised assignment.

Formats (J. E. Beasley, "OR-Library: distributing test problems by electronic mail", 1990), numbers parted by any space:
* assignment: n, then n rows of n costs; the least total cost is sought;
* generalised assignment: the number of problems, and for each: agents m, jobs n, m x n values, m x n loads, m
  capacities; the greatest total value is sought.

Rules: which of the two a file is follows from its count of numbers. A file is bounded (`LARGEST_BYTES`) and checked;
a wrong word is told with its line, a wrong count with what either format would need.
"""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from actors.errors import ConfigurationError
from coordination.auctions.instance import LARGEST_GAIN, Instance

LARGEST_BYTES = 64 * 2**20
_DIGITS = 13
"""Of 2**40."""
_SHOWN = 20
"""Letters of a wrong word."""

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
    numbers: list[int] = []
    for place, line in enumerate(text.splitlines(), start=1):
        words = line.split()
        for word in words:
            # Digits first: `int` takes signs, underscores and words of any length.
            if not word.isdecimal() or len(word) > _DIGITS or int(word) > LARGEST_GAIN:
                raise ConfigurationError(
                    f"{name}: line {place}: {word[:_SHOWN]!r} is not a whole number from 0 to 2**40. Mend the line."
                )
        numbers += map(int, words)
    if not numbers:
        raise ConfigurationError(f"{name}: is empty. Give an OR-Library file.")
    return np.array(numbers, np.int64)


def _generalised(numbers: Numbers, name: str) -> list[Instance]:
    instances: list[Instance] = []
    count, place = int(numbers[0]), 1
    for problem in range(1, count + 1):
        if place + 2 > len(numbers):
            raise ConfigurationError(_neither(numbers, name, f"it ends before problem {problem}"))
        agents, jobs = int(numbers[place]), int(numbers[place + 1])
        size = agents * jobs
        if size == 0 or place + 2 + 2 * size + agents > len(numbers):
            fault = f"problem {problem} would be of {agents} agents and {jobs} jobs, and it ends before"
            raise ConfigurationError(_neither(numbers, name, fault))
        values, loads, capacities, _ = np.split(numbers[place + 2 :], np.cumsum([size, size, agents]))
        shape = agents, jobs
        instances.append(
            Instance(values.reshape(shape), loads.reshape(shape), capacities, name=f"{name}, {problem}")
        )
        place += 2 + 2 * size + agents
    if place < len(numbers) or not instances:
        raise ConfigurationError(
            _neither(numbers, name, f"{len(numbers) - place} numbers follow its problems")
        )
    return instances


def _neither(numbers: Numbers, name: str, fault: str) -> str:
    side = int(numbers[0])
    return (
        f"{name}: is neither an assignment, for {side} x {side} costs would follow its first number and "
        f"{len(numbers) - 1} numbers do, nor {side} generalised ones: {fault}. Give a whole OR-Library file."
    )
