"""Which agents a fault is about.

Rules:
* A selector is text or a small dictionary: `worker` and `worker/*` (all of a role, spawned ones too),
  `worker/3`, `worker/0..9` (both ends included), `{role: worker, share: 0.2}`, `{role: voter, count: 2}`.
* A share takes each agent with that probability by its address alone, declared or spawned. A count takes
  exactly that many declared agents: those with the smallest hashes. Both are fixed by seed and address, the
  same in every process.
* Choices nest: the agents of a smaller share or count are among those of a larger one, so the arms of a sweep
  differ in the added agents alone. For the same reason two rules with one selector choose the same agents;
  give each its own `draw` to choose independently.
* Agents outside the swarm are in no group.

Costs on one core: a test of membership 0.2 to 0.8 us, for a share 2.2 us; choosing by count hashes every
declared agent of the role once, 1.4 s for a million.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from heapq import nsmallest

from actors.address import Members, role_of
from actors.description import Description, nearest, number, whole
from actors.errors import ConfigurationError
from actors.rng import stream_key, unit

Counts = Mapping[str, int | None]
"""For each role the number of its declared agents; None for a role of one agent with a bare name."""


@dataclass(frozen=True)
class Selector:
    """Some agents of one role."""

    role: str
    keys: str = "*"
    """`*`, one key, or a range of numbers `0..9`."""
    share: float | None = None
    """The probability with which each is taken. None: all."""
    count: int | None = None
    """How many of the declared ones are taken. None: all."""
    draw: str = ""
    """Names an independent choice for `share` and `count`."""

    def check(self, where: str) -> None:
        """Raises `ConfigurationError` naming the field, the value and the mend."""
        if not self.role or any(character in self.role for character in "/*@#"):
            raise ConfigurationError(
                f"{where}: {self.role!r} is not a role. Give worker, worker/3, worker/*, worker/0..9, "
                f"{{role: worker, share: 0.2}} or {{role: worker, count: 2}}."
            )
        if not self.keys:
            raise ConfigurationError(
                f"{where}: '{self.role}/' has no key. Give {self.role}/* or {self.role}/3."
            )
        span = self.span
        if span is not None and span[0] > span[1]:
            raise ConfigurationError(
                f"{where}: the range {self.keys} is empty. Give the smaller number first: "
                f"{self.role}/{span[1]}..{span[0]}."
            )
        if self.share is not None:
            number(self.share, f"{where}.share", 0, 1)
        if self.count is not None:
            whole(self.count, f"{where}.count", 0)
        if self.share is not None and self.count is not None:
            raise ConfigurationError(f"{where}: both share and count are given. Give one of them.")

    @property
    def span(self) -> tuple[int, int] | None:
        """The two ends of a range of numbers; None for other keys."""
        first, dots, last = self.keys.partition("..")
        return (int(first), int(last)) if dots and _decimal(first) and _decimal(last) else None

    @property
    def everyone(self) -> bool:
        """True if it takes the whole role."""
        return self.keys == "*" and self.share is None and self.count is None

    def naming(self) -> Callable[[str], bool]:
        """The test whether an address of the role is among `keys`, before share and count."""
        span = self.span
        if self.keys == "*":
            return lambda _address: True
        if span is None:
            return f"{self.role}/{self.keys}".__eq__
        start, (first, last) = len(self.role) + 1, span

        def in_range(address: str) -> bool:
            key = address[start:]
            # "07" is a name, not the number 7: see `actors/address.py`.
            return _decimal(key) and (key[0] != "0" or key == "0") and first <= int(key) <= last

        return in_range

    def __str__(self) -> str:
        text = self.role if self.keys == "*" else f"{self.role}/{self.keys}"
        if self.share is not None:
            return f"{self.share:g} of {text}"
        return text if self.count is None else f"{self.count} of {text}"


def select(*entries: str | Selector | Mapping[str, object]) -> tuple[Selector, ...]:
    """The selectors that entries describe, checked; see the module's rules for their forms."""
    return selectors_from(list(entries), "select")


