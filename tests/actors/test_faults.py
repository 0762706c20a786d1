"""The injector: what becomes of messages, and that nothing but seed and message decides it."""

import pickle
import random
from collections.abc import Sequence
from math import ceil
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from actors.errors import ConfigurationError
from actors.fault import Fault
from actors.faults import FaultInjector, FaultPlan, fault_from
from actors.message import Kind, Message, decode, encode, parts_of
from actors.rule import Copies

COUNTS = {"worker": 100, "voter": 10, "boss": None}
Entry = dict[str, Any]


def injector(*entries: Entry, seed: int = 7, rounds: bool = False) -> FaultInjector:
    return FaultInjector(FaultPlan(faults(entries)), seed, COUNTS, rounds=rounds)


def faults(entries: Sequence[Entry]) -> tuple[Fault, ...]:
    return tuple(fault_from(entry, f"faults[{index}]") for index, entry in enumerate(entries))


def message(sender: str, sequence: int = 1, content: Any = "commit", kind: Kind = Kind.PLAIN) -> Message:
    return Message(sender, "voter/*", sequence, parts_of(content), int(kind))


def values(copies: Copies) -> list[Any]:
    return [copy.parts[0].value for copy, _ in copies]


EVERYTHING: list[Entry] = [
    {"byzantine": "equivocate", "agents": {"role": "worker", "share": 0.3}, "probability": 0.5},
    {"byzantine": "corrupt", "agents": {"role": "worker", "count": 10}, "probability": 0.5},
    {"duplicate": 0.2, "copies": 2},
    {"drop": 0.1},
    {"delay": {"exponential": 2}, "probability": 0.5},
    {"reorder": 0.3, "window": 4},
    {"partition": ["worker/0..20", "worker/21..50"], "from": 2, "until": 3},
]


@given(st.randoms(use_true_random=False), st.booleans())
def test_what_becomes_of_a_message_depends_on_no_order_and_no_process(
    order: random.Random, rounds: bool
) -> None:
    traffic = [
        (message(f"worker/{s}", n), f"voter/{r}", n)
        for s in range(0, 50, 7)
        for n in range(3)
        for r in range(2)
    ]
    first = injector(*EVERYTHING, rounds=rounds)
    expected = [list(first.deliveries(*one)) for one in traffic]
    second = FaultInjector(
        pickle.loads(pickle.dumps(FaultPlan(faults(EVERYTHING)))),  # noqa: S301 - our own bytes
        7,
        COUNTS,
        rounds=rounds,
    )
    places = list(range(len(traffic)))
    order.shuffle(places)
    found = {place: list(second.deliveries(*traffic[place])) for place in places}
    assert [found[place] for place in range(len(traffic))] == expected
    assert first.counts == second.counts


def test_another_seed_strikes_other_messages() -> None:
    def lost(seed: int) -> list[int]:
        rule = injector({"drop": 0.5}, seed=seed)
        return [n for n in range(100) if not rule.deliveries(message("worker/1", n), "boss", 0)]

    assert lost(1) != lost(2)


@pytest.mark.parametrize(
    ("entry", "measure"),
    [
        ({"drop": 0.2}, "dropped"),
        ({"delay": 2, "probability": 0.2}, "delayed"),
        ({"duplicate": 0.2}, "duplicated"),
        ({"reorder": 0.2, "window": 3}, "reordered"),
        ({"byzantine": "silent", "agents": "worker", "probability": 0.2}, "silenced"),
        ({"byzantine": "equivocate", "agents": "worker", "probability": 0.2}, "equivocated"),
        ({"byzantine": "corrupt", "agents": "worker", "probability": 0.2}, "corrupted"),
        ({"byzantine": "delay", "agents": "worker", "probability": 0.2, "distribution": 1}, "held_back"),
    ],
)
def test_a_fault_strikes_at_its_rate_and_is_counted(entry: Entry, measure: str) -> None:
    rule = injector(entry)
    for number in range(4000):
        rule.deliveries(message(f"worker/{number % 100}", number), "boss", 0)
    low, high = stats.binom(4000, 0.2).interval(0.9999)
    assert low <= rule.counts[measure] <= high
    assert list(rule.counts) == [measure]


def test_a_higher_probability_strikes_the_same_messages_and_more() -> None:
    def lost(probability: float) -> set[int]:
        rule = injector({"drop": probability})
        return {n for n in range(500) if not rule.deliveries(message("worker/1", n), "boss", 0)}

    assert lost(0.1) < lost(0.3)
    assert len(lost(0.0)) == 0
    assert len(lost(1.0)) == 500


def test_an_added_rule_of_another_kind_leaves_the_draws_as_they_are() -> None:
    alone, beside = injector({"drop": 0.3}), injector({"delay": 1}, {"drop": 0.3})
    for n in range(200):
        sent = message("worker/1", n)
        assert bool(alone.deliveries(sent, "boss", 0)) == bool(beside.deliveries(sent, "boss", 0))


