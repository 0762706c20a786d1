"""Consolidation: what a memory may forget, as a list of stated actions that the store carries out.

A pure function from items to actions. Nothing is erased here, and no action makes up anything:
* `Merge`: items that say the same are superseded by one of them. They must be nearly alike as vectors and in their
  words, and wholly alike in numbers, negations, kind, scope, speaker, and validity: "port 80" is no duplicate of
  "port 81".
* `Summarise`: the turns of an old session are put into one note of whole sentences taken from them, the most central
  first (as LexRank, Erkan and Radev, JAIR 2004, here by the sum of similarities), none twice over; the turns stay.
  The note, with `summary_of_session` true among its attributes, names what it is derived from, so a purge takes it too.
* `Decay`: importance of what is old halves every `half_life_s`, by steps of at least `step_min`. Whoever carries it out
  keeps what was told at first as the attribute `importance_told`, from which later steps are reckoned.
* `Expire`: retired when its validity ended longer than `grace_s` ago, or when it has decayed below `importance_min`.

Rules:
* Items of two scopes never meet in an action. Facts and procedures are neither summarised nor decayed: they are
  superseded by corrections and by their records.
* The same items and time give the same actions, and what they ask for, once done, is not asked for again.
"""

import math
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from memory.errors import InvalidItem
from memory.item import Item, Kind
from memory.scope import Scope
from memory.text import terms, words

ITEMS_MAX: Final = 50_000
_DAY_S: Final = 86_400.0
_DECAYING: Final = (Kind.EPISODE, Kind.NOTE)
_MERGING: Final = (Kind.FACT, Kind.NOTE)
_CHUNK: Final = 256
_TURNS_MAX: Final = 1_000
_TERMS_MIN: Final = 3
"""Distinct terms that a sentence of a summary has."""
_SENTENCE: Final = re.compile(r"[^.!?]+[.!?]*")
_NEGATIONS: Final = frozenset(
    {"not", "no", "never", "none", "nobody", "nothing", "without", "cannot", "neither", "nor", "t"}
)
_SENTENCE_CHARACTERS: Final = 2_000


@dataclass(frozen=True)
class ConsolidationSettings:
    """When is what forgotten."""

    same_cosine: float = 0.95
    same_words: float = 0.8
    """Share of terms in common (Jaccard) that duplicates have."""
    summarise_after_s: float = 90 * _DAY_S
    summarise_turns_min: int = 12
    summary_sentences: int = 6
    half_life_s: float = 180 * _DAY_S
    step_min: float = 0.05
    importance_min: float = 0.02
    grace_s: float = 30 * _DAY_S

    def __post_init__(self) -> None:
        shares = (self.same_cosine, self.same_words, self.step_min, self.importance_min)
        if not all(0 <= share <= 1 for share in shares):
            raise InvalidItem("same_cosine, same_words, step_min and importance_min are from 0 to 1")
        if min(self.half_life_s, self.summary_sentences, self.summarise_turns_min) <= 0:
            raise InvalidItem("half_life_s, summary_sentences and summarise_turns_min are above 0")


@dataclass(frozen=True)
class Merge:
    """`dropped` are superseded by `kept`, which says the same."""

    kept: int
    dropped: tuple[int, ...]
    reason: str


@dataclass(frozen=True)
class Summarise:
    """A note that stands for the turns of a session."""

    scope: Scope
    session: str
    text: str
    derived_from: tuple[int, ...]
    reason: str


@dataclass(frozen=True)
class Decay:
    """An item matters less than it did."""

    id: int
    importance: float
    """From now on."""
    importance_told: float
    """When it was recorded."""
    reason: str


@dataclass(frozen=True)
class Expire:
    """An item is retired: no longer believed, not erased."""

    id: int
    reason: str


Action = Merge | Summarise | Decay | Expire


