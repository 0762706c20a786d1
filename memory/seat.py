"""A seat: the memory as one agent has it, under its own scope. What `context.memory` is.

The seat holds the scope, so an agent cannot name another's; wider scopes it may name, if it sees them. It stands on a
`Door`: a memory in this process (`LocalDoor`), or one on Ray (`memory/ray_memory.py`).
"""

import asyncio
from collections.abc import Iterable, Sequence
from typing import Any, Protocol

from memory.item import Draft, Item, Kind
from memory.memory import Explanation, Memory
from memory.procedure import Procedure, Step
from memory.ranking import Ranked
from memory.scope import Scope
from memory.transaction import Receipt
from memory.upkeep import Upkeep


class Door(Protocol):
    """The calls of `Memory` that an agent may make, awaited; each means what it means there."""

    async def remember_all(
        self, drafts: Sequence[Draft], *, scope: Scope, key: str = "", origin: str = ""
    ) -> list[Receipt]: ...
    async def recall(
        self,
        text: str,
        *,
        scope: Scope,
        k: int = 10,
        kinds: Iterable[Kind] | None = None,
        valid_at: float | None = None,
        within: Sequence[Scope] | None = None,
    ) -> list[Ranked]: ...
    async def get(self, item_id: int, *, scope: Scope) -> Item: ...
    async def correct(
        self,
        item_id: int,
        text: str | None = None,
        *,
        scope: Scope,
        key: str = "",
        origin: str = "",
        **changes: Any,
    ) -> Receipt: ...
    async def forget(self, item_id: int, *, scope: Scope, key: str = "", origin: str = "") -> Receipt: ...
    async def share(
        self, item_id: int, *, scope: Scope, into: Scope, key: str = "", origin: str = ""
    ) -> Receipt: ...
    async def as_of(self, when: float, text: str = "", *, scope: Scope, k: int = 10) -> list[Ranked]: ...
    async def purge(self, item_id: int, *, scope: Scope, origin: str = "") -> list[int]: ...
    async def explain(self, item_id: int, text: str = "", *, scope: Scope) -> Explanation: ...
    async def learn_procedure(
        self, task: str, steps: Sequence[Step], *, scope: Scope, origin: str = "", **told: Any
    ) -> Receipt: ...
    async def report_procedure(
        self, item_id: int, *, worked: bool, scope: Scope, origin: str = ""
    ) -> Receipt: ...
    async def procedures(
        self, task: str, *, scope: Scope, k: int = 5
    ) -> list[tuple[Item, Procedure, float]]: ...
    async def consolidate(self, *, scope: Scope, **told: Any) -> Upkeep: ...
    async def next_like(
        self,
        text: str,
        *,
        scope: Scope,
        likeness: float = 0.5,
        kinds: Iterable[Kind] | None = None,
        timeout_s: float = 60.0,
    ) -> Item | None: ...


class LocalDoor:
    """A memory in this process. Calls run in threads, so that the loop goes on meanwhile."""

    def __init__(self, memory: Memory) -> None:
        self._memory = memory

    async def remember_all(
        self, drafts: Sequence[Draft], *, scope: Scope, key: str = "", origin: str = ""
    ) -> list[Receipt]:
        """See `Memory.remember_all`."""
        return await asyncio.to_thread(self._memory.remember_all, drafts, scope=scope, key=key, origin=origin)

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
        return await asyncio.to_thread(
            self._memory.recall, text, scope=scope, k=k, kinds=kinds, valid_at=valid_at, within=within
        )

    async def get(self, item_id: int, *, scope: Scope) -> Item:
        """See `Memory.get`."""
        return await asyncio.to_thread(self._memory.get, item_id, scope=scope)

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
        return await asyncio.to_thread(
            self._memory.correct, item_id, text, scope=scope, key=key, origin=origin, **changes
        )

    async def forget(self, item_id: int, *, scope: Scope, key: str = "", origin: str = "") -> Receipt:
        """See `Memory.forget`."""
        return await asyncio.to_thread(self._memory.forget, item_id, scope=scope, key=key, origin=origin)

    async def share(
        self, item_id: int, *, scope: Scope, into: Scope, key: str = "", origin: str = ""
    ) -> Receipt:
        """See `Memory.share`."""
        return await asyncio.to_thread(
            self._memory.share, item_id, scope=scope, into=into, key=key, origin=origin
        )

    async def as_of(self, when: float, text: str = "", *, scope: Scope, k: int = 10) -> list[Ranked]:
        """See `Memory.as_of`."""
        return await asyncio.to_thread(self._memory.as_of, when, text, scope=scope, k=k)

    async def purge(self, item_id: int, *, scope: Scope, origin: str = "") -> list[int]:
        """See `Memory.purge`."""
        return await asyncio.to_thread(self._memory.purge, [item_id], scope=scope, origin=origin)

    async def explain(self, item_id: int, text: str = "", *, scope: Scope) -> Explanation:
        """See `Memory.explain`."""
        return await asyncio.to_thread(self._memory.explain, item_id, text, scope=scope)

    async def learn_procedure(
        self, task: str, steps: Sequence[Step], *, scope: Scope, origin: str = "", **told: Any
    ) -> Receipt:
        """See `Memory.learn_procedure`."""
        return await asyncio.to_thread(
            self._memory.learn_procedure, task, steps, scope=scope, origin=origin, **told
        )

    async def report_procedure(
        self, item_id: int, *, worked: bool, scope: Scope, origin: str = ""
    ) -> Receipt:
        """See `Memory.report_procedure`."""
        return await asyncio.to_thread(
            self._memory.report_procedure, item_id, worked=worked, scope=scope, origin=origin
        )

    async def procedures(self, task: str, *, scope: Scope, k: int = 5) -> list[tuple[Item, Procedure, float]]:
        """See `Memory.procedures`."""
        return await asyncio.to_thread(self._memory.procedures, task, scope=scope, k=k)

    async def consolidate(self, *, scope: Scope, **told: Any) -> Upkeep:
        """See `Memory.consolidate`."""
        return await asyncio.to_thread(self._memory.consolidate, scope=scope, **told)

    async def next_like(
        self,
        text: str,
        *,
        scope: Scope,
        likeness: float = 0.5,
        kinds: Iterable[Kind] | None = None,
        timeout_s: float = 60.0,
    ) -> Item | None:
        """Waits for the next item like a text; None if none comes in time."""
        loop = asyncio.get_running_loop()
        heard: asyncio.Future[Item] = loop.create_future()

        def hear(item: Item) -> None:
            if not heard.done():
                heard.set_result(item)

        def told(item: Item, _: float) -> None:
            loop.call_soon_threadsafe(hear, item)

        number = self._memory.subscribe(text, told, scope=scope, likeness=likeness, kinds=kinds)
        try:
            return await asyncio.wait_for(heard, timeout_s)
        except TimeoutError:
            return None
        finally:
            self._memory.unsubscribe(number)


