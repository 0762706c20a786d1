"""Agents that the tests of the swarm share. At module level and importable, so that Ray's workers find them."""

import asyncio
from typing import Any

from actors import Agent, AgentCard, AgentSkill, Context, DeadlinePassed, Message, SwarmError, UnknownAddress


class Echo(Agent):
    """Answers with what it hears."""

    card = AgentCard("echo", "repeats", skills=(AgentSkill("echo", "Echo", "repeats", tags=("repeat",)),))

    async def on_message(self, message: Message, context: Context) -> None:
        context.reply(message.parts)


class Counter(Agent):
    """Counts and adds up numbers; tells when asked "total"."""

    def __init__(self) -> None:
        self.count = 0
        self.total = 0
        self.last: dict[str, int] = {}
        self.disorder = 0

    async def on_message(self, message: Message, context: Context) -> None:
        if message.text == "total":
            context.reply([self.count, self.total, self.disorder])
        elif isinstance(message.data, int):
            self.count += 1
            self.total += message.data
            self.disorder += message.data <= self.last.get(message.sender, -1)
            self.last[message.sender] = message.data


class Sender(Agent):
    """Told [to, n], sends 0 to n-1."""

    async def on_message(self, message: Message, context: Context) -> None:
        to, count = message.data
        for number in range(count):
            await context.send(to, number)


class Gossip(Agent):
    """Chatters at random with its role for so many hops; keeps what it heard. Uses all of its context."""

    def __init__(self, peers: int, hops: int = 5) -> None:
        self.peers = peers
        self.hops = hops
        self.heard: list[tuple[str, int]] = []
        self.asked = 0

    async def on_message(self, message: Message, context: Context) -> None:
        hops = self.hops if message.text == "go" else message.data
        self.heard.append((message.sender, hops))
        context.record("hops", hops)
        if hops <= 0:
            return
        for _ in range(context.rng.randrange(1, 3)):
            context.send(f"gossip/{context.rng.randrange(self.peers)}", hops - 1)
        choice = context.rng.random()
        if choice < 0.2:
            context.after(1 + context.rng.randrange(3), 0)
        elif choice < 0.4:
            answer = await context.ask("echo", hops, timeout_s=20)
            self.asked += answer.data
        elif choice < 0.5:
            await context.sleep(2)
            self.asked += 1
        elif choice < 0.6:
            self.asked += await context.effect(len, "outside")


class Asker(Agent):
    """Asks whom it is told, and reports what came of it."""

    async def on_message(self, message: Message, context: Context) -> None:
        if isinstance(message.data, dict) and "ask" in message.data:
            try:
                answer = await context.ask(
                    message.data["ask"], "hello", timeout_s=message.data.get("timeout", 5)
                )
                context.reply(["answer", answer.text])
            except SwarmError as error:
                context.reply([error.reason, error.definite, str(error)])


class Failing(Agent):
    """Raises on every message but "are you well"."""

    async def on_message(self, message: Message, context: Context) -> None:
        if message.text == "are you well":
            context.reply("yes")
            return
        raise ValueError(f"cannot stand {message.text}")


class Silent(Agent):
    """Never answers."""

    async def on_message(self, message: Message, context: Context) -> None:
        pass


class Starter(Agent):
    """Acts by itself: sends to the counter when it starts, and when it stops."""

    def __init__(self) -> None:
        self.started = 0

    async def on_start(self, context: Context) -> None:
        self.started += 1
        context.send("counter", 1)

    async def on_message(self, message: Message, context: Context) -> None:
        context.reply(self.started)

    async def on_stop(self, context: Context) -> None:
        context.send("counter", 100)


class Parent(Agent):
    """Spawns children and adds up what they answer."""

    async def on_message(self, message: Message, context: Context) -> None:
        total = 0
        for number in range(message.data):
            child = context.spawn("child", start=number)
            total += (await context.ask(child, "value")).data
            context.stop(child)
            try:
                await context.ask(child, "value")
            except SwarmError as error:
                total += 1000 if error.reason == "agent stopped" else 0
        try:
            context.spawn("nobody")
        except UnknownAddress:
            total += 1_000_000
        context.reply(total)


class Child(Agent):
    """Knows a number."""

    def __init__(self, start: int = -1) -> None:
        self.value = start

    async def on_message(self, message: Message, context: Context) -> None:
        context.reply(self.value)


class Clockwork(Agent):
    """Uses timers: counts ticks of `every` until cancelled."""

    def __init__(self) -> None:
        self.timer = 0
        self.ticks: list[float] = []
        self.asker: Message | None = None

    async def on_message(self, message: Message, context: Context) -> None:
        if message.text == "tick":
            self.ticks.append(context.now)
            if len(self.ticks) == 3 and self.asker is not None:
                cancelled = context.cancel(self.timer), context.cancel(self.timer)
                context.reply([len(self.ticks), *cancelled], to=self.asker)
        else:
            self.asker = message
            self.timer = context.every(message.data, "tick")


class Asynchronous(Agent):
    """Uses asyncio in its handler: sleeps, time-outs, gathers and task groups."""

    async def on_message(self, message: Message, context: Context) -> None:
        what = message.text
        result: Any = None
        if what == "sleep":
            await asyncio.sleep(0.01)
            result = "slept"
        elif what == "timeout":
            try:
                async with asyncio.timeout(0.02):
                    await asyncio.sleep(30)
            except TimeoutError:
                result = "timed out"
        elif what == "timeout over context":
            try:
                async with asyncio.timeout(0.02):
                    await context.sleep(1_000_000)
            except TimeoutError:
                result = "timed out"
        elif what == "gather":
            answers = await asyncio.gather(*(context.ask("echo", n) for n in range(5)))
            result = [answer.data for answer in answers]
        elif what == "group":
            async with asyncio.TaskGroup() as group:
                tasks = [group.create_task(self.work(context, n)) for n in range(3)]
            result = sorted(task.result() for task in tasks)
        elif what == "effect":
            result = await context.effect(self.outside, 20, 22)
        elif what == "failing effect":
            try:
                await context.effect(int, "no number")
            except SwarmError as error:
                result = [error.reason, str(error)]
        elif what == "no answer":
            try:
                await context.ask("silent", timeout_s=1)
            except DeadlinePassed as error:
                result = [error.reason, error.definite]
        context.reply(result)

    async def work(self, context: Context, number: int) -> int:
        return int((await context.ask("echo", number)).data) * 10

    @staticmethod
    async def outside(a: int, b: int) -> int:
        await asyncio.sleep(0.01)
        return a + b


class Twins(Agent):
    """Spawns the same agents twice, and speaks to one before."""

    async def on_message(self, message: Message, context: Context) -> None:
        for _ in range(2):
            context.spawn("starter", "new")
            context.spawn("starter", 0)


class Seated(Agent):
    """Tells what sits at a seat of its context."""

    async def on_message(self, message: Message, context: Context) -> None:
        context.reply(getattr(context, message.text))


def tools_of(context: Context) -> str:
    """Sits at `context.tools`."""
    return f"tools of {context.address}"
