"""What a run's models cost, as the report shows it: a row for each role, in each arm, with what is not known said.

Rules: sums and percentiles are over all calls of the ended trials of an arm, from their logs; a log that cannot
be read is named, and its calls are left out; a price that is not known is said to be, and is never zero.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from actors.errors import ConfigurationError
from cluster.call_log import FILE, lines_of
from cluster.cost import RoleCost, percentile
from cluster.findings import Arm
from cluster.number import number_text, seconds_text
from cluster.record import Record, mapping, number
from cluster.section import ROWS, Cell, Section
from cluster.tables import arm_key

NOT_KNOWN = "price not known"
_HEAD = (
    "Role",
    "Calls",
    "Had again",
    "Prompt tokens",
    "cached",
    "Answer tokens",
    "Money, USD",
    "Latency",
    "Queue",
)
_EXPLAINED = (
    "Over all ended trials. Calls are those sent to the model; had again are answers that were made before, for a cell "
    "that was recovered or to a question that had been asked, and cost nothing. Latency is from the call to its "
    "answer, waiting in the queue included; it and the queue are told as median / 99th percentile."
)


@dataclass(frozen=True)
class CostTable:
    """The table, and what must be said with it."""

    table: Section
    notes: tuple[str, ...]


def cost_table(record: Record, arms: Sequence[Arm]) -> CostTable | None:
    """The cost of the ended trials; None if none of them called a model."""
    costs, notes = _costs(record)
    if not costs:
        return CostTable(Section("", "text", text="Not known."), tuple(notes)) if notes else None
    several = len(arms) > 1
    rows: list[tuple[Cell, ...]] = []
    for arm in arms:
        roles = {role: cost for (key, role), cost in costs.items() if key == arm.key}
        shown = [*roles.items(), *([("all", _joined(roles))] if len(roles) > 1 else [])]
        for role, cost in shown:
            name = Cell(role or "not told", numeric=several)  # what is numeric is not broken for want of room
            rows.append((*((Cell(arm.label),) if several else ()), name, *_cells(cost)))
    head = tuple(Cell(text, several or text != "Role") for text in _HEAD)
    table = Section(
        "",
        "table",
        head=((Cell("Arm"), *head) if several else head),
        rows=tuple(rows[:ROWS]),
        cut=f"the first {ROWS:,} of {len(rows):,} rows" if len(rows) > ROWS else "",
    )
    return CostTable(table, (_EXPLAINED, *_remarks(costs), *notes))


def _costs(record: Record) -> tuple[dict[tuple[str, str], RoleCost], list[str]]:
    """The cost by arm and role, and the logs that could not be read."""
    costs: dict[tuple[str, str], RoleCost] = {}
    notes: list[str] = []
    for trial in record.trials:
        folder = record.path / "trials" / f"{int(number(trial.get('trial'))):03d}"
        key = arm_key(mapping(trial.get("arm")))
        try:
            for line in lines_of(folder / FILE):
                costs.setdefault((key, line.role), RoleCost()).add(line)
        except (ConfigurationError, OSError) as error:
            notes.append(f"The calls of trial {trial.get('trial')} cannot be read in full: {error}")
    return dict(sorted(costs.items())), notes


def _cells(cost: RoleCost) -> tuple[Cell, ...]:
    money = NOT_KNOWN if cost.money_usd is None else number_text(round(cost.money_usd, 9))
    return (
        Cell(number_text(cost.asked), numeric=True),
        Cell(number_text(cost.again), numeric=True),
        Cell(number_text(cost.prompt_tokens), numeric=True),
        Cell("not told" if cost.cached_tokens is None else number_text(cost.cached_tokens), numeric=True),
        Cell(number_text(cost.completion_tokens), numeric=True),
        Cell(money if cost.answered else "0", numeric=True),
        Cell(_percentiles(cost.seconds), numeric=True),
        Cell(_percentiles(cost.waits_s), numeric=True),
    )


def _percentiles(values: Sequence[float]) -> str:
    return " / ".join(seconds_text(percentile(values, share)) for share in (0.5, 0.99)) if values else ""


def _joined(roles: Mapping[str, RoleCost]) -> RoleCost:
    joined = RoleCost()
    for cost in roles.values():
        joined.join(cost)
    return joined


def _remarks(costs: Mapping[tuple[str, str], RoleCost]) -> list[str]:
    """What a reader of the table must know."""
    whole = RoleCost()
    for cost in costs.values():
        whole.join(cost)
    remarks = []
    if whole.answered and whole.money_usd is None:
        remarks.append("Where the price of a token is not known, money is not: give it as model.price.")
    if whole.estimated:
        remarks.append("Some tokens were counted by a rule of our own, since the model did not tell.")
    if whole.errors:
        told = ", ".join(f"{reason} {count:,}" for reason, count in sorted(whole.errors.items()))
        remarks.append(f"Calls without an answer: {told}.")
    if whole.charged_tokens > whole.tokens:
        lost = number_text(whole.charged_tokens - whole.tokens)
        remarks.append(
            f"Calls that may have been answered and were lost count {lost} tokens more against budgets."
        )
    return remarks
