"""The faults of an experiment: planned, read from its file, and carried out.

Rules:
* A fault acts on what agents see, in the message layer at the sender's cell, when the message is sent. The
  transport below it stays reliable.
* Whether a fault strikes is a pure function of the seed, the rule and the message's identity (sender,
  sequence number, recipient): never of the order of evaluation, the layout of cells or the machine.
* The draws of a rule belong to its kind and its place among the rules of that kind. So an added rule leaves
  the draws of other kinds as they are, and a higher probability strikes the same messages and some more: the
  arms of a sweep are paired (common random numbers).
* Rules act in the order in which they are written, each on every copy that those before it left. In `rounds`
  the sum of a message's delays is rounded up to whole rounds.
* Plain messages, asks and replies are affected. Start, stop and failure notices, what an agent sends to
  itself, and what comes from or goes to the outside (`@`) are not.
* `FaultInjector.counts` is the only state: what was done, by copies of messages. It adds up over cells.

Costs on one core of CPython 3.11: `affects` 0.2 us, about 1 us where a rule names single agents; `deliveries`
0.4 us for a message that no rule is about, 2.3 us for each rule that draws for it, 9 us for a short lie.
"""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from math import ceil, inf
from typing import NamedTuple, TypedDict, cast

from actors.address import role_of
from actors.description import Description, nearest
from actors.distribution import distribution_from
from actors.errors import ConfigurationError
from actors.fault import (
    Agents,
    Behaviour,
    Byzantine,
    CellCrash,
    Crash,
    Delay,
    Drop,
    Duplicate,
    Fault,
    Partition,
    Reorder,
)
from actors.message import Kind, Message
from actors.rule import Copies, Groups, Link, Rule, kind_of
from actors.selector import Counts, Group, selectors_from

_FIRST_UNAFFECTED = int(Kind.FAILURE)


@dataclass(frozen=True)
class FaultPlan:
    """All that goes wrong in a run. Making one raises `ConfigurationError` naming the rule and the field."""

    rules: tuple[Fault, ...] = ()

    def __post_init__(self) -> None:
        for index, rule in enumerate(self.rules):
            rule.check(f"faults[{index}]")

    @property
    def cell_crashes(self) -> tuple[CellCrash, ...]:
        """The cells to kill, for the host."""
        return tuple(rule for rule in self.rules if isinstance(rule, CellCrash))


class Outage(NamedTuple):
    """When some agents are down: `at <= now < end`, or for ever if `end` is None."""

    at: float
    end: float | None
    agents: Group
    """`agents.declared()` lists the declared ones without a look at the others of their roles."""
    keep_state: bool
    """Whether they start again with the state they had, or as new."""

    def selects(self, address: str) -> bool:
        """True if it is about this agent."""
        return address in self.agents


class FaultInjector:
    """Carries out a plan for one cell; the same plan, seed and counts give the same faults in every cell."""

    def __init__(self, plan: FaultPlan, seed: int, counts: Counts, *, rounds: bool = False) -> None:
        """`counts` are those of the roles, `rounds` is true in that schedule.

        Raises `ConfigurationError` for a role that does not exist and a count above its role's.
        """
        self.counts: Counter[str] = Counter()
        self._roles = counts
        self._rounds = rounds
        self._rules: list[Rule] = []
        self._outages: list[Outage] = []
        seen: Counter[str] = Counter()
        for index, fault in enumerate(plan.rules):
            groups = Groups(seed, counts, f"faults[{index}]")
            if isinstance(fault, Crash):
                end = None if fault.duration is None else fault.at + fault.duration
                agents = groups.of(fault.agents, "agents")
                self._outages.append(Outage(fault.at, end, agents, fault.keep_state))
            elif not isinstance(fault, CellCrash):  # which is the host's business
                kind = kind_of(fault)
                self._rules.append(Rule(fault, groups, seed, seen[kind]))
                seen[kind] += 1
        self._rules_by_roles: dict[tuple[str, str], tuple[Rule, ...]] = {}
        self._senders: dict[str, tuple[Link, ...] | bool] = {}

    def affects(self, sender: str) -> bool:
        """False if no rule can touch what this address sends: then `deliveries` need not be asked."""
        role = role_of(sender)
        known = self._senders.get(role)
        if known is None:
            if role not in self._roles:
                return False
            links = tuple(rule.link for rule in self._rules if rule.link.may_send(role))
            known = any(link.all_send(role) for link in links) or (links or False)
            self._senders[role] = known
        return known if isinstance(known, bool) else any(link.sends(sender) for link in known)

    def deliveries(self, message: Message, recipient: str, now: float) -> Copies:
        """What arrives at one recipient of a message sent now, each copy with its delay beyond the usual."""
        sender = message.sender
        unaltered = ((message, 0.0),)
        if message.kind >= _FIRST_UNAFFECTED or sender == recipient:
            return unaltered
        roles = (role_of(sender), role_of(recipient))
        rules = self._rules_by_roles.get(roles)
        if rules is None:
            if roles[0] not in self._roles or roles[1] not in self._roles:
                return unaltered
            rules = tuple(rule for rule in self._rules if rule.link.may_carry(*roles))
            self._rules_by_roles[roles] = rules
        copies: Copies = unaltered
        for rule in rules:
            if rule.start <= now < rule.end and rule.link.carries(sender, recipient):
                copies = rule.act(copies, recipient, self.counts)
        if self._rounds and copies is not unaltered:
            return [(copy, float(ceil(delay))) for copy, delay in copies]
        return copies

    def crashed(self, address: str, now: float) -> bool:
        """True if a crash of the plan keeps the agent down now."""
        for at, end, agents, _ in self._outages:
            if at <= now and (end is None or now < end) and address in agents:
                return True
        return False

    def crashes(self) -> Sequence[Outage]:
        """The crashes of agents, for the cell to schedule. Several may overlap: see `crashed`."""
        return tuple(self._outages)


