"""A bidder in a task market: proposes, holds what it is awarded, works, and reports.

Rules:
* What a task is worth with a bidder is a function of a seed, the bidder and the task (`gain_of`), so every run of a
  market has the same one, and a referee can know it.
* It holds an award until its lease ends, by its own clock, and then drops it. It answers an acceptance that comes again
  with what it last said, and says a report again until it is acknowledged or the lease is over.
* It never bids above what is left of its budget, nor for more tasks than it has places.

Some bidders are at fault, on purpose (`Behaviour`): they stand for what a market must survive.
"""

from enum import StrEnum
from typing import Any

import msgspec

from actors.a2a import to_json
from actors.agent import Agent
from actors.context import Context
from actors.errors import ConfigurationError
from actors.message import Message, Part
from actors.rng import stream_key, unit
from actors.task import Artifact, TaskState
from coordination.auctions.contract_net import Act
from coordination.auctions.foraging import GROWTH, response, threshold
from coordination.auctions.instance import LARGEST_GAIN
from coordination.auctions.lot import FORAGING

_AGAIN = "again"


class Behaviour(StrEnum):
    """How a bidder behaves."""

    HONEST = "honest"
    OVERBID = "overbid"
    """Bids the highest gain for everything, and fails with probability `failure`."""
    COLLUDE = "collude"
    """Its role is a ring: for each task only the member that it suits best bids."""
    FALSE_NAME = "false-name"
    """Overbids, and takes a new name after each failure."""
    LATE = "late"
    """Takes ten times as long as it says."""
    UNWILLING = "unwilling"
    """Proposes, and refuses what it is awarded."""


def gain_of(seed: int, bidder: str, task: str, highest: int) -> int:
    """What a task is worth if the bidder does it: 1 to `highest`, uniform."""
    return 1 + int(unit(stream_key(seed, "gain", bidder), task) * highest)


class Held(msgspec.Struct):
    """An award that is held."""

    epoch: int
    until: float
    price: float
    since: float