class Seat:
    """One agent's memory."""

    def __init__(self, door: Door, scope: Scope, origin: str = "") -> None:
        """`origin`: the turn in which the agent has it, noted with what it writes."""
        self._door = door
        self._origin = origin
        self.scope = scope

    async def remember(
        self, text: str, *, into: Scope | None = None, kind: Kind = Kind.NOTE, key: str = "", **fields: Any
    ) -> Receipt:
        """Remembers a text; `into` a scope above the agent's own, if given. `fields` are those of `Draft`."""
        draft = Draft(into or self.scope, text, kind, **fields)
        return (await self.remember_all([draft], key=key))[0]

    async def remember_all(self, drafts: Sequence[Draft], *, key: str = "") -> list[Receipt]:
        """Remembers drafts; those of one scope together or not at all."""
        return await self._door.remember_all(drafts, scope=self.scope, key=key, origin=self._origin)

    async def recall(
        self,
        text: str,
        *,
        k: int = 10,
        kinds: Iterable[Kind] | None = None,
        valid_at: float | None = None,
        within: Sequence[Scope] | None = None,
    ) -> list[Ranked]:
        """The k items that answer best, of all that the agent sees, each with its score by parts."""
        return await self._door.recall(
            text, scope=self.scope, k=k, kinds=kinds, valid_at=valid_at, within=within
        )

    async def get(self, item_id: int) -> Item:
        """The item, if the agent sees it."""
        return await self._door.get(item_id, scope=self.scope)

    async def correct(
        self, item_id: int, text: str | None = None, *, key: str = "", **changes: Any
    ) -> Receipt:
        """Puts a new item in the place of one that is believed."""
        return await self._door.correct(
            item_id, text, scope=self.scope, key=key, origin=self._origin, **changes
        )

    async def forget(self, item_id: int, *, key: str = "") -> Receipt:
        """Erases one item."""
        return await self._door.forget(item_id, scope=self.scope, key=key, origin=self._origin)

    async def share(self, item_id: int, into: Scope, *, key: str = "") -> Receipt:
        """Publishes a copy of an item to a scope above."""
        return await self._door.share(item_id, scope=self.scope, into=into, key=key, origin=self._origin)

    async def as_of(self, when: float, text: str = "", *, k: int = 10) -> list[Ranked]:
        """What was believed at a time."""
        return await self._door.as_of(when, text, scope=self.scope, k=k)

    async def purge(self, item_id: int) -> list[int]:
        """Erases an item with its earlier versions and all that was made of it; gives the ids."""
        return await self._door.purge(item_id, scope=self.scope, origin=self._origin)

    async def explain(self, item_id: int, text: str = "") -> Explanation:
        """Where an item comes from, what became of it, and how it answers a question, if one is given."""
        return await self._door.explain(item_id, text, scope=self.scope)

    async def learn_procedure(self, task: str, steps: Sequence[Step], **told: Any) -> Receipt:
        """Keeps a workflow that worked. `told`: `values`, `preconditions`, `outcome`."""
        return await self._door.learn_procedure(task, steps, scope=self.scope, origin=self._origin, **told)

    async def report_procedure(self, item_id: int, *, worked: bool) -> Receipt:
        """Puts a use on a procedure's record."""
        return await self._door.report_procedure(
            item_id, worked=worked, scope=self.scope, origin=self._origin
        )

    async def procedures(self, task: str, *, k: int = 5) -> list[tuple[Item, Procedure, float]]:
        """Up to k procedures for a like task, best first, with their scores."""
        return await self._door.procedures(task, scope=self.scope, k=k)

    async def consolidate(self, **told: Any) -> Upkeep:
        """Settles, merges, summarises and expires what lives in the agent's own scope; tells what it did.

        `told`: `now`, `settings`, `rules`. What it does is in no turn: a run with it cannot be forked.
        """
        return await self._door.consolidate(scope=self.scope, **told)

    async def next_like(
        self,
        text: str,
        *,
        likeness: float = 0.5,
        kinds: Iterable[Kind] | None = None,
        timeout_s: float = 60.0,
    ) -> Item | None:
        """Waits for the next item like a text that is written where the agent sees it; None if none comes in time.

        As an effect it wakes the agent: `await context.effect(wait, context.memory)`. `likeness`: a cosine. What was
        written before is for `recall` to find.
        """
        return await self._door.next_like(
            text, scope=self.scope, likeness=likeness, kinds=kinds, timeout_s=timeout_s
        )
