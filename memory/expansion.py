"""What else a question's words may have been called: the words of a scope that mean nearly the same.

A question about "the ceramics class" is answered by a turn about pottery. Each term of the question also finds the
scope's own terms whose vectors (`inference/word_table.py`) are near its own, at a discount: query expansion by word
embeddings (Roy et al., "Using Word Embeddings for Automatic Query Expansion", SIGIR workshop 2016), with the translated
term taking the place of the asked one rather than adding to it, so that a turn with both gains nothing by it.

Rules:
* Only words that occur in the scope are looked at: nothing of another scope can be guessed.
* At most `related_max` for a term, none below `similarity_min`. Similarities below it are chance.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from inference.word_table import WordTable
from memory.text import stem


@dataclass(frozen=True)
class ExpansionSettings:
    """How far from a word its relatives may lie. A relative at cosine c counts c ** `power` of the word itself."""

    related_max: int = 6
    similarity_min: float = 0.55
    power: float = 2.0


class Vocabulary:
    """The terms of a scope with their vectors."""

    def __init__(self, table: WordTable, settings: ExpansionSettings | None = None) -> None:
        self.settings = settings or ExpansionSettings()
        self._table = table
        self._terms: list[str] = []
        self._seen: set[str] = set()
        self._vectors = np.zeros((256, table.vectors.shape[1]), dtype=np.float32)

    def add(self, pairs: Sequence[tuple[str, str]]) -> None:
        """Takes in (term, word) pairs; the first word of a term stands for it. Terms stay when items go: a term that no
        item has any more finds nothing."""
        new = [(term, word) for term, word in dict(reversed(pairs)).items() if term not in self._seen]
        known = [(term, word) for term, word in new if word in self._table.row_of]
        self._seen.update(term for term, _ in known)
        if not known:
            return
        start, end = len(self._terms), len(self._terms) + len(known)
        while end > len(self._vectors):
            self._vectors = np.concatenate([self._vectors, np.zeros_like(self._vectors)])
        self._vectors[start:end] = self._table.vectors_of([word for _, word in known])
        self._terms += [term for term, _ in known]

    def related(self, words: Sequence[str]) -> list[list[tuple[str, float]]]:
        """For each word, terms of the scope near it with their discount, the nearest first; the word's own left out."""
        count, limit = len(self._terms), self.settings.related_max
        if not count or not words:
            return [[] for _ in words]
        near = self._table.vectors_of(words) @ self._vectors[:count].T
        found: list[list[tuple[str, float]]] = []
        for word, row in zip(words, near, strict=True):
            own = stem(word)
            places = np.flatnonzero(row >= self.settings.similarity_min)
            places = places[np.lexsort((places, -row[places]))][: limit + 1]
            kept = [
                (self._terms[place], float(row[place]) ** self.settings.power) for place in places.tolist()
            ]
            found.append([(term, weight) for term, weight in kept if term != own][:limit])
        return found
