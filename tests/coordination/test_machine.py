"""The key-value store: commands, sessions, snapshots."""

from hypothesis import given
from hypothesis import strategies as some

from coordination.machine import KeyValueStore, are_commands, is_command

KEYS = some.sampled_from(["a", "b"])
OPERATIONS = some.one_of(
    some.tuples(some.just("get"), KEYS),
    some.tuples(some.just("put"), KEYS, some.text(max_size=3)),
    some.tuples(some.just("append"), KEYS, some.text(max_size=3)),
    some.tuples(some.just("cas"), KEYS, some.none() | some.text(max_size=3), some.text(max_size=3)),
)


def test_operations_do_what_they_say() -> None:
    store = KeyValueStore()
    assert store.apply((1, 1, "get", "k")) is None
    assert store.apply((1, 2, "put", "k", "v"))
    assert store.apply((1, 3, "append", "k", "w"))
    assert store.apply((1, 4, "get", "k")) == "vw"
    assert store.apply((1, 5, "cas", "k", "no", "x")) is False
    assert store.apply((1, 6, "cas", "k", "vw", "x")) is True
    assert store.apply((1, 7, "get", "k")) == "x"


@given(some.lists(OPERATIONS, max_size=20), some.randoms(use_true_random=False))
def test_commands_that_come_again_act_once(operations: list[tuple[object, ...]], rng: object) -> None:
    plain, repeated = KeyValueStore(), KeyValueStore()
    for serial, operation in enumerate(operations, 1):
        command = (7, serial, *operation)
        result = plain.apply(command)
        assert [repeated.apply(command) for _ in range(rng.randint(1, 3))][-1] == result  # type: ignore[attr-defined]  # a Random
    assert repeated.store == plain.store


@given(some.lists(OPERATIONS, max_size=10), some.lists(OPERATIONS, max_size=10))
def test_a_snapshot_carries_the_whole_state(
    before: list[tuple[object, ...]], after: list[tuple[object, ...]]
) -> None:
    first, second = KeyValueStore(), KeyValueStore()
    for serial, operation in enumerate(before, 1):
        first.apply((1, serial, *operation))
    second.restore(first.snapshot())
    for serial, operation in enumerate(before + after, 1):
        assert second.apply((1, serial, *operation)) == first.apply((1, serial, *operation)) or serial < len(
            before
        )
    assert (second.store, second.sessions) == (first.store, first.sessions)


def test_what_a_liar_had_decided_changes_nothing() -> None:
    store = KeyValueStore()
    for nonsense in (
        None,
        3,
        "put",
        (),
        (1, 1, "burn", "k"),
        (1, 1, "put", "k"),
        ("x", 1, "get", "k"),
        (1, 1, "get", 5),
    ):
        assert not is_command(nonsense)
        assert store.apply(nonsense) is None
    assert store.store == {}
    assert not are_commands(((1, 1, "get", "k"), None))
