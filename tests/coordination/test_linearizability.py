from collections.abc import Callable, Hashable, Sequence
from random import Random

import pytest

from actors.errors import ConfigurationError
from coordination.history import History, HistoryRecorder, Operation
from coordination.linearizability import Illegal, Linearizable, Undecided, check_linearizable
from coordination.object_model import KEY_VALUE, REGISTER, KeyValue, Model, Register, model_for
from tests.coordination.histories import atomic_history, is_an_order, most_placed, mutated, random_history

MODELS = pytest.mark.parametrize("model", [REGISTER, KEY_VALUE], ids=lambda model: model.name)


def told(script: str) -> History:
    """A register's history from words: `0:w1` calls write 1, `0:r` a read, `0:c12` cas 1 to 2; `0=` or `0=3` returns,
    `0=y` and `0=n` return a cas, `0!` never returns.
    """
    recorder = HistoryRecorder()
    for word in script.split():
        process, mark, rest = int(word[0]), word[1], word[2:]
        if mark == "!":
            recorder.info(process)
        elif mark == "=":
            recorder.ok(process, {"y": True, "n": False, "": None, "-": None}.get(rest, rest))
        elif rest[0] == "w":
            recorder.call(process, "write", rest[1])
        elif rest[0] == "c":
            recorder.call(process, "cas", (rest[1], rest[2]))
        else:
            recorder.call(process, "read")
    return recorder.finish()


ACCEPTED = {
    "nothing at all": "",
    "a read of nothing": "0:r 0=-",
    "one after another": "0:w1 0= 1:r 1=1",
    "a read beside a write sees the old value": "0:w1 1:r 1=- 0=",
    "a read beside a write sees the new value": "0:w1 1:r 1=1 0=",
    "reads beside a write, the old value first": "0:w1 1:r 1=- 1:r 1=1 0=",
    "writes at once, in either order": "0:w1 1:w2 0= 1= 2:r 2=1 2:r 2=1",
    "a write that never returned acts late": "0:w1 0! 1:r 1=- 1:r 1=1",
    "a write that never returned never acts": "0:w1 0! 1:r 1=- 1:w2 1= 1:r 1=2",
    "a cas that never returned acts": "0:w1 0= 0:c12 0! 1:r 1=1 1:r 1=2",
    "a cas fails on another value": "0:w1 0= 1:c21 1=n 1:r 1=1",
    "a write of what is there undoes another write": "0:w2 0! 1:r 1=2 1:w1 2:w2 1= 0:c22 0=y 2=",
}
REFUSED_HISTORIES = {
    "a read of what nobody wrote": "0:r 0=1",
    "an old value after a new one": "0:w1 1:r 1=1 1:r 1=- 0=",
    "a stale read": "0:w1 0= 0:w2 0= 1:r 1=1",
    "a lost write": "0:w1 0= 1:r 1=-",
    "a write that never returned acts twice": "0:w1 0! 1:r 1=1 1:w2 1= 1:r 1=1",
    "two cas from one value": "0:w1 0= 0:c12 1:c13 0=y 1=y",
    "a cas that fails on its value": "0:w1 0= 1:c12 1=n",
    "a cas that never returned and never matched": "0:c12 0! 1:r 1=2",
    "readers who disagree on an order": "0:w1 1:w2 0= 1= 2:r 2=1 3:r 3=2 2:r 2=1",
}


@pytest.mark.parametrize("script", ACCEPTED.values(), ids=ACCEPTED.keys())
def test_what_an_atomic_register_can_show_is_accepted(script: str) -> None:
    history = told(script)
    verdict = check_linearizable(history, REGISTER)
    assert isinstance(verdict, Linearizable)
    assert is_an_order(REGISTER, history.operations, verdict.orders.get("", ()))


@pytest.mark.parametrize("script", REFUSED_HISTORIES.values(), ids=REFUSED_HISTORIES.keys())
def test_what_it_cannot_show_is_refused(script: str) -> None:
    assert isinstance(check_linearizable(told(script), REGISTER), Illegal)


