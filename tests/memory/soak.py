"""The long forms of the memory's tests: `python -m tests.memory.soak --kills 1000 --corrections 10000 --calls 1000000`.

Each part runs on fresh folders in the temporary directory and prints its seed, so that a failure can be run again. It
ends with the first failure.
"""

import argparse
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from memory.probe import POINTS
from tests.memory.crash import kill_all_over
from tests.memory.past import correct_at_random, fuzz_at_random

_ROUNDS_A_FOLDER = 5
_CORRECTIONS_A_FOLDER = 2_000
_CALLS_A_FOLDER = 10_000


def soak(kills: int, corrections: int, calls: int, seed: int) -> None:
    """Runs all parts."""
    done = turns = 0
    while done < kills:
        done += _told(f"kills, seed {seed + turns}", lambda at=seed + turns: _kills(at))
        turns += 1
    for turn in range(-(-corrections // _CORRECTIONS_A_FOLDER)):
        _told(f"corrections, seed {seed + turn}", lambda at=seed + turn: _corrections(at, corrections))
    for turn in range(-(-calls // _CALLS_A_FOLDER)):
        _told(f"calls, seed {seed + turn}", lambda at=seed + turn: _calls(at, calls))


def _kills(seed: int) -> int:
    with tempfile.TemporaryDirectory() as folder:
        return kill_all_over(Path(folder) / "memory", seed, _ROUNDS_A_FOLDER, POINTS)


def _corrections(seed: int, most: int) -> int:
    with tempfile.TemporaryDirectory() as folder:
        count = min(most, _CORRECTIONS_A_FOLDER)
        correct_at_random(Path(folder), seed, count, count // 10)
        return count


def _calls(seed: int, most: int) -> int:
    with tempfile.TemporaryDirectory() as folder:
        count = min(most, _CALLS_A_FOLDER)
        fuzz_at_random(Path(folder), seed, count)
        return count


def _told(what: str, part: Callable[[], int]) -> int:
    began = time.monotonic()
    count = part()
    sys.stdout.write(f"{what}: {count:,} in {time.monotonic() - began:.1f} s, nothing wrong\n")
    sys.stdout.flush()
    return count


def main() -> None:
    """Reads the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=1_000)
    parser.add_argument("--corrections", type=int, default=10_000)
    parser.add_argument("--calls", type=int, default=1_000_000)
    parser.add_argument("--seed", type=int, default=1)
    told = parser.parse_args()
    soak(told.kills, told.corrections, told.calls, told.seed)


if __name__ == "__main__":
    main()
