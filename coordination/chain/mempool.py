"""The commands that wait to be decided, and which ones were decided lately.

Rules:
* A replica keeps its own clients' commands until they are decided: it alone answers for them. What others hand it is a
  favour, and is dropped when a sender has `capacity` / n waiting here.
* Own commands become a bundle, with a serial, when they first leave: those that wait meanwhile leave together.
* No bundle is decided twice: correct replicas neither propose nor vote for a block that repeats a bundle of its chain.
  Of the committed part the last `WINDOW` names at least are remembered, which has to outlast what the network repeats,
  and the last `SNAPSHOT` of them at a block go with its snapshot.
  (Commands are not signed by clients: a lying leader may put other commands under a name. Its origin sees that, and
  offers its own again under a new name.)

Limits: `capacity` commands of its own, as many of others, and 2 `WINDOW` names.
"""

from collections.abc import Iterable, Sequence
from itertools import islice

from coordination.chain.block import Block, Bundle, Name
from coordination.protocol import Command
from coordination.signature import digest

WINDOW = 50_000
SNAPSHOT = 10_000
SERIALS = 1 << 40
"""Serials of one life of a replica: those of the next begin above."""


class Mempool:
    """Commands that wait, in order of arrival, as bundles and, the newest of its own, loose."""

    def __init__(self, me: int, members: int, *, batch: int, capacity: int) -> None:
        self.me = me
        self.batch = batch
        self.capacity = capacity
        self.waiting = 0
        """How many commands wait in bundles, its own and others'."""
        self._share = max(1, capacity // max(1, members))
        self._serial = 0
        self._loose: list[Command] = []
        self._own = 0
        self._bundles: dict[Name, Bundle] = {}
        self._told: dict[Name, set[int]] = {}
        self._from: dict[int, int] = {}
        self._handed: dict[Name, int] = {}
        self._decided: dict[Name, int] = {}
        """The height of each, in the chain's order."""

    def __bool__(self) -> bool:
        return bool(self._bundles or self._loose)

    @property
    def has_loose(self) -> bool:
        """Whether commands wait that are in no bundle yet."""
        return bool(self._loose)

    def begin_life(self, life: int) -> None:
        """Serials go on above those of earlier lives."""
        self._serial = life * SERIALS

    def offer(self, commands: tuple[Command, ...]) -> bool:
        """Takes own clients' commands. False if there is no room for them all: none is taken."""
        if self._own + len(commands) > self.capacity:
            return False
        self._own += len(commands)
        self._loose.extend(commands)
        return True

    def bundle(self, most: int | None = None) -> None:
        """Puts loose commands, all or so many, into bundles of at most a batch each."""
        loose = self._loose
        end = len(loose) if most is None else min(most, len(loose))
        for start in range(0, end, self.batch):
            self._serial += 1
            self._add(Bundle(self.me, self._serial, tuple(loose[start : min(end, start + self.batch)])))
        self._loose = loose[end:]

    def hear(self, source: int, bundle: Bundle) -> bool:
        """Takes a bundle from another replica, if it is new and there is room in that replica's share."""
        name = bundle.name
        size = len(bundle.commands)
        if not 0 < size <= self.batch or bundle.origin == self.me or name in self._bundles:
            return False
        if name in self._decided:
            return False
        used = self._from.get(source, 0) + size
        if used > self._share:
            return False
        self._from[source] = used
        self._handed[name] = source
        self._add(bundle)
        return True

    def take(self, chain: Sequence[Block]) -> tuple[Bundle, ...]:
        """Bundles for a block on this uncommitted chain: at most a batch of commands, those on it already left out."""
        names = [block.names for block in chain if block.bundles]
        room = self.batch
        taken: list[Bundle] = []
        for name, bundle in self._bundles.items():
            if any(name in there for there in names):
                continue
            if len(bundle.commands) > room:
                return tuple(taken)
            room -= len(bundle.commands)
            taken.append(bundle)
            if not room:
                return tuple(taken)
        if self._loose:
            self.bundle(room)
            taken.append(self._bundles[(self.me, self._serial)])
        return tuple(taken)

    def repeats(self, block: Block, chain: Sequence[Block]) -> bool:
        """Whether a block holds a bundle twice, or one of this uncommitted chain, or one decided lately."""
        names = block.names.keys()
        if not names:
            return False
        if len(names) < len(block.bundles):
            return True
        if not self._decided.keys().isdisjoint(names):
            return True
        return not all(one.names.keys().isdisjoint(names) for one in chain if one.bundles)

    def drop(self, bundles: Iterable[Bundle]) -> None:
        """Forgets bundles that may not be decided."""
        for bundle in bundles:
            self._remove(bundle.name)

    def untold(self, replica: int, chain: Sequence[Block]) -> tuple[Bundle, ...]:
        """Own bundles that this replica was not told of and that are not on the chain. From now on it was told."""
        if self._loose:
            self.bundle()
        names = [block.names for block in chain if block.bundles]
        found = []
        for name, told in self._told.items():
            if replica not in told and not any(name in there for there in names):
                told.add(replica)
                found.append(self._bundles[name])
        return tuple(found)

    def oldest(self) -> tuple[Bundle, ...]:
        """Bundles that wait, own or not, the oldest first, a batch of commands at most."""
        if self._loose:
            self.bundle()
        room = self.batch
        found = []
        for bundle in self._bundles.values():
            room -= len(bundle.commands)
            if room < 0:
                break
            found.append(bundle)
        return tuple(found)

    def settle(self, block: Block) -> None:
        """Notes a committed block: what it holds waits no more."""
        if not block.bundles:
            return
        if len(self._decided) >= 2 * WINDOW:
            self._decided = dict(islice(self._decided.items(), WINDOW, None))
        self._decided.update(dict.fromkeys(block.names, block.height))
        if not self._bundles:
            return
        for bundle in block.bundles:
            held = self._remove(bundle.name)
            # Through the wire a tuple comes back as a list: what counts is the encoding.
            if held is None or held is bundle or bundle.origin != self.me or held == bundle:
                continue
            if digest(held.commands) != digest(bundle.commands):
                self.offer(held.commands)

    def names_up_to(self, height: int) -> tuple[Name, ...]:
        """The names decided last up to a block: a function of the chain."""
        return tuple(name for name, at in self._decided.items() if at <= height)[-SNAPSHOT:]

    def resume(self, names: tuple[Name, ...]) -> None:
        """Goes on from what `names_up_to` gave: bundles that it names wait no more."""
        self._decided = dict.fromkeys(((origin, serial) for origin, serial in names), 0)
        for name in [name for name in self._bundles if name in self._decided]:
            self._remove(name)

    def _add(self, bundle: Bundle) -> None:
        name = bundle.name
        self._bundles[name] = bundle
        self.waiting += len(bundle.commands)
        if bundle.origin == self.me:
            self._told[name] = {self.me}

    def _remove(self, name: Name) -> Bundle | None:
        bundle = self._bundles.pop(name, None)
        if bundle is None:
            return None
        self.waiting -= len(bundle.commands)
        source = self._handed.pop(name, None)
        if source is not None:
            self._from[source] -= len(bundle.commands)
        if bundle.origin == self.me:
            del self._told[name]
            self._own -= len(bundle.commands)
        return bundle
