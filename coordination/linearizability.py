"""Whether a history is linearizable: as if each operation took effect at one moment between its call and its return.

Rules:
* Each key is judged apart: that is exact, and far cheaper (see `object_model`). The search is in `linear_search`.
* Every key first gets a small share of steps, then those still open a larger one, and so on to the limit. The first
  key that is refused ends it, so a history that is wrong somewhere cheap is refused cheaply. Nothing is searched twice.
* An acceptance comes with an order for each key, which anybody can check by running it. A refusal comes with the
  longest order that was found and all that could have come next. Both are found by steps alone: the same history
  gets the same answer everywhere. Only if a clock is handed in may time end the search, and then it is undecided.
"""

from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass
from typing import Final, TypeAlias

from actors.errors import ConfigurationError
from coordination.history import History, Operation, shown
from coordination.linear_search import Search, in_order
from coordination.object_model import REFUSED, Model, model_for

FIRST_SHARE_STEPS: Final = 100_000
"""What each key gets before any gets more."""
SHARE_GROWTH: Final = 4
MOST_STEPS: Final = 50_000_000
"""The limit for a key, unless another is given: a minute or so."""
MOST_CONFIGURATIONS: Final = 4_000_000
"""The configurations remembered of all undecided keys together; some hundred bytes each."""
_STEPS_A_LOOK: Final = 4_096
"""Steps between looks at the clock and at the memory."""


@dataclass(frozen=True)
class Linearizable:
    """There is an order: `orders` has one for each key. Operations that never returned are in it if they had to act."""

    orders: Mapping[str, tuple[Operation, ...]]
    steps: int


@dataclass(frozen=True)
class Blocked:
    """An operation that might have come next, and why it could not."""

    operation: Operation
    reason: str


@dataclass(frozen=True)
class Illegal:
    """There is no order for a key."""

    key: str
    placed: tuple[Operation, ...]
    """The longest order that was found: of as many operations with a return as can be placed, unless that is costly."""
    state: Hashable
    """What the object then holds."""
    blocked: tuple[Blocked, ...]
    """All that might come next: called before any other that is left returned."""
    left: int
    """How many operations with a return are not placed."""
    steps: int

    def __str__(self) -> str:
        """What is wrong, in a sentence."""
        of = f" of key {shown(self.key)}" if self.key else ""
        first = self.due
        where = f" (lines {first.call_line} to {first.return_line})" if first.call_line else ""
        count = len(self.placed)
        return (
            f"no order{of}: after {count} operation{'s' * (count != 1)} the value is {shown(self.state)}, "
            f"and then process {first.process}'s {first}{where} cannot be placed"
        )

    @property
    def due(self) -> Operation:
        """The operation that returned first of those left: one of `blocked`."""
        return min(
            (each.operation for each in self.blocked if each.operation.returned is not None),
            key=lambda operation: operation.returned or 0,
        )


@dataclass(frozen=True)
class Undecided:
    """The limit was reached before an answer was."""

    keys: tuple[str, ...]
    """The keys still open."""
    reason: str
    """Which limit, and what to do."""
    steps: int


Verdict: TypeAlias = Linearizable | Illegal | Undecided


def check_linearizable(
    history: History,
    model: Model | None = None,
    *,
    limit_steps: int = MOST_STEPS,
    limit_configurations: int = MOST_CONFIGURATIONS,
    clock: Callable[[], float] | None = None,
    limit_s: float = 60.0,
) -> Verdict:
    """Judges a history by a model, or by the one that its operations or header name.

    `limit_steps` is for each key. With a `clock`, which gives seconds, `limit_s` is for all. Raises
    `ConfigurationError` if the model does not know an operation, or a limit is not positive.
    """
    for name, limit in (
        ("limit_steps", limit_steps),
        ("limit_configurations", limit_configurations),
        ("limit_s", limit_s),
    ):
        if limit <= 0:
            raise ConfigurationError(f"{name} is {limit}: give more than 0")
    chosen = model or model_for(history)
    by_key: dict[str, list[Operation]] = {key: [] for key in history.keys}
    for operation in history.operations:
        by_key[operation.key].append(operation)
    run = _Run(chosen, by_key, limit_configurations, _alarm(clock, limit_s))
    share = min(FIRST_SHARE_STEPS, limit_steps)
    while True:
        verdict = run.round(share)
        if verdict is not None:
            return verdict
        if share >= limit_steps:
            return run.undecided(
                f"over {limit_steps:,} steps for a key. Allow more, or check a part of the history"
            )
        share = min(share * SHARE_GROWTH, limit_steps)


