"""What a shared object does when it is used by one process after another: the models that histories are checked with.

Rules:
* A model is a function from a state and an operation with its known result to the next state, or to `REFUSED` if that
  result cannot have come from that state. States are hashable and compare by value.
* An unknown result fits any state. An unknown cas acts only if it matches.
* A model is of one key: keys are independent objects, so a history is linearizable if and only if it is for each key
  (Herlihy, Wing 1990, theorem 1; Horn and Kroening call it P-compositionality).
"""

from bisect import bisect_left
from collections.abc import Callable, Hashable, Iterator, Sequence
from enum import Enum
from typing import Final, Protocol

from actors.errors import ConfigurationError
from coordination.history import UNKNOWN, History, Operation, shown


class Refused(Enum):
    """The answer of a model to a result that does not fit."""

    REFUSED = "refused"


REFUSED: Final = Refused.REFUSED

UNSEEN: Final[Hashable] = object()
"""Any state that no operation to come can tell from another such state. A model goes on from it as from a value that
is like no other."""

ANYTHING: Final[Hashable] = object()
"""No value in particular."""


class Model(Protocol):
    """A sequential object of one key."""

    @property
    def name(self) -> str:
        """What it is called."""
        ...

    @property
    def functions(self) -> tuple[str, ...]:
        """The operations that it knows."""
        ...

    @property
    def initial(self) -> Hashable:
        """The state before all operations."""
        ...

    def step(self, state: Hashable, operation: Operation) -> Hashable:
        """The state after the operation, or `REFUSED` if its result does not fit."""
        ...

    def looks(self, operation: Operation) -> bool:
        """Whether it leaves every state that its result fits as it is."""
        ...

    def needs(self, operation: Operation) -> Hashable:
        """The one state that its result fits; `ANYTHING` if there are more."""
        ...

    def leaves(self, operation: Operation) -> Hashable:
        """What it may leave where it changes something: a state, or the end of one if it joins; else `ANYTHING`."""
        ...

    def joins(self, operation: Operation) -> bool:
        """Whether it joins what it has to the state, a text."""
        ...

    def last_use(self, operations: Sequence[Operation]) -> Callable[[Hashable], int]:
        """For a state: the number of the last operation that can tell it, or what grows from it, from another state.

        Operations with a return are numbered in order of their calls from 0. The answer is -1 if there is none, and
        more than all numbers if one without a return can tell.
        """
        ...


class Register:
    """A register: `read`, `write` and `cas`, compare and set. It is nil at first."""

    name = "register"
    functions = ("read", "write", "cas")
    initial: Hashable = None

    def step(self, state: Hashable, operation: Operation) -> Hashable:
        """As `Model.step`."""
        function, result = operation.function, operation.result
        if function == "write":
            return operation.argument
        if function == "read":
            return state if result == state or result is UNKNOWN else REFUSED
        return _compared(state, operation)

    def looks(self, operation: Operation) -> bool:
        """As `Model.looks`."""
        return operation.function == "read" or _only_compares(operation)

    def needs(self, operation: Operation) -> Hashable:
        """As `Model.needs`."""
        return _needed(operation)

    def leaves(self, operation: Operation) -> Hashable:
        """As `Model.leaves`."""
        if self.looks(operation):
            return ANYTHING
        return operation.argument[1] if isinstance(operation.argument, tuple) else operation.argument

    def joins(self, operation: Operation) -> bool:
        """As `Model.joins`."""
        return False

    def last_use(self, operations: Sequence[Operation]) -> Callable[[Hashable], int]:
        """As `Model.last_use`: reads tell their result, and cas what it expects."""
        last: dict[Hashable, int] = {}
        for told, number in _told(operations):
            last[told] = max(last.get(told, -1), number)
        return lambda state: last.get(state, -1)


