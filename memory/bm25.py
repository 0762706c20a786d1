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
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
NO_ROW = -1


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
        self._alive: list[bool] = []
        self._links: _Links | None = None
        self._total_terms = 0
        self._count = 0
        self._length_cache = np.zeros(0)

    def __len__(self) -> int:
        """How many rows there are, removed ones included."""
        return len(self._alive)

    @property
    def alive(self) -> NDArray[np.bool_]:
        """Which rows hold an item, shape (rows,)."""
        return np.array(self._alive, dtype=bool)

    def add(self, terms: Sequence[str], *, session: str = "", turn: int = 0) -> int:
        """Adds an item by its terms; returns its row. Items without a session have no neighbours."""
        row = len(self._alive)
        counts = Counter(terms)
        for term, count in counts.items():
            self._postings.setdefault(term, {})[row] = count
        self._terms_of.append(counts)
        self._session_of.append(session)
        self._turn_of.append(turn)
        self._alive.append(True)
        self._total_terms += counts.total()
        self._count += 1
        if session:
            insort(self._session_rows.setdefault(session, []), (turn, row))
            self._session_terms.setdefault(session, Counter()).update(counts)
        self._links = None
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
        self._links = None

    def terms_of(self, row: int) -> Counter[str]:
        """The terms of an item with their counts. Not to be changed."""
        return self._terms_of[row]

    def idf(self, term: str) -> float:
        """How rare a term is: 0 if every item has it."""
        df = len(self._postings.get(term, ()))
        return math.log(1 + (self._count - df + 0.5) / (df + 0.5))

    def parts(self, query: Sequence[Sequence[tuple[str, float]]]) -> Floats:
        """BM25 of each query term in each row: shape (terms, rows).

        A query term is a list of (term, discount): itself and what may stand in for it. The best of them counts.
        """
        parts = np.zeros((len(query), len(self)))
        for place, alternatives in enumerate(query):
            for term, discount in alternatives:
                rows, values = self._part(term)
                parts[place, rows] = np.maximum(parts[place, rows], discount * values)
        return parts

    def _part(self, term: str) -> tuple[NDArray[np.int64], Floats]:
        """The rows that hold a term, and its BM25 in each."""
        postings = self._postings.get(term, {})
        rows = np.fromiter(postings, dtype=np.int64, count=len(postings))
        counts = np.fromiter(postings.values(), dtype=np.float64, count=len(postings))
        k1, b = self.settings.k1, self.settings.b
        mean = self._total_terms / max(self._count, 1)
        relative = self._lengths()[rows] / max(mean, 1e-9)
        return rows, self.idf(term) * counts * (k1 + 1) / (counts + k1 * (1 - b + b * relative))

    def windows(self, parts: Floats, decay: Sequence[float]) -> Floats:
        """The best of each term within the turns around each row, weakened by distance: shape (terms, rows).

        `decay` lists the weights of distance 1, 2, ... to both sides; that of the row itself is 1.
        """
        best = parts.copy()
        before, after = self.neighbours()
        for step in (before, after):
            rows = np.arange(len(self))
            for weight in decay:
                rows = np.where(rows == NO_ROW, NO_ROW, step[rows])
                reached = np.where(rows == NO_ROW, 0.0, weight * parts[:, rows])
                np.maximum(best, reached, out=best)
        return best

    def neighbours(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """The row of the turn before and of the turn after each row; `NO_ROW` where there is none."""
        links = self._linked()
        return links.before, links.after

    def sessions(self) -> tuple[NDArray[np.int64], list[str]]:
        """The number of each row's session, `NO_ROW` where it has none; and the sessions' names."""
        links = self._linked()
        return links.session, links.names

    def session_scores(self, query: Sequence[Sequence[tuple[str, float]]]) -> Floats:
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

    def _lengths(self) -> Floats:
        if len(self._length_cache) != len(self):
            self._length_cache = np.array([counts.total() for counts in self._terms_of], dtype=np.float64)
        return self._length_cache

    def _linked(self) -> "_Links":
        if self._links is None:
            before = np.full(len(self), NO_ROW, dtype=np.int64)
            after, session = before.copy(), before.copy()
            names = list(self._session_rows)
            for number, name in enumerate(names):
                rows = [row for _, row in self._session_rows[name]]
                before[rows[1:]] = rows[:-1]
                after[rows[:-1]] = rows[1:]
                session[rows] = number
            lengths = np.array([self._session_terms[name].total() for name in names], dtype=np.float64)
            self._links = _Links(before, after, session, names, lengths)
        return self._links


@dataclass(frozen=True, eq=False)
class _Links:
    """What follows from the items that there are: made anew when they change."""

    before: NDArray[np.int64]
    after: NDArray[np.int64]
    session: NDArray[np.int64]
    names: list[str]
    lengths: Floats
    """Terms in each session."""
