"""Every address lives in one cell, computed from it alone."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors.address import Members, Placement, role_of

COUNTS = st.dictionaries(
    st.sampled_from(["a", "b", "role", "worker"]), st.none() | st.integers(0, 40), min_size=1
)


@st.composite
def placements(draw: st.DrawFn) -> Placement:
    counts = draw(COUNTS)
    packed = draw(st.integers(1, 6))
    dedicated, first = {}, packed
    for role in sorted(counts):
        if counts[role] != 0 and draw(st.booleans()):
            dedicated[role] = first
            first += len(Members(role, counts[role]))
    return Placement(counts, packed, dedicated)


KEYS = (
    st.integers(0, 10**6).map(str)
    | st.text(max_size=5)
    | st.sampled_from(["", "07", "00", "-1", "٣", "9" * 5000])
)


@given(placements(), KEYS)
def test_every_address_lives_in_one_cell(placement: Placement, key: str) -> None:
    for role in [*placement.counts, "unknown"]:
        for address in (role, f"{role}/{key}"):
            assert 0 <= placement.cell_of(address) < placement.cells


@given(placements())
def test_the_cells_share_out_the_declared_agents(placement: Placement) -> None:
    for role in placement.counts:
        members = placement.members(role)
        shares = [placement.local_members(role, cell) for cell in range(placement.cells)]
        assert sorted(address for share in shares for address in share) == sorted(members)
        for cell, share in enumerate(shares):
            assert all(placement.cell_of(address) == cell for address in share)


@given(placements())
def test_an_agent_of_a_dedicated_role_has_a_cell_of_its_own(placement: Placement) -> None:
    for role in placement.dedicated:
        cells = [placement.cell_of(address) for address in placement.members(role)]
        assert len(set(cells)) == len(cells)
        assert min(cells, default=placement.packed) >= placement.packed


@given(placements(), KEYS)
def test_only_what_was_described_is_declared(placement: Placement, key: str) -> None:
    for role in placement.counts:
        members = list(placement.members(role))
        for address in (role, f"{role}/{key}", *members[:2], *members[-2:]):
            assert placement.declared(address) == (address in members)


@pytest.mark.parametrize(
    "address", ["worker/07", "worker/00", "worker/", "worker/-1", "worker/ 1", "worker/1.0", "worker/٣"]
)
def test_another_spelling_of_a_number_is_another_address(address: str) -> None:
    assert not Placement({"worker": 10}, 2).declared(address)


def test_a_spawned_agent_lives_where_its_key_says_on_every_machine() -> None:
    placement = Placement({"worker": 0}, 7)
    assert [placement.cell_of(f"worker/{key}") for key in ("one", "two", "a.7.3")] == [3, 0, 0]
    assert [placement.cell_of(f"worker/{number}") for number in range(9)] == [0, 1, 2, 3, 4, 5, 6, 0, 1]


def test_the_role_of_an_address_is_what_stands_before_the_slash() -> None:
    assert [role_of(address) for address in ("worker/3", "auctioneer", "worker/a/b")] == [
        "worker",
        "auctioneer",
        "worker",
    ]


@given(st.integers(0, 30), st.integers(-40, 40), st.integers(-40, 40), st.sampled_from([None, 1, 2, -1]))
def test_members_are_a_sequence_without_a_list(count: int, start: int, stop: int, step: int | None) -> None:
    members, listed = Members("w", count), [f"w/{n}" for n in range(count)]
    assert list(members) == listed
    assert members[start:stop:step] == listed[start:stop:step]
    if -count <= start < count:
        assert members[start] == listed[start]
    else:
        with pytest.raises(IndexError):
            members[start]


def test_a_role_of_one_has_its_bare_name() -> None:
    members = Members("boss", None)
    assert (list(members), members[0], members[-1], len(members)) == (["boss"], "boss", "boss", 1)
    assert [repr(members), repr(Members("w", 3))] == ["boss", "w/0..2"]
