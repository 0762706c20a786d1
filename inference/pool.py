"""Replicas of one model as one model: requests go where their beginning is cached, and on when a replica dies.

`inference/router.py` says where; this carries it out.

Rules:
* All replicas have one identity: who asks cannot tell which one answered.
* A replica is dead when it raises `EngineDead` and does not pass its health check, or fails the check by itself. It
  gets nothing more; its check goes on, and when that passes it is taken up again, with an empty cache. Without a
  check it rests for `check_s` and is then tried again. A check has a limit in time, and so is a hanging engine found.
* A request that was on a dead replica is asked again of another where it definitely was not computed. Where it may
  have been, only if `again` says so: a completion has no effect but its price, so `again` is for engines of one's own
  and not for those that are paid by the token. At most `moves` times: a request that kills engines kills few.
* A stream moves only before its first piece.
* When no replica is left every request fails with an `EngineDead`, definitely; whoever limits (`LimitedLLM`) waits.
* A replica that is drained gets nothing more, and is closed when what runs on it has ended.
"""

import asyncio
import logging
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import Any

from inference.clock import Clock, SystemClock, within
from inference.completion import Completion, Delta
from inference.errors import ConfigurationError, EngineDead
from inference.llm import BaseLLM, TokenCount
from inference.request import Request
from inference.router import Router, RoutingLimits, prefix_of
from inference.simple_tokenizer import prompt_tokens

Health = Callable[[], Awaitable[object]]
"""Returns if a replica is well, and raises if it is not."""

log = logging.getLogger("rayswarm")


@dataclass(frozen=True)
class PoolSettings:
    """How a pool treats its replicas."""

    moves: int = 2
    """Times that a request is asked of another replica."""
    again: bool = False
    """True moves requests that may have been computed, too."""
    check_s: float = 5.0
    """Between two checks of a replica."""
    check_timeout_s: float = 10.0
    routing: RoutingLimits = field(default_factory=RoutingLimits)

    def __post_init__(self) -> None:
        if not 0 <= self.moves <= 100 or not self.check_s > 0 or not self.check_timeout_s > 0:
            raise ConfigurationError(f"{self}: give 0 to 100 moves, and seconds above 0")


class _Replica:
    """One replica as it goes."""

    def __init__(self, name: str, model: BaseLLM, health: Health | None) -> None:
        self.name = name
        self.model = model
        self.health = health
        self.dead = False
        self.rests_until_s = 0.0
        self.calls: set[asyncio.Task[Any]] = set()
        self.check: asyncio.Task[bool] | None = None
        """One check for all who suspect it."""