def test_a_message_that_no_rule_is_about_arrives_once_at_once_and_as_it_is() -> None:
    rules = injector({"drop": 1, "senders": "worker/3"}, {"drop": 1, "between": ["boss", "voter"]})
    sent = message("worker/4")
    ((copy, delay),) = rules.deliveries(sent, "boss", 0)
    assert copy is sent
    assert delay == 0
    assert not rules.affects("worker/4")
    assert rules.affects("worker/3")
    assert rules.affects("boss")
    assert rules.affects("voter/extra")
    assert not rules.counts


@pytest.mark.parametrize("kind", [Kind.PLAIN, Kind.ASK, Kind.REPLY])
def test_what_agents_say_is_affected(kind: Kind) -> None:
    assert injector({"drop": 1}).deliveries(message("worker/1", kind=kind), "boss", 0) == []


@pytest.mark.parametrize("kind", [Kind.START, Kind.STOP, Kind.FAILURE])
def test_notices_of_the_system_are_not(kind: Kind) -> None:
    sent = message("worker/1", kind=kind)
    assert injector({"drop": 1}).deliveries(sent, "boss", 0) == ((sent, 0.0),)


@pytest.mark.parametrize(
    ("sender", "recipient"), [("worker/1", "worker/1"), ("@caller", "worker/1"), ("worker/1", "@caller")]
)
def test_timers_and_the_outside_are_not_affected(sender: str, recipient: str) -> None:
    rules = injector({"drop": 1}, {"partition": ["worker"]})
    sent = message(sender)
    assert rules.deliveries(sent, recipient, 0) == ((sent, 0.0),)
    assert not rules.affects("@caller")


def test_a_rule_holds_in_its_window_alone() -> None:
    rule = injector({"drop": 1, "from": 5, "until": 7})
    lost = [now for now in range(10) if not rule.deliveries(message("worker/1"), "boss", now)]
    assert lost == [5, 6]


def test_delays_follow_their_distribution_and_add_up() -> None:
    rules = injector({"delay": {"exponential": 2}})
    delays = [rules.deliveries(message("worker/1", n), "boss", 0)[0][1] for n in range(1000)]
    assert stats.kstest(delays, stats.expon(scale=2).cdf).pvalue > 0.001
    twice = injector({"delay": 2}, {"delay": 3})
    assert [delay for _, delay in twice.deliveries(message("worker/1"), "boss", 0)] == [5]


def test_in_rounds_the_sum_of_delays_is_rounded_up() -> None:
    entries: list[Entry] = [{"delay": {"uniform": {"low": 0, "high": 3}}}, {"reorder": 1, "window": 2}]
    free, rounds = injector(*entries), injector(*entries, rounds=True)
    for n in range(100):
        exact = free.deliveries(message("worker/1", n), "boss", 0)[0][1]
        whole = rounds.deliveries(message("worker/1", n), "boss", 0)[0][1]
        assert whole == ceil(exact)


def test_reordered_messages_are_held_back_within_the_window() -> None:
    rule = injector({"reorder": 1, "window": 3}, rounds=True)
    delays = {rule.deliveries(message("worker/1", n), "boss", 0)[0][1] for n in range(200)}
    assert delays == {1, 2, 3}


def test_each_copy_of_a_duplicate_meets_later_rules_by_itself() -> None:
    rules = injector({"duplicate": 1, "copies": 2}, {"drop": 0.5})
    found = [len(rules.deliveries(message("worker/1", n), "boss", 0)) for n in range(400)]
    assert set(found) == {0, 1, 2, 3}
    assert rules.counts["duplicated"] == 800
    assert sum(found) == 1200 - rules.counts["dropped"]


def test_a_partition_parts_its_groups_both_ways_and_the_rest_from_them() -> None:
    rule = injector({"partition": [["worker/0..4"], ["worker/5..9", "boss"]], "from": 10, "until": 20})
    sides = [["worker/0", "worker/4"], ["worker/5", "boss"], ["worker/10", "voter/1"]]
    for i, one in enumerate(sides):
        for j, other in enumerate(sides):
            for sender in one:
                for recipient in other:
                    arrived = bool(rule.deliveries(message(sender), recipient, 15))
                    assert arrived == (i == j), (sender, recipient)
                    assert rule.deliveries(message(sender), recipient, 9)
                    assert rule.deliveries(message(sender), recipient, 20)


def test_a_partition_of_whole_roles_spares_what_stays_inside_them() -> None:
    rule = injector({"partition": ["worker"]})
    assert rule.deliveries(message("worker/1"), "worker/2", 0)
    assert rule.deliveries(message("voter/1"), "boss", 0)
    assert not rule.deliveries(message("worker/1"), "boss", 0)
    assert not rule.deliveries(message("boss"), "worker/1", 0)


