"""Agents that talk at random, and can each tell if anything was lost, came twice or out of order."""

import asyncio

from actors import (
    Agent,
    Context,
    DeadlinePassed,
    Message,
    SwarmError,
)


async def outside(number: int) -> list[int]:
    """A call to the world outside, which gives the same whenever it is made."""
    await asyncio.sleep(0.001 * (number % 7))
    return [number, number * number]


class Chatterer(Agent):
    """Talks at random to all others for so many hops, in every way that its context offers."""

    def __init__(self, peers: int, asynchronous: bool) -> None:
        self.peers = peers
        self.asynchronous = asynchronous
        self.sent: dict[str, int] = {}
        self.got: dict[str, int] = {}
        self.refused: dict[str, int] = {}
        self.wrong: list[str] = []
        self.called = 0
        self.calls: dict[str, int] = {}
        self.set = 0
        self.fired = 0
        self.beat = 0
        self.asked = 0
        self.answered = 0

    def said(self, to: str, hops: int) -> list[int]:
        self.sent[to] = self.sent.get(to, 0) + 1
        return [self.sent[to], hops]

    def anyone(self, context: Context) -> str:
        return f"chatter/{context.rng.randrange(self.peers)}"

    async def on_failure(self, error: SwarmError, message: Message, context: Context) -> None:
        by = message.sender[1:]
        self.refused[by] = self.refused.get(by, 0) + 1

    async def on_message(self, message: Message, context: Context) -> None:
        if message.sender == "@outside":
            hops = message.data
        elif message.sender == context.address and message.text:
            self.on_timer(message.text, context)
            return
        elif isinstance(message.data, dict):
            (call,) = message.data["call"]
            if call != self.calls.get(message.sender, 0) + 1:
                self.wrong.append(f"{message.sender} called {call} after {self.calls.get(message.sender, 0)}")
            self.calls[message.sender] = call
            message.data["call"].append(
                "heard"
            )  # What others got, and what is written down, stays as it was.
            return
        else:
            counter, hops = message.data
            expected = self.got.get(message.sender, 0) + 1
            if counter != expected:
                self.wrong.append(f"{message.sender} said {counter}, expected {expected}")
            self.got[message.sender] = counter
            context.record("hops", hops)
        if message.kind == 1:
            context.reply([message.sequence, hops])
        if hops > 0:
            await self.chatter(hops - 1, context)

    def on_timer(self, what: str, context: Context) -> None:
        self.fired += 1
        if what == "beat":
            self.set += 1
            if self.fired % 3 == 0 and context.cancel(self.beat):
                self.beat = 0
                self.set -= 1

    async def chatter(self, hops: int, context: Context) -> None:
        if context.rng.random() < 0.1:
            self.called += 1
            context.broadcast("chatter", {"call": [self.called]})
        if context.rng.random() < 0.2:
            context.result("last", [context.address, self.called])
        for _ in range(context.rng.randrange(1, 4)):
            to = self.anyone(context)
            sending = context.send(to, self.said(to, hops))
            if context.rng.random() < 0.5:
                await sending
        choice = context.rng.randrange(12)
        if choice == 0:
            context.after(context.rng.uniform(0.5, 3), "once")
            self.set += 1
        elif choice == 1 and not self.beat:
            self.beat = context.every(context.rng.choice([1, 2]), "beat")
            self.set += 1
        elif choice in (2, 3):
            await self.ask("oracle", hops, context)
        elif choice == 4:
            await self.ask(self.anyone(context), 0, context)
        elif choice == 5:
            await context.sleep(context.rng.uniform(0, 2))
        elif choice in (6, 7):
            number = context.rng.randrange(100)
            if await context.effect(outside, number) != [number, number**2]:
                self.wrong.append("an effect gave something else")
        elif choice == 8:
            child = context.spawn("child", context.rng.randrange(3), peers=self.peers, asynchronous=False)
            context.send(child, self.said(child, 0))
        elif choice == 9 and hops > 1:
            context.stop(f"child/{context.rng.randrange(3)}")
        elif choice == 10 and self.asynchronous:
            await asyncio.gather(*(self.ask("oracle", n, context) for n in range(2)))
        elif choice == 11 and self.asynchronous:
            async with asyncio.timeout(1000):
                await asyncio.sleep(0.001)
                await context.sleep(1)

    async def ask(self, to: str, hops: int, context: Context) -> None:
        self.asked += 1
        try:
            answer = await context.ask(to, self.said(to, hops), timeout_s=6)
            if answer.data[1] != hops or answer.sender != to:
                self.wrong.append(f"{to} answered {answer.data} to {hops}")
        except DeadlinePassed:
            pass
        except SwarmError:
            self.refused[to] = self.refused.get(to, 0) + 1
        self.answered += 1


class Oracle(Chatterer):
    """Answers; knows when it started."""

    async def on_start(self, context: Context) -> None:
        self.set += 1
        context.after(2, "once")

    async def chatter(self, hops: int, context: Context) -> None:
        pass