class ReplicaPool(BaseLLM):
    """Several replicas behind one door. One object serves one event loop."""

    def __init__(
        self,
        replicas: Mapping[str, BaseLLM],
        settings: PoolSettings | None = None,
        *,
        health: Mapping[str, Health] | None = None,
        clock: Clock | None = None,
    ) -> None:
        """`health` holds a check for those replicas that have one."""
        self._settings = settings or PoolSettings()
        self._router = Router((), self._settings.routing)
        self._clock = clock or SystemClock()
        self._replicas: dict[str, _Replica] = {}
        self._numbers = 0
        self._watch: asyncio.Task[None] | None = None
        if not replicas:
            raise ConfigurationError("a pool needs at least one replica")
        self._identity = next(iter(replicas.values())).identity
        for name, model in replicas.items():
            self.add(name, model, (health or {}).get(name))

    @property
    def identity(self) -> str:
        """The replicas' own."""
        return self._identity

    @property
    def replicas(self) -> dict[str, bool]:
        """By name, whether it is alive."""
        return {name: not replica.dead for name, replica in self._replicas.items()}

    @property
    def loads(self) -> dict[str, float]:
        """Tokens under way on each replica that gets requests."""
        return self._router.loads

    def add(self, name: str, model: BaseLLM, health: Health | None = None) -> None:
        """A replica more. It gets new prefixes, and those whose homes are busy."""
        if model.identity != self._identity:
            raise ConfigurationError(
                f"the replica {name} is {model.identity}, and the pool is of {self._identity}: "
                f"give it a pool of its own"
            )
        if name in self._replicas:
            raise ConfigurationError(f"the replica {name} is there already: give it another name")
        self._router.add(name)
        self._replicas[name] = _Replica(name, model, health)

    async def drain(self, name: str, timeout_s: float = 600.0) -> None:
        """Takes a replica out: it gets nothing more, and is closed when what runs on it has ended, or is ended then."""
        replica = self._replicas.get(name)
        if replica is None:
            raise ConfigurationError(
                f"there is no replica {name}: there are {', '.join(self._replicas) or 'none'}"
            )
        if not replica.dead:
            self._router.drain(name)
        try:
            await within(self._clock, timeout_s, _all_ended(replica))
        except TimeoutError:
            log.warning("the replica %s was drained for %g s and is closed", name, timeout_s)
        if self._replicas.get(name) is replica:
            del self._replicas[name]
            self._bury(replica)
        await replica.model.aclose()

    async def complete(self, request: Request) -> Completion:
        """A replica's answer."""
        prefix, cost = prefix_of(request), _cost(request)
        for moves in range(self._settings.moves + 1):
            number, replica = self._route(prefix, request, cost)
            try:
                return await self._asked(replica, request)
            except EngineDead as error:
                await self._suspect(replica)
                if moves == self._settings.moves or not (error.definite or self._settings.again):
                    raise
            finally:
                self._router.finish(number)
        raise AssertionError("the last move returns or raises")

    async def stream(self, request: Request) -> AsyncGenerator[Delta, None]:
        """A replica's stream."""
        prefix, cost = prefix_of(request), _cost(request)
        for moves in range(self._settings.moves + 1):
            number, replica = self._route(prefix, request, cost)
            begun = False
            try:
                async with aclosing(replica.model.stream(request)) as stream:
                    while (delta := await self._on(replica, anext(stream, None))) is not None:
                        begun = True
                        yield delta
                return
            except EngineDead as error:
                await self._suspect(replica)
                if begun or moves == self._settings.moves or not (error.definite or self._settings.again):
                    raise
            finally:
                self._router.finish(number)

    async def count_tokens(self, request: Request) -> TokenCount:
        """A living replica's count; the simple tokenizer's if there is none."""
        for replica in self._replicas.values():
            if not replica.dead:
                return await replica.model.count_tokens(request)
        return await super().count_tokens(request)

    def describe(self) -> dict[str, Any]:
        """A replica's own, and how many there are."""
        described = next(
            (replica.model.describe() for replica in self._replicas.values()), super().describe()
        )
        return {**described, "replicas": len(self._replicas)}

    async def aclose(self) -> None:
        """Ends what runs, and closes all replicas."""
        if self._watch is not None:
            self._watch.cancel()
            await asyncio.gather(self._watch, return_exceptions=True)
        replicas, self._replicas = list(self._replicas.values()), {}
        for replica in replicas:
            if not replica.dead:
                self._router.remove(replica.name)
            tasks = [*replica.calls, *([replica.check] if replica.check else [])]
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            await replica.model.aclose()

    # --- A call -------------------------------------------------------------------------------------------------

    def _route(self, prefix: str, request: Request, cost: float) -> tuple[int, _Replica]:
        self._wake()
        self._numbers += 1
        if not self._router.loads:
            names = ", ".join(self._replicas) or "none"
            raise EngineDead(f"{self._identity} has no living replica; there are: {names}", definite=True)
        name = self._router.route(self._numbers, prefix, request.caller.conversation, cost)
        return self._numbers, self._replicas[name]

    async def _asked(self, replica: _Replica, request: Request) -> Completion:
        completion: Completion = await self._on(replica, replica.model.complete(request))
        return completion

    async def _on(self, replica: _Replica, work: Awaitable[Any]) -> Any:
        """What a replica answers. If it dies meanwhile this is an indefinite `EngineDead`, however it hangs."""
        call: asyncio.Task[Any] = asyncio.ensure_future(work)
        replica.calls.add(call)
        try:
            await asyncio.wait({call})
            if call.cancelled():
                raise EngineDead(f"the replica {replica.name} of {self._identity} died in mid-request")
            return call.result()
        finally:
            replica.calls.discard(call)
            if not call.done():
                call.cancel()
                await asyncio.gather(call, return_exceptions=True)

    # --- Life and death -----------------------------------------------------------------------------------------

    async def _suspect(self, replica: _Replica) -> None:
        """It raised `EngineDead`. Afterwards it is known to live, or is buried."""
        if replica.dead:
            return
        if replica.health is None or not await self._is_well(replica):
            self._die(replica)

    async def _is_well(self, replica: _Replica) -> bool:
        """The outcome of the check that runs, or of one that begins now."""
        if replica.check is None or replica.check.done():
            replica.check = asyncio.ensure_future(self._check(replica))
        check = replica.check  # another may begin before this one is looked at
        await asyncio.wait({check})
        return not check.cancelled() and check.result()

    async def _check(self, replica: _Replica) -> bool:
        assert replica.health is not None
        try:
            await within(self._clock, self._settings.check_timeout_s, _awaited(replica.health()))
        except Exception as error:  # whatever a check raises says that the replica is not well
            log.info("the replica %s is not well: %s", replica.name, type(error).__name__)
            return False
        return True

    def _die(self, replica: _Replica) -> None:
        if replica.dead:
            return
        log.warning("the replica %s of %s is dead", replica.name, self._identity)
        replica.rests_until_s = self._clock.now() + self._settings.check_s
        self._bury(replica)

    def _bury(self, replica: _Replica) -> None:
        """It gets nothing more, and what runs on it is told."""
        if not replica.dead:
            replica.dead = True
            self._router.remove(replica.name)
        for call in replica.calls:
            call.cancel()

    def _rise(self, replica: _Replica) -> None:
        if replica.dead and self._replicas.get(replica.name) is replica:
            log.warning("the replica %s of %s is back", replica.name, self._identity)
            replica.dead = False
            self._router.add(replica.name)

    def _wake(self) -> None:
        if self._watch is None or self._watch.done():
            self._watch = asyncio.ensure_future(self._keep_checking())

    async def _keep_checking(self) -> None:
        """Checks all replicas again and again, while anything runs or some replica is dead."""
        while any(replica.dead or replica.calls for replica in self._replicas.values()):
            await self._clock.sleep(self._settings.check_s)
            await asyncio.gather(*map(self._look_at, list(self._replicas.values())))

    async def _look_at(self, replica: _Replica) -> None:
        if replica.health is None:
            if replica.dead and self._clock.now() >= replica.rests_until_s:
                self._rise(replica)
        elif not await self._is_well(replica):
            self._die(replica)
        else:
            self._rise(replica)


async def _awaited(work: Awaitable[Any]) -> Any:
    return await work


async def _all_ended(replica: _Replica) -> None:
    while replica.calls:
        await asyncio.wait(set(replica.calls))


def _cost(request: Request) -> float:
    """The tokens that a request may take."""
    return prompt_tokens(request) + request.sampling.n * request.sampling.max_tokens
