import math
from typing import Any

import pytest

from actors.errors import ConfigurationError
from coordination.client_history import history_of
from coordination.linearizability import Illegal, Linearizable, Verdict, check_linearizable
from coordination.machine import KeyValueStore
from coordination.raft.raft import RAFT
from coordination.simulation.campaign import Case
from coordination.simulation.clients import Clients, Load, Operation
from coordination.simulation.fault import Calendar
from coordination.simulation.simulation import Simulation


def judged(seed: int, store: type[KeyValueStore] = KeyValueStore) -> tuple[Verdict, int]:
    """The verdict on what eight clients of a replicated store saw under faults, and how many commands they gave."""
    case = Case.drawn(RAFT, seed)
    simulation = Simulation(case.world, seed)
    load = Load(clients=8, reads=0.4, keys=3, patience_delays=20, spread=seed % 2 == 0)
    clients = Clients(simulation, load, record=True, store=store)
    clients.start()
    Calendar(simulation, case.faults)
    simulation.run(until_s=case.horizon_s, events=6_000)
    clients.finish()
    return check_linearizable(history_of(clients.operations, f"seed {seed}")), len(clients.operations)


def test_a_replicated_store_is_linearizable_under_faults() -> None:
    commands = 0
    for seed in range(20):
        verdict, count = judged(seed)
        assert isinstance(verdict, Linearizable), f"seed {seed}: {verdict}"
        commands += count
    assert commands > 4_000


class Repeating(KeyValueStore):
    """A mutant: a command that was proposed again takes effect again."""

    def apply(self, command: Any) -> Any:
        self.sessions.pop(command[0], None)
        return super().apply(command)


class Stale(KeyValueStore):
    """A mutant: a get shows what was there before the last change."""

    def __init__(self) -> None:
        super().__init__()
        self.older: dict[str, Any] = {}

    def apply(self, command: Any) -> Any:
        before = dict(self.store)
        result = super().apply(command)
        if command[2] == "get":
            return self.older.get(command[3])
        self.older = before
        return result


@pytest.mark.parametrize("mutant", [Repeating, Stale])
def test_a_broken_store_is_refused(mutant: type[KeyValueStore]) -> None:
    assert any(isinstance(judged(seed, mutant)[0], Illegal) for seed in range(20))


def operation(
    client: int, name: str, called: int, returned: int | None, result: Any, *arguments: Any
) -> Operation:
    returned_s = math.inf if returned is None else 1.0
    return Operation(
        client, (client, 1, name, "k", *arguments), 1.0, returned_s, result, called, returned or 0
    )


def test_what_happens_at_one_time_stands_in_the_order_in_which_it_was_carried_out() -> None:
    history = history_of(
        [
            operation(1, "put", 1, 3, True, "a"),
            operation(2, "put", 2, 6, True, "b"),
            operation(1, "get", 4, 5, "a"),
            operation(3, "cas", 7, None, None, None, "c"),
        ]
    )
    put_a, put_b, get, cas = history.operations
    assert put_a.returned is not None
    assert get.returned is not None
    assert put_b.returned is not None
    assert put_b.called < put_a.returned < get.called < get.returned < put_b.returned < cas.called
    assert cas.returned is None
    assert cas.argument == ("", "c")


def test_a_command_that_is_none_of_the_stores_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="the store has no 'push'"):
        history_of([operation(1, "push", 1, 2, None, "a")])
