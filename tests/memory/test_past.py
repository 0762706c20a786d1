"""The past as it was believed, and scopes, each against a plain oracle. Longer forms: `python -m tests.memory.soak`."""

from pathlib import Path

from tests.memory.past import correct_at_random, fuzz_at_random


def test_the_past_is_told_as_a_plain_list_of_versions_tells_it(tmp_path: Path) -> None:
    correct_at_random(tmp_path, seed=1, corrections=300, comparisons=100)


def test_no_call_of_any_kind_crosses_a_scope(tmp_path: Path) -> None:
    fuzz_at_random(tmp_path, seed=1, calls=800)
