"""A rule at work: which messages a fault is about, and what it does to them.

Rules:
* What is asked of roles is asked once and kept by `FaultInjector`; what is asked of addresses must be cheap.
* All that is drawn is drawn from what names a message: sender, sequence number, recipient, copy.
* Copies of a message tell the same lie, and whether a corrupt sender lies is the same for all recipients.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Sequence

import msgspec

from actors.byzantine import alter, lot_of
from actors.fault import Byzantine, Delay, Drop, Duplicate, MessageFault, Partition, Reorder
from actors.message import Message
from actors.rng import Rng, stream_key, unit
from actors.selector import Counts, Group, Selector

_NO_GROUP = -1

MessageRule = MessageFault | Partition | Byzantine
"""The faults that act on messages."""

Copies = Sequence[tuple[Message, float]]
"""What becomes of a message: each copy with its extra delay; none if it is lost."""


class Groups:
    """Makes the groups of one rule."""

    def __init__(self, seed: int, counts: Counts, where: str) -> None:
        self.seed = seed
        self.counts = counts
        self.where = where

    def of(self, agents: tuple[Selector, ...], name: str) -> Group:
        return Group(agents, self.seed, self.counts, f"{self.where}.{name}")

    def unless_empty(self, agents: tuple[Selector, ...], name: str) -> Group | None:
        return self.of(agents, name) if agents else None


class Link:
    """Which messages a rule is about. For roles first: the answer is kept, and most messages need no more."""

    def __init__(
        self, senders: Group | None, recipients: Group | None, between: tuple[Group, Group] | None
    ) -> None:
        self.senders = senders
        self.recipients = recipients
        self.between = between

    def may_send(self, role: str) -> bool:
        return (self.senders is None or self.senders.touches(role)) and (
            self.between is None or any(side.touches(role) for side in self.between)
        )

    def all_send(self, role: str) -> bool:
        return (self.senders is None or self.senders.covers(role)) and (
            self.between is None or any(side.covers(role) for side in self.between)
        )

    def sends(self, sender: str) -> bool:
        return (self.senders is None or sender in self.senders) and (
            self.between is None or any(sender in side for side in self.between)
        )

    def may_carry(self, sender: str, recipient: str) -> bool:
        """True if the link may carry messages between agents of two roles."""
        if not self.may_send(sender) or (
            self.recipients is not None and not self.recipients.touches(recipient)
        ):
            return False
        if self.between is None:
            return True
        one, other = self.between
        return (one.touches(sender) and other.touches(recipient)) or (
            other.touches(sender) and one.touches(recipient)
        )

    def carries(self, sender: str, recipient: str) -> bool:
        if self.senders is not None and sender not in self.senders:
            return False
        if self.recipients is not None and recipient not in self.recipients:
            return False
        if self.between is None:
            return True
        one, other = self.between
        return (sender in one and recipient in other) or (sender in other and recipient in one)


class _Border(Link):
    """The messages between the groups of a partition."""

    def __init__(self, groups: Iterable[Group]) -> None:
        super().__init__(None, None, None)
        self.groups = tuple(groups)

    def may_carry(self, sender: str, recipient: str) -> bool:
        sides = (self._side_of_role(sender), self._side_of_role(recipient))
        return None in sides or sides[0] != sides[1]

    def carries(self, sender: str, recipient: str) -> bool:
        return self._side(sender) != self._side(recipient)

    def _side(self, address: str) -> int:
        for side, group in enumerate(self.groups):
            if address in group:
                return side
        return _NO_GROUP

    def _side_of_role(self, role: str) -> int | None:
        """The group of all agents of a role; None if they may be in several."""
        for side, group in enumerate(self.groups):
            if group.covers(role):
                return side
            if group.touches(role):
                return None
        return _NO_GROUP


def _link_of(fault: MessageRule, groups: Groups) -> Link:
    if isinstance(fault, Partition):
        return _Border(groups.of(agents, f"groups[{place}]") for place, agents in enumerate(fault.groups))
    recipients = groups.unless_empty(fault.recipients, "recipients")
    if isinstance(fault, Byzantine):
        return Link(groups.of(fault.agents, "agents"), recipients, None)
    between = None
    if fault.between is not None:
        between = (groups.of(fault.between[0], "between[0]"), groups.of(fault.between[1], "between[1]"))
    return Link(groups.unless_empty(fault.senders, "senders"), recipients, between)


class _Draws:
    """The randomness of one rule: everything that is drawn is drawn from what names a message."""

    def __init__(self, seed: int, kind: str, place: int) -> None:
        self.seed = seed
        self.names = ("fault", kind, str(place))
        self.key = stream_key(seed, *self.names)

    def strikes(self, probability: float, message: Message, recipient: str, copy: int = 0) -> bool:
        if probability >= 1.0:
            return True
        return unit(self.key, message.sender, message.sequence, recipient, copy) < probability

    def length(self, message: Message, recipient: str, copy: int) -> float:
        """A second number in [0, 1), for how long a delay is."""
        return unit(self.key, message.sender, message.sequence, recipient, copy, "length")

    def stream(self, message: Message) -> Rng:
        """The stream of lies about a message, the same for all its recipients."""
        return Rng(stream_key(self.seed, *self.names, message.sender, str(message.sequence)))


Action = Callable[[Copies, str, Counter[str]], Copies]
"""What a rule does to the copies for one recipient, counting what it did."""


def _action_of(fault: MessageRule, draws: _Draws) -> Action:
    match fault:
        case Byzantine():
            return _misbehaving(draws, fault)
        case Drop():
            return _losing(draws, fault.probability, "dropped")
        case Delay():
            return _delaying(draws, fault.probability, fault.distribution.sample, "delayed")
        case Duplicate():
            return _copying(draws, fault.probability, fault.copies)
        case Reorder(window=window):
            return _delaying(draws, fault.probability, lambda u: (1.0 - u) * window, "reordered")
        case _:
            return _losing(draws, 1.0, "partitioned")


def _misbehaving(draws: _Draws, fault: Byzantine) -> Action:
    match fault.behaviour:
        case "silent":
            return _losing(draws, fault.probability, "silenced")
        case "delay":
            assert fault.distribution is not None, fault
            return _delaying(draws, fault.probability, fault.distribution.sample, "held_back")
        case _:
            return _lying(draws, fault)


def _losing(draws: _Draws, probability: float, measure: str) -> Action:
    def lose(copies: Copies, recipient: str, counts: Counter[str]) -> Copies:
        kept = [
            copy
            for place, copy in enumerate(copies)
            if not draws.strikes(probability, copy[0], recipient, place)
        ]
        if len(kept) == len(copies):
            return copies
        counts[measure] += len(copies) - len(kept)
        return kept

    return lose


def _delaying(draws: _Draws, probability: float, sample: Callable[[float], float], measure: str) -> Action:
    def delay(copies: Copies, recipient: str, counts: Counter[str]) -> Copies:
        result = list(copies)
        for place, (message, waited) in enumerate(copies):
            if draws.strikes(probability, message, recipient, place):
                result[place] = (message, waited + sample(draws.length(message, recipient, place)))
                counts[measure] += 1
        return result

    return delay


def _copying(draws: _Draws, probability: float, extra: int) -> Action:
    def copy(copies: Copies, recipient: str, counts: Counter[str]) -> Copies:
        result = list(copies)
        for place, original in enumerate(copies):
            if draws.strikes(probability, original[0], recipient, place):
                result += [original] * extra
                counts["duplicated"] += extra
        return result

    return copy


def _lying(draws: _Draws, fault: Byzantine) -> Action:
    equivocates = fault.behaviour == "equivocate"
    measure = "equivocated" if equivocates else "corrupted"

    def lie(copies: Copies, recipient: str, counts: Counter[str]) -> Copies:
        if not copies:
            return copies
        original = copies[0][0]
        if not draws.strikes(fault.probability, original, recipient if equivocates else ""):
            return copies
        lot = lot_of(recipient) if equivocates else None
        parts = alter(original.parts, draws.stream(original), lot, fault.values)
        altered = msgspec.structs.replace(original, parts=parts)
        counts[measure] += len(copies)
        return [(altered, waited) for _, waited in copies]

    return lie


def kind_of(fault: MessageRule) -> str:
    """The name of a rule's kind, which its draws belong to."""
    kind = type(fault).__name__.lower()
    return f"{kind}-{fault.behaviour}" if isinstance(fault, Byzantine) else kind


class Rule:
    """One fault at work on messages."""

    __slots__ = ("act", "end", "link", "start")

    def __init__(self, fault: MessageRule, groups: Groups, seed: int, place: int) -> None:
        """`place` is that among the rules of its kind. Raises `ConfigurationError` for an unknown role."""
        self.link = _link_of(fault, groups)
        self.act = _action_of(fault, _Draws(seed, kind_of(fault), place))
        self.start = fault.start
        self.end = fault.end
