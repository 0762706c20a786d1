"""What a new view must propose again, and how a forged one is told."""

from msgspec.structs import replace

from coordination.pbft.message import (
    NewView,
    Prepared,
    Proposal,
    Stable,
    ViewChange,
    checkpoint_statement,
    new_view_statement,
    prepare_statement,
    view_change_statement,
)
from coordination.pbft.view_change import Judge, outcome
from coordination.quorum import byzantine
from coordination.request import EMPTY
from coordination.signature import Certificate, Statement, TokenScheme, certificate

SCHEME = TokenScheme()
JUDGE = Judge(SCHEME, byzantine((1, 2, 3, 4)), 8)


def certified(statement: Statement, *signers: int) -> Certificate:
    return certificate(SCHEME, [SCHEME.sign(signer, statement) for signer in signers])


def prepared(view: int, slot: int, found: bytes, *signers: int) -> Prepared:
    return Prepared(
        view, slot, found, certified(prepare_statement(view, slot, found), *(signers or (1, 2, 3)))
    )


def stable(slot: int) -> Stable:
    return Stable(slot, b"h", certified(checkpoint_statement(slot, b"h"), 1, 2, 3))


def change(signer: int, view: int, *found: Prepared, low: Stable | None = None) -> ViewChange:
    low = low or Stable()
    word = SCHEME.sign(signer, view_change_statement(view, low, found))
    return ViewChange(view, low, found, word)


def new_view(view: int, changes: tuple[ViewChange, ...], proposals: list[tuple[int, bytes]]) -> NewView:
    primary = 1 + view % 4
    made = tuple(
        Proposal(slot, found, SCHEME.sign(primary, prepare_statement(view, slot, found)))
        for slot, found in proposals
    )
    return NewView(view, changes, made, SCHEME.sign(primary, new_view_statement(view, changes, made)))


def test_the_highest_view_wins_each_slot_and_gaps_get_no_requests() -> None:
    changes = (
        change(1, 4, prepared(1, 1, b"old"), prepared(2, 3, b"c")),
        change(2, 4, prepared(2, 1, b"new")),
        change(3, 4),
    )
    low, found = outcome(changes)
    assert low.slot == 0
    assert found == [(1, b"new"), (2, EMPTY), (3, b"c")]


def test_slots_below_the_highest_stable_checkpoint_are_not_proposed_again() -> None:
    changes = (
        change(1, 4, prepared(1, 3, b"x"), prepared(1, 5, b"y")),
        change(2, 4, low=stable(4)),
        change(3, 4),
    )
    low, found = outcome(changes)
    assert low.slot == 4
    assert found == [(5, b"y")]


def test_a_view_change_must_prove_what_it_says() -> None:
    assert JUDGE.change(change(1, 2, prepared(1, 1, b"a"), prepared(0, 2, b"b")))
    assert JUDGE.change(change(1, 2, prepared(1, 5, b"a"), low=stable(4)))
    assert not JUDGE.change(change(1, 2, prepared(1, 1, b"a", 1, 2)))  # no quorum
    assert not JUDGE.change(change(1, 2, prepared(1, 1, b"a", 1, 2, 9)))  # a stranger
    assert not JUDGE.change(change(1, 2, prepared(2, 1, b"a")))  # of the view it leaves for
    assert not JUDGE.change(change(1, 2, prepared(1, 2, b"a"), prepared(1, 1, b"b")))  # out of order
    assert not JUDGE.change(change(1, 2, prepared(1, 9, b"a")))  # beyond the window
    assert not JUDGE.change(
        change(1, 2, low=Stable(4, b"h", certified(checkpoint_statement(4, b"g"), 1, 2, 3)))
    )
    assert not JUDGE.change(change(1, 2, low=Stable(4, b"h", None)))
    assert not JUDGE.change(change(9, 2))
    honest = change(1, 2, prepared(1, 1, b"a"))
    assert not JUDGE.change(replace(honest, prepared=()))  # somebody left something out


def test_a_new_view_must_follow_from_a_quorum() -> None:
    changes = tuple(change(signer, 1, prepared(0, 1, b"a")) for signer in (1, 3, 4))
    assert JUDGE.new_view(new_view(1, changes, [(1, b"a")]), 2, ())
    assert JUDGE.new_view(new_view(1, changes, [(1, b"a")]), 2, changes)
    assert not JUDGE.new_view(new_view(1, changes, [(1, b"b")]), 2, ())
    assert not JUDGE.new_view(new_view(1, changes, []), 2, ())
    assert not JUDGE.new_view(new_view(1, changes[:2], [(1, b"a")]), 2, ())
    assert not JUDGE.new_view(new_view(1, (changes[0],) * 3, [(1, b"a")]), 2, ())
    assert not JUDGE.new_view(new_view(1, changes, [(1, b"a")]), 3, ())
    other = tuple(change(signer, 2, prepared(0, 1, b"a")) for signer in (1, 3, 4))
    assert not JUDGE.new_view(new_view(1, other, [(1, b"a")]), 2, ())
