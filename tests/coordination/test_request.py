"""Requests: executed once, bounded, and nobody's but their origin's."""

from random import Random
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from coordination.protocol import NEVER, Setting
from coordination.request import WINDOW, Executed, Request, RequestPool
from coordination.signature import TokenScheme


def pool(number: int = 1, executed: Executed | None = None, **more: Any) -> RequestPool:
    found = Executed() if executed is None else executed
    setting = Setting(number, (1, 2, 3, 4), Random(0), scheme=TokenScheme(number), **more)
    made = RequestPool(setting, lambda: found, 5.0, 100)
    made.life = 1
    return made


@given(st.lists(st.tuples(st.integers(1, 2), st.integers(1, 3), st.integers(0, 12)), max_size=60))
def test_each_request_is_executed_once_and_a_copy_of_the_table_agrees(
    keys: list[tuple[int, int, int]],
) -> None:
    table = Executed()
    done: set[tuple[int, int, int]] = set()
    latest: dict[int, int] = {}
    for key in keys:
        origin, life, _ = key
        fresh = key not in done and life >= latest.get(origin, 0)
        assert Executed(table.plain()).is_open(key) == table.is_open(key) == fresh
        assert table.add(key) == fresh
        if fresh:
            done.add(key)
            latest[origin] = life


def test_the_table_of_executed_requests_is_a_window() -> None:
    table = Executed()
    assert not table.is_open((1, 1, WINDOW))
    for serial in range(5 * WINDOW):
        assert table.add((1, 1, serial))
    assert table.plain() == ((1, 1, 5 * WINDOW, ()),)
    assert not table.is_open((1, 1, 0))


def test_an_origin_has_no_more_under_way_than_the_window() -> None:
    table = Executed()
    setting = Setting(1, (1, 2), Random(0), batch=1)
    made = RequestPool(setting, lambda: table, 5.0, 10_000)
    requests, refused = made.submit(0.0, 0, tuple(range(2 * WINDOW)))
    assert (len(requests), refused) == (WINDOW, ())
    table.execute(requests[:10])
    made.remove(requests[:10])
    assert len(made.release(0.0, 0)) == 10


def test_a_command_that_waits_already_is_not_queued_twice_and_may_come_again_later() -> None:
    table = Executed()
    made = pool(executed=table)
    (request,), _ = made.submit(0.0, 0, ("a",))
    assert made.submit(1.0, 0, ("a",)) == ((), ())
    table.execute((request,))
    made.remove((request,))
    assert len(made.submit(2.0, 0, ("a",))[0]) == 1


def test_only_signed_requests_of_others_are_admitted() -> None:
    origin, other = pool(2), pool(1)
    (request,), _ = origin.submit(0.0, 0, ("a",))
    assert not other.admit(0, request)
    (signed,) = origin.signed([request.key])
    assert not other.admit(0, replace(signed, commands=("b",)))
    assert not other.admit(0, replace(signed, serial=5))
    assert other.admit(0, signed)
    assert not other.admit(0, signed)
    assert other.urgent == 1
    assert not other.admit(0, Request(9, 1, 0, ("x",)))


def test_what_is_late_becomes_urgent_once() -> None:
    made = pool()
    (request,), _ = made.submit(0.0, 0, ("a",))
    assert made.due_at == 5.0
    assert made.overdue(4.9) == ()
    assert [late.key for late in made.overdue(5.0)] == [request.key]
    assert made.overdue(9.0) == ()
    assert made.due_at == NEVER
    assert made.neglected(1)
    assert not made.neglected(0)


def test_batches_keep_the_order_and_the_limit() -> None:
    made = pool(batch=3)
    for first in (0, 2, 4):
        made.submit(0.0, 0, (first, first + 1))
    assert [one.commands for one in made.take()] == [(0, 1)]
    assert [one.commands for one in made.first()] == [(0, 1)]
    assert [one.commands for one in made.take()] == [(2, 3)]
    made.restock([(next(iter(made.waiting.values())).request,)])
    assert [one.commands for one in made.take()] == [(2, 3)]