def test_between_holds_both_ways_and_for_nobody_else() -> None:
    rule = injector({"drop": 1, "between": ["boss", "voter/0..4"]})
    assert not rule.deliveries(message("boss"), "voter/1", 0)
    assert not rule.deliveries(message("voter/1"), "boss", 0)
    assert rule.deliveries(message("boss"), "voter/5", 0)
    assert rule.deliveries(message("voter/1"), "voter/2", 0)


def test_an_equivocator_tells_each_recipient_its_own_and_the_same_again() -> None:
    liar = injector({"byzantine": "equivocate", "agents": "worker/1"})
    for content in ("commit", 5, 2.5, {"vote": 1, "to": ["a", 3]}):
        sent = message("worker/1", content=content)
        told = [values(liar.deliveries(sent, f"voter/{n}", 0))[0] for n in range(10)]
        assert all(one != other for i, one in enumerate(told) for other in told[:i])
        assert told == [values(liar.deliveries(sent, f"voter/{n}", 0))[0] for n in range(10)]
    honest = message("worker/2")
    assert liar.deliveries(honest, "voter/1", 0) == ((honest, 0.0),)


def test_a_corrupt_sender_tells_everybody_the_same_lie() -> None:
    liar = injector({"byzantine": "corrupt", "agents": {"role": "worker", "count": 100}, "probability": 0.5})
    lies = 0
    for n in range(40):
        sent = message("worker/1", n, {"term": 3, "vote": True})
        told = [
            values(liar.deliveries(sent, recipient, 0))[0] for recipient in ("boss", "voter/1", "voter/2")
        ]
        assert told[0] == told[1] == told[2]
        lies += told[0] != sent.data
    assert 0 < lies < 40


def test_a_lie_keeps_everything_but_the_values_and_can_be_encoded() -> None:
    liar = injector({"byzantine": "corrupt", "agents": "worker"})
    sent = Message(
        "worker/1", "boss", 9, parts_of({"n": 2**63, "x": [1.5, None]}), Kind.REPLY, 4, "c", "t", {"k": 1}
    )
    ((told, _),) = liar.deliveries(sent, "boss", 0)
    assert decode(encode(told)) == told
    assert (told.sender, told.sequence, told.kind, told.reply_to) == ("worker/1", 9, Kind.REPLY, 4)
    assert (told.context_id, told.task_id, told.metadata) == ("c", "t", {"k": 1})
    assert told.data["x"][1] is None
    assert told.data["n"] != 2**63


def test_all_copies_of_a_message_tell_the_same_lie() -> None:
    liar = injector({"duplicate": 1}, {"byzantine": "equivocate", "agents": "worker"})
    one, other = values(liar.deliveries(message("worker/1"), "boss", 0))
    assert one == other != "commit"


def test_silent_agents_say_nothing_and_slow_ones_say_it_late() -> None:
    rules = injector(
        {"byzantine": "silent", "agents": "worker/1"},
        {"byzantine": "delay", "agents": "worker/2", "distribution": 4},
    )
    assert rules.deliveries(message("worker/1"), "boss", 0) == []
    assert [delay for _, delay in rules.deliveries(message("worker/2"), "boss", 0)] == [4]
    assert rules.counts == {"silenced": 1, "held_back": 1}


def test_crashed_agents_are_down_from_start_to_end() -> None:
    rules = injector(
        {"crash": "worker/1", "at": 5, "for": 10, "keep_state": True},
        {"crash": ["boss", "voter/0..2"], "at": 7},
        {"cell_crash": 0, "at": 3},
    )
    assert [now for now in range(20) if rules.crashed("worker/1", now)] == list(range(5, 15))
    assert [now for now in range(20) if rules.crashed("boss", now)] == list(range(7, 20))
    assert not rules.crashed("worker/2", 9)
    first, second = rules.crashes()
    assert (first.at, first.end, first.keep_state, list(first.agents.declared())) == (
        5,
        15,
        True,
        ["worker/1"],
    )
    assert (second.end, list(second.agents.declared())) == (None, ["boss", "voter/0", "voter/1", "voter/2"])
    assert (first.selects("worker/1"), first.selects("worker/2")) == (True, False)
    assert not rules.affects("worker/1")


def test_agents_chosen_by_count_are_the_same_for_every_rule_unless_drawn_apart() -> None:
    rules = injector(
        {"crash": {"role": "voter", "count": 3}, "at": 0},
        {"crash": {"role": "voter", "count": 3}, "at": 0},
        {"crash": {"role": "voter", "count": 3, "draw": "other"}, "at": 0},
    )
    same, again, apart = (set(outage.agents.declared()) for outage in rules.crashes())
    assert same == again
    assert same != apart


def test_a_role_that_does_not_exist_is_named_with_its_rule() -> None:
    with pytest.raises(
        ConfigurationError, match=r"faults\[1\].senders: no role 'wroker'. Did you mean 'worker'"
    ):
        injector({"drop": 1}, {"drop": 1, "senders": "wroker/1"})
