"""The ledger: what it must notice."""

from random import Random

import pytest

from coordination.checker import SafetyViolation
from coordination.protocol import Decided, Effects, Installed, Propose, Protocol, Restore, Setting
from coordination.simulation.ledger import Ledger
from tests.coordination.simulation.pingers import Boaster

PROTOCOL: Protocol = Boaster(Setting(1, (1,), Random(1)))


def decide(ledger: Ledger, replica: int, slot: int, *commands: object) -> None:
    ledger.observe(0.0, replica, PROTOCOL, Propose(0.0, ()), Effects(decided=[Decided(slot, commands)]))


def proposed(ledger: Ledger, *commands: object) -> None:
    ledger.observe(0.0, 1, PROTOCOL, Propose(0.0, commands), Effects())


def test_replicas_that_decide_the_same_are_left_in_peace() -> None:
    ledger = Ledger()
    proposed(ledger, "a", "b")
    for replica in (1, 2):
        decide(ledger, replica, 1, "a")
        decide(ledger, replica, 2, "b")
    ledger.observe(0.0, 1, PROTOCOL, Restore(0.0), Effects())
    decide(ledger, 1, 1, "a")  # after a restart it is told again
    assert ledger.decided == [("a",), ("b",)]


def test_two_commands_in_one_slot_are_a_breach_of_agreement() -> None:
    ledger = Ledger()
    proposed(ledger, "a", "b")
    decide(ledger, 1, 1, "a")
    with pytest.raises(SafetyViolation, match="agreement"):
        decide(ledger, 2, 1, "b")


def test_a_replica_that_decides_otherwise_after_a_restart_is_caught() -> None:
    ledger = Ledger()
    proposed(ledger, "a", "b")
    decide(ledger, 1, 1, "a")
    ledger.observe(0.0, 1, PROTOCOL, Restore(0.0), Effects())
    with pytest.raises(SafetyViolation, match="agreement"):
        decide(ledger, 1, 1, "b")


def test_a_gap_is_a_breach_but_for_an_installed_state() -> None:
    ledger = Ledger()
    proposed(ledger, "a", "b", "c")
    for slot, command in ((1, "a"), (2, "b"), (3, "c")):
        decide(ledger, 1, slot, command)
    ledger.observe(0.0, 2, PROTOCOL, Propose(0.0, ()), Effects(installed=Installed(2, None)))
    decide(ledger, 2, 3, "c")
    decide(ledger, 3, 1, "a")
    with pytest.raises(SafetyViolation, match="no gaps"):
        decide(ledger, 3, 3, "c")


def test_what_nobody_proposed_and_what_is_not_valid_is_noticed() -> None:
    with pytest.raises(SafetyViolation, match="was proposed"):
        decide(Ledger(), 1, 1, "from nowhere")
    ledger = Ledger(valid=lambda commands: "bad" not in commands)
    proposed(ledger, "bad")
    with pytest.raises(SafetyViolation, match="external validity"):
        decide(ledger, 1, 1, "bad")


def test_a_ledger_that_counts_goes_on_and_tells_at_the_end() -> None:
    ledger = Ledger(strict=False)
    proposed(ledger, "a", "b")
    decide(ledger, 1, 1, "a")
    decide(ledger, 2, 1, "b")
    assert not ledger.agreement
    assert ledger.validity
    assert len(ledger.breaches) == 1
