"""Faults as described in an experiment file: read, checked, and refused with place and mend."""

import pickle
from math import inf

import pytest

from actors.distribution import Constant, Exponential, LogNormal
from actors.errors import ConfigurationError
from actors.fault import Byzantine, CellCrash, Crash, Delay, Drop, Duplicate, Fault, Partition, Reorder
from actors.faults import FaultPlan, fault_from
from actors.selector import Selector, select


@pytest.mark.parametrize(
    ("entry", "fault"),
    [
        ({"drop": 0.1}, Drop(0.1)),
        ({"drop": 0.1, "senders": "worker"}, Drop(0.1, senders=select("worker"))),
        (
            {"drop": 1, "recipients": ["a", "b/3"], "from": 2, "until": 4},
            Drop(1, recipients=select("a", "b/3"), start=2, end=4),
        ),
        (
            {"drop": 0.5, "between": ["a", ["b", "c"]]},
            Drop(0.5, between=(select("a"), select("b", "c"))),
        ),
        ({"delay": 2}, Delay(Constant(2))),
        (
            {"delay": {"lognormal": {"median": 2, "sigma": 0.5}}, "probability": 0.3},
            Delay(LogNormal(2, 0.5), 0.3),
        ),
        ({"duplicate": 0.2}, Duplicate(0.2, 1)),
        ({"duplicate": 0.2, "copies": 3}, Duplicate(0.2, 3)),
        ({"reorder": 0.2, "window": 5}, Reorder(0.2, 5)),
        (
            {"partition": [["worker/0..4"], ["worker/5..9", "boss"]], "from": 10, "until": 20},
            Partition((select("worker/0..4"), select("worker/5..9", "boss")), 10, 20),
        ),
        ({"partition": ["boss"]}, Partition((select("boss"),), 0, inf)),
        ({"crash": "surveyor/1", "at": 5, "for": 10}, Crash(select("surveyor/1"), 5, 10, False)),
        ({"crash": "surveyor", "at": 5, "keep_state": True}, Crash(select("surveyor"), 5, None, True)),
        ({"cell_crash": 1, "at": 5}, CellCrash(1, 5)),
        (
            {"byzantine": "corrupt", "agents": {"role": "voter", "count": 2}},
            Byzantine("corrupt", (Selector("voter", count=2),)),
        ),
        (
            {"byzantine": "delay", "agents": "voter", "distribution": {"exponential": 2}, "probability": 0.5},
            Byzantine("delay", select("voter"), 0.5, Exponential(2)),
        ),
        (
            {"byzantine": "equivocate", "agents": "voter", "values": ["yes", "no"], "recipients": "boss"},
            Byzantine("equivocate", select("voter"), values=("yes", "no"), recipients=select("boss")),
        ),
    ],
)
def test_an_entry_says_a_fault(entry: object, fault: Fault) -> None:
    assert fault_from(entry) == fault
    assert pickle.loads(pickle.dumps(FaultPlan((fault,)))) == FaultPlan((fault,))  # noqa: S301 - our own bytes


@pytest.mark.parametrize(
    ("entry", "words"),
    [
        ({"drop": 1.5}, r"faults\[2\].probability: 1.5 is not a number from 0 to 1"),
        ({"drop": "often"}, r"faults\[2\].drop: 'often' is not a number"),
        ({"dorp": 0.1}, r"faults\[2\]: .* names no fault. Did you mean 'drop'"),
        ({}, r"faults\[2\]: .* names no fault. Known: drop, delay"),
        (
            {"drop": 0.1, "delay": 2},
            r"faults\[2\]: \['drop', 'delay'\] are several faults. Make an entry of each",
        ),
        ({"drop": 0.1, "sender": "a"}, r"faults\[2\].sender: unknown key. Did you mean 'senders'"),
        ({"drop": 0.1, "senders": []}, r"faults\[2\].senders: the list is empty"),
        ({"drop": 0.1, "senders": ["a", 3]}, r"faults\[2\].senders\[1\]: 3 selects no agents"),
        ({"drop": 0.1, "between": ["a"]}, r"faults\[2\].between: 1 sides. Give two"),
        ({"drop": 0.1, "from": 5, "until": 5}, r"faults\[2\].end: 5 is not after the start at 5"),
        ({"drop": 0.1, "from": -1}, r"faults\[2\].start: -1 is not a number of 0 or more"),
        (
            {"delay": {"normal": 2}},
            r"faults\[2\].delay.normal: unknown distribution. Did you mean 'lognormal'",
        ),
        ({"duplicate": 0.1, "copies": 0}, r"faults\[2\].copies: 0 is not a whole number from 1 to 100"),
        ({"reorder": 0.1}, r"faults\[2\].window: missing"),
        ({"reorder": 0.1, "window": 0}, r"faults\[2\].window: 0 changes nothing"),
        ({"partition": "worker"}, r"faults\[2\].partition: 'worker' is not a list"),
        ({"partition": []}, r"faults\[2\].groups: there are none"),
        ({"crash": "worker/1"}, r"faults\[2\].at: missing"),
        ({"crash": "worker/1", "at": 1, "for": 0}, r"faults\[2\].duration: 0 changes nothing"),
        (
            {"crash": "worker/1", "at": 1, "keep_state": 1},
            r"faults\[2\].keep_state: 1 is neither true nor false",
        ),
        ({"cell_crash": -1, "at": 1}, r"faults\[2\].cell: -1 is not a whole number of 0 or more"),
        (
            {"byzantine": "equivocal", "agents": "a"},
            r"faults\[2\].behaviour: unknown 'equivocal'. Did you mean 'equivocate'",
        ),
        ({"byzantine": "silent"}, r"faults\[2\].agents: missing"),
        ({"byzantine": "delay", "agents": "a"}, r"faults\[2\].distribution: None is not a distribution"),
        (
            {"byzantine": "silent", "agents": "a", "distribution": 2},
            r"faults\[2\].distribution: only behaviour 'delay' has one",
        ),
        (
            {"byzantine": "corrupt", "agents": "a", "values": ["x"]},
            r"faults\[2\].values: \['x'\] is of no use",
        ),
        ({"byzantine": "corrupt", "agents": "a", "values": "x"}, r"faults\[2\].values: 'x' is not a list"),
        (["drop", 0.1], r"faults\[2\]: \['drop', 0.1\] is not a dictionary"),
    ],
)
def test_a_wrong_entry_is_named_with_place_value_and_mend(entry: object, words: str) -> None:
    with pytest.raises(ConfigurationError, match=words):
        fault_from(entry, "faults[2]")


def test_a_plan_made_in_python_is_checked_and_names_the_rule() -> None:
    with pytest.raises(ConfigurationError, match=r"faults\[1\].probability: 2 is not a number from 0 to 1"):
        FaultPlan((Drop(0.1), Drop(2)))
    with pytest.raises(ConfigurationError, match=r"faults\[0\].senders: 'worker' are not selectors"):
        FaultPlan((Drop(0.1, senders="worker"),))  # type: ignore[arg-type]  # the mistake under test
    with pytest.raises(ConfigurationError, match=r"faults\[0\].agents: nobody is named"):
        FaultPlan((Crash((), at=3),))


def test_the_host_finds_the_cells_to_kill() -> None:
    assert FaultPlan((Drop(0.1), CellCrash(1, 5))).cell_crashes == (CellCrash(1, 5),)