class Bidder(Agent):
    """Bids for tasks and does those that it wins."""

    def __init__(
        self,
        *,
        seed: int = 0,
        highest: int = 100,
        seats: int = 1,
        budget: float | None = None,
        speed: float = 1.0,
        wishes: int | None = None,
        behaviour: str = "honest",
        failure: float = 1.0,
        ring: int = 1,
        retry: float = 3.0,
    ) -> None:
        least = 1 if wishes is None else wishes
        if min(highest, seats, least, ring) < 1 or min(speed, retry) <= 0 or not 0 <= failure <= 1:
            raise ConfigurationError(
                f"bidder: highest {highest}, seats {seats}, wishes {wishes} and ring {ring} must be 1 or more, speed "
                f"{speed:g} and retry {retry:g} above 0, failure {failure:g} a share."
            )
        if budget is not None and not 0 <= budget <= LARGEST_GAIN:
            raise ConfigurationError(
                f"bidder: budget {budget:g} must be 0 or more. Leave it out for no limit."
            )
        if behaviour not in list(Behaviour):
            raise ConfigurationError(
                f"bidder: no behaviour {behaviour!r}. There are: {', '.join(Behaviour)}."
            )
        self.seed = seed
        self.highest = highest
        self.seats = seats
        """Tasks that it does at a time."""
        self.budget = budget
        """What it may pay in all."""
        self.speed = speed
        self.wishes = wishes
        """Tasks of a lot that it bids for at most, the best ones; None for all."""
        self.behaviour = Behaviour(behaviour)
        self.failure = failure
        self.ring = ring
        """Members of its role, if they collude."""
        self.retry = retry
        """From a report to its repetition."""
        self.names = 0
        self.spent = 0.0
        self.held: dict[str, Held] = {}
        self.last: dict[str, list[Any]] = {}
        """For each task that it was awarded: the last epoch, what it said of it, and to whom."""
        self.unheard: dict[str, float] = {}
        """Reports not acknowledged yet, and until when they are of use."""
        self.is_watching = False
        """Whether the timer for what was not heard is set."""
        self.ledger: list[list[Any]] = []
        """[task, epoch, from, to, how] of each award that it held: completed, failed, late, or taken back."""

    async def on_message(self, message: Message, context: Context) -> None:
        """A call, an award, an answer to a report, the end of work, or a question for the ledger."""
        body = message.data
        if message.sender == context.address:
            if message.text == _AGAIN:
                self._repeat(context)
            else:
                self._finish(body[0], body[1], body[2], context)
        elif message.text == "ledger":
            context.reply(self.ledger)
        elif isinstance(body, dict):
            match body.get("act"):
                case Act.CALL:
                    self._propose(message, body, context)
                case Act.ACCEPT:
                    self._take(message, body, context)
                case Act.REJECT | "acknowledge":
                    self._hear(message.task_id, body, context.now)

    def _propose(self, message: Message, body: dict[str, Any], context: Context) -> None:
        free = self.seats - len(self._current(context.now))
        offers = self._bids(body, context) if free > 0 else {}
        if not offers:
            context.reply({"act": Act.REFUSE, "lot": body["lot"]})
            return
        left = self._left()
        if left is not None:
            offers = {task: [min(bid[0], left), *bid[1:]] for task, bid in offers.items()}
        name = context.address if not self.names else f"{context.address}~{self.names}"
        proposal = {"act": Act.PROPOSE, "lot": body["lot"], "bids": offers, "seats": free, "budget": left}
        context.reply({**proposal, "name": name})

    def _bids(self, body: dict[str, Any], context: Context) -> dict[str, list[float]]:
        """[gain, price, time] for each task that it wants."""
        tasks = {str(task): (float(size), float(waited)) for task, size, waited in body["tasks"]}
        if body.get("how") == FORAGING:
            return self._foraged(tasks, context)
        boasts = self.behaviour in (Behaviour.OVERBID, Behaviour.FALSE_NAME)
        worth = {
            task: self.highest if boasts else gain_of(self.seed, context.address, task, self.highest)
            for task in tasks
        }
        if self.behaviour == Behaviour.COLLUDE:
            worth = {task: gain for task, gain in worth.items() if self._is_best(task, gain, context.address)}
        chosen = sorted(worth, key=lambda task: (-worth[task], task))[: self.wishes]
        return {task: [float(worth[task]), 0.0, tasks[task][0] / self.speed] for task in chosen}

    def _foraged(self, tasks: dict[str, tuple[float, float]], context: Context) -> dict[str, list[float]]:
        """One task that it comes across, if it responds."""
        task = context.rng.choice(list(tasks))
        size, waited = tasks[task]
        gain = float(gain_of(self.seed, context.address, task, self.highest))
        chance = response(GROWTH * (1 + waited), threshold(gain, self.highest))
        return {task: [gain, 0.0, size / self.speed]} if context.rng.random() < chance else {}

    def _is_best(self, task: str, gain: int, address: str) -> bool:
        role, _, own = address.partition("/")
        others = (
            (gain_of(self.seed, f"{role}/{number}", task, self.highest), -number)
            for number in range(self.ring)
            if str(number) != own
        )
        return all((gain, -int(own or 0)) > other for other in others)

    def _take(self, message: Message, body: dict[str, Any], context: Context) -> None:
        task, epoch, until = message.task_id, body["epoch"], body["until"]
        known = self.last.get(task)
        if known is not None and epoch <= known[0]:
            if epoch == known[0]:
                context.reply(known[1])  # it came twice, or our answer was lost
            return
        current = self._current(context.now)
        price = float(body["price"])
        left = self._left()
        is_broke = left is not None and price > left + 1e-9
        if (
            context.now >= until
            or len(current) >= self.seats
            or is_broke
            or self.behaviour == Behaviour.UNWILLING
        ):
            self._say(message, {"act": Act.REFUSE, "epoch": epoch}, context)
            self._watch(task, until, context)
            return
        self.held[task] = Held(epoch, until, price, context.now)
        confirmation = {"act": Act.INFORM, "state": TaskState.WORKING, "epoch": epoch}
        self._say(message, confirmation, context)
        size = float(body["task"]["metadata"]["size"])
        duration = size / self.speed * (10.0 if self.behaviour == Behaviour.LATE else 1.0)
        context.after(max(duration, 1e-9), [task, epoch, message.sender])

    def _finish(self, task: str, epoch: int, market: str, context: Context) -> None:
        """The work is done, or has failed. If the lease is over it was in vain."""
        held = self._current(context.now).get(task)
        if held is None or held.epoch != epoch:
            return
        boasts = self.behaviour in (Behaviour.OVERBID, Behaviour.FALSE_NAME)
        if boasts and context.rng.random() < self.failure:
            self.names += self.behaviour == Behaviour.FALSE_NAME
            report: dict[str, Any] = {"act": Act.FAILURE, "epoch": epoch}
            how = "failed"
        else:
            gain = gain_of(self.seed, context.address, task, self.highest)
            artifact = Artifact("result", (Part("data", {"gain": gain}),))
            report = {
                "act": Act.INFORM,
                "state": TaskState.COMPLETED,
                "epoch": epoch,
                "artifact": to_json(artifact),
            }
            how = "completed"
            self.spent += held.price
        self._let_go(task, context.now, how)
        self.last[task] = [epoch, report, market]
        self._watch(task, held.until, context)
        context.send(market, report, context_id="market", task_id=task)

    def _say(self, message: Message, body: dict[str, Any], context: Context) -> None:
        """Answers an award. What was still to be heard about an earlier one is of no use any more."""
        self.unheard.pop(message.task_id, None)
        self.last[message.task_id] = [body["epoch"], body, message.sender]
        context.reply(body)

    def _let_go(self, task: str, end: float, how: str) -> None:
        held = self.held.pop(task)
        self.ledger.append([task, held.epoch, held.since, end, how])

    def _watch(self, task: str, until: float, context: Context) -> None:
        """Says it again until it is heard, or the lease is over."""
        if not self.is_watching:
            context.after(self.retry, _AGAIN)
            self.is_watching = True
        self.unheard[task] = until

    def _repeat(self, context: Context) -> None:
        self.unheard = {task: until for task, until in self.unheard.items() if context.now < until}
        for task in self.unheard:
            _, body, market = self.last[task]
            context.send(market, body, context_id="market", task_id=task)
        self.is_watching = bool(self.unheard)
        if self.is_watching:
            context.after(self.retry, _AGAIN)

    def _hear(self, task: str, body: dict[str, Any], now: float) -> None:
        """The market has heard a report, or takes an award back."""
        known = self.last.get(task)
        if known is not None and known[0] == body.get("epoch"):
            self.unheard.pop(task, None)
            held = self._current(now).get(task)
            if body["act"] == Act.REJECT and held is not None and held.epoch == known[0]:
                self._let_go(task, now, "taken back")

    def _current(self, now: float) -> dict[str, Held]:
        """What it holds now; what it held too long it lets go."""
        for task in [task for task, held in self.held.items() if now >= held.until]:
            self._let_go(task, self.held[task].until, "late")
        return self.held

    def _left(self) -> float | None:
        """What it can still pay."""
        if self.budget is None:
            return None
        return max(0.0, self.budget - self.spent - sum(held.price for held in self.held.values()))