class _Run:
    """The searches of all keys."""

    def __init__(
        self,
        model: Model,
        by_key: dict[str, list[Operation]],
        limit_configurations: int,
        stop: Callable[[], str],
    ) -> None:
        self._model = model
        self._by_key = by_key
        self._limit_configurations = limit_configurations
        self._stop = stop
        self._open = {key: Search(model, operations) for key, operations in by_key.items()}
        self._orders: dict[str, tuple[Operation, ...]] = {}
        self._closed_steps = 0

    @property
    def steps(self) -> int:
        return self._closed_steps + sum(search.steps for search in self._open.values())

    def undecided(self, reason: str) -> Undecided:
        return Undecided(tuple(self._open), reason, self.steps)

    def round(self, share_steps: int) -> Verdict | None:
        """Takes each open key to this many steps. Returns None if some are open still."""
        for key, search in list(self._open.items()):
            while search.steps < share_steps:
                found = search.advance(min(_STEPS_A_LOOK, share_steps - search.steps))
                if found is False:
                    return self._illegal(key, search)
                if found:
                    self._orders[key] = in_order(search.order)
                    self._closed_steps += search.steps
                    del self._open[key]
                    break
                reason = self._stop() or self._memory()
                if reason:
                    return self.undecided(reason)
        if self._open:
            return None
        return Linearizable({key: self._orders[key] for key in self._by_key}, self.steps)

    def _memory(self) -> str:
        held = sum(search.configurations for search in self._open.values())
        if held < self._limit_configurations:
            return ""
        return f"over {self._limit_configurations:,} configurations to remember. Check a part of the history"

    def _illegal(self, key: str, search: Search) -> Illegal:
        # Without foresight it goes on where all is lost already, and so shows how far one comes.
        further = Search(self._model, self._by_key[key], foresees=False)
        found = further.advance(FIRST_SHARE_STEPS)
        assert not found, (
            "what foresight refused has an order: the model's `needs`, `leaves` or `joins` is wrong"
        )
        placed, state = (
            max(in_order(search.longest), in_order(further.longest), key=_returned),
            self._model.initial,
        )
        for operation in placed:
            state = self._model.step(state, operation)
        done = {operation.called for operation in placed}
        left = [operation for operation in self._by_key[key] if operation.called not in done]
        returns = [operation.returned for operation in left if operation.returned is not None]
        first = min(returns)
        blocked = tuple(
            Blocked(operation, self._reason(state, operation))
            for operation in left
            if operation.called < first
        )
        return Illegal(key, placed, state, blocked, len(returns), self.steps)

    def _reason(self, state: Hashable, operation: Operation) -> str:
        if self._model.step(state, operation) is REFUSED:
            return f"its result does not fit: the value is {shown(state)}"
        return "it would fit, but leads no further"


def _returned(order: tuple[Operation, ...]) -> int:
    return sum(operation.returned is not None for operation in order)


def _alarm(clock: Callable[[], float] | None, limit_s: float) -> Callable[[], str]:
    """Tells, when asked, that time is up; an empty text until then."""
    if clock is None:
        return lambda: ""
    start_s = clock()
    return lambda: (
        f"over {limit_s:g} s. Allow more, or check a part of the history"
        if clock() - start_s >= limit_s
        else ""
    )