def agrees_with_the_oracle(model: Model, judge: Model, seed: int) -> bool:
    """Whether the checker, asking `judge`, finds what trying every order by `model` finds."""
    rng = Random(seed)
    history = random_history(rng, model, clients=rng.randint(1, 4), operations=rng.randint(0, 7))
    returned = len(history.operations) - history.indefinite
    most = most_placed(model, history.operations)
    verdict = check_linearizable(history, judge)
    if most == returned:
        return isinstance(verdict, Linearizable) and is_an_order(
            model, history.operations, verdict.orders.get("0", ())
        )
    return isinstance(verdict, Illegal) and most == sum(each.returned is not None for each in verdict.placed)


@MODELS
def test_verdict_order_and_longest_prefix_are_those_of_trying_every_order(model: Model) -> None:
    wrong = [seed for seed in range(2_500) if not agrees_with_the_oracle(model, model, seed)]
    assert wrong == []


class WritesOnlyLook(Register):
    """A mutant: takes a write of what is there for an operation that only looks."""

    def looks(self, operation: Operation) -> bool:
        return True


class NobodySees(KeyValue):
    """A mutant: forgets that gets tell values apart."""

    def last_use(self, operations: Sequence[Operation]) -> Callable[[Hashable], int]:
        return lambda state: -1


class SeenTooBriefly(Register):
    """A mutant: takes a value for unseen one operation too early."""

    def last_use(self, operations: Sequence[Operation]) -> Callable[[Hashable], int]:
        last = super().last_use(operations)
        return lambda state: last(state) - 1


class GetsTellOnlyTheWhole(KeyValue):
    """A mutant: forgets that a value may grow into what a get shows."""

    def last_use(self, operations: Sequence[Operation]) -> Callable[[Hashable], int]:
        last = super().last_use(operations)
        results = {operation.result for operation in operations if operation.function == "get"}
        return lambda state: last(state) if state in results else -1


class AppendsReplace(KeyValue):
    """A mutant: forgets that what is joined may end as what is put."""

    def joins(self, operation: Operation) -> bool:
        return False


@pytest.mark.parametrize(
    ("model", "mutant"),
    [
        (REGISTER, WritesOnlyLook()),
        (REGISTER, SeenTooBriefly()),
        (KEY_VALUE, NobodySees()),
        (KEY_VALUE, GetsTellOnlyTheWhole()),
    ],
    ids=lambda model: type(model).__name__,
)
def test_the_oracle_finds_a_checker_that_cuts_too_much(model: Model, mutant: Model) -> None:
    assert not all(agrees_with_the_oracle(model, mutant, seed) for seed in range(2_500))


def test_what_is_joined_may_be_what_another_operation_puts() -> None:
    recorder = HistoryRecorder()
    recorder.call(0, "put", "z")
    recorder.ok(0)
    for process, function, text in ((0, "put", "a"), (1, "append", "ab"), (2, "append", "b")):
        recorder.call(process, function, text)
    for process in (1, 0, 2):
        recorder.ok(process)
    recorder.call(3, "get")
    recorder.ok(3, "ab")  # of put a, append b: the append of ab came before both
    history = recorder.finish()
    assert isinstance(check_linearizable(history, KEY_VALUE), Linearizable)
    with pytest.raises(AssertionError, match="what foresight refused has an order"):
        check_linearizable(history, AppendsReplace())


@MODELS
def test_every_history_of_an_atomic_object_is_accepted_with_an_order_that_runs(model: Model) -> None:
    for seed in range(30):
        history = atomic_history(Random(seed), model, clients=6, operations=120, keys=2, lost=0.05)
        verdict = check_linearizable(history, model)
        assert isinstance(verdict, Linearizable), f"seed {seed}"
        for key in history.keys:
            operations = [each for each in history.operations if each.key == key]
            assert is_an_order(model, operations, verdict.orders[key]), f"seed {seed}, key {key}"


def test_fifty_clients_on_ten_keys_are_judged_in_few_steps() -> None:
    accepted = refused = 0
    for seed in range(4):
        history = atomic_history(Random(seed), KEY_VALUE, clients=50, operations=6_000, keys=10)
        verdict = check_linearizable(history, limit_steps=1_000_000)
        assert isinstance(verdict, Linearizable), f"seed {seed}"
        accepted += verdict.steps
        broken = check_linearizable(mutated(Random(seed), history, 0.002), limit_steps=1_000_000)
        assert isinstance(broken, Illegal), f"seed {seed}"
        refused += broken.steps
    assert accepted < 1_000_000
    assert refused < 4_000_000


