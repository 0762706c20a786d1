"""A memory over Ray actors: shards, a directory that says which has what, and the client that agents share.

Rules:
* A scope lives in a slot, a slot on a shard; what a reader sees may lie on several. A recall that needs one shard is
  ranked there; else candidates of each are ranked together, among themselves, by the same function.
* The client batches: recalls and writes that come together leave in one call, because a Ray call costs more than the
  search it asks for (500 to 3,000 calls a second, measured).
* `Moved` means that the table is old: the client asks the directory and tries again, at most `_TRIES` times.
* Every write has an idempotency key, the caller's or a fresh one: however often Ray repeats it, it happens once.
* A purge reaches what was made of the items on other shards first, and the items last: broken off, it can be repeated.
"""

import asyncio
import secrets
import threading
from collections.abc import Awaitable, Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, Final, TypeVar

import ray
from ray.exceptions import RayTaskError

from inference.embedder import Embedder
from memory.batch import Batcher
from memory.changes import Changes
from memory.errors import MemoryFault, Moved, UnknownItem
from memory.item import Draft, Item, Kind
from memory.memory import Explanation
from memory.procedure import Procedure, Step, retrieve
from memory.ranking import Ranked, RankingSettings
from memory.ray_shard import MemoryActor, Tell, default_embedder
from memory.rebalance import Table, move
from memory.schema import slot_of
from memory.scope import Scope, checked
from memory.seat import Seat
from memory.settings import MemorySettings
from memory.transaction import Receipt
from memory.upkeep import Upkeep
from memory.view import Ask, Pair, rank_pairs

T = TypeVar("T")
_TRIES: Final = 200
_PAUSE_S: Final = 0.02
_CALLS_AT_ONCE: Final = 64
_RESTARTS: Final = 20


class MemoryDirectory:
    """The actor that knows which shard has which slot, and moves them."""

    def __init__(self, folder: str, shards: Sequence[Any], ranking: RankingSettings | None) -> None:
        self._table = Table(Path(folder), len(shards))
        self._shards = list(shards)
        self._ranking = ranking or RankingSettings()
        self._moving = threading.Lock()
        # What a move left half done is put right: each shard answers for what the table gives it.
        ray.get([shard.assign.remote(self._table.slots_of(at)) for at, shard in enumerate(self._shards)])

    def layout(self) -> tuple[list[int], list[Any], RankingSettings]:
        """The owner of each slot, the shards, and how to rank."""
        return self._table.owners, self._shards, self._ranking

    def move(self, slots: frozenset[int], shard: int) -> None:
        """Moves slots to a shard, while they are used."""
        with self._moving:
            move(self._table, [_Remote(each) for each in self._shards], slots, shard)


class _Remote:
    """A shard behind an actor, as `rebalance.Movable`."""

    def __init__(self, handle: Any) -> None:
        self._handle = handle

    def changes(self, after: int, slots: frozenset[int] | None = None) -> Changes:
        """See `Shard.changes`."""
        changes: Changes = ray.get(self._handle.changes.remote(after, slots))
        return changes

    def adopt(self, changes: Changes) -> None:
        """See `Shard.adopt`."""
        ray.get(self._handle.adopt.remote(changes))

    def freeze(self, slots: frozenset[int]) -> None:
        """See `Shard.freeze`."""
        ray.get(self._handle.freeze.remote(slots))

    def assign(self, slots: frozenset[int]) -> None:
        """See `Shard.assign`."""
        ray.get(self._handle.assign.remote(slots))


def start_memory(
    folder: str | Path,
    *,
    shards: int = 1,
    followers: int = 0,
    make_embedder: Callable[[], Embedder] = default_embedder,
    settings: MemorySettings | None = None,
    ranking: RankingSettings | None = None,
    num_cpus: float = 0.5,
) -> "RayMemory":
    """Starts the actors of a memory in a folder and waits until they are open.

    `followers` of each shard, for writes that are to be `replicated`. `make_embedder` must be importable where the
    actors run, and give the same embedder there.
    """
    remote: Any = ray.remote(MemoryActor)  # its stubs take every method for a plain function
    options = {
        "num_cpus": num_cpus, "max_concurrency": _CALLS_AT_ONCE,
        "max_restarts": _RESTARTS, "max_task_retries": _RESTARTS,
    }  # fmt: skip
    handles: list[Any] = []
    held: list[Any] = []
    for number in range(shards):
        place = Path(folder) / f"shard-{number}"
        copies = [
            remote.options(**options).remote(
                f"{place}-follower-{copy}", make_embedder, settings, ranking, follows=True
            )
            for copy in range(followers)
        ]
        held += copies
        handles.append(
            remote.options(**options).remote(str(place), make_embedder, settings, ranking, followers=copies)
        )
    directory: Any = ray.remote(MemoryDirectory)
    started = directory.options(
        num_cpus=0, max_concurrency=8, max_restarts=_RESTARTS, max_task_retries=_RESTARTS
    ).remote(str(folder), handles, ranking)
    ray.get(started.layout.remote())
    return RayMemory(started, (*handles, *held))


