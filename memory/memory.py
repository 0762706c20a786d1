"""`Memory`: what a swarm, a role or an agent knows, in one folder. Needs no Ray.

    with Memory.open("memory") as memory:
        me = Scope("acme", swarm="s1", role="bidder", agent="bidder/17")
        memory.remember("The north dock opens at six", scope=me)
        for found in memory.recall("when does the dock open?", scope=me):
            print(found.score, found.parts, found.item.text)

Rules:
* Every call says as whom it acts (`scope`). What that scope does not see does not exist for the call, by id too
  (`memory/scope.py`).
* A write returns when it is durable and every later recall finds it. Under an idempotency `key` it may be repeated.
* Nothing believed is overwritten: `correct` supersedes, `as_of` tells what was believed. What is to be gone, `forget`
  erases, and `purge` with all that was made of it.
* A recall gives exactly min(k, items that are seen and pass), each with its score by parts.
"""

import math
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Self

from inference.embedder import Embedder
from inference.hashing_embedder import HashingEmbedder
from memory.audit import Audit, Findings
from memory.block import Filter
from memory.consolidation import ConsolidationSettings
from memory.errors import Behind, InvalidItem, InvalidScope, UnknownScope
from memory.fact import SettlingRules
from memory.history import believed_rows, family_of, items_of, latest_rows
from memory.item import Draft, Item, Kind, check_text
from memory.probe import Probe, silent
from memory.procedure import Procedure, Step, retrieve
from memory.ranking import K_MAX, Query, Ranked, RankingSettings
from memory.reembed import reembed
from memory.schema import Vectors
from memory.scope import Scope, checked
from memory.settings import MemorySettings
from memory.shard import Recovery, Shard
from memory.subscription import Subscriptions, Told
from memory.transaction import Receipt
from memory.upkeep import Upkeep, keep_up, learn, procedures, report
from memory.view import Ask, Pair, Question, Views, rank_pairs, tried

_CHANGEABLE: Final = frozenset(
    ("importance", "source", "trust", "speaker", "valid_from", "valid_to", "attributes")
)
_TOKEN_WAIT_S: Final = 10.0


@dataclass(frozen=True, slots=True)
class Explanation:
    """Where an item comes from and what became of it; as far as the reader sees."""

    item: Item
    versions: tuple[Item, ...]
    """What it superseded, oldest first, and what superseded it."""
    made_of: tuple[Item, ...]
    made_into: tuple[Item, ...]
    ranked: Ranked | None
    """Its score by parts for the question, where one was given and it is found."""


