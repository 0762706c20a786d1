"""Views: rankings of all that a reader sees, kept at hand.

A view ranks the members of one set of scopes; readers who see the same share it. It is a cache: brought up to date
when it is asked, from the index's versions and the rows.

Rules:
* What was acknowledged before a recall began is in the view that answers it.
* Views hold about `text_items` items in all. The one unused for longest goes, if it was not used in the last `_IN_USE`
  recalls; else the new one is not made: making views to lose them at once would cost more than they save.
* More members than `candidates`, or no room for a view: the nearest, and those that share words, are ranked instead,
  among themselves.
"""

import threading
from collections import OrderedDict
from collections.abc import Sequence
from typing import Final

from memory.block import Filter
from memory.item import Item
from memory.ranking import Query, Ranked, Ranker, RankingSettings
from memory.schema import Vectors
from memory.scope import Scope
from memory.shard import Shard
from memory.words import matching

_FETCHED: Final = 500
_FEW: Final = 128
_IN_USE: Final = 10_000
_SPARE_ROWS: Final = 100
Pair = tuple[Item, Vectors]
"""An item with its vector, shape (d,)."""


class _View:
    """One ranking. `lock` is held while it is used."""

    def __init__(self, dimension: int, ranking: RankingSettings) -> None:
        self.lock = threading.Lock()
        self.size = 0
        """Items that it was to hold when it was last asked."""
        self.asked = 0
        """When that was, in recalls of all views."""
        self._dimension = dimension
        self._ranking = ranking
        self._begin()

    def _begin(self) -> None:
        self.ranker = Ranker(self._dimension, self._ranking)
        self.items: dict[int, Item] = {}
        self._members: dict[int, set[int]] = {}
        self._versions: dict[int, int] = {}
        self._rows = 0

    def refresh(self, shard: Shard, numbers: Sequence[int]) -> None:
        """Brings it to what the index has of these scopes."""
        for number in numbers:
            version = shard.index.version(number)
            if version == self._versions.get(number):
                continue
            wanted, had = shard.index.ids(number), self._members.setdefault(number, set())
            for each in had - wanted:
                self.ranker.remove(each)
                del self.items[each]
            had &= wanted
            missing = sorted(wanted - had)
            for start in range(0, len(missing), _FETCHED):
                for item, vector in shard.whole(missing[start : start + _FETCHED]):
                    self.ranker.add(item, vector)
                    self.items[item.id] = item
                    had.add(item.id)
                    self._rows += 1
            self._versions[number] = version
        if self._rows > 2 * len(self.items) + _SPARE_ROWS:  # rows of a ranker are not used again
            self._begin()
            self.refresh(shard, numbers)


class Views:
    """The views of one shard."""

    def __init__(self, shard: Shard, ranking: RankingSettings) -> None:
        self._shard = shard
        self._ranking = ranking
        self._views: OrderedDict[tuple[int, ...], _View] = OrderedDict()
        self._held = 0
        self._asked = 0
        self._lock = threading.Lock()

    def recall(
        self,
        query: Query,
        reader: Scope,
        filter_: Filter | None = None,
        scopes: Sequence[Scope] | None = None,
    ) -> list[Ranked]:
        """The best of what the reader sees: min(k, there are)."""
        numbers = self._shard.numbers(reader, scopes)
        size = sum(self._shard.index.count(number) for number in numbers)
        if size > self._shard.settings.candidates:
            return rank_pairs(query, self.candidates(query, reader, filter_, scopes), self._ranking)
        view = self._view(tuple(numbers), size)
        if view is None:
            return rank_pairs(query, self.candidates(query, reader, filter_, scopes, _FEW), self._ranking)
        with view.lock:
            view.refresh(self._shard, numbers)
            eligible = None
            if filter_ is not None:
                eligible = [each for each, item in view.items.items() if filter_.lets_pass(item)]
            return view.ranker.rank(query, eligible)

    def candidates(
        self,
        query: Query,
        reader: Scope,
        filter_: Filter | None = None,
        scopes: Sequence[Scope] | None = None,
        few: int = 0,
    ) -> list[Pair]:
        """The nearest by vector and by words, with their vectors: what is worth ranking, at least k if there are."""
        shard = self._shard
        enough = max(2 * query.k, few or shard.settings.candidates // 8)
        near = [item.id for item, _ in shard.search(reader, query.vector, enough, filter_, scopes)]
        numbers = shard.numbers(reader, scopes)
        ids = list(dict.fromkeys(near + matching(shard.store, query.text, numbers, enough)))
        pairs: list[Pair] = []
        for start in range(0, len(ids), _FETCHED):
            pairs += shard.whole(ids[start : start + _FETCHED])
        return [pair for pair in pairs if pair[0].current and (filter_ is None or filter_.lets_pass(pair[0]))]

    def _view(self, numbers: tuple[int, ...], size: int) -> _View | None:
        """The view of some scopes, about to hold `size` items; None if there is no room among those in use."""
        with self._lock:
            self._asked += 1
            view = self._views.get(numbers)
            if view is None:
                while self._held + size > self._shard.settings.text_items and self._views:
                    oldest = next(iter(self._views.values()))
                    if size > _FEW and oldest.asked > self._asked - _IN_USE:
                        return None
                    self._held -= self._views.popitem(last=False)[1].size
                view = self._views[numbers] = _View(self._shard.identity.dimension, self._ranking)
            self._views.move_to_end(numbers)
            self._held += size - view.size
            view.size, view.asked = size, self._asked
            return view


def rank_pairs(query: Query, pairs: Sequence[Pair], ranking: RankingSettings) -> list[Ranked]:
    """Ranks items among themselves: those of several shards, of a time past, or of too many."""
    ranker = Ranker(len(query.vector), ranking)
    for item, vector in pairs:
        ranker.add(item, vector)
    return ranker.rank(query)
