"""What pref_voting, the library of Holliday and Pacuit, answers for the random profiles.

Its answers are kept in `oracle.json`, so that the tests compare on every machine; `test_oracle.py` also asks it afresh
where it is installed. To write them anew, with pref_voting 1.18.2 installed:

    python -m tests.coordination.voting.oracle
"""

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from tests.coordination.voting.profiles import Profile, profile

FILE = Path(__file__).with_name("oracle.json")
PROFILES = {"linear": 1600, "weak": 1200, "grades": 600, "approvals": 600}
Methods = Mapping[str, Callable[[Any], list[int]]]


def answers(profiles: list[Profile]) -> dict[str, list[list[int]]]:
    """By rule, the winners of each profile. All profiles are of one kind. Imports pref_voting."""
    methods = _methods(profiles[0].kind)
    found: dict[str, list[list[int]]] = {rule: [] for rule in methods}
    for each in profiles:
        theirs = _theirs(each)
        for rule, method in methods.items():
            found[rule].append([int(c) for c in method(theirs)])
    return found


def recorded() -> dict[str, dict[str, list[list[int]]]]:
    """By kind and rule, the winners of each profile, as pref_voting 1.18.2 gave them."""
    packed = json.loads(FILE.read_text())
    return {
        kind: {
            rule: [_unpacked(text[i : i + 2]) for i in range(0, len(text), 2)] for rule, text in rules.items()
        }
        for kind, rules in packed.items()
    }


def _methods(kind: str) -> Methods:
    from pref_voting import (  # noqa: PLC0415  # it takes seconds, and is not everywhere
        c1_methods,
        grade_methods,
        iterative_methods,
        margin_based_methods,
        other_methods,
        scoring_methods,
    )

    if kind in ("grades", "approvals"):
        return {
            "score" if kind == "grades" else "approval": lambda p: grade_methods.score_voting(
                p, ungraded_score=0
            )
        }
    pairwise: dict[str, Callable[[Any], list[int]]] = {
        "condorcet_winner": lambda p: [] if p.condorcet_winner() is None else [p.condorcet_winner()],
        "copeland": c1_methods.copeland,
        "minimax": margin_based_methods.minimax,
        "schulze": margin_based_methods.beat_path,
        "ranked_pairs": lambda p: margin_based_methods.ranked_pairs(p, algorithm="from_stacks"),
        "ranked_pairs_tb": margin_based_methods.ranked_pairs_tb,
        "kemeny": other_methods.kemeny_young,
    }
    if kind == "linear":
        return pairwise | {
            "plurality": scoring_methods.plurality,
            "majority": other_methods.absolute_majority,
            "borda": scoring_methods.borda,
            "instant_runoff": iterative_methods.instant_runoff_put,
        }
    del pairwise["ranked_pairs"]  # defined there by stacks of complete rankings only
    return pairwise | {
        "borda": scoring_methods.borda_for_profile_with_ties,
        "instant_runoff": lambda p: iterative_methods.instant_runoff_put(p, score_method="split"),
    }


def _theirs(each: Profile) -> Any:
    from pref_voting.grade_profiles import GradeProfile  # noqa: PLC0415  # as above
    from pref_voting.profiles import Profile as Linear  # noqa: PLC0415
    from pref_voting.profiles_with_ties import ProfileWithTies  # noqa: PLC0415

    counts = list(each.counts)
    if each.kind == "linear":
        return Linear([[tier[0] for tier in tiers] for tiers in each.tiers], counts)
    if each.kind == "weak":
        maps = [{c: rank for rank, tier in enumerate(tiers, 1) for c in tier} for tiers in each.tiers]
        weak = ProfileWithTies(maps, counts, candidates=list(range(each.size)))
        weak.use_extended_strict_preference()
        return weak
    return GradeProfile(list(each.grades), list(range(6)), counts, candidates=list(range(each.size)))


def _packed(winners: list[int]) -> str:
    return f"{sum(1 << c for c in winners):02x}"


def _unpacked(digits: str) -> list[int]:
    return [c for c in range(8) if int(digits, 16) >> c & 1]


def write() -> None:
    """Asks pref_voting about all profiles and keeps what it says."""
    packed = {
        kind: {
            rule: "".join(map(_packed, found))
            for rule, found in answers([profile(kind, number) for number in range(count)]).items()
        }
        for kind, count in PROFILES.items()
    }
    FILE.write_text(json.dumps(packed, indent=0) + "\n")


if __name__ == "__main__":
    write()
