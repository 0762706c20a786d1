"""A budget in a file: what was spent before counts after, and what may have been spent counts in full."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from inference.budget import Budget
from inference.errors import BudgetExceeded, ConfigurationError
from inference.ledger import Ledger, LedgerLocked
from inference.limits import BudgetLimits, Ceiling
from inference.request import Caller

VOTER = Caller("voter/1", "voter")
LIMITS = BudgetLimits(
    run=Ceiling(tokens=1000), each_role=Ceiling(tokens=500), each_agent=Ceiling(tokens=100, usd=1.0)
)


def budget(path: Path) -> Budget:
    return Budget(LIMITS, Ledger(path))


def test_a_budget_goes_on_from_its_ledger(tmp_path: Path) -> None:
    path = tmp_path / "spent.jsonl"
    first = budget(path)
    first.reserve(VOTER, 50, 0.1).settle(30, 0.05)
    first.reserve(VOTER, 50, 0.1).release()
    first.reserve(Caller("poet/1", "poet"), 40, 0.1).forfeit()
    first.reserve(VOTER, 20, 0.1)  # and the process dies
    first.close()
    second = budget(path)
    assert second.spent().tokens == 30 + 40 + 20
    assert second.spent(agent="voter/1").tokens == 50
    assert second.spent(role="poet").tokens == 40
    assert second.spent(agent="voter/1").usd == pytest.approx(0.15)
    with pytest.raises(BudgetExceeded, match="50 tokens are spent"):
        second.reserve(VOTER, 51, 0.1)
    second.reserve(VOTER, 50, 0.1).settle(50, 0.1)
    second.close()
    third = budget(path)
    assert third.spent().tokens == 140
    third.close()


def test_a_call_that_is_refused_is_not_in_the_ledger(tmp_path: Path) -> None:
    path = tmp_path / "spent.jsonl"
    first = budget(path)
    with pytest.raises(BudgetExceeded):
        first.reserve(VOTER, 5000, 0.1)
    first.close()
    assert len(path.read_bytes().splitlines()) == 1


def test_a_torn_tail_is_cut_and_charged_nothing(tmp_path: Path) -> None:
    path = tmp_path / "spent.jsonl"
    first = budget(path)
    first.reserve(VOTER, 50, 0.1).settle(30, 0.05)
    first.close()
    whole = path.read_bytes()
    path.write_bytes(whole + b'["+",9,50')
    second = budget(path)
    assert second.spent().tokens == 30
    second.close()
    assert path.read_bytes() == whole


def test_two_processes_cannot_count_apart(tmp_path: Path) -> None:
    path = tmp_path / "spent.jsonl"
    first = Ledger(path)
    program = f"from pathlib import Path; from inference.ledger import Ledger; Ledger(Path({str(path)!r}))"
    told = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False).stderr
    assert "another process has the ledger" in told
    with pytest.raises(LedgerLocked):
        Ledger(path)
    first.close()
    first.close()
    Ledger(path).close()


def test_a_broken_a_foreign_and_a_missing_ledger_are_told(tmp_path: Path) -> None:
    path = tmp_path / "spent.jsonl"
    path.write_text('{"format": "something", "version": 1}\n')
    with pytest.raises(ConfigurationError, match="no ledger"):
        Ledger(path)
    for foreign in ("a note without an end", "x" * 100_000):
        path.write_text(foreign)
        with pytest.raises(ConfigurationError, match="this is no ledger"):
            Ledger(path)
        assert path.read_text() == foreign
    path.write_text('{"format":"rayswarm-led')
    Ledger(path).close()  # it was torn as it began
    path.write_text('{"format": "rayswarm-ledger", "version": 1}\n["+", "one"]\n')
    with pytest.raises(ConfigurationError, match="line 2"):
        Ledger(path)
    with pytest.raises(ConfigurationError, match="all nodes share"):
        Ledger(tmp_path / "elsewhere.jsonl", must_exist=True)


def test_an_end_that_cannot_be_written_leaves_the_reservation_standing(tmp_path: Path) -> None:
    path = tmp_path / "spent.jsonl"
    first = budget(path)
    reservation = first.reserve(VOTER, 50, 0.1)
    assert first._ledger is not None
    kept, first._ledger._file = first._ledger._file, os.open(path, os.O_RDONLY)
    reservation.settle(10, 0.01)
    os.close(first._ledger._file)
    first._ledger._file = kept
    first.close()
    again = budget(path)
    assert again.spent().tokens == 50
    again.close()