class RayMemory:
    """The client: what `Memory` does, awaited, over all shards. May be sent to other actors. For one event loop."""

    def __init__(self, directory: Any, held: Sequence[Any] = ()) -> None:
        """`held`: the actors, which end when nobody holds them: whoever started them holds them all."""
        self._directory = directory
        self._held = held
        self._owners: list[int] = []
        self._shards: list[Any] = []
        self._ranking = RankingSettings()
        self._askers: list[Batcher[Ask]] = []
        self._tellers: list[Batcher[Tell]] = []

    def __reduce__(self) -> tuple[Any, ...]:
        return (RayMemory, (self._directory,))

    def seat(self, scope: Scope) -> Seat:
        """The memory as an agent of this scope has it."""
        return Seat(self, checked(scope))

    async def remember_all(
        self,
        drafts: Sequence[Draft],
        *,
        scope: Scope,
        key: str = "",
        origin: str = "",
        replicated: bool = False,
    ) -> list[Receipt]:
        """Remembers drafts; those of one scope together or not at all. `replicated`: waits for a follower."""
        key = key or secrets.token_hex(12)
        drafts = list(drafts)
        await self._check_parents(drafts, scope)

        # By slot, each under a key of its own: slots may move between two tries, and what belongs together must not.
        groups: dict[int, list[int]] = {}
        for at, draft in enumerate(drafts):
            groups.setdefault(draft.scope.slot, []).append(at)

        async def write() -> list[Receipt]:
            answers = await asyncio.gather(
                *(
                    self._tellers[self._owners[slot]].ask(
                        Tell(
                            tuple(drafts[at] for at in places),
                            checked(scope),
                            f"{key}/{slot}",
                            replicated,
                            origin,
                        )
                    )
                    for slot, places in groups.items()
                )
            )
            receipts: dict[int, Receipt] = {}
            for places, answer in zip(groups.values(), answers, strict=True):
                receipts |= dict(zip(places, answer, strict=True))
            return [receipts[at] for at in range(len(drafts))]

        return await self._settled(write)

    async def recall(
        self,
        text: str,
        *,
        scope: Scope,
        k: int = 10,
        kinds: Iterable[Kind] | None = None,
        valid_at: float | None = None,
        within: Sequence[Scope] | None = None,
    ) -> list[Ranked]:
        """See `Memory.recall`."""
        passing = None if kinds is None else frozenset(kinds)

        async def read() -> list[Ranked]:
            groups = self._groups(scope, within)
            asks = [
                (shard, Ask(text, scope, k, passing, valid_at, scopes, len(groups) > 1))
                for shard, scopes in groups.items()
            ]
            if len(asks) == 1:
                [(shard, ask)] = asks
                ranked: list[Ranked] = await self._askers[shard].ask(ask)
                return ranked
            answers = await asyncio.gather(*(self._askers[shard].ask(ask) for shard, ask in asks))
            pairs: list[Pair] = [pair for _, found in answers for pair in found]
            return rank_pairs(answers[0][0], pairs, self._ranking) if answers else []

        return await self._settled(read)

    async def get(self, item_id: int, *, scope: Scope) -> Item:
        """See `Memory.get`."""
        item: Item = await self._at(item_id, lambda shard: shard.get.remote(item_id, scope=scope))
        return item

    async def correct(
        self,
        item_id: int,
        text: str | None = None,
        *,
        scope: Scope,
        key: str = "",
        origin: str = "",
        **changes: Any,
    ) -> Receipt:
        """See `Memory.correct`."""
        key = key or secrets.token_hex(12)
        receipt: Receipt = await self._at(
            item_id,
            lambda shard: shard.correct.remote(item_id, text, scope=scope, key=key, origin=origin, **changes),
        )
        return receipt

    async def forget(self, item_id: int, *, scope: Scope, key: str = "", origin: str = "") -> Receipt:
        """See `Memory.forget`."""
        key = key or secrets.token_hex(12)
        receipt: Receipt = await self._at(
            item_id, lambda shard: shard.forget.remote(item_id, scope=scope, key=key, origin=origin)
        )
        return receipt

    async def purge(self, item_id: int, *, scope: Scope, origin: str = "") -> list[int]:
        """Erases an item with its earlier versions and all that was made of it, on whatever shard."""
        await self.get(item_id, scope=scope)
        generations: list[list[int]] = [[item_id]]
        known = {item_id}
        while generations[-1]:
            found = await asyncio.gather(
                *(_answer(shard.made_of.remote(generations[-1], scope)) for shard in self._shards)
            )
            fresh = sorted({each for some in found for each in some} - known)
            known |= set(fresh)
            generations.append(fresh)
        gone: list[int] = []
        for generation in reversed(generations[1:]):
            for each in generation:
                erase = self._made_eraser(each, scope)
                gone += await self._at(each, erase)
        gone += await self._at(
            item_id, lambda shard: shard.purge.remote([item_id], scope=scope, origin=origin)
        )
        return sorted(set(gone))

    async def share(
        self, item_id: int, *, scope: Scope, into: Scope, key: str = "", origin: str = ""
    ) -> Receipt:
        """See `Memory.share`."""
        item = await self.get(item_id, scope=scope)
        draft = Draft(
            into, item.text, item.kind, item.importance, item.source, item.trust, item.session, item.turn, item.speaker,
            item.valid_from, item.valid_to, item.attributes, (item_id,),
        )  # fmt: skip
        return (await self.remember_all([draft], scope=scope, key=key, origin=origin))[0]

    async def as_of(self, when: float, text: str = "", *, scope: Scope, k: int = 10) -> list[Ranked]:
        """See `Memory.as_of`."""

        async def read() -> list[Ranked]:
            found = await asyncio.gather(
                *(
                    _answer(self._shards[shard].past.remote(when, text, k, scope=scope, within=scopes))
                    for shard, scopes in self._groups(scope, None).items()
                )
            )
            pairs = [pair for _, some in found for pair in some]
            if text:
                return rank_pairs(found[0][0], pairs, self._ranking)
            latest = sorted((item for item, _ in pairs), key=lambda item: (-item.recorded_at, item.id))
            return [Ranked(item, 0.0, {}) for item in latest[:k]]

        return await self._settled(read)

    async def learn_procedure(
        self, task: str, steps: Sequence[Step], *, scope: Scope, origin: str = "", **told: Any
    ) -> Receipt:
        """See `Memory.learn_procedure`. Broken off by a crash, it may count a success twice."""
        receipt: Receipt = await self._of(
            scope,
            lambda shard: shard.learn_procedure.remote(task, steps, scope=scope, origin=origin, **told),
        )
        return receipt

    async def report_procedure(
        self, item_id: int, *, worked: bool, scope: Scope, origin: str = ""
    ) -> Receipt:
        """See `Memory.report_procedure`."""
        receipt: Receipt = await self._at(
            item_id,
            lambda shard: shard.report_procedure.remote(item_id, worked=worked, scope=scope, origin=origin),
        )
        return receipt

    async def procedures(self, task: str, *, scope: Scope, k: int = 5) -> list[tuple[Item, Procedure, float]]:
        """See `Memory.procedures`."""

        async def read() -> list[tuple[Item, Procedure, float]]:
            shards = [self._shards[shard] for shard in self._groups(scope, None)]
            found = await asyncio.gather(
                *(_answer(shard.procedures.remote(task, scope=scope, k=k)) for shard in shards)
            )
            known = {id(procedure): (item, procedure) for some in found for item, procedure, _ in some}
            best = retrieve(task, [procedure for _, procedure in known.values()], k=k)
            return [(*known[id(procedure)], score) for procedure, score in best]

        return await self._settled(read)

    async def consolidate(self, *, scope: Scope, **told: Any) -> Upkeep:
        """See `Memory.consolidate`."""
        done: Upkeep = await self._of(scope, lambda shard: shard.consolidate.remote(scope=scope, **told))
        return done

    async def next_like(
        self,
        text: str,
        *,
        scope: Scope,
        likeness: float = 0.5,
        kinds: Iterable[Kind] | None = None,
        timeout_s: float = 60.0,
    ) -> Item | None:
        """See `Seat.next_like`. Up to 32 wait on a shard at once. A scope that is moved meanwhile is not heard."""
        passing = None if kinds is None else frozenset(kinds)

        async def wait() -> Item | None:
            name = secrets.token_hex(12)
            shards = [self._shards[shard] for shard in self._groups(scope, None)]
            calls = [
                asyncio.ensure_future(
                    _answer(
                        shard.next_like.remote(
                            name, text, scope=scope, likeness=likeness, kinds=passing, timeout_s=timeout_s
                        )
                    )
                )
                for shard in shards
            ]
            try:
                done, _ = await asyncio.wait(calls, return_when=asyncio.FIRST_COMPLETED)
                return next((found for call in calls if call in done and (found := call.result())), None)
            finally:
                await asyncio.gather(*(_answer(shard.stop_waiting.remote(name)) for shard in shards))
                for call in calls:
                    call.cancel()

        return await self._settled(wait)

    async def explain(self, item_id: int, text: str = "", *, scope: Scope) -> Explanation:
        """See `Memory.explain`; relations to items on other shards are not followed."""
        told: Explanation = await self._at(
            item_id, lambda shard: shard.explain.remote(item_id, text, scope=scope)
        )
        return told

    async def move(self, scopes: Iterable[Scope], shard: int) -> None:
        """Moves the slots of some scopes to a shard, while they are used."""
        await _answer(self._directory.move.remote(frozenset(scope.slot for scope in scopes), shard))

    async def stop(self) -> None:
        """Closes all shards, each with a snapshot."""
        await self._look()
        await asyncio.gather(*(_answer(shard.stop.remote()) for shard in self._shards))

    def _groups(self, scope: Scope, within: Sequence[Scope] | None) -> dict[int, tuple[Scope, ...]]:
        """What the reader sees, shard by shard."""
        groups: dict[int, list[Scope]] = {}
        for each in checked(scope).seen():
            if within is None or each in within:
                groups.setdefault(self._owners[each.slot], []).append(each)
        return {shard: tuple(scopes) for shard, scopes in groups.items()}

    async def _check_parents(self, drafts: Sequence[Draft], scope: Scope) -> None:
        """A shard sees only its own: parents on others are looked up here."""
        for parent in sorted({parent for draft in drafts for parent in draft.derived_from}):
            await self.get(parent, scope=scope)

    async def _of(self, scope: Scope, call: Callable[[Any], Any]) -> Any:
        """Calls the shard on which a scope lives."""
        slot = checked(scope).slot
        return await self._settled(lambda: _answer(call(self._shards[self._owners[slot]])))

    async def _at(self, item_id: int, call: Callable[[Any], Any]) -> Any:
        """Calls the shard that has an item."""
        if not isinstance(item_id, int) or item_id < 0:
            raise UnknownItem(f"{item_id!r} is no item's id")
        return await self._settled(lambda: _answer(call(self._shards[self._owners[slot_of(item_id)]])))

    async def _settled(self, work: Callable[[], Awaitable[T]]) -> T:
        """Does it, with a new table as often as something has moved."""
        if not self._owners:
            await self._look()
        for _ in range(_TRIES):
            try:
                return await work()
            except Moved:
                await asyncio.sleep(_PAUSE_S)
                await self._look()
        raise Moved(f"the scope was on the move for {_TRIES * _PAUSE_S:g} s: look at the directory's log")

    async def _look(self) -> None:
        owners, shards, ranking = await _answer(self._directory.layout.remote())
        if not self._askers:
            self._askers = [Batcher(_asking(shard)) for shard in shards]
            self._tellers = [Batcher(_telling(shard)) for shard in shards]
        self._owners, self._shards, self._ranking = owners, shards, ranking

    @staticmethod
    def _made_eraser(each: int, scope: Scope) -> Callable[[Any], Any]:
        return lambda shard: shard.purge_made.remote([each], scope)


def _asking(shard: Any) -> Callable[[Sequence[Ask]], Awaitable[Sequence[Any]]]:
    return lambda asks: _answer(shard.recall_all.remote(list(asks)))


def _telling(shard: Any) -> Callable[[Sequence[Tell]], Awaitable[Sequence[Any]]]:
    return lambda tells: _answer(shard.tell_all.remote(list(tells)))


async def _answer(reference: Any) -> Any:
    """What a call came to; its own error as it was raised there."""
    try:
        return await reference
    except RayTaskError as error:
        if isinstance(error.cause, MemoryFault):
            raise error.cause from None
        raise
