"""Ranking: why this item and not that one, as a sum of stated parts.

    score = sum over parts of weight * part / sum of weights,   each part scaled to [0, 1] over the items of the scope

so a score is in [0, 1] and each part's share of it is told (`Ranked.parts`). Bruch, Gai and Ingber, "An Analysis of
Fusion Functions for Hybrid Retrieval" (TOIS 2023): a convex sum of min-max scaled scores beats reciprocal rank fusion,
which throws the distances away; measured here on long conversations, 65 against 55 recall at 10. Lexical first: BM25
alone found 61 where a sentence model alone found 41.

Parts:
* `lexical`: BM25 of the item. `window`: of the turns around it, each term counted once. `session`: of its whole
  session.
* `dense`: the query's vector times the item's, with shares of the turn before and after.
* `speaker`: 1 if the question names a participant and the item is theirs. Names of participants are taken out of the
  question's terms: they stand in the turns that address somebody, not in those that somebody says.
* `time`: the item's time lies where the question says. `shape`: the item holds what an answer looks like: a time for
  "when", a number for "how many". `substance`: the item says something: its distinct terms, up to ten.
* `recency`: halves every `half_life_s`. `importance`, `trust`: as told by who wrote the item.

A part that the question says nothing of (no name, no time) is left out of the sum, and of the sum of weights.

Rules:
* Pure: time, vectors and items are handed in. Equal scores are ordered by id, so an answer is always the same.
* Always min(k, number of eligible items) results: what matches nothing comes last, it is not left out.
* Only items of the scope are looked at, for statistics too.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field, fields

import numpy as np
from numpy.typing import NDArray

from memory.bm25 import NO_ROW, BM25Settings, Floats, TextIndex
from memory.errors import InvalidItem
from memory.item import Item
from memory.text import (
    ANSWER_SHAPES,
    answer_shape,
    name_words,
    names_in,
    split_speaker,
    terms,
    terms_and_words,
    time_cue,
)
from memory.thesaurus import ThesaurusSettings, load_thesaurus

Vector = NDArray[np.float32]
K_MAX = 10_000
DAY_S = 86_400.0
_EPSILON = 1e-9
_COLUMNS = {
    name: column
    for column, name in enumerate(
        ("time", "importance", "trust", "substance", "speaker", "id", *ANSWER_SHAPES)
    )
}


@dataclass(frozen=True)
class Weights:
    """How much each part counts. Chosen on conversations of the development script (see `bench conversations`)."""

    lexical: float = 0.45
    window: float = 0.45
    session: float = 0.3
    dense: float = 0.35
    speaker: float = 0.4
    time: float = 0.3
    shape: float = 0.2
    substance: float = 0.25
    recency: float = 0.0
    importance: float = 0.0
    trust: float = 0.0

    def __post_init__(self) -> None:
        values = [getattr(self, each.name) for each in fields(self)]
        if min(values) < 0 or max(values) <= 0 or not np.isfinite(values).all():
            raise InvalidItem(f"weights are numbers of at least 0, one of them above: {self}")


@dataclass(frozen=True)
class RankingSettings:
    """What decides an order, apart from the items and the question."""

    weights: Weights = field(default_factory=Weights)
    bm25: BM25Settings = field(default_factory=BM25Settings)
    thesaurus: ThesaurusSettings | None = field(default_factory=ThesaurusSettings)
    """None: the question's own words alone."""
    window_decay: tuple[float, ...] = (0.6, 0.4, 0.2)
    """Weights of the turns 1, 2, 3 away."""
    dense_before: float = 0.35
    dense_after: float = 0.2
    half_life_s: float = 30 * DAY_S
    session_rest: float = 0.3
    """Of a session's second and third best items, in the score of the session."""


@dataclass(frozen=True)
class Query:
    """What is asked."""

    text: str
    vector: Vector
    """Of the text, by the embedder of the items; shape (dimension,), length 1."""
    k: int = 10
    now: float = 0.0
    """Seconds since 1970: recency counts back from here."""


@dataclass(frozen=True)
class Ranked:
    """An item that was found, and why."""

    item: Item
    score: float
    """0 to 1."""
    parts: dict[str, float]
    """What each part added to the score; they sum to it."""


@dataclass(frozen=True)
class RankedSession:
    """A session that was found."""

    session: str
    score: float
    best: tuple[Ranked, ...]
    """Its items that made it, the best first, three at most, each with its reasons."""


