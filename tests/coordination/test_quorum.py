"""Quorum systems: what they must promise, for any members and any votes."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as some

from actors.errors import ConfigurationError
from coordination.quorum import (
    UNBOUNDED,
    Joint,
    QuorumSystem,
    Threshold,
    VoteResult,
    Weighted,
    byzantine,
    flexible,
    majority,
)

MEMBERS = some.sets(some.integers(1, 12), max_size=7)
REACHED = some.dictionaries(some.integers(1, 12), some.integers(0, 20))
VOTES = some.dictionaries(some.integers(1, 12), some.booleans())


def systems(members: set[int]) -> list[QuorumSystem]:
    weights = {member: member % 3 + 1 for member in members}
    return [majority(members), byzantine(members) if members else majority(()), Weighted(weights)]


def subsets(members: tuple[int, ...]) -> list[frozenset[int]]:
    return [
        frozenset(chosen)
        for size in range(len(members) + 1)
        for chosen in itertools.combinations(members, size)
    ]


@given(MEMBERS)
def test_any_two_quorums_share_a_member_and_byzantine_ones_a_correct_one(members: set[int]) -> None:
    for system in systems(members):
        quorums = [chosen for chosen in subsets(system.members) if system.is_quorum(chosen)]
        assert not members or all(one & other for one in quorums for other in quorums)
    if members:
        f = (len(members) - 1) // 3
        quorums = [
            chosen for chosen in subsets(byzantine(members).members) if byzantine(members).is_quorum(chosen)
        ]
        assert all(len(one & other) > f for one in quorums for other in quorums)


@given(MEMBERS, VOTES)
def test_a_vote_is_won_or_lost_exactly_when_nothing_open_can_change_it(
    members: set[int], votes: dict[int, bool]
) -> None:
    for system in systems(members):
        yes = {member for member in system.members if votes.get(member) is True}
        open_too = yes | {member for member in system.members if member not in votes}
        expected = (
            VoteResult.WON
            if system.is_quorum(yes)
            else VoteResult.PENDING
            if system.is_quorum(open_too)
            else VoteResult.LOST
        )
        assert system.vote_result(votes) == expected


@given(MEMBERS, REACHED)
def test_the_committed_index_is_the_greatest_that_a_quorum_has_reached(
    members: set[int], reached: dict[int, int]
) -> None:
    for system in systems(members):
        committed = system.committed(reached)
        if not members:
            assert committed == UNBOUNDED
            continue

        def has(index: int, system: QuorumSystem = system) -> bool:
            return system.is_quorum([member for member in system.members if reached.get(member, 0) >= index])

        assert has(committed)
        assert not has(committed + 1)


@given(MEMBERS, MEMBERS, REACHED, VOTES)
def test_the_halves_of_a_joint_configuration_commute_and_an_empty_half_changes_nothing(
    one: set[int], other: set[int], reached: dict[int, int], votes: dict[int, bool]
) -> None:
    joint, turned = Joint(majority(one), majority(other)), Joint(majority(other), majority(one))
    assert joint.committed(reached) == turned.committed(reached)
    assert joint.vote_result(votes) == turned.vote_result(votes)
    alone = Joint(majority(one), majority(()))
    assert alone.committed(reached) == majority(one).committed(reached)
    assert alone.vote_result(votes) == majority(one).vote_result(votes)


@pytest.mark.parametrize(("n", "f"), [(4, 1), (7, 2), (10, 3), (31, 10)])
def test_byzantine_quorums_are_two_thirds_and_too_few_members_are_refused(n: int, f: int) -> None:
    assert byzantine(range(n)).needed == 2 * f + 1
    with pytest.raises(ConfigurationError, match=f"at least {3 * (f + 1) + 1} members"):
        byzantine(range(n), f + 1)


def test_flexible_phases_meet_and_phases_that_need_not_are_refused() -> None:
    system = flexible(range(5), 2)
    assert (system.first.needed, system.second.needed) == (4, 2)
    with pytest.raises(ConfigurationError, match="over 5"):
        type(system)(Threshold(tuple(range(5)), 3), Threshold(tuple(range(5)), 2))
    with pytest.raises(ConfigurationError, match="Give 1 to 5"):
        flexible(range(5), 6)


def test_weights_decide_and_wrong_ones_are_refused() -> None:
    system = Weighted({1: 5, 2: 1, 3: 1})
    assert system.is_quorum([1])
    assert not system.is_quorum([2, 3])
    with pytest.raises(ConfigurationError, match="negative"):
        Weighted({1: -1})
    with pytest.raises(ConfigurationError, match="Give 1 to 7"):
        Weighted({1: 5, 2: 1, 3: 1}, needed=8)
