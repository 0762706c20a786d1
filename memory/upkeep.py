"""Upkeep: what pure functions over items propose, carried out in the store.

Consolidation (`memory/consolidation.py`), contradictions between facts (`memory/fact.py`) and procedures
(`memory/procedure.py`) decide; this writes down what they decided, and says what it did.

Rules:
* It acts in one scope, the one that asks, and on what lives in it alone.
* It retires and supersedes; it erases nothing. Every step can be found in the past.
* What somebody else changed meanwhile is left as it is, and is looked at again the next time.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from memory.consolidation import (
    ITEMS_MAX,
    Action,
    ConsolidationSettings,
    Decay,
    Expire,
    Merge,
    Summarise,
    consolidate,
)
from memory.errors import Conflict, InvalidItem, UnknownItem
from memory.fact import Settlement, SettlingRules, fact_of, settle_all
from memory.item import Draft, Item, Kind
from memory.procedure import Procedure, Step, abstract, procedure_of, same_workflow
from memory.schema import Vectors
from memory.scope import Scope
from memory.transaction import Receipt

if TYPE_CHECKING:
    from memory.memory import Memory


@dataclass(frozen=True, slots=True)
class Upkeep:
    """What was done."""

    settled: tuple[Settlement, ...]
    actions: tuple[Action, ...]
    skipped: int
    """Steps that were left because somebody changed the item meanwhile."""


def keep_up(
    memory: "Memory",
    scope: Scope,
    now: float,
    settings: ConsolidationSettings | None = None,
    rules: SettlingRules | None = None,
) -> Upkeep:
    """Settles contradictions, then merges, summarises, lets decay and expires what lives in a scope."""
    skipped = 0
    facts = [fact for item, _ in _living(memory, scope) if (fact := fact_of(item)) is not None]
    settled = []
    for settlement in settle_all(facts, rules):
        try:
            _settle(memory, scope, settlement)
            settled.append(settlement)
        except (Conflict, UnknownItem):
            skipped += 1
    pairs = _living(memory, scope)
    dimension = memory.embedder.identity.dimension
    vectors = np.array([vector for _, vector in pairs], np.float32).reshape(len(pairs), dimension)
    items = {item.id: item for item, _ in pairs}
    done = []
    for action in consolidate(list(items.values()), vectors, now, settings):
        try:
            _do(memory, scope, action, items)
            done.append(action)
        except (Conflict, UnknownItem):
            skipped += 1
    return Upkeep(tuple(settled), tuple(done), skipped)


def learn(
    memory: "Memory",
    task: str,
    steps: Sequence[Step],
    values: Mapping[str, str],
    scope: Scope,
    *,
    origin: str = "",
    **told: Any,
) -> Receipt:
    """Keeps a workflow that worked, with its parameters left open; one that is known gets a success on its record.

    `told`: `preconditions`, `outcome`.
    """
    procedure = abstract(task, steps, values, **told)
    for item, _ in _living(memory, scope):
        if item.kind is Kind.PROCEDURE and same_workflow(procedure_of(item.attributes), procedure):
            return report(memory, item.id, scope, worked=True, origin=origin)
    draft = Draft(scope, procedure.text, Kind.PROCEDURE, attributes=procedure.to_attributes())
    return memory.remember_all([draft], scope=scope, origin=origin)[0]


def report(memory: "Memory", item_id: int, scope: Scope, *, worked: bool, origin: str = "") -> Receipt:
    """Puts a use on a procedure's record; one that fails, and not by bad luck, is retired."""
    item = memory.get(item_id, scope=scope)
    if item.kind is not Kind.PROCEDURE:
        raise InvalidItem(f"item {item_id} is no procedure but a {item.kind}")
    procedure = procedure_of(item.attributes).reported(worked=worked)
    receipt = memory.correct(item_id, scope=scope, origin=origin, attributes=procedure.to_attributes())
    if procedure.is_retired():
        memory.retire([receipt.id], scope=scope, origin=origin)
    return receipt


def procedures(memory: "Memory", scope: Scope) -> list[tuple[Item, Procedure]]:
    """The procedures that a scope sees."""
    seen = (item for item in memory.items(scope=scope) if item.kind is Kind.PROCEDURE)
    return [(item, procedure_of(item.attributes)) for item in seen]


def _living(memory: "Memory", scope: Scope) -> list[tuple[Item, Vectors]]:
    """What is believed and lives in this very scope. Raises `InvalidItem` for more than upkeep can look at."""
    return memory.living(scope=scope, most=ITEMS_MAX)


def _settle(memory: "Memory", scope: Scope, settlement: Settlement) -> None:
    for loser in settlement.superseded:
        until = settlement.valid_to
        if until is not None and loser.since < until:
            memory.correct(loser.id, scope=scope, valid_to=until)  # it held until then
        else:
            memory.replace([loser.id], settlement.kept.id, scope=scope)


def _do(memory: "Memory", scope: Scope, action: Action, items: Mapping[int, Item]) -> None:
    match action:
        case Merge():
            memory.replace(list(action.dropped), action.kept, scope=scope)
        case Summarise():
            note = Draft(
                action.scope, action.text, Kind.NOTE, session=action.session,
                attributes={"summary_of_session": True}, derived_from=action.derived_from,
            )  # fmt: skip
            memory.remember_all([note], scope=scope)
        case Decay():
            told = items[action.id].attributes | {"importance_told": action.importance_told}
            memory.correct(action.id, scope=scope, importance=action.importance, attributes=told)
        case Expire():
            memory.retire([action.id], scope=scope)