def consolidate(
    items: Sequence[Item],
    vectors: NDArray[np.float32],
    now: float,
    settings: ConsolidationSettings | None = None,
) -> list[Action]:
    """What is to be done about some current items with their unit vectors, shape (items, dimension), at a time.

    An item is in at most one of merge, expiry and decay. Raises `InvalidItem` for more than `ITEMS_MAX` items: give
    them scope by scope.
    """
    settings = settings or ConsolidationSettings()
    if len(items) > ITEMS_MAX:
        raise InvalidItem(f"{len(items):,} items: {ITEMS_MAX:,} at most in one go; give them scope by scope")
    if vectors.shape[:1] != (len(items),) or vectors.ndim != 2:
        raise InvalidItem(f"{len(items)} items need as many vectors, not an array of shape {vectors.shape}")
    rows = [row for row, item in enumerate(items) if item.current]
    expired = _expired([items[row] for row in rows], now, settings)
    gone = {action.id for action in expired}
    left = [row for row in rows if items[row].id not in gone]
    merges = _merges([items[row] for row in left], vectors[left], settings)
    gone |= {dropped for merge in merges for dropped in merge.dropped}
    left = [row for row in left if items[row].id not in gone]
    kept = [items[row] for row in left]
    summaries = _summaries(kept, vectors[left], now, settings)
    return [*expired, *merges, *summaries, *_decays(kept, now, settings)]


def _age(item: Item, now: float) -> float:
    return max(now - (item.recorded_at if item.valid_from is None else item.valid_from), 0.0)


def decayed_importance(item: Item, now: float, settings: ConsolidationSettings) -> float:
    """What an item matters now: as told when it was recorded, halved every half-life since."""
    halvings = _age(item, now) / settings.half_life_s
    return told_importance(item) * math.exp2(-halvings)


def told_importance(item: Item) -> float:
    """An item's importance before any decay."""
    told = item.attributes.get("importance_told")
    return float(told) if isinstance(told, int | float) else item.importance


def _expired(items: Sequence[Item], now: float, settings: ConsolidationSettings) -> list[Expire]:
    actions = []
    for item in items:
        if item.valid_to is not None and item.valid_to + settings.grace_s <= now:
            actions.append(
                Expire(item.id, f"its validity ended {(now - item.valid_to) / _DAY_S:.0f} days ago")
            )
        elif item.kind in _DECAYING and decayed_importance(item, now, settings) < settings.importance_min:
            actions.append(Expire(item.id, f"its importance has decayed below {settings.importance_min}"))
    return actions


def _decays(items: Sequence[Item], now: float, settings: ConsolidationSettings) -> list[Decay]:
    actions = []
    for item in items:
        importance = decayed_importance(item, now, settings)
        if item.kind in _DECAYING and item.importance - importance >= settings.step_min:
            age = _age(item, now) / _DAY_S
            actions.append(Decay(item.id, round(importance, 4), told_importance(item), f"{age:.0f} days old"))
    return actions


def _merges(
    items: Sequence[Item], vectors: NDArray[np.float32], settings: ConsolidationSettings
) -> list[Merge]:
    """Duplicates, each group by the item that is kept: the most trusted, then important, then oldest."""
    groups: dict[tuple[object, ...], list[int]] = {}
    for row, item in enumerate(items):
        if item.kind in _MERGING:
            groups.setdefault(_exact(item), []).append(row)
    merges = []
    for rows in groups.values():
        ranked = sorted(rows, key=lambda row: (-items[row].trust, -items[row].importance, items[row].id))
        dropped: dict[int, list[int]] = {}
        for row, keeper in _duplicates(ranked, items, vectors, settings):
            dropped.setdefault(keeper, []).append(items[row].id)
        merges += [
            Merge(items[keeper].id, tuple(sorted(ids)), "they say the same")
            for keeper, ids in dropped.items()
        ]
    return sorted(merges, key=lambda merge: merge.kept)


