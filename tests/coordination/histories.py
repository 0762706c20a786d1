"""Histories made for tests: of an atomic object used by concurrent processes, mutated, at random; and an oracle."""

from collections.abc import Hashable, Sequence
from dataclasses import dataclass, replace
from random import Random

from coordination.history import UNKNOWN, History, HistoryRecorder, Operation, Unknown, Value
from coordination.object_model import KEY_VALUE, REFUSED, REGISTER, Model, model_for

Argument = Value | tuple[Value, Value]


@dataclass
class Client:
    """One client: where it is in its operation, and the name that its process has now."""

    name: int
    function: str = ""
    argument: Argument = None
    key: str = ""
    result: Value | bool = None
    stage: str = "idle"


def atomic_history(
    rng: Random,
    model: Model,
    *,
    clients: int,
    operations: int,
    keys: int = 1,
    values: int = 5,
    lost: float = 0.0,
) -> History:
    """What clients of atomic objects see: each operation takes effect at once, somewhere between call and return.

    Each step moves a random client on: call, effect, return. A share `lost` of the operations never returns, with or
    without effect; the client goes on under a new name, as Jepsen's do.
    """
    recorder = HistoryRecorder()
    state: dict[str, Hashable] = {str(key): model.initial for key in range(keys)}
    all_clients = [Client(name) for name in range(clients)]
    names = clients
    left, busy = operations, 0
    while left or busy:
        client = rng.choice(all_clients)
        if client.stage == "idle":
            if left:
                client.key = str(rng.randrange(keys))
                client.function, client.argument = drawn(rng, model, values, left)
                recorder.call(client.name, client.function, client.argument, key=client.key)
                client.stage, left, busy = "called", left - 1, busy + 1
        elif client.stage == "called":
            client.stage = "lost" if rng.random() < lost else "done"
            if client.stage == "done" or rng.random() < 0.5:
                state[client.key], client.result = applied(
                    state[client.key], client.function, client.argument
                )
        else:
            if client.stage == "done":
                recorder.ok(client.name, client.result)
            else:
                recorder.info(client.name)
                client.name, names = names, names + 1
            client.stage, busy = "idle", busy - 1
    return recorder.finish(model=model.name)


def drawn(rng: Random, model: Model, values: int, serial: int) -> tuple[str, Argument]:
    """An operation at random. Texts differ, so that a get tells what came before it, unless values are 3 or fewer."""
    function = rng.choice(model.functions)
    if function in ("read", "get"):
        return function, None
    if model is REGISTER:
        return function, drawn_pair(rng, values) if function == "cas" else rng.randrange(values)
    few = ("a", "b", "ab")[:values]  # of which one ends as another
    text = rng.choice(few) if values <= len(few) else f"x {serial} y"
    if function == "cas":
        found = (*few, "") if values <= len(few) else (f"x {serial + rng.randint(1, 3)} y", "")
        return function, (rng.choice(found), text)
    return function, text


def drawn_pair(rng: Random, values: int) -> tuple[Value, Value]:
    """What a cas expects and writes."""
    return rng.randrange(values), rng.randrange(values)


def applied(state: Hashable, function: str, argument: Argument) -> tuple[Hashable, Value | bool]:
    """The state after an operation, and its result: written apart from the models, to test them."""
    match function, argument:
        case (("read" | "get"), _):
            assert state is None or isinstance(state, str | int)
            return state, state
        case "cas", (old, new):
            return (new, True) if old == state else (state, False)
        case "append", str():
            return f"{state}{argument}", None
        case _:
            assert not isinstance(argument, tuple)
            return argument, None


def random_history(rng: Random, model: Model, *, clients: int, operations: int, lost: float = 0.2) -> History:
    """Calls and returns with results drawn at random: some have an order and some have not."""
    return mutated(
        rng, atomic_history(rng, model, clients=clients, operations=operations, values=3, lost=lost), 0.4
    )


def mutated(rng: Random, history: History, share: float) -> History:
    """The history with another result in this share of its operations with results."""
    looked = [each.result for each in history.operations if each.function in ("read", "get")]
    values: Sequence[Value] = sorted({each for each in looked if isinstance(each, str | int)}, key=repr)
    changed = []
    for operation in history.operations:
        result: Value | bool | Unknown = operation.result
        if result is not UNKNOWN and rng.random() < share:
            if operation.function == "cas":
                result = not result
            elif operation.function in ("read", "get"):
                result = rng.choice([*values, "" if model_for(history) is KEY_VALUE else None])
        changed.append(replace(operation, result=result))
    return replace(history, operations=tuple(changed))


def most_placed(model: Model, operations: Sequence[Operation]) -> int:
    """The oracle: how many operations with a return some order can place, by trying every order. For a few only."""

    def follow(state: Hashable, left: tuple[Operation, ...]) -> int:
        returns = [each.returned for each in left if each.returned is not None]
        best = 0
        for operation in left:
            if operation.called < min(returns, default=0):
                after = model.step(state, operation)
                if after is not REFUSED:
                    rest = tuple(each for each in left if each is not operation)
                    best = max(best, (operation.returned is not None) + follow(after, rest))
        return best

    return follow(model.initial, tuple(operations))


def is_an_order(model: Model, operations: Sequence[Operation], order: Sequence[Operation]) -> bool:
    """Whether an order keeps real time, gives each result, and holds every operation that returned."""
    state = model.initial
    for operation in order:
        state = model.step(state, operation)
        if state is REFUSED:
            return False
    for place, later in enumerate(order):
        for earlier in order[:place]:
            if later.returned is not None and later.returned < earlier.called:
                return False
    needed = {each.called for each in operations if each.returned is not None}
    placed = [each.called for each in order]
    return len(set(placed)) == len(placed) and needed <= set(placed) <= {each.called for each in operations}
