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
  question's terms: they stand in the turns that address somebody, not in those that somebody says. Who speaks is what
  the item's `speaker` says; a text that begins `Ada: ` is taken for Ada's only if several do ("Warning: the disk is
  full" is nobody's).
* `time`: the item's time lies where the question says. `shape`: the item holds what an answer looks like: a time for
  "when", a number for "how many". `substance`: the item says something: its distinct terms, up to ten.
* `recency`: halves every `half_life_s`. `importance`, `trust`: as told by who wrote the item.

A part that the question says nothing of (no name, no time) is left out of the sum, and of the sum of weights. One of
weight 0 is not worked out, and not told.

Rules:
* Pure: time, vectors and items are handed in. Equal scores are ordered by id, so an answer is always the same.
* Always min(k, number of eligible items) results: what matches nothing comes last, it is not left out.
* Only items of the scope are looked at, for statistics too.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field, fields
from typing import NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

from memory.bm25 import NO_ROW, Alternatives, BM25Settings, Floats, Rows, TextIndex
from memory.errors import InvalidItem
from memory.item import Item
from memory.text import (
    ANSWER_SHAPES,
    Question,
    name_words,
    question_of,
    split_speaker,
    terms,
)
from memory.thesaurus import ThesaurusSettings, load_thesaurus

Vector = NDArray[np.float32]
K_MAX = 10_000
DAY_S = 86_400.0
_EPSILON = 1e-9
_CLAIMS = 2
_SORTED_WHOLE = 200
_FIRST_ROWS = 64
_COLUMNS = ("time", "importance", "trust", "substance", "speaker", "id")


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


class Ranked(msgspec.Struct, frozen=True, gc=False):
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


class Reading(NamedTuple):
    """What is read in an item's text. It depends on the item alone: one that was read need not be read again."""

    name: str
    """Who speaks: as told, or the word before the first colon."""
    start: int
    """Where what is said begins."""
    terms: tuple[str, ...]


def read(item: Item) -> Reading:
    """Reads an item."""
    name, said = split_speaker(item.text)
    if not name or name.lower() != item.speaker.lower():
        said = item.text  # who is told as the speaker need not be a term too
    return Reading(item.speaker or name, len(item.text) - len(said), tuple(terms(said)))


class Ranker:
    """Ranks the items of one scope. Kept up to date by `add` and `remove`; not for several threads at once."""

    def __init__(
        self, dimension: int, settings: RankingSettings | None = None, room: int = _FIRST_ROWS
    ) -> None:
        """`room`: for so many items; it grows."""
        self.settings = settings or RankingSettings()
        self._text = TextIndex(self.settings.bm25)
        thesaurus = self.settings.thesaurus
        self._thesaurus = None if thesaurus is None else load_thesaurus(thesaurus)
        self._items: list[Item] = []
        self._readings: list[Reading] = []
        self._shapes: dict[tuple[str, int], bool] = {}
        """Whether a row holds what an answer looks like, by shape and row: looked for when it is asked for."""
        self._speakers: dict[str, _Speaker] = {}
        self._row_of: dict[int, int] = {}
        self._everything: _Chosen | None = None
        """All rows that hold an item, until there is a change."""
        self._vectors = np.zeros((max(room, 1), dimension), dtype=np.float32)
        self._numbers = np.zeros((max(room, 1), len(_COLUMNS)))

    def __len__(self) -> int:
        return len(self._row_of)

    def add(self, item: Item, vector: Vector, reading: Reading | None = None) -> None:
        """Adds an item with its vector, shape (dimension,); `reading`, where it was read before."""
        if item.id in self._row_of:
            raise InvalidItem(f"item {item.id} is here already: remove it first")
        if vector.shape != self._vectors.shape[1:]:
            raise InvalidItem(
                f"the vector of item {item.id} has shape {vector.shape}, not {self._vectors.shape[1:]}"
            )
        if reading is None:
            reading = read(item)
        row = self._text.add(reading.terms, session=item.session, turn=item.turn)
        if row == len(self._vectors):
            self._vectors = np.concatenate([self._vectors, np.zeros_like(self._vectors)])
            self._numbers = np.concatenate([self._numbers, np.zeros_like(self._numbers)])
        self._everything = None
        self._items.append(item)
        self._readings.append(reading)
        self._row_of[item.id] = row
        self._vectors[row] = vector
        self._numbers[row] = (
            item.recorded_at if item.valid_from is None else item.valid_from,
            item.importance,
            item.trust,
            min(len(self._text.terms_of(row)) / 10, 1),
            self._count_speaker(reading.name, told=bool(item.speaker), step=1),
            item.id,
        )

    def remove(self, item_id: int) -> bool:
        """Takes an item away. False if it is not here."""
        row = self._row_of.pop(item_id, None)
        if row is None:
            return False
        self._count_speaker(self._readings[row].name, told=bool(self._items[row].speaker), step=-1)
        self._everything = None
        self._text.remove(row)
        self._vectors[row] = 0
        return True

    def rank(self, query: Query, eligible: Collection[int] | None = None) -> list[Ranked]:
        """The best items for the query, best first; of those with an id in `eligible`, where given."""
        chosen = self._chosen(eligible)
        if not 1 <= query.k <= K_MAX:
            raise InvalidItem(f"k is {query.k}: give 1 to {K_MAX:,}")
        if not len(chosen.rows):
            return []
        names, shares, scores = self._shares(query, chosen)
        return self._ranked(self._best(scores, chosen, query.k), chosen, names, shares, scores)

    def rank_sessions(self, query: Query, eligible: Collection[int] | None = None) -> list[RankedSession]:
        """The best sessions: two parts of the best item with a share of the next two, one of the session's BM25."""
        chosen = self._chosen(eligible)
        if not len(chosen.rows):
            return []
        parts, shares, scores = self._shares(query, chosen)
        number_of, names = self._text.sessions()
        question = question_of(query.text)
        whole = _scaled(self._text.session_scores(self._wanted(question, self._named(question))))
        best: dict[int, list[int]] = {}
        for place in self._best(scores, chosen, len(scores)):
            number = int(number_of[chosen.rows[place]])
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
                tuple(self._ranked(best[numbers[at]], chosen, parts, shares, scores)),
            )
            for at in order
        ]

    def _ranked(
        self, places: list[int], chosen: "_Chosen", names: list[str], shares: Floats, scores: Floats
    ) -> list[Ranked]:
        found = zip(
            chosen.rows[places].tolist(), scores[places].tolist(), shares[:, places].T.tolist(), strict=True
        )
        return [
            Ranked(self._items[row], score, dict(zip(names, told, strict=True))) for row, score, told in found
        ]

    def _count_speaker(self, name: str, *, told: bool, step: int) -> int:
        """Counts a row of somebody's in (`step` 1) or out (-1); gives the number that stands for the name."""
        speaker = self._speakers.get(name)
        if speaker is None:
            speaker = self._speakers[name] = _Speaker(
                len(self._speakers), name_words(name) if name else frozenset()
            )
        if told:
            speaker.told += step
        else:
            speaker.claimed += step
        return speaker.number

    def _chosen(self, eligible: Collection[int] | None) -> "_Chosen":
        if eligible is None:
            if self._everything is None:
                self._everything = self._choice(np.flatnonzero(self._text.alive))
            return self._everything
        rows = sorted({self._row_of[each] for each in eligible if each in self._row_of})
        return self._choice(np.array(rows, dtype=np.int64))

    def _choice(self, rows: Rows) -> "_Chosen":
        told = self._numbers[rows].T
        return _Chosen(rows, len(rows) == len(self._items), dict(zip(_COLUMNS, told, strict=True)))

    @staticmethod
    def _best(scores: Floats, chosen: "_Chosen", k: int) -> list[int]:
        ids, places = chosen.told["id"], np.arange(len(scores))
        if len(scores) > max(k, _SORTED_WHOLE):
            places = np.flatnonzero(scores >= np.partition(scores, len(scores) - k)[len(scores) - k])
        best: list[int] = places[np.lexsort((ids[places], -scores[places]))][:k].tolist()
        return best

    def _shares(self, query: Query, chosen: "_Chosen") -> tuple[list[str], Floats, Floats]:
        """The parts' names, what each adds to each row's score, shape (parts, rows), and the scores.

        Left out are those that count nothing, and those that the question does not speak of.
        """
        weights, question = self.settings.weights, question_of(query.text)
        named = self._named(question)
        found = self._found(query, self._wanted(question, named), chosen)
        scaled = len(found)
        found |= self._known(query, question, named, chosen)
        counted = [getattr(weights, name) for name in found]
        shares = np.array(list(found.values()))
        _scale(shares[:scaled])
        shares *= (np.array(counted) / (sum(counted) or 1.0))[:, None]
        return list(found), shares, shares.sum(axis=0)

    def _wanted(self, question: Question, named: Sequence[str]) -> list[Alternatives]:
        """The question's distinct terms without participants' names, each with what may stand in for it."""
        without = frozenset().union(*(self._speakers[name].words for name in named))
        asked = dict.fromkeys(term for term, word in question.terms if word not in without)
        if self._thesaurus is None:
            return self._text.known([[(term, 1.0)] for term in asked])
        return self._text.known([[(term, 1.0), *self._thesaurus.related(term)] for term in asked])

    def _named(self, question: Question) -> list[str]:
        """The participants that the question names: by their whole names, or where it has none by a part of one."""
        asked, whole, partly = question.names, [], []
        for name, speaker in self._speakers.items():
            if name and speaker.is_known and not speaker.words.isdisjoint(asked):
                partly.append(name)
                if speaker.words <= asked:
                    whole.append(name)
        return whole or partly

    def _found(self, query: Query, wanted: Sequence[Alternatives], chosen: "_Chosen") -> dict[str, Floats]:
        """The parts that are looked up, not scaled yet."""
        weights = self.settings.weights
        parts: dict[str, Floats] = {}
        if weights.lexical or weights.window:
            by_term = self._text.parts(wanted)
            if weights.lexical:
                parts["lexical"] = chosen.of(by_term.sum(axis=0))
            if weights.window:
                windows = self._text.windows(by_term, self.settings.window_decay)
                parts["window"] = chosen.of(windows.sum(axis=0))
        if weights.session:
            parts["session"] = chosen.of(self._of_session(wanted))
        if weights.dense:
            parts["dense"] = chosen.of(self._dense(query.vector))
        return parts

    def _known(
        self, query: Query, question: Question, named: Sequence[str], chosen: "_Chosen"
    ) -> dict[str, Floats]:
        """The parts that items tell themselves, 0 to 1."""
        weights, told = self.settings.weights, chosen.told
        parts = {name: told[name] for name in ("substance", "importance", "trust") if getattr(weights, name)}
        if weights.recency:
            age = np.maximum(query.now - told["time"], 0)
            fresh: Floats = 0.5 ** (age / self.settings.half_life_s)
            parts["recency"] = fresh
        if named and weights.speaker:
            numbers = [self._speakers[name].number for name in named]
            parts["speaker"] = np.isin(told["speaker"], numbers).astype(np.float64)
        if question.cue is not None and weights.time:
            parts["time"] = question.cue.match(told["time"])
        if question.shape is not None and weights.shape:
            parts["shape"] = np.array([self._has(question.shape, row) for row in chosen.rows.tolist()], float)
        return parts

    def _has(self, shape: str, row: int) -> bool:
        found = self._shapes.get((shape, row))
        if found is None:
            start = self._readings[row].start
            found = ANSWER_SHAPES[shape].search(self._items[row].text, start) is not None
            self._shapes[shape, row] = found
        return found

    def _of_session(self, wanted: Sequence[Alternatives]) -> Floats:
        number_of, names = self._text.sessions()
        if not names:
            return np.zeros(len(self._items))
        scores = np.append(self._text.session_scores(wanted), 0.0)  # the last: of no session
        of_rows: Floats = scores[number_of]
        return of_rows

    def _dense(self, vector: Vector) -> Floats:
        count = len(self._items)
        padded = np.zeros(count + 1)  # the last: no neighbour
        padded[:count] = self._vectors[:count] @ vector
        own = padded[:count]
        if not self._text.has_neighbours:
            return own
        before, after = self._text.neighbours()
        blended: Floats = (
            own + self.settings.dense_before * padded[before] + self.settings.dense_after * padded[after]
        )
        return blended


