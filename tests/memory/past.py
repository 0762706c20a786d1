"""Random corrections against a plain oracle for the past, and random calls against a plain oracle for scopes."""

import random
from dataclasses import dataclass, field
from itertools import product
from pathlib import Path

from memory.errors import Conflict, NotAllowed, UnknownItem
from memory.item import Draft, Kind
from memory.memory import Memory
from memory.scope import Scope
from memory.settings import MemorySettings
from tests.memory.embedding import TinyEmbedder


@dataclass
class _Version:
    id: int
    text: str
    since: float
    until: float = float("inf")


def correct_at_random(folder: Path, seed: int, corrections: int, comparisons: int) -> None:
    """Corrects facts again and again, retires and forgets some; compares `as_of` at random times with the oracle."""
    rng = random.Random(seed)
    here = Scope("t", agent="a")
    ticks = iter(range(1, 100 * corrections))
    history: list[_Version] = []
    live: list[_Version] = []
    with Memory.open(folder, TinyEmbedder(4), clock=lambda: float(next(ticks) // 3)) as memory:
        for number in range(corrections):
            choice = rng.random()
            if not live or choice < 0.1:
                receipt = memory.remember(f"fact {number}", scope=here, kind=Kind.FACT)
            elif choice < 0.13:
                gone = live.pop(rng.randrange(len(live)))
                memory.forget(gone.id, scope=here)
                history.remove(gone)
                continue
            elif choice < 0.16:
                ended = live.pop(rng.randrange(len(live)))
                memory.retire([ended.id], scope=here)
                until = memory.get(ended.id, scope=here).retired_at
                assert until is not None
                ended.until = until
                continue
            else:
                old = live.pop(rng.randrange(len(live)))
                receipt = memory.correct(old.id, f"better {number}", scope=here)
                until = memory.get(old.id, scope=here).retired_at
                assert until is not None
                old.until = until
            item = memory.get(receipt.id, scope=here)
            version = _Version(item.id, item.text, item.recorded_at)
            history.append(version)
            live.append(version)
        instants = [version.since for version in history]
        assert len(set(instants)) == len(instants), f"seed {seed}: two writes at one instant"
        for _ in range(comparisons):
            when = rng.choice(instants) + rng.choice([-0.5, 0.0, 0.0, 0.5])
            told = {found.item.id: found.item.text for found in memory.as_of(when, scope=here, k=10_000)}
            truth = {each.id: each.text for each in history if each.since <= when < each.until}
            assert told == truth, f"seed {seed}: the past at {when} is told wrongly"


@dataclass
class Fuzz:
    """Random calls of random readers; the oracle knows each item's scope."""

    memory: Memory
    seed: int
    homes: dict[int, Scope] = field(default_factory=dict)
    retired: set[int] = field(default_factory=set)

    def __post_init__(self) -> None:
        self.rng = random.Random(self.seed)
        names = product("tu", ["", "s"], ["", "r"], ["", "a", "b"], ["", "x"])
        self.scopes = [Scope(*each) for each in names]

    def run(self, calls: int) -> None:
        """Makes so many calls."""
        for count in range(calls):
            reader = self.rng.choice(self.scopes)
            step = self.rng.choice((self.write, self.recall, self.recall, self.get, self.correct, self.erase))
            step(reader, count)

    def write(self, reader: Scope, count: int) -> None:
        """Writes anywhere: it succeeds exactly where the reader sees."""
        into = self.rng.choice(self.scopes)
        try:
            made = self.memory.remember_all(
                [Draft(into, f"{into.path} word{self.rng.randrange(40)} n{count}")], scope=reader
            )[0]
        except NotAllowed:
            assert not reader.sees(into), self.seed
            return
        assert reader.sees(into), self.seed
        self.homes[made.id] = into

    def recall(self, reader: Scope, count: int) -> None:
        """Recalls: exactly what is seen and believed, min(k, there are)."""
        k = self.rng.choice([1, 5, 1000])
        found = self.memory.recall(f"word{self.rng.randrange(40)}", scope=reader, k=k)
        seen = {each for each, home in self.homes.items() if reader.sees(home) and each not in self.retired}
        ids = {each.item.id for each in found}
        assert ids <= seen, f"seed {self.seed}, call {count}: {reader.path} saw {ids - seen}"
        assert len(found) == len(ids) == min(k, len(seen)), f"seed {self.seed}, call {count}"

    def get(self, reader: Scope, count: int) -> None:
        """Looks up any id."""
        each = self._any(count)
        try:
            item = self.memory.get(each, scope=reader)
        except UnknownItem:
            assert each not in self.homes or not reader.sees(self.homes[each]), self.seed
            return
        assert reader.sees(item.scope), f"seed {self.seed}, call {count}: {reader.path} got {item}"
        assert item.scope == self.homes[each]

    def correct(self, reader: Scope, count: int) -> None:
        """Corrects any id."""
        each = self._any(count)
        try:
            made = self.memory.correct(each, f"corrected n{count}", scope=reader)
        except UnknownItem:
            assert each not in self.homes or not reader.sees(self.homes[each]), self.seed
            return
        except Conflict:
            assert each in self.retired, self.seed
            assert reader.sees(self.homes[each]), self.seed
            return
        self.homes[made.id] = self.homes[each]
        self.retired.add(each)

    def erase(self, reader: Scope, count: int) -> None:
        """Forgets any id."""
        each = self._any(count)
        home = self.homes.get(each)
        try:
            self.memory.forget(each, scope=reader)
        except UnknownItem:
            assert home is None or not reader.sees(home), self.seed
            return
        except NotAllowed:
            assert home is not None, self.seed
            assert reader.sees(home), self.seed
            assert not reader.may_erase(home), self.seed
            return
        assert home is not None, self.seed
        assert reader.may_erase(home), self.seed
        del self.homes[each]
        self.retired.discard(each)

    def _any(self, count: int) -> int:
        return self.rng.choice(list(self.homes)) if self.homes and count % 7 else self.rng.randrange(1 << 30)


def fuzz_at_random(folder: Path, seed: int, calls: int) -> None:
    """Calls of all kinds by readers of all kinds; not one may see what is not its own."""
    with Memory.open(folder, TinyEmbedder(4), settings=MemorySettings(candidates=60)) as memory:
        fuzz = Fuzz(memory, seed)
        fuzz.run(calls)
        assert memory.check().sound, seed
        assert len(memory) == len(fuzz.homes) - len(fuzz.retired), seed