class Ranker:
    """Ranks the items of one scope. Kept up to date by `add` and `remove`; not for several threads at once."""

    def __init__(self, dimension: int, settings: RankingSettings | None = None) -> None:
        self.settings = settings or RankingSettings()
        self._text = TextIndex(self.settings.bm25)
        thesaurus = self.settings.thesaurus
        self._thesaurus = None if thesaurus is None else load_thesaurus(thesaurus)
        self._items: list[Item] = []
        self._speakers: dict[str, int] = {}
        self._row_of: dict[int, int] = {}
        self._vectors = np.zeros((64, dimension), dtype=np.float32)
        self._numbers = np.zeros((64, len(_COLUMNS)))

    def __len__(self) -> int:
        return len(self._row_of)

    def add(self, item: Item, vector: Vector) -> None:
        """Adds an item with its vector, shape (dimension,)."""
        if item.id in self._row_of:
            raise InvalidItem(f"item {item.id} is here already: remove it first")
        if vector.shape != self._vectors.shape[1:]:
            raise InvalidItem(
                f"the vector of item {item.id} has shape {vector.shape}, not {self._vectors.shape[1:]}"
            )
        speaker, said = split_speaker(item.text)
        if item.speaker:
            said = said if speaker.lower() == item.speaker.lower() else item.text
            speaker = item.speaker
        row = self._text.add(terms(said), session=item.session, turn=item.turn)
        if row == len(self._vectors):
            self._vectors = np.concatenate([self._vectors, np.zeros_like(self._vectors)])
            self._numbers = np.concatenate([self._numbers, np.zeros_like(self._numbers)])
        self._items.append(item)
        self._row_of[item.id] = row
        self._vectors[row] = vector
        self._numbers[row] = (
            item.recorded_at if item.valid_from is None else item.valid_from,
            item.importance,
            item.trust,
            min(len(self._text.terms_of(row)) / 10, 1),
            self._speakers.setdefault(speaker, len(self._speakers)),
            item.id,
            *(shape.search(said) is not None for shape in ANSWER_SHAPES.values()),
        )

    def remove(self, item_id: int) -> bool:
        """Takes an item away. False if it is not here."""
        row = self._row_of.pop(item_id, None)
        if row is None:
            return False
        self._text.remove(row)
        self._vectors[row] = 0
        return True

    def rank(self, query: Query, eligible: Collection[int] | None = None) -> list[Ranked]:
        """The best items for the query, best first; of those with an id in `eligible`, where given."""
        rows = self._rows(eligible)
        if not 1 <= query.k <= K_MAX:
            raise InvalidItem(f"k is {query.k}: give 1 to {K_MAX:,}")
        if not len(rows):
            return []
        names, shares = self._shares(query, rows)
        scores = shares.sum(axis=0)
        order = self._best(scores, rows, query.k)
        return [self._ranked(rows[place], names, shares[:, place]) for place in order]

    def rank_sessions(self, query: Query, eligible: Collection[int] | None = None) -> list[RankedSession]:
        """The best sessions: two parts of the best item with a share of the next two, one of the session's BM25."""
        rows = self._rows(eligible)
        if not len(rows):
            return []
        parts, shares = self._shares(query, rows)
        scores = shares.sum(axis=0)
        number_of, names = self._text.sessions()
        whole = _scaled(self._text.session_scores(self._wanted(query)))
        best: dict[int, list[int]] = {}
        for place in self._best(scores, rows, len(rows)):
            number = int(number_of[rows[place]])
            if number != NO_ROW and len(best.setdefault(number, [])) < 3:
                best[number].append(place)
        numbers = list(best)
        own = np.array(
            [_session_score(scores[best[number]], self.settings.session_rest) for number in numbers]
        )
        total = (2 * _scaled(own) + whole[numbers]) / 3 if numbers else own
        order = sorted(range(len(numbers)), key=lambda at: (-total[at], names[numbers[at]]))[: query.k]
        return [
            RankedSession(
                names[numbers[at]],
                float(total[at]),
                tuple(self._ranked(rows[place], parts, shares[:, place]) for place in best[numbers[at]]),
            )
            for at in order
        ]

    def _ranked(self, row: int, names: list[str], shares: Floats) -> Ranked:
        parts = {name: float(share) for name, share in zip(names, shares, strict=True)}
        return Ranked(self._items[row], float(shares.sum()), parts)

    def _rows(self, eligible: Collection[int] | None) -> NDArray[np.int64]:
        if eligible is None:
            return np.flatnonzero(self._text.alive)
        return np.array(
            sorted({self._row_of[each] for each in eligible if each in self._row_of}), dtype=np.int64
        )

    def _best(self, scores: Floats, rows: NDArray[np.int64], k: int) -> list[int]:
        places = np.arange(len(rows))
        if k < len(rows):
            places = np.flatnonzero(scores >= np.partition(scores, len(rows) - k)[len(rows) - k])
        ids = self._numbers[rows[places], _COLUMNS["id"]]
        order: list[int] = places[np.lexsort((ids, -scores[places]))][:k].tolist()
        return order

    def _shares(self, query: Query, rows: NDArray[np.int64]) -> tuple[list[str], Floats]:
        """The parts' names, and what each adds to each row's score: shape (parts, rows)."""
        parts = self._parts(query, rows)
        weights = {name: getattr(self.settings.weights, name) for name in parts}
        total = sum(weights.values()) or 1.0
        return list(parts), np.array([weights[name] / total * part for name, part in parts.items()])

    def _wanted(self, query: Query) -> list[list[tuple[str, float]]]:
        """The question's distinct terms without participants' names, each with what may stand in for it."""
        named = {word for name in self._named(query) for word in name_words(name)}
        asked = list(dict.fromkeys(term for term, word in terms_and_words(query.text) if word not in named))
        if self._thesaurus is None:
            return [[(term, 1.0)] for term in asked]
        return [[(term, 1.0), *self._thesaurus.related(term)] for term in asked]

    def _named(self, query: Query) -> list[str]:
        """The participants that the question names: by their whole names, or where it has none by a part of one."""
        asked = names_in(query.text)
        parts_of = {name: name_words(name) for name in self._speakers if name}
        whole = [name for name, parts in parts_of.items() if parts <= asked]
        return whole or [name for name, parts in parts_of.items() if not parts.isdisjoint(asked)]

    def _parts(self, query: Query, rows: NDArray[np.int64]) -> dict[str, Floats]:
        """Each part that the question speaks of, scaled to [0, 1] over the rows."""
        wanted = self._wanted(query)
        by_term = self._text.parts(wanted)
        named = self._named(query)
        cue, shape = time_cue(query.text), answer_shape(query.text)
        told = {name: self._numbers[rows, column] for name, column in _COLUMNS.items()}
        age = np.maximum(query.now - told["time"], 0)
        parts = {
            "lexical": _scaled(by_term.sum(axis=0)[rows]),
            "window": _scaled(self._text.windows(by_term, self.settings.window_decay).sum(axis=0)[rows]),
            "session": _scaled(self._of_session(wanted)[rows]),
            "dense": _scaled(self._dense(query.vector)[rows]),
            "substance": told["substance"],
            "recency": 0.5 ** (age / self.settings.half_life_s),
            "importance": told["importance"],
            "trust": told["trust"],
        }
        if named:
            parts["speaker"] = np.isin(told["speaker"], [self._speakers[name] for name in named]) * 1.0
        if cue is not None:
            parts["time"] = cue.match(told["time"])
        if shape is not None:
            parts["shape"] = told[shape]
        return parts

    def _of_session(self, wanted: Sequence[Sequence[tuple[str, float]]]) -> Floats:
        number_of, _ = self._text.sessions()
        scores = np.append(self._text.session_scores(wanted), 0.0)  # the last: of no session
        of_rows: Floats = scores[number_of]
        return of_rows

    def _dense(self, vector: Vector) -> Floats:
        own = (self._vectors[: len(self._items)] @ vector).astype(np.float64)
        padded = np.append(own, 0.0)  # the last: no neighbour
        before, after = self._text.neighbours()
        blended: Floats = (
            own + self.settings.dense_before * padded[before] + self.settings.dense_after * padded[after]
        )
        return blended


def _scaled(values: Floats) -> Floats:
    """To [0, 1]; all 0 where all are alike."""
    if not len(values):
        return values
    low = values.min()
    scaled: Floats = (values - low) / (values.max() - low + _EPSILON)
    return scaled


def _session_score(best: Floats, rest: float) -> float:
    return float(best[0] + rest * best[1:].mean()) if len(best) > 1 else float(best[0])
