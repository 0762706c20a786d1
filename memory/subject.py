"""Recall by subject: which sessions, whole, answer a need, and by which of their items.

Where notes about one thing (a module, a document, a person) are the numbered turns of one session, the thing itself is
what is looked for: a session is ranked by its best items and by its whole text (`Ranker.rank_sessions`).

Rules:
* Notes are no talk: what stands before and after one answers nothing, and a short one says enough. So the parts
  `window` and `substance` count nothing here, and what the writer said of importance does.
* All items of the kinds asked for that live in the scope are ranked, in one pass; nothing is sampled.
"""

from collections.abc import Iterable
from typing import Final

from memory.item import Kind
from memory.memory import Memory
from memory.ranking import RankedSession, Ranker, RankingSettings, Weights
from memory.scope import Scope

ITEMS_MAX: Final = 200_000
NOTE_RANKING: Final = RankingSettings(weights=Weights(window=0.0, substance=0.0, importance=0.3))


class Subjects:
    """The sessions of a scope, made ready for questions. It does not follow what is written later."""

    def __init__(
        self,
        memory: Memory,
        *,
        scope: Scope,
        kinds: Iterable[Kind] = (Kind.NOTE,),
        ranking: RankingSettings = NOTE_RANKING,
    ) -> None:
        """Items without a session are left out. Raises `InvalidItem` if more than `ITEMS_MAX` items live there."""
        wanted = frozenset(kinds)
        self._memory = memory
        self._ranker = Ranker(memory.embedder.identity.dimension, ranking)
        for item, vector in memory.living(scope=scope, most=ITEMS_MAX):
            if item.session and item.kind in wanted:
                self._ranker.add(item, vector)

    def recall(self, text: str, k: int = 5) -> list[RankedSession]:
        """The k sessions that answer best, best first."""
        return self._ranker.rank_sessions(self._memory.query(text, k))
