"""Counting signed votes."""

from coordination.signature import TokenScheme
from coordination.tally import Tally

SCHEME = TokenScheme()


def test_one_vote_a_signer_counts_and_a_second_for_something_else_is_handed_back() -> None:
    tally = Tally()
    first, second = SCHEME.sign(1, ("a",)), SCHEME.sign(1, ("b",))
    assert tally.add(b"a", first) is None
    assert tally.add(b"a", first) is None
    assert tally.add(b"b", second) == (b"a", first)
    assert tally.add(b"a", SCHEME.sign(2, ("a",))) is None
    assert (len(tally), tally.count(b"a"), tally.count(b"b")) == (2, 2, 0)
    assert tally.has(1, b"a")
    assert not tally.has(1, b"b")
    assert tally.certificate(SCHEME, b"a").signers == (1, 2)
