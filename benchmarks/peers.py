"""The same small messages in other libraries of actors and agents, where they are installed.

Each is measured in its fastest way that still delivers every message to a handler, and where it would be used: pykka
between two threads of a process, xoscar between two processes, autogen-core in its one-threaded runtime. None is a
dependency. Their classes are made from their modules when they are found, so nothing here imports them.

The three are not equals: pykka and autogen-core, as measured here, never leave the process.
"""

import asyncio
import threading
import time
from importlib import import_module
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

_BATCH = 500
_TOKENS = 1000


def peer_messages_per_second(seconds: float) -> tuple[dict[str, float], list[str]]:
    """Messages a second by library and way; a sentence for each library that is not installed."""
    rates: dict[str, float] = {}
    left_out: list[str] = []
    measures: dict[str, Callable[[Any, float], dict[str, float]]] = {
        "pykka": _pykka,
        "xoscar": _xoscar,
        "autogen_core": _autogen_core,
    }
    for module, measure in measures.items():
        if find_spec(module) is None:
            left_out.append(
                f"{module} is not installed and was left out (pip install {module.replace('_', '-')})."
            )
        else:
            rates |= measure(import_module(module), seconds)
    return rates, left_out


def _pykka(pykka: Any, seconds: float) -> dict[str, float]:
    """Two actors bounce tokens by `tell`; then the driver asks one, a call at a time."""
    running = threading.Event()
    running.set()

    def bounce(self: Any, message: Any) -> Any:
        self.taken += 1
        if message is None or not running.is_set():
            return self.taken
        message.tell(self.actor_ref)
        return None

    taker: Any = type("Taker", (pykka.ThreadingActor,), {"taken": 0, "on_receive": bounce})
    first, second = taker.start(), taker.start()
    try:
        began = time.perf_counter()
        for _ in range(_TOKENS):
            first.tell(second)
        time.sleep(seconds)
        running.clear()
        told = first.ask(None) + second.ask(None)
        told_s = time.perf_counter() - began
        asked, began = 0, time.perf_counter()
        while time.perf_counter() - began < seconds:
            first.ask(None)
            asked += 1
        return {"pykka_tells": told / told_s, "pykka_asks": asked / (time.perf_counter() - began)}
    finally:
        pykka.ActorRegistry.stop_all()


def _xoscar(xoscar: Any, seconds: float) -> dict[str, float]:
    """An actor in one process calls an actor in another, many calls under way; plain, and in xoscar's batches."""

    async def take(self: Any, number: int) -> int:
        self.taken = getattr(self, "taken", 0) + number
        return int(self.taken)

    async def call(self: Any, other: Any, seconds: float, batches: bool) -> float:
        calls, began = 0, time.perf_counter()
        while time.perf_counter() - began < seconds:
            if batches:
                await other.take.batch(*[other.take.delay(1) for _ in range(_BATCH)])
            else:
                await asyncio.gather(*[other.take(1) for _ in range(_BATCH)])
            calls += _BATCH
        return calls / (time.perf_counter() - began)

    taker: Any = type("Taker", (xoscar.Actor,), {"take": xoscar.extensible(take), "call": call})

    async def measure() -> dict[str, float]:
        pool = await xoscar.create_actor_pool("127.0.0.1", n_process=2)
        async with pool:
            places = [xoscar.allocate_strategy.ProcessIndex(number) for number in (1, 2)]
            first, second = [
                await xoscar.create_actor(taker, address=pool.external_address, allocate_strategy=place)
                for place in places
            ]
            return {
                "xoscar_calls": await first.call(second, seconds, False),
                "xoscar_batched_calls": await first.call(second, seconds, True),
            }

    return asyncio.run(measure())


def _autogen_core(autogen: Any, seconds: float) -> dict[str, float]:
    """Direct messages to an agent in the one-threaded runtime, many under way."""

    async def take(self: Any, message: Any, ctx: Any) -> Any:
        return message

    taker: Any = type("Taker", (autogen.BaseAgent,), {"on_message_impl": take})

    async def measure() -> dict[str, float]:
        runtime = autogen.SingleThreadedAgentRuntime()
        await taker.register(runtime, "taker", lambda: taker("Takes messages"))
        runtime.start()
        to = autogen.AgentId("taker", "0")
        messages, began = 0, time.perf_counter()
        while time.perf_counter() - began < seconds:
            await asyncio.gather(*[runtime.send_message("1", to) for _ in range(_BATCH)])
            messages += _BATCH
        rate = messages / (time.perf_counter() - began)
        await runtime.stop()
        return {"autogen_core_messages": rate}

    return asyncio.run(measure())