class KeyValue:
    """A text under a key: `get`, `put`, `append`, which joins to the end, and `cas`. It is empty at first."""

    name = "key-value"
    functions = ("get", "put", "append", "cas")
    initial: Hashable = ""

    def step(self, state: Hashable, operation: Operation) -> Hashable:
        """As `Model.step`."""
        function, result = operation.function, operation.result
        if function == "get":
            return state if result == state or result is UNKNOWN else REFUSED
        if function == "cas":
            return _compared(state, operation)
        assert isinstance(operation.argument, str)
        if function == "put":
            return operation.argument
        return state + operation.argument if isinstance(state, str) else state

    def looks(self, operation: Operation) -> bool:
        """As `Model.looks`."""
        if operation.function == "append":
            return operation.argument == ""
        return operation.function == "get" or _only_compares(operation)

    def needs(self, operation: Operation) -> Hashable:
        """As `Model.needs`."""
        return _needed(operation)

    def leaves(self, operation: Operation) -> Hashable:
        """As `Model.leaves`."""
        if self.looks(operation):
            return ANYTHING
        return operation.argument[1] if isinstance(operation.argument, tuple) else operation.argument

    def joins(self, operation: Operation) -> bool:
        """As `Model.joins`."""
        return operation.function == "append"

    def last_use(self, operations: Sequence[Operation]) -> Callable[[Hashable], int]:
        """As `Model.last_use`: a get tells its result and all that this begins with, and cas what it expects."""
        told = sorted((str(told), number) for told, number in _told(operations))
        known: dict[Hashable, int] = {}

        def last(state: Hashable) -> int:
            if state in known:
                return known[state]
            assert isinstance(state, str)
            place, latest = bisect_left(told, (state, -1)), -1
            while place < len(told) and told[place][0].startswith(state):
                latest = max(latest, told[place][1])
                place += 1
            if latest >= 0:
                known[state] = latest  # only these are few
            return latest

        return last


def _compared(state: Hashable, operation: Operation) -> Hashable:
    assert isinstance(operation.argument, tuple)
    expected, new = operation.argument
    if state == expected:
        return REFUSED if operation.result is False else new
    return REFUSED if operation.result is True else state


def _only_compares(operation: Operation) -> bool:
    """Whether it is a cas that leaves what it finds."""
    if not isinstance(operation.argument, tuple):
        return False
    return operation.result is False or operation.argument[0] == operation.argument[1]


def _needed(operation: Operation) -> Hashable:
    if operation.returned is None:
        return ANYTHING
    if isinstance(operation.argument, tuple):
        return operation.argument[0] if operation.result else ANYTHING
    return operation.result if operation.function in ("read", "get") else ANYTHING


def _told(operations: Sequence[Operation]) -> Iterator[tuple[Hashable, int]]:
    """What operations with results tell from other values, and their numbers as in `Model.last_use`."""
    number = 0
    for operation in operations:
        argument = operation.argument
        if operation.returned is None:
            if isinstance(argument, tuple):
                yield argument[0], len(operations)
            continue
        if isinstance(argument, tuple):
            yield argument[0], number
        elif argument is None:
            yield operation.result, number
        number += 1


REGISTER: Final = Register()
KEY_VALUE: Final = KeyValue()
MODELS: Final[tuple[Model, ...]] = (REGISTER, KEY_VALUE)


def model_for(history: History, name: str = "auto") -> Model:
    """The model of this name, or else the one that the history names or whose operations it has.

    Raises `ConfigurationError` if there is no such model, or the history has operations that it does not know.
    """
    known = {model.name: model for model in MODELS}
    wanted = history.model if name == "auto" else name
    used = list(dict.fromkeys(operation.function for operation in history.operations))
    if not wanted:
        fitting = [model for model in MODELS if set(used) <= set(model.functions)]
        if not fitting:
            raise ConfigurationError(
                f"{history.source}: no model has all of the operations {', '.join(used)}. "
                f"Use those of one model: {_listed(MODELS)}"
            )
        return fitting[0]
    if wanted not in known:
        raise ConfigurationError(f"there is no model {shown(wanted)}. Give one of: {', '.join(known)}")
    model = known[wanted]
    strange = [function for function in used if function not in model.functions]
    if strange:
        first = next(each for each in history.operations if each.function == strange[0])
        where = f", line {first.call_line}" if first.call_line else ""
        raise ConfigurationError(
            f"{history.source}{where}: the model {model.name} has no operation {strange[0]}. "
            f"Choose the model that has it: {_listed(MODELS)}"
        )
    return model


def _listed(models: tuple[Model, ...]) -> str:
    return "; ".join(f"{model.name} ({', '.join(model.functions)})" for model in models)