def _exact(item: Item) -> tuple[object, ...]:
    """In what duplicates must not differ at all."""
    said = words(item.text)
    exact = sorted(word for word in said if not word.isalpha() or word in _NEGATIONS)
    negated = "n't" in item.text.lower().replace("\u2019", "'")
    fact = tuple(str(item.attributes.get(name)) for name in ("subject", "relation", "object"))
    return (
        item.scope,
        item.kind,
        item.speaker,
        item.valid_from if item.kind is Kind.FACT else None,
        item.valid_to,
        fact,
        tuple(exact),
        negated,
    )


def _duplicates(
    rows: Sequence[int],
    items: Sequence[Item],
    vectors: NDArray[np.float32],
    settings: ConsolidationSettings,
) -> Iterator[tuple[int, int]]:
    """(row, the row that is kept for it), for each row that says what one before it in `rows` says and that is kept."""
    mine = vectors[list(rows)]
    said = [set(terms(items[row].text)) for row in rows]
    is_kept = [True] * len(rows)
    for start in range(0, len(rows), _CHUNK):
        near = mine[start : start + _CHUNK] @ mine[: start + _CHUNK].T >= settings.same_cosine
        for offset, line in enumerate(near):
            place = start + offset
            for other in np.flatnonzero(line[:place]).tolist():
                common = len(said[place] & said[other])
                if is_kept[other] and common >= settings.same_words * len(said[place] | said[other]):
                    is_kept[place] = False
                    yield rows[place], rows[other]
                    break


def _summaries(
    items: Sequence[Item], vectors: NDArray[np.float32], now: float, settings: ConsolidationSettings
) -> list[Summarise]:
    sessions: dict[tuple[Scope, str], list[int]] = {}
    done: set[tuple[Scope, str]] = set()
    for row, item in enumerate(items):
        if item.session and item.attributes.get("summary_of_session") is True:
            done.add((item.scope, item.session))
        elif item.kind is Kind.EPISODE and item.session:
            sessions.setdefault((item.scope, item.session), []).append(row)
    actions = []
    for (scope, session), rows in sessions.items():
        age = min(_age(items[row], now) for row in rows)
        if (scope, session) in done or len(rows) < settings.summarise_turns_min:
            continue
        if age >= settings.summarise_after_s:
            told = sorted(rows, key=lambda row: (items[row].turn, items[row].id))[:_TURNS_MAX]
            text = summary([items[row] for row in told], vectors[told], settings.summary_sentences)
            ids = tuple(items[row].id for row in told)
            reason = f"{len(told)} turns, the last {age / _DAY_S:.0f} days old"
            actions.append(Summarise(scope, session, text, ids, reason))
    return actions


def summary(items: Sequence[Item], vectors: NDArray[np.float32], sentences: int) -> str:
    """The most central turns' first sentences, in the order said, as `Speaker: sentence`; none much like another."""
    if not items:
        return ""
    content = np.array([len(set(terms(item.text))) for item in items], dtype=np.float64)
    likeness = vectors @ vectors.T
    central = likeness.clip(0).sum(axis=1) * np.minimum(content, 8) / 8
    chosen: list[int] = []
    for row in np.lexsort((np.arange(len(items)), -central)).tolist():
        if len(chosen) == sentences:
            break
        if content[row] >= _TERMS_MIN and not any(likeness[row, other] > 0.8 for other in chosen):
            chosen.append(row)
    chosen = chosen or [0]
    return "\n".join(_told(items[row]) for row in sorted(chosen))


def _told(item: Item) -> str:
    """The sentences of a turn with most terms, its speaker before it."""
    pieces = [piece.strip() for piece in _SENTENCE.findall(item.text) if piece.strip()] or [item.text]
    best = max(pieces, key=lambda piece: len(set(terms(piece))))[:_SENTENCE_CHARACTERS]
    return f"{item.speaker}: {best}" if item.speaker else best