@dataclass(frozen=True, eq=False, slots=True)
class _Chosen:
    """The rows that are ranked, and what their items tell."""

    rows: Rows
    every: bool
    """True if there are no others."""
    told: dict[str, Floats]
    """By column: shape (rows,)."""

    def of(self, values: Floats) -> Floats:
        """The values of these rows, from those of all."""
        return values if self.every else values[self.rows]


@dataclass(slots=True)
class _Speaker:
    """Somebody to whom items belong, or a word that begins some."""

    number: int
    words: frozenset[str]
    """By which a question names them."""
    told: int = 0
    """Items that say who speaks."""
    claimed: int = 0
    """Items whose text begins with the name and a colon."""

    @property
    def is_known(self) -> bool:
        """True if it is somebody: as told by an item, or as several texts begin so."""
        return self.told > 0 or self.claimed >= _CLAIMS


def _scale(parts: Floats) -> None:
    """Each row of (parts, items) to [0, 1], in place; all 0 where all are alike."""
    np.subtract(parts, parts.min(axis=1, keepdims=True), out=parts)
    np.divide(parts, parts.max(axis=1, keepdims=True) + _EPSILON, out=parts)


def _scaled(values: Floats) -> Floats:
    """To [0, 1]; all 0 where all are alike."""
    scaled = values.copy()
    if len(values):
        _scale(scaled[None, :])
    return scaled


def _session_score(best: Floats, rest: float) -> float:
    return float(best[0] + rest * best[1:].mean()) if len(best) > 1 else float(best[0])