class Memory:
    """One shard with its embedder: the whole of a memory, or a part of one on Ray (`memory/ray_memory.py`)."""

    def __init__(
        self,
        folder: str | Path,
        embedder: Embedder | None = None,
        *,
        settings: MemorySettings | None = None,
        ranking: RankingSettings | None = None,
        clock: Callable[[], float] = time.time,
        probe: Probe = silent,
    ) -> None:
        self.embedder = embedder or HashingEmbedder()
        self.ranking = ranking or RankingSettings()
        self._clock = clock
        self._subscriptions: Subscriptions | None = None
        self.shard = Shard(
            Path(folder), self.embedder.identity, settings, clock=clock, probe=probe, heard=self._heard
        )
        self._views = Views(self.shard, self.ranking)
        self._subscriptions = Subscriptions(self.shard.store, self.shard.settings.subscriptions)

    @classmethod
    def open(cls, folder: str | Path, embedder: Embedder | None = None, **options: Any) -> Self:
        """Opens the memory in a folder, or makes one. Without an embedder, the built-in one (`HashingEmbedder`).

        Options: `settings`, `ranking`, `clock`, `probe`. Raises `StoreLocked`, `EmbedderMismatch`, `StoreCorrupt`.
        """
        return cls(folder, embedder, **options)

    @staticmethod
    def reembed(folder: str | Path, embedder: Embedder) -> int:
        """Makes all vectors of a closed memory anew, with another embedder, whole or not at all; gives their number."""
        return reembed(Path(folder), embedder)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __len__(self) -> int:
        return len(self.shard)

    @property
    def recovery(self) -> Recovery:
        """How it was opened."""
        return self.shard.recovery

    @property
    def token(self) -> int:
        """Stands for all that was written so far: who recalls with it sees that."""
        return self.shard.sequence

    def remember(
        self,
        text: str,
        *,
        scope: Scope,
        into: Scope | None = None,
        kind: Kind = Kind.NOTE,
        key: str = "",
        **fields: Any,
    ) -> Receipt:
        """Remembers a text, in the scope that acts or `into` one that it sees. `fields` are those of `Draft`.

        What the scope holds already is not added again: the receipt is then that item's, marked `duplicate`.
        """
        draft = Draft(checked(into or scope), text, kind, **fields)
        return self.remember_all([draft], scope=scope, key=key)[0]

    def remember_all(
        self,
        drafts: Sequence[Draft],
        *,
        scope: Scope,
        key: str = "",
        vectors: Vectors | None = None,
        origin: str = "",
    ) -> list[Receipt]:
        """Remembers drafts together or not at all; `vectors` (n, d) where they were embedded before.

        `origin`, here and below: the turn in which it is written, noted for `memory/branch.py`.
        """
        drafts = list(drafts)
        if vectors is None:
            vectors = self.embedder.embed([draft.text for draft in drafts])
        return self.shard.add(drafts, vectors, checked(scope), key, origin)

    def recall(
        self,
        text: str,
        *,
        scope: Scope,
        k: int = 10,
        kinds: Iterable[Kind] | None = None,
        valid_at: float | None = None,
        within: Sequence[Scope] | None = None,
        token: int = 0,
        vector: Vectors | None = None,
    ) -> list[Ranked]:
        """The k items that answer a question best, of all that the scope sees, best first, each with its reasons.

        `within` narrows it to some scopes. `token`: of a write that must be found. `vector`: of the text, (d,).
        """
        query = self.query(text, k, vector)
        self._wait(token)
        question = Question(query, checked(scope), _filter(kinds, valid_at), within)
        [answer] = self._views.recall_all([question])
        if isinstance(answer, Exception):
            raise answer
        return answer

    def recall_all(self, asks: Sequence[Ask]) -> list[Any]:
        """The answers to many questions at once, each as it would be alone; an error as a value, for who asked.

        A `merging` one is answered with (Query, candidates with their vectors).
        """
        answers: list[Any] = [tried(check_text, ask.text) for ask in asks]
        sound = [at for at, problem in enumerate(answers) if problem is None]
        vectors = self.embedder.embed([asks[at].text for at in sound])
        questions: dict[int, Question] = {}
        for at, vector in zip(sound, vectors, strict=True):
            ask = asks[at]
            query = Query(ask.text, vector, ask.k, self._clock())
            questions[at] = Question(query, ask.scope, _filter(ask.kinds, ask.valid_at), ask.within)
        whole = {at: each for at, each in questions.items() if not asks[at].merging}
        for at, answer in zip(whole, self._views.recall_all(list(whole.values())), strict=True):
            answers[at] = answer
        parts = {at: each for at, each in questions.items() if asks[at].merging}
        for at, found in zip(parts, self._views.candidates(list(parts.values())), strict=True):
            answers[at] = found if isinstance(found, Exception) else (parts[at].query, found)
        return answers

    def nearest(self, vector: Vectors, *, scope: Scope, k: int = 10) -> list[tuple[Item, float]]:
        """The k items nearest to a vector (d,), by inner product alone."""
        return self.shard.search(checked(scope), vector, k)

    def query(self, text: str, k: int, vector: Vectors | None = None) -> Query:
        """A question with its vector and the time of asking."""
        check_text(text)
        if vector is None:
            vector = self.embedder.embed([text])[0]
        return Query(text, vector, k, self._clock())

    def get(self, item_id: int, *, scope: Scope) -> Item:
        """The item, believed or not. Raises `UnknownItem` if the scope does not see it."""
        return self.shard.get(item_id, checked(scope))

    def correct(
        self,
        item_id: int,
        text: str | None = None,
        *,
        scope: Scope,
        key: str = "",
        origin: str = "",
        **changes: Any,
    ) -> Receipt:
        """Puts a new item in the place of one that is believed; the old one points to it and stays in the past.

        `changes`: importance, source, trust, speaker, valid_from, valid_to, attributes; the rest stays.
        Raises `Conflict` if it was superseded before.
        """
        old = self.get(item_id, scope=scope)
        unknown = changes.keys() - _CHANGEABLE
        if unknown:
            raise InvalidItem(
                f"{', '.join(sorted(unknown))}: a correction changes {', '.join(sorted(_CHANGEABLE))}"
            )
        if text is None and not changes:
            raise InvalidItem(f"the correction of item {item_id} changes nothing: give a text or a field")
        draft = draft_of(old, text=old.text if text is None else text, **changes)
        vector = self.embedder.embed([draft.text])[0]
        return self.shard.supersede([item_id], checked(scope), (draft, vector), key=key, origin=origin)[0]

    def supersede(self, ids: Sequence[int], draft: Draft, *, scope: Scope, key: str = "") -> Receipt:
        """Puts one new item in the place of several: a summary, say."""
        vector = self.embedder.embed([draft.text])[0]
        return self.shard.supersede(list(ids), checked(scope), (draft, vector), key=key)[0]

    def replace(self, ids: Sequence[int], successor: int, *, scope: Scope, key: str = "") -> None:
        """Puts an item that is believed in the place of others: the survivor of duplicates, or of a contradiction."""
        self.shard.supersede(list(ids), checked(scope), successor=successor, key=key)

    def retire(self, ids: Sequence[int], *, scope: Scope, key: str = "", origin: str = "") -> None:
        """Ends the belief in items without a successor; they stay in the past."""
        self.shard.supersede(list(ids), checked(scope), key=key, origin=origin)

    def forget(self, item_id: int, *, scope: Scope, key: str = "", origin: str = "") -> Receipt:
        """Erases one item: text, vector and words are gone, from the past too. What was made of it stays."""
        return self.shard.erase([item_id], checked(scope), derived=False, key=key, origin=origin)[0]

    def purge(
        self,
        ids: Sequence[int] = (),
        *,
        scope: Scope,
        within: Scope | None = None,
        key: str = "",
        origin: str = "",
    ) -> list[int]:
        """Erases items, or all of a scope, with earlier versions and all that was made of them; gives their ids.

        Raises `UnknownScope` if nothing was ever remembered in `within`.

        Their words are taken out of the text index's file, and the log is emptied: nothing of them stays on the disk
        but their ids.
        """
        if bool(ids) == (within is not None):
            raise InvalidItem("purge takes ids, or a scope as `within`")
        if within is None:
            receipts = self.shard.erase(list(ids), checked(scope), derived=True, key=key, origin=origin)
        else:
            if checked(scope).may_erase(checked(within)):
                self.check_known(within)
            receipts = self.shard.erase_scope(within, scope)
        self.shard.scrub()
        return [receipt.id for receipt in receipts]

    def as_of(
        self, when: float, text: str = "", *, scope: Scope, k: int = 10, valid_at: float | None = None
    ) -> list[Ranked]:
        """What was believed at a time, ranked for a question; without one, the latest first, unscored."""
        query, pairs = self.past(when, text, k, scope=scope, valid_at=valid_at)
        if query is not None:
            return rank_pairs(query, pairs, self.ranking)
        return [Ranked(item, 0.0, {}) for item, _ in pairs]

    def past(
        self,
        when: float,
        text: str,
        k: int,
        *,
        scope: Scope,
        within: Sequence[Scope] | None = None,
        valid_at: float | None = None,
    ) -> tuple[Query | None, list[Pair]]:
        """What `as_of` ranks: the question, if there is one, and what was believed, with vectors."""
        numbers, filter_ = self.shard.numbers(checked(scope), within), _filter(None, valid_at)
        if not text:
            return None, latest_rows(self.shard, numbers, when, k, filter_)
        query = self.query(text, k)
        most = max(self.shard.settings.candidates, k)
        return query, believed_rows(
            self.shard, numbers, when, most=most, nearest=query.vector, filter_=filter_
        )

    def living(self, *, scope: Scope, most: int) -> list[Pair]:
        """All that is believed and lives in this very scope, with vectors; `InvalidItem` for more than `most`."""
        return believed_rows(self.shard, self.shard.numbers(checked(scope), [scope]), math.inf, most=most)

    def learn_procedure(
        self,
        task: str,
        steps: Sequence[Step],
        *,
        scope: Scope,
        values: Mapping[str, str] | None = None,
        preconditions: Sequence[str] = (),
        outcome: str = "",
        origin: str = "",
    ) -> Receipt:
        """Keeps a workflow that worked; `values` of its parameters are left open. A known one gets a success."""
        return learn(
            self,
            task,
            steps,
            values or {},
            checked(scope),
            preconditions=preconditions,
            outcome=outcome,
            origin=origin,
        )

    def report_procedure(self, item_id: int, *, worked: bool, scope: Scope, origin: str = "") -> Receipt:
        """Puts a use on a procedure's record; one that keeps failing is retired."""
        return report(self, item_id, checked(scope), worked=worked, origin=origin)

    def procedures(self, task: str, *, scope: Scope, k: int = 5) -> list[tuple[Item, Procedure, float]]:
        """Up to k procedures for a like task that the scope sees, best first, with their scores."""
        known = procedures(self, checked(scope))
        best = retrieve(task, [procedure for _, procedure in known], k=k)
        items = {id(procedure): item for item, procedure in known}
        return [(items[id(procedure)], procedure, score) for procedure, score in best]

    def consolidate(
        self,
        *,
        scope: Scope,
        now: float | None = None,
        settings: ConsolidationSettings | None = None,
        rules: SettlingRules | None = None,
    ) -> Upkeep:
        """Settles contradictions, merges duplicates, summarises, expires what lives in a scope; tells what it did."""
        return keep_up(self, checked(scope), self._clock() if now is None else now, settings, rules)

    def share(self, item_id: int, *, scope: Scope, into: Scope, key: str = "", origin: str = "") -> Receipt:
        """Publishes a copy of an item to a scope above. It is derived from the item: purged with it."""
        item = self.get(item_id, scope=scope)
        if into == item.scope:
            raise InvalidScope(f"item {item_id} lives in {into.path} already: give a scope above it")
        return self.remember_all(
            [draft_of(item, scope=checked(into), derived_from=(item_id,))],
            scope=scope,
            key=key,
            origin=origin,
        )[0]

    def explain(self, item_id: int, text: str = "", *, scope: Scope) -> Explanation:
        """Where an item comes from, what became of it, and how it answers a question, if one is given."""
        item = self.get(item_id, scope=scope)
        versions, children = family_of(self.shard, item)
        ranked = None
        if text and item.current:
            everything = self.recall(text, scope=scope, k=min(self.shard.settings.candidates, K_MAX))
            ranked = next((found for found in everything if found.item.id == item_id), None)
        return Explanation(
            item,
            tuple(each for each in versions if scope.sees(each.scope)),
            tuple(each for each in self._seen(item.derived_from, scope)),
            tuple(each for each in children if scope.sees(each.scope)),
            ranked,
        )

    def items(self, *, scope: Scope, retired: bool = False) -> Iterator[Item]:
        """All items that the scope sees, in the order of their ids; with `retired`, those of the past too."""
        return items_of(self.shard, self.shard.numbers(checked(scope)), retired=retired)

    def subscribe(
        self,
        text: str,
        told: Told,
        *,
        scope: Scope,
        likeness: float = 0.5,
        kinds: Iterable[Kind] | None = None,
    ) -> int:
        """Calls `told(item, likeness)` when something like the text is written where the scope sees it."""
        check_text(text)
        vector = self.embedder.embed([text])[0]
        assert self._subscriptions is not None
        return self._subscriptions.add(
            checked(scope), vector, likeness, told, None if kinds is None else frozenset(kinds)
        )

    def unsubscribe(self, number: int) -> bool:
        """Ends a subscription; False if there is none."""
        assert self._subscriptions is not None
        return self._subscriptions.end(number)

    def check_known(self, *scopes: Scope) -> None:
        """Raises `UnknownScope` if nothing was ever remembered in any of these.

        For where a person names one, and may misspell it. A recall raises none: who has just begun sees nothing yet.
        """
        if not any(checked(scope) in self.shard.store.numbers for scope in scopes):
            raise UnknownScope(
                f"nothing was ever remembered in {scopes[-1].path}: is it spelt as it was written? `rayswarm memory "
                "stats` lists all scopes."
            )

    def check(self) -> Findings:
        """Compares every row with its checksum, and the rows with both indexes."""
        return Audit(self.shard).check()

    def repair(self) -> Findings:
        """Mends what `check` finds: vectors from texts, indexes from rows. Rows beyond mending are set aside."""
        return Audit(self.shard).repair(self.embedder)

    def snapshot(self) -> int:
        """Writes a snapshot of the index, so that the next start is quick; gives its sequence number."""
        return self.shard.snapshot()

    def close(self) -> None:
        """Commits what waits, writes a snapshot, frees the folder. May be called again."""
        self.shard.close()
        if self._subscriptions is not None:
            self._subscriptions.close()

    def _heard(self, rows: list[Any]) -> None:
        if self._subscriptions is not None:
            self._subscriptions.hear(rows)

    def _wait(self, token: int) -> None:
        if token > self.shard.sequence and not self.shard.wait_for(token, _TOKEN_WAIT_S):
            raise Behind(
                f"write {token} has not come here in {_TOKEN_WAIT_S} s (the last was {self.shard.sequence}): ask the "
                "shard that took it, or wait"
            )

    def _seen(self, ids: Iterable[int], scope: Scope) -> Iterator[Item]:
        found = self.shard.store.items(list(ids))
        return (found[each] for each in ids if each in found and scope.sees(found[each].scope))


def draft_of(item: Item, **changes: Any) -> Draft:
    """A draft that says what an item says, but for the changes."""
    fields = {name: getattr(item, name) for name in Draft.__slots__}
    return Draft(**(fields | changes))


def _filter(kinds: Iterable[Kind] | None = None, valid_at: float | None = None) -> Filter | None:
    if kinds is None and valid_at is None:
        return None
    return Filter(None if kinds is None else frozenset(kinds), valid_at)
