"""Views: rankings of all that a reader sees, kept at hand.

A view ranks the members of one set of scopes; readers who see the same share it. It is a cache: brought up to date
when it is asked, from the index's versions and the rows.

Rules:
* What was acknowledged before a recall began is in the view that answers it.
* Views hold about `text_items` items in all. The one unused for longest goes, if it was not used in the last `_IN_USE`
  recalls; else the new one is not made: making views to lose them at once would cost more than they save.
* More members than `candidates`, or no room for a view: the nearest, and those that share words, are ranked instead,
  among themselves.
* Questions come in batches; one is a batch of one, so it is answered alike alone and in company. Who sees the same
  shares a view, its bringing up to date, and the rows that are fetched. An item's text is read once for all.
"""

import threading
from collections import OrderedDict
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Final, NamedTuple, TypeVar

import msgspec

from memory.block import Filter
from memory.errors import MemoryFault
from memory.item import Item, Kind
from memory.ranking import Query, Ranked, Ranker, RankingSettings, Reading, read
from memory.schema import Vectors
from memory.scope import Scope
from memory.shard import Shard
from memory.words import matching

T = TypeVar("T")
_FETCHED: Final = 500
_FEW: Final = 128
_IN_USE: Final = 10_000
_SPARE_ROWS: Final = 100
Pair = tuple[Item, Vectors]
"""An item with its vector, shape (d,)."""


class Ask(msgspec.Struct, frozen=True):
    """A question of a batch."""

    text: str
    scope: Scope
    k: int = 10
    kinds: frozenset[Kind] | None = None
    valid_at: float | None = None
    within: tuple[Scope, ...] | None = None
    merging: bool = False
    """True for candidates with their vectors, to be ranked with those of other shards."""


class Question(NamedTuple):
    """A question, ready to be answered."""

    query: Query
    reader: Scope
    filter_: Filter | None = None
    scopes: Sequence[Scope] | None = None


class Readings:
    """What was read in items, by id: what an item says never changes, and its id is not used again."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._known: dict[int, Reading] = {}

    def of(self, item: Item) -> Reading:
        """What is read in an item."""
        found = self._known.get(item.id)
        if found is None:
            if len(self._known) >= self._most:
                self._known = {}
            found = self._known[item.id] = read(item)
        return found


class _View:
    """One ranking. `lock` is held while it is used."""

    def __init__(self, dimension: int, ranking: RankingSettings, readings: Readings) -> None:
        self.lock = threading.Lock()
        self.size = 0
        """Items that it was to hold when it was last asked."""
        self.asked = 0
        """When that was, in recalls of all views."""
        self._dimension = dimension
        self._ranking = ranking
        self._readings = readings
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
                    self.ranker.add(item, vector, self._readings.of(item))
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
        self._readings = Readings(shard.settings.text_items)
        self._views: OrderedDict[tuple[int, ...], _View] = OrderedDict()
        self._held = 0
        self._asked = 0
        self._lock = threading.Lock()

    def recall_all(self, questions: Sequence[Question]) -> list[list[Ranked] | Exception]:
        """The best of what each reader sees, min(k, there are); or what its question came to."""
        answers: list[list[Ranked] | Exception] = [[]] * len(questions)
        groups: dict[tuple[int, ...], list[int]] = {}
        for at, question in enumerate(questions):
            try:
                numbers = self._shard.numbers(question.reader, question.scopes)
                groups.setdefault(tuple(numbers), []).append(at)
            except Exception as error:  # handed over to who asked
                answers[at] = error
        for seen, places in groups.items():
            try:
                found = self._answers(seen, [questions[at] for at in places])
            except Exception as error:  # of what they share: handed over to all of them
                found = [error] * len(places)
            for at, answer in zip(places, found, strict=True):
                answers[at] = self._if_still_here(questions[at], answer)
        return answers

    def candidates(self, questions: Sequence[Question], few: int = 0) -> list[list[Pair] | Exception]:
        """The nearest by vector and by words, with their vectors: what is worth ranking, at least k if there are."""
        ids = [tried(self._candidate_ids, question, few) for question in questions]
        union = list(dict.fromkeys(each for some in ids if not isinstance(some, Exception) for each in some))
        pairs: dict[int, Pair] = {}
        for start in range(0, len(union), _FETCHED):
            pairs |= {pair[0].id: pair for pair in self._shard.whole(union[start : start + _FETCHED])}
        return [
            some
            if isinstance(some, Exception)
            else self._if_still_here(
                question, _passing((pairs[each] for each in some if each in pairs), question)
            )
            for some, question in zip(ids, questions, strict=True)
        ]

    def _if_still_here(self, question: Question, answer: T) -> T | Exception:
        """An answer; `Moved` if what it was found in was given away meanwhile, and so perhaps in part."""
        try:
            self._shard.numbers(question.reader, question.scopes)
        except MemoryFault as error:
            return error
        return answer

    def _answers(
        self, numbers: tuple[int, ...], questions: Sequence[Question]
    ) -> list[list[Ranked] | Exception]:
        """The answers to questions of readers who see the same."""
        size = sum(self._shard.index.count(number) for number in numbers)
        large = size > self._shard.settings.candidates
        view = None if large else self._view(numbers, size)
        if view is None:
            found = self.candidates(questions, 0 if large else _FEW)
            return [
                pairs if isinstance(pairs, Exception) else tried(self._ranked, question.query, pairs)
                for question, pairs in zip(questions, found, strict=True)
            ]
        eligible: dict[Filter | None, list[int] | None] = {None: None}
        with view.lock:
            view.refresh(self._shard, numbers)
            for filter_ in {question.filter_: None for question in questions if question.filter_ is not None}:
                eligible[filter_] = [each for each, item in view.items.items() if filter_.lets_pass(item)]
            return [tried(view.ranker.rank, each.query, eligible[each.filter_]) for each in questions]

    def _ranked(self, query: Query, pairs: Sequence[Pair]) -> list[Ranked]:
        return rank_pairs(query, pairs, self._ranking, self._readings)

    def _candidate_ids(self, question: Question, few: int) -> list[int]:
        shard, query = self._shard, question.query
        enough = max(2 * query.k, few or shard.settings.candidates // 8)
        near = shard.search(question.reader, query.vector, enough, question.filter_, question.scopes)
        numbers = shard.numbers(question.reader, question.scopes)
        like = matching(shard.store, query.text, numbers, enough)
        return list(dict.fromkeys([*(item.id for item, _ in near), *like]))

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
                view = self._views[numbers] = _View(
                    self._shard.identity.dimension, self._ranking, self._readings
                )
            self._views.move_to_end(numbers)
            self._held += size - view.size
            view.size, view.asked = size, self._asked
            return view


def tried(work: Callable[..., T], *given: Any) -> T | Exception:
    """What a call gives, or raises: one question of a batch must not spoil the others."""
    try:
        return work(*given)
    except Exception as error:  # handed over to who asked
        return error


def _passing(pairs: Iterable[Pair], question: Question) -> list[Pair]:
    filter_ = question.filter_
    return [pair for pair in pairs if pair[0].current and (filter_ is None or filter_.lets_pass(pair[0]))]


def rank_pairs(
    query: Query, pairs: Sequence[Pair], ranking: RankingSettings, readings: Readings | None = None
) -> list[Ranked]:
    """Ranks items among themselves: those of several shards, of a time past, or of too many."""
    ranker = Ranker(len(query.vector), ranking, len(pairs))
    for item, vector in pairs:
        ranker.add(item, vector, None if readings is None else readings.of(item))
    return ranker.rank(query)