def fault_from(entry: object, where: str = "faults[0]") -> Fault:
    """The fault that an entry of an experiment file describes, checked. Raises `ConfigurationError`.

    One key names the fault, the others say more:

        {drop: 0.1, senders: worker}
        {delay: {lognormal: {median: 2, sigma: 0.5}}, probability: 0.3, between: [worker, auctioneer]}
        {duplicate: 0.05, copies: 2}
        {reorder: 0.2, window: 5}
        {partition: [[worker/0..4], [worker/5..9]], from: 10, until: 20}
        {crash: surveyor/1, at: 5, for: 10, keep_state: true}
        {cell_crash: 0, at: 7}
        {byzantine: corrupt, agents: {role: voter, count: 2}, values: [commit, abort]}
    """
    reader = Description(entry, where)
    kinds = [key for key in reader.values if key in _BUILDERS]
    if len(kinds) != 1:
        found = f"{kinds} are several faults. Make an entry of each" if kinds else f"{entry!r} names no fault"
        hints = [nearest(key, _BUILDERS) for key in reader.values] or [nearest("", _BUILDERS)]
        raise ConfigurationError(f"{where}: {found}.{min(hints, key=len) if not kinds else ''}")
    fault = _BUILDERS[kinds[0]](reader)
    reader.finish()
    fault.check(where)
    return fault


def _agents(reader: Description, name: str) -> Agents:
    return selectors_from(reader.take(name), reader.at(name))


def _groups(reader: Description, name: str) -> tuple[Agents, ...]:
    groups = reader.take(name)
    if not isinstance(groups, list | tuple):
        raise ConfigurationError(
            f"{reader.at(name)}: {groups!r} is not a list. Give [[worker/0..4], [worker/5..9]]."
        )
    return tuple(selectors_from(group, f"{reader.at(name)}[{place}]") for place, group in enumerate(groups))


def _window(reader: Description) -> tuple[float, float]:
    return reader.number("from", 0.0), reader.number("until", inf)


class _Scope(TypedDict):
    senders: Agents
    recipients: Agents
    between: tuple[Agents, Agents] | None
    start: float
    end: float


def _scope(reader: Description) -> _Scope:
    between = None
    if "between" in reader:
        match _groups(reader, "between"):
            case (one, other):
                between = (one, other)
            case sides:
                raise ConfigurationError(
                    f"{reader.at('between')}: {len(sides)} sides. Give two, as [worker, auctioneer]."
                )
    start, end = _window(reader)
    return _Scope(
        senders=_agents(reader, "senders") if "senders" in reader else (),
        recipients=_agents(reader, "recipients") if "recipients" in reader else (),
        between=between,
        start=start,
        end=end,
    )


def _drop(reader: Description) -> Fault:
    return Drop(reader.number("drop"), **_scope(reader))


def _delay(reader: Description) -> Fault:
    distribution = distribution_from(reader.take("delay"), reader.at("delay"))
    return Delay(distribution, reader.number("probability", 1.0), **_scope(reader))


def _duplicate(reader: Description) -> Fault:
    return Duplicate(reader.number("duplicate"), reader.whole("copies", 1), **_scope(reader))


def _reorder(reader: Description) -> Fault:
    return Reorder(reader.number("reorder"), reader.number("window"), **_scope(reader))


def _partition(reader: Description) -> Fault:
    return Partition(_groups(reader, "partition"), *_window(reader))


def _crash(reader: Description) -> Fault:
    duration = reader.number("for") if "for" in reader else None
    return Crash(_agents(reader, "crash"), reader.number("at"), duration, reader.flag("keep_state", False))


def _cell_crash(reader: Description) -> Fault:
    return CellCrash(reader.whole("cell_crash"), reader.number("at"))


def _byzantine(reader: Description) -> Fault:
    distribution = None
    if "distribution" in reader:
        distribution = distribution_from(reader.take("distribution"), reader.at("distribution"))
    start, end = _window(reader)
    return Byzantine(
        cast("Behaviour", reader.take("byzantine")),  # checked by `Byzantine.check`
        _agents(reader, "agents"),
        reader.number("probability", 1.0),
        distribution,
        _values(reader),
        _agents(reader, "recipients") if "recipients" in reader else (),
        start,
        end,
    )


def _values(reader: Description) -> tuple[str | int | float | bool, ...]:
    values = reader.take("values") if "values" in reader else ()
    if isinstance(values, list | tuple) and all(
        isinstance(value, str | int | float | bool) for value in values
    ):
        return tuple(values)
    raise ConfigurationError(
        f"{reader.at('values')}: {values!r} is not a list of text, numbers or booleans. Give e.g. [yes, no]."
    )


_BUILDERS: Mapping[str, Callable[[Description], Fault]] = {
    "drop": _drop,
    "delay": _delay,
    "duplicate": _duplicate,
    "reorder": _reorder,
    "partition": _partition,
    "crash": _crash,
    "cell_crash": _cell_crash,
    "byzantine": _byzantine,
}
