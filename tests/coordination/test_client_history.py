import math
from typing import Any

import pytest

from actors.errors import ConfigurationError
from coordination.client_history import history_of
from coordination.linearizability import Illegal, Linearizable, Verdict, check_linearizable
from coordination.machine import KeyValueStore
from coordination.raft.raft import RAFT
from coordination.simulation import clients as clients_module
from coordination.simulation.campaign import Case
from coordination.simulation.clients import Clients, Load, Operation
from coordination.simulation.fault import Calendar
from coordination.simulation.simulation import Simulation


def judged(seed: int) -> tuple[Verdict, int]:
    """The verdict on what eight clients of a replicated store saw under faults, and how many commands they gave."""
    case = Case.drawn(RAFT, seed)
    simulation = Simulation(case.world, seed)
    load = Load(clients=8, reads=0.4, keys=3, patience_delays=20, spread=seed % 2 == 0)
    clients = Clients(simulation, load, record=True)
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
def test_a_broken_store_is_refused(mutant: type[KeyValueStore], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clients_module, "KeyValueStore", mutant)
    assert any(isinstance(judged(seed)[0], Illegal) for seed in range(20))


def operation(
    client: int, name: str, called_s: float, returned_s: float, result: Any, *arguments: Any
) -> Operation:
    return Operation(client, (client, 1, name, "k", *arguments), called_s, returned_s, result)


def test_at_one_time_calls_stand_before_returns_but_a_client_returns_before_it_calls() -> None:
    history = history_of(
        [
            operation(1, "put", 0.0, 1.0, True, "a"),
            operation(2, "put", 1.0, 2.0, True, "b"),
            operation(1, "get", 1.0, 3.0, "b"),
            operation(3, "cas", 2.5, math.inf, None, None, "c"),
        ]
    )
    put_a, put_b, get, cas = history.operations
    assert put_a.returned is not None
    assert put_b.called < put_a.returned < get.called
    assert cas.returned is None
    assert cas.argument == ("", "c")


def test_a_command_that_is_none_of_the_stores_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="the store has no 'push'"):
        history_of([operation(1, "push", 0.0, 1.0, None, "a")])
