"""BM25 over the items of one scope, term by term, with the neighbours of each item at hand.

Robertson and Zaragoza, "The Probabilistic Relevance Framework: BM25 and Beyond" (2009): the part of term t in item d is
    idf(t) tf (k1 + 1) / (tf + k1 (1 - b + b |d| / mean |d|)),   idf(t) = ln(1 + (n - df + 1/2) / (df + 1/2)).

Rules:
* Statistics are those of the scope alone: another scope's words can neither help nor be guessed from scores.
* Scores are kept apart by term until the end, so that a window of turns can count a term once, wherever it stands in
  the window: summing turns' scores would count a word that is repeated, and reward talk over substance.
* Items come and go one at a time. The neighbours of an item are the turns before and after it in its session.
"""

import math
from bisect import insort
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Rows = NDArray[np.int64]
Alternatives = Sequence[tuple[str, float]]
"""A query term: (term, discount) of itself and of what may stand in for it."""
NO_ROW = -1
_FIRST_ROWS = 16


@dataclass(frozen=True)
class BM25Settings:
    """k1: how soon repetition stops to count. b: how much length is held against a text, 0 to 1."""

    k1: float = 1.2
    b: float = 0.75


class TextIndex:
    """The terms of a scope's items, by row. Rows are numbered from 0 as items come, and are not used again."""

    def __init__(self, settings: BM25Settings | None = None) -> None:
        self.settings = settings or BM25Settings()
        self._postings: dict[str, dict[int, int]] = {}
        self._terms_of: list[Counter[str]] = []
        self._session_rows: dict[str, list[tuple[int, int]]] = {}
        self._session_terms: dict[str, Counter[str]] = {}
        self._session_of: list[str] = []
        self._turn_of: list[int] = []
        self._alive = np.zeros(_FIRST_ROWS, dtype=bool)
        self._lengths = np.zeros(_FIRST_ROWS)
        """Terms in each row. It and `_alive` have room for more rows than there are."""
        self._links: _Links | None = None
        self._parts: dict[str, tuple[Rows, Floats]] = {}
        """What was asked for since the last change: never more than the postings."""
        self._total_terms = 0
        self._count = 0

    def __len__(self) -> int:
        """How many rows there are, removed ones included."""
        return len(self._turn_of)

    @property
    def alive(self) -> NDArray[np.bool_]:
        """Which rows hold an item, shape (rows,). Not to be changed."""
        return self._alive[: len(self)]

    def add(self, terms: Sequence[str], *, session: str = "", turn: int = 0) -> int:
        """Adds an item by its terms; returns its row. Items without a session have no neighbours."""
        row = len(self)
        if row == len(self._alive):
            self._alive = np.concatenate([self._alive, np.zeros_like(self._alive)])
            self._lengths = np.concatenate([self._lengths, np.zeros_like(self._lengths)])
        counts = Counter(terms)
        for term, count in counts.items():
            self._postings.setdefault(term, {})[row] = count
        self._terms_of.append(counts)
        self._session_of.append(session)
        self._turn_of.append(turn)
        self._alive[row] = True
        self._lengths[row] = counts.total()
        self._total_terms += counts.total()
        self._count += 1
        if session:
            insort(self._session_rows.setdefault(session, []), (turn, row))
            self._session_terms.setdefault(session, Counter()).update(counts)
        self._changed()
        return row

    def remove(self, row: int) -> None:
        """Takes an item away; its neighbours become neighbours."""
        if not self._alive[row]:
            return
        counts, session = self._terms_of[row], self._session_of[row]
        for term in counts:
            postings = self._postings[term]
            del postings[row]
            if not postings:
                del self._postings[term]
        self._total_terms -= counts.total()
        self._count -= 1
        self._alive[row] = False
        self._terms_of[row] = Counter()
        if session:
            self._session_rows[session].remove((self._turn_of[row], row))
            self._session_terms[session] -= counts
            if not self._session_rows[session]:
                del self._session_rows[session], self._session_terms[session]
        self._changed()

    def terms_of(self, row: int) -> Counter[str]:
        """The terms of an item with their counts. Not to be changed."""
        return self._terms_of[row]

    def idf(self, term: str) -> float:
        """How rare a term is: 0 if every item has it."""
        df = len(self._postings.get(term, ()))
        return math.log(1 + (self._count - df + 0.5) / (df + 0.5))

    def known(self, query: Sequence[Alternatives]) -> list[Alternatives]:
        """What of a query can be found here: the rest scores 0 everywhere, and most of a thesaurus is the rest."""
        found = [[pair for pair in alternatives if pair[0] in self._postings] for alternatives in query]
        return [alternatives for alternatives in found if alternatives]

    def parts(self, query: Sequence[Alternatives]) -> Floats:
        """BM25 of each query term in each row: shape (terms, rows). The best of a term's alternatives counts."""
        parts = np.zeros((len(query), len(self)))
        for part, alternatives in zip(parts, query, strict=True):
            for place, (term, discount) in enumerate(alternatives):
                rows, values = self._parts.get(term) or self._part(term)
                if place or discount != 1:
                    values = discount * values
                part[rows] = np.maximum(part[rows], values) if place else values
        return parts

    def _part(self, term: str) -> tuple[Rows, Floats]:
        """The rows that hold a term, and its BM25 in each."""
        postings = self._postings.get(term, {})
        rows = np.fromiter(postings, dtype=np.int64, count=len(postings))
        counts = np.fromiter(postings.values(), dtype=np.float64, count=len(postings))
        k1, b = self.settings.k1, self.settings.b
        mean = max(self._total_terms / max(self._count, 1), 1e-9)
        held = self._lengths[rows]
        held *= k1 * b / mean
        held += counts
        held += k1 * (1 - b)
        counts *= self.idf(term) * (k1 + 1)
        counts /= held
        self._parts[term] = found = (rows, counts)
        return found

    def windows(self, parts: Floats, decay: Sequence[float]) -> Floats:
        """The best of each term within the turns around each row, weakened by distance: shape (terms, rows).

        `decay` lists the weights of distance 1, 2, ... to both sides; that of the row itself is 1.
        """
        links = self._linked()
        if not links.any:
            return parts
        best = parts.copy()
        padded = np.concatenate([parts, np.zeros((len(parts), 1))], axis=1)  # the last: no neighbour
        for rows, weight in zip(links.reached(len(decay)), decay, strict=True):
            reached = padded[:, rows]  # (terms, before and after, rows)
            reached *= weight
            np.maximum(best, reached.max(axis=1), out=best)
        return best

    @property
    def has_neighbours(self) -> bool:
        """True if some row has a turn before or after it."""
        return self._linked().any

    def neighbours(self) -> tuple[Rows, Rows]:
        """The row of the turn before and of the turn after each row; `NO_ROW` where there is none."""
        links = self._linked()
        return links.before, links.after

    def sessions(self) -> tuple[Rows, list[str]]:
        """The number of each row's session, `NO_ROW` where it has none; and the sessions' names."""
        links = self._linked()
        return links.session, links.names

    def session_scores(self, query: Sequence[Alternatives]) -> Floats:
        """BM25 of whole sessions, each its turns' text: shape (sessions,), in the order of `sessions`."""
        links = self._linked()
        names, lengths = links.names, links.lengths
        scores = np.zeros(len(names))
        if not names:
            return scores
        k1, b = self.settings.k1, self.settings.b
        held = k1 * (1 - b + b * lengths / max(float(lengths.mean()), 1e-9))
        for alternatives in query:
            best = np.zeros(len(names))
            for term, discount in alternatives:
                if term not in self._postings:
                    continue
                counts = np.array([self._session_terms[name][term] for name in names], dtype=np.float64)
                df = np.count_nonzero(counts)
                idf = math.log(1 + (len(names) - df + 0.5) / (df + 0.5))
                np.maximum(best, discount * idf * counts * (k1 + 1) / (counts + held), out=best)
            scores += best
        return scores

    def _changed(self) -> None:
        self._links = None
        self._parts.clear()

    def _linked(self) -> "_Links":
        if self._links is None:
            before: Rows = np.full(len(self), NO_ROW, dtype=np.int64)
            after, session = before.copy(), before.copy()
            names = list(self._session_rows)
            for number, name in enumerate(names):
                rows = [row for _, row in self._session_rows[name]]
                before[rows[1:]] = rows[:-1]
                after[rows[:-1]] = rows[1:]
                session[rows] = number
            lengths = np.array([self._session_terms[name].total() for name in names], dtype=np.float64)
            self._links = _Links(before, after, session, names, lengths, bool((before != NO_ROW).any()))
        return self._links


@dataclass(eq=False)
class _Links:
    """What follows from the items that there are: made anew when they change."""

    before: Rows
    after: Rows
    session: Rows
    names: list[str]
    lengths: Floats
    """Terms in each session."""
    any: bool
    """True if some row has a neighbour."""
    _reached: list[Rows] = field(default_factory=list)

    def reached(self, distance: int) -> list[Rows]:
        """For each distance from 1, the rows so far before and after each: shape (2, rows); `NO_ROW` for none."""
        while len(self._reached) < distance:
            last = self._reached[-1] if self._reached else np.tile(np.arange(len(self.before)), (2, 1))
            steps = (self.before, self.after)
            further = [
                np.where(rows == NO_ROW, NO_ROW, step[rows]) for rows, step in zip(last, steps, strict=True)
            ]
            self._reached.append(np.array(further))
        return self._reached[:distance]