def test_a_long_history_of_one_register_is_judged() -> None:
    history = atomic_history(Random(5), REGISTER, clients=8, operations=8_000, values=100)
    verdict = check_linearizable(history, limit_steps=1_000_000)
    assert isinstance(verdict, Linearizable)
    assert len(verdict.orders["0"]) == 8_000


def test_one_bad_key_among_good_ones_is_named() -> None:
    recorder = HistoryRecorder()
    for key in ("a", "b", "c"):
        recorder.call(0, "put", "1", key=key)
        recorder.ok(0)
        recorder.call(1, "get", key=key)
        recorder.ok(1, "" if key == "b" else "1")
    verdict = check_linearizable(recorder.finish())
    assert isinstance(verdict, Illegal)
    assert verdict.key == "b"
    assert str(verdict) == (
        'no order of key "b": after 1 operation the value is "1", '
        'and then process 1\'s get of "b" gives "" cannot be placed'
    )


def test_a_refusal_names_all_that_might_come_next_and_why_not() -> None:
    verdict = check_linearizable(told("0:w1 0= 0:w2 1:r 2:r 1=3 2=4 0= 0:w5 0="), REGISTER)
    assert isinstance(verdict, Illegal)
    assert [str(each.operation) for each in verdict.blocked] == ['read gives "3"', 'read gives "4"']
    assert verdict.left == 3
    assert str(verdict.due) == 'read gives "3"'
    assert all(each.reason == 'its result does not fit: the value is "2"' for each in verdict.blocked)


def test_a_limit_of_steps_leaves_it_undecided_at_the_same_step_each_time() -> None:
    history = atomic_history(Random(1), KEY_VALUE, clients=50, operations=400)
    first, second = (check_linearizable(history, limit_steps=2_000) for _ in range(2))
    assert isinstance(first, Undecided)
    assert first == second
    assert first.keys == ("0",)
    assert "over 2,000 steps" in first.reason


def test_a_limit_of_memory_leaves_it_undecided() -> None:
    history = atomic_history(Random(1), KEY_VALUE, clients=50, operations=400)
    verdict = check_linearizable(history, limit_configurations=1_000)
    assert isinstance(verdict, Undecided)
    assert "1,000 configurations" in verdict.reason


def test_a_clock_that_is_handed_in_ends_the_search() -> None:
    seconds = iter(range(1_000))
    history = atomic_history(Random(1), KEY_VALUE, clients=50, operations=400)
    verdict = check_linearizable(history, clock=lambda: float(next(seconds)), limit_s=5)
    assert isinstance(verdict, Undecided)
    assert verdict.reason.startswith("over 5 s")
    assert 5 * 4_096 <= verdict.steps < 6 * 4_096


def test_thousands_of_concurrent_calls_need_no_recursion() -> None:
    recorder = HistoryRecorder()
    for process in range(3_000):
        recorder.call(process, "write", process)
    for process in range(3_000):
        recorder.ok(process)
    assert isinstance(check_linearizable(recorder.finish()), Linearizable)


def test_many_writes_that_never_returned_cost_no_subsets_of_them() -> None:
    recorder = HistoryRecorder()
    for process in range(40):
        recorder.call(process, "write", process % 4)
        recorder.info(process)
    recorder.call(99, "read")
    recorder.ok(99, 7)
    verdict = check_linearizable(recorder.finish(), limit_steps=200_000)
    assert isinstance(verdict, Illegal)


def test_a_limit_that_is_no_limit_is_an_error() -> None:
    with pytest.raises(ConfigurationError, match="limit_steps is 0: give more than 0"):
        check_linearizable(told(""), limit_steps=0)


def test_the_model_is_told_by_the_operations() -> None:
    assert model_for(told("0:w1 0=")).name == "register"
    recorder = HistoryRecorder("mixed.jsonl")
    recorder.call(0, "get", key="k", line=2)
    recorder.call(1, "write", 1, key="k", line=3)
    mixed = recorder.finish()
    with pytest.raises(
        ConfigurationError, match=r"mixed\.jsonl: no model has all of the operations get, write"
    ):
        model_for(mixed)
    with pytest.raises(
        ConfigurationError, match=r"mixed\.jsonl, line 3: the model key-value has no operation write"
    ):
        model_for(mixed, "key-value")
    with pytest.raises(
        ConfigurationError, match=r'there is no model "queue"\. Give one of: register, key-value'
    ):
        model_for(mixed, "queue")
