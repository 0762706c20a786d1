"""Whom a replica asks for what it missed, and how often."""

from coordination.chain.block import GENESIS, GENESIS_QC, QC, Block
from coordination.chain.catching_up import Fetcher
from coordination.chain.tree import Tree
from coordination.signature import TokenScheme, certificate

WAIT_S = 4.0


def searching() -> Fetcher:
    """Replica 1, which lacks a block that 2, 3 and 4 certified, and has asked 2."""
    words = [TokenScheme(signer).sign(signer, ("vote", 5)) for signer in (2, 3, 4)]
    missing = Block(5, 5, 2, QC(4, b"parent", certificate(TokenScheme(), words)), ())
    fetcher = Fetcher(1, Tree(), wait_s=WAIT_S, batch=10)
    asked = fetcher.want(QC(5, missing.digest, certificate(TokenScheme(), words)), 2, 0.0)
    assert asked is not None
    assert asked[0] == 2
    return fetcher


def test_useless_answers_have_each_signer_asked_once_and_then_the_time_out_is_waited_for() -> None:
    fetcher = searching()
    asked = [fetcher.another(0.1) for _ in range(10)]
    assert sorted(one[0] for one in asked[:3] if one is not None) == [2, 3, 4]
    assert asked[3:] == [None] * 7
    assert fetcher.deadline == 0.1 + WAIT_S


def test_after_a_time_out_useless_answers_have_others_asked_again() -> None:
    fetcher = searching()
    for _ in range(10):
        fetcher.another(0.1)
    assert fetcher.retry(0.1 + WAIT_S) is not None
    assert fetcher.another(4.2) is not None


def test_with_nothing_missing_nobody_is_asked() -> None:
    fetcher = Fetcher(1, Tree(), wait_s=WAIT_S, batch=10)
    assert fetcher.want(GENESIS_QC, 2, 0.0) is None
    assert fetcher.another(0.1) is None
    assert GENESIS.digest == GENESIS_QC.digest