def selectors_from(entry: object, where: str) -> tuple[Selector, ...]:
    """The selectors in an entry of an experiment file: one, or a list of them."""
    if isinstance(entry, list | tuple):
        if not entry:
            raise ConfigurationError(f"{where}: the list is empty. Name agents, or leave it out.")
        return tuple(_selector_from(item, f"{where}[{i}]") for i, item in enumerate(entry))
    return (_selector_from(entry, where),)


def _selector_from(entry: object, where: str) -> Selector:
    if isinstance(entry, Selector):
        selector = entry
    elif isinstance(entry, str):
        role, slash, keys = entry.partition("/")
        selector = Selector(role, keys if slash else "*")
    elif isinstance(entry, Mapping):
        reader = Description(entry, where)
        share = reader.number("share") if "share" in reader else None
        count = reader.whole("count") if "count" in reader else None
        draw = str(reader.take("draw")) if "draw" in reader else ""
        role, slash, keys = str(reader.take("role")).partition("/")
        reader.finish()
        selector = Selector(role, keys if slash else "*", share, count, draw)
    else:
        raise ConfigurationError(
            f"{where}: {entry!r} selects no agents. Give worker, worker/3, worker/0..9 "
            f"or {{role: worker, count: 2}}."
        )
    selector.check(where)
    return selector


class Group:
    """The agents that any of some selectors takes, in a swarm: `address in group`."""

    def __init__(
        self, selectors: Iterable[Selector], seed: int, counts: Counts, where: str = "agents"
    ) -> None:
        """Raises `ConfigurationError` for an unknown role and for a count above the role's."""
        self._counts = counts
        self._whole: set[str] = set()
        self._tests: dict[str, list[Callable[[str], bool]]] = {}
        self._selectors = tuple(selectors)
        for selector in self._selectors:
            if selector.role not in counts:
                raise ConfigurationError(
                    f"{where}: no role '{selector.role}'.{nearest(selector.role, counts)}"
                )
            if selector.everyone:
                self._whole.add(selector.role)
            else:
                self._tests.setdefault(selector.role, []).append(_membership(selector, seed, counts, where))

    def __contains__(self, address: str) -> bool:
        role = role_of(address)
        if role in self._whole:
            return True
        for test in self._tests.get(role, ()):  # noqa: SIM110 - half the cost of any()
            if test(address):
                return True
        return False

    def touches(self, role: str) -> bool:
        """True if some agent of the role may be in the group."""
        return role in self._whole or role in self._tests

    def covers(self, role: str) -> bool:
        """True if every agent of the role is in the group."""
        return role in self._whole

    def declared(self) -> Iterator[str]:
        """The declared agents of the group, each once, without a look at roles that it does not touch."""
        for role in dict.fromkeys(selector.role for selector in self._selectors):
            single = [s for s in self._selectors if s.role == role]
            if all(_is_single(s) for s in single):
                candidates: Iterable[str] = dict.fromkeys(f"{s.role}/{s.keys}" for s in single)
                size = self._counts[role] or 0
                yield from (a for a in candidates if a in self and _number_of(a) < size)
            else:
                yield from (address for address in Members(role, self._counts[role]) if address in self)


def _membership(selector: Selector, seed: int, counts: Counts, where: str) -> Callable[[str], bool]:
    """The test by which an agent of the selector's role is taken."""
    key = stream_key(seed, "selector", selector.draw)
    named = selector.naming()
    if selector.count is not None:
        members = [address for address in Members(selector.role, counts[selector.role]) if named(address)]
        if selector.count > len(members):
            raise ConfigurationError(
                f"{where}.count: {selector.count} of {len(members)} declared agents. "
                f"Give at most {len(members)}."
            )
        return frozenset(nsmallest(selector.count, members, lambda address: unit(key, address))).__contains__
    if selector.share is not None:
        share = selector.share
        return lambda address: named(address) and unit(key, address) < share
    return named


def _decimal(text: str) -> bool:
    return text.isascii() and text.isdigit()


def _is_single(selector: Selector) -> bool:
    return selector.keys != "*" and selector.span is None


def _number_of(address: str) -> float:
    key = address.partition("/")[2]
    return int(key) if _decimal(key) and (key[0] != "0" or key == "0") else float("inf")
