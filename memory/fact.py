"""Facts: who or what, in which relation, to what; since when, by whose word; and which stands when two clash.

A fact is an item of kind FACT whose attributes hold `subject`, `relation` and `object`; the item keeps the two times
(valid, recorded), the source and its trust. Nothing here erases: a settlement says which facts are superseded and by
which, and the memory writes that down.

Two facts *contradict* if they say different objects of one subject in a relation that has one object at a time (`lives
in`, not `likes`), and their times overlap. They are settled by stated rules, tried in order; the first that can tell
decides, and the settlement names it:
* `recency`: the one that holds since later (valid_from, else when it was recorded). The older is not called false: it
  held until then, and is closed at that time.
* `trust`: the one whose best source is believed more, by at least `trust_margin`.
* `vote`: the one that more sources say, each counted once, however often it says it.
Where no rule can tell, the later record stands, and the settlement says `record`.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from memory.errors import InvalidItem
from memory.item import Item, Kind
from memory.text import words

Rule = Literal["recency", "trust", "vote"]
FIELD_CHARACTERS = 1_000
SINGLE_VALUED = frozenset(
    {
        "age", "born in", "born on", "capital", "costs", "depends on version", "email", "employer", "lives in",
        "located in", "married to", "name", "owner", "phone", "port", "role", "status", "title", "version", "works at",
    }
)  # fmt: skip
"""Relations with one object at a time. Others may have many: a contradiction in them is not found."""


@dataclass(frozen=True)
class Fact:
    """One statement, with where it comes from and when it holds."""

    id: int
    """Of the item that says it."""
    subject: str
    relation: str
    object: str
    valid_from: float | None = None
    valid_to: float | None = None
    recorded_at: float = 0.0
    source: str = ""
    trust: float = 0.5
    literal: bool = False
    """True if the object is a value (a number, a text), not an entity of its own."""

    @property
    def since(self) -> float:
        """From when it holds, as far as is known: valid_from, else when it was recorded."""
        return self.recorded_at if self.valid_from is None else self.valid_from

    @property
    def key(self) -> tuple[str, str]:
        """What it is about, however it is written: subject and relation."""
        return normal(self.subject), normal(self.relation)


@dataclass(frozen=True)
class SettlingRules:
    """How contradictions are found and settled."""

    order: tuple[Rule, ...] = ("trust", "recency", "vote")
    trust_margin: float = 0.2
    single_valued: frozenset[str] = SINGLE_VALUED

    def __post_init__(self) -> None:
        unknown = [rule for rule in self.order if rule not in ("recency", "trust", "vote")]
        if unknown or len(set(self.order)) != len(self.order):
            raise InvalidItem(f"order is {self.order}: give each of recency, trust and vote at most once")
        if not 0 <= self.trust_margin <= 1:
            raise InvalidItem(f"trust_margin is {self.trust_margin}: give a number from 0 to 1")


@dataclass(frozen=True)
class Settlement:
    """How one contradiction was settled."""

    kept: Fact
    superseded: tuple[Fact, ...]
    rule: str
    """recency, trust, vote, or record where none of them could tell."""
    reason: str
    valid_to: float | None
    """For recency: when the superseded facts ceased to hold. None: they were never so, as far as is believed."""


def fact_attributes(subject: str, relation: str, object_: str, *, literal: bool = False) -> dict[str, Any]:
    """The attributes of an item that states a fact. Raises `InvalidItem` for an empty or overlong field."""
    for name, value in (("subject", subject), ("relation", relation), ("object", object_)):
        if not value.strip() or len(value) > FIELD_CHARACTERS:
            raise InvalidItem(
                f"the {name} of a fact has {len(value)} characters: give 1 to {FIELD_CHARACTERS:,}, not all blank"
            )
    return {"subject": subject, "relation": relation, "object": object_, "literal": literal}


def fact_of(item: Item) -> Fact | None:
    """The fact that an item states; None if it is of another kind, or states none."""
    told = item.attributes
    fields = [told.get(name) for name in ("subject", "relation", "object")]
    if item.kind is not Kind.FACT or not all(isinstance(field, str) and field for field in fields):
        return None
    subject, relation, object_ = map(str, fields)
    return Fact(
        item.id,
        subject,
        relation,
        object_,
        item.valid_from,
        item.valid_to,
        item.recorded_at,
        item.source,
        item.trust,
        told.get("literal") is True,
    )


def normal(name: str) -> str:
    """A name as it is compared: words in lower case, articles off."""
    kept = [word for word in words(name) if word not in ("the", "a", "an")]
    return " ".join(kept) or name.strip().lower()


def contradictions(facts: Iterable[Fact], rules: SettlingRules | None = None) -> list[tuple[Fact, ...]]:
    """Groups of facts that cannot all be true, each ordered by id: in the order of their first ids."""
    rules = rules or SettlingRules()
    single = {normal(relation) for relation in rules.single_valued}
    by_key: dict[tuple[str, str], list[Fact]] = {}
    for fact in sorted(facts, key=lambda fact: fact.id):
        if normal(fact.relation) in single:
            by_key.setdefault(fact.key, []).append(fact)
    groups = []
    for same in by_key.values():
        clashing = [
            fact
            for fact in same
            if any(normal(fact.object) != normal(other.object) and _overlap(fact, other) for other in same)
        ]
        if clashing:
            groups.append(tuple(clashing))
    return groups


def settle(clashing: Sequence[Fact], rules: SettlingRules | None = None) -> Settlement:
    """Which of some contradicting facts stands, by the first rule that can tell."""
    rules = rules or SettlingRules()
    camps: dict[str, list[Fact]] = {}
    for fact in sorted(clashing, key=lambda fact: fact.id):
        camps.setdefault(normal(fact.object), []).append(fact)
    if len(camps) < 2:
        raise InvalidItem("these facts do not contradict one another: there is nothing to settle")
    ordered = list(camps.values())
    for rule in rules.order:
        found = _DECIDE[rule](ordered, rules)
        if found is not None:
            winners, reason = found
            return _settled(winners, ordered, rule, reason)
    winners = max(ordered, key=lambda camp: max((fact.recorded_at, fact.id) for fact in camp))
    return _settled(winners, ordered, "record", "no rule could tell; the last record stands")


def settle_all(facts: Iterable[Fact], rules: SettlingRules | None = None) -> list[Settlement]:
    """All contradictions among the facts, settled."""
    return [settle(clashing, rules) for clashing in contradictions(facts, rules)]


def _overlap(one: Fact, other: Fact) -> bool:
    """True if both hold at some time. An open end lasts for ever; an open start is when it was recorded."""
    ends = [float("inf") if fact.valid_to is None else fact.valid_to for fact in (one, other)]
    return one.since < ends[1] and other.since < ends[0]


def _settled(winners: list[Fact], camps: list[list[Fact]], rule: str, reason: str) -> Settlement:
    kept = max(winners, key=lambda fact: (fact.trust, fact.since, fact.id))
    superseded = tuple(fact for camp in camps if camp is not winners for fact in camp)
    closes_at = min(fact.since for fact in winners) if rule == "recency" else None
    return Settlement(kept, superseded, rule, reason, closes_at)


def _by_recency(camps: list[list[Fact]], _: SettlingRules) -> tuple[list[Fact], str] | None:
    latest = [max(fact.since for fact in camp) for camp in camps]
    if latest.count(max(latest)) > 1:
        return None
    return camps[latest.index(max(latest))], f"holds since {max(latest):.0f}, the others since earlier"


def _by_trust(camps: list[list[Fact]], rules: SettlingRules) -> tuple[list[Fact], str] | None:
    trust = [max(fact.trust for fact in camp) for camp in camps]
    best, second = sorted(trust, reverse=True)[:2]
    if best - second < rules.trust_margin or best == second:
        return None
    return camps[trust.index(best)], f"its source is trusted {best:.2f}, the others {second:.2f} at most"


def _by_vote(camps: list[list[Fact]], _: SettlingRules) -> tuple[list[Fact], str] | None:
    votes = [len({fact.source for fact in camp if fact.source}) for camp in camps]
    best, second = sorted(votes, reverse=True)[:2]
    if best == second:
        return None
    return camps[votes.index(best)], f"{best} sources say it, {second} at most say another"


_DECIDE = {"recency": _by_recency, "trust": _by_trust, "vote": _by_vote}
