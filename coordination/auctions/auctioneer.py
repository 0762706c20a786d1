"""The auctioneer of a task market: drives `TaskMarket` by messages and a clock, and reports.

Rules: all decisions are the market's; this agent only carries them. Its state is plain data, so a cell that dies brings
it back from checkpoint and journal with every award as it was (`docs/journal.md`).

Measures: `tasks_open` and `reauctioned` (so far) at each tick; `lot_gap` for each lot, against the optimum of the same
bids. Results, and measures again, when all tasks have ended: `findings`, and of all lots together `value`, `optimum`,
`gap`, and the rounds, messages and bytes that the mechanisms take among bidders (`outcome.py`), the market's own calls
not counted.
"""

from dataclasses import fields
from math import isfinite
from typing import Any

from actors.agent import Agent
from actors.context import Context
from actors.errors import ConfigurationError
from actors.message import Message
from actors.rng import Rng
from actors.task import TaskState
from coordination.auctions.contract_net import Act
from coordination.auctions.fairness import gini, imbalance, jain
from coordination.auctions.lot import Settled
from coordination.auctions.scoring import Weights
from coordination.auctions.task_market import CONTEXT, EVERYBODY, Say, TaskMarket, Terms, Work, opened

MOST_TASKS = 1_000_000


class Auctioneer(Agent):
    """Sells tasks to the agents of some roles."""

    def __init__(
        self,
        *,
        tasks: int = 0,
        works: list[dict[str, Any]] | None = None,
        layers: int = 1,
        largest: int = 1,
        bidders: list[str] | None = None,
        allocation: str = "contract-net",
        bidding: float = 3.0,
        patience: float = 10.0,
        offers: int = 5,
        lot_tasks: int = 200,
        retry: float = 3.0,
        skew: float = 0.0,
        period: float = 1.0,
        check_names: bool = True,
        weights: dict[str, float] | None = None,
    ) -> None:
        if not 0 <= tasks <= MOST_TASKS or layers < 1 or largest < 1 or period <= 0:
            raise ConfigurationError(
                f"auctioneer: tasks {tasks} must be 0 to {MOST_TASKS:,}, layers {layers} and largest {largest} 1 or "
                f"more, period {period:g} above 0."
            )
        self.given = [] if works is None else list(map(work_of, works))
        """Tasks as they are: {id, size, after, deadline}; beside them, or in their place, so many random ones."""
        self.count = tasks
        self.layers = layers
        """Of random tasks: each comes after one of the layer before."""
        self.largest = largest
        """Size of random tasks: 1 to this."""
        self.bidders = ["bidder"] if bidders is None else bidders
        """The roles that are called."""
        self.period = period
        self.terms = Terms(
            allocation=allocation,
            bidding=bidding,
            patience=patience,
            offers=offers,
            lot_tasks=lot_tasks,
            retry=retry,
            skew=skew,
            check_names=check_names,
            weights=weights_of(weights or {}),
        )
        self.market: TaskMarket | None = None
        self.timer = 0
        self.proposals = 0
        self.auction = dict.fromkeys(
            ("value", "optimum", "auction_rounds", "auction_messages", "auction_bytes"), 0.0
        )
        """Of all lots; value and optimum of those that were compared."""

    async def on_start(self, context: Context) -> None:
        """Draws the tasks and opens the market."""
        self.market = opened([*self.given, *self._drawn(context.rng)], self.terms, context.now)
        if self.market.is_over:
            self._report(context)
        else:
            self.timer = context.every(self.period, "tick")
            for number in range(
                1, self.timer
            ):  # numbers grow: the clocks of lives that a crash made it forget
                context.cancel(number)

    async def on_message(self, message: Message, context: Context) -> None:
        """The clock, a proposal, or a report."""
        market, body = self.market, message.data
        assert market is not None, "the market opens when the swarm starts"
        if message.sender == context.address:
            said, settled = market.tick(context.now, context.rng)
            if settled is not None:
                self._note(settled, context)
            context.record("tasks_open", market.open_tasks)
            context.record("reauctioned", market.reauctioned)
            await self._say(said, context)
        elif not isinstance(body, dict):
            market.ignored += 1
        elif body.get("act") == Act.PROPOSE:
            self.proposals += 1
            market.propose(message.sender, body, context.now)
        elif message.task_id:
            await self._say(market.report(message.sender, message.task_id, body, context.now), context)
        elif body.get("act") != Act.REFUSE:
            market.ignored += 1
        if market.is_over and self.timer:
            context.cancel(self.timer)
            self.timer = 0
            self._report(context)

    async def _say(self, said: list[Say], context: Context) -> None:
        for say in said:
            to = [f"{role}/*" for role in self.bidders] if say.to == EVERYBODY else [say.to]
            for address in to:
                await context.send(address, say.body, context_id=CONTEXT, task_id=say.task)

    def _drawn(self, rng: Rng) -> list[Work]:
        works: list[Work] = []
        each = -(-self.count // self.layers) if self.count else 1
        for number in range(self.count):
            layer = number // each
            after = (f"t{(layer - 1) * each + rng.randrange(each)}",) if layer else ()
            works.append(Work(f"t{number}", float(rng.randrange(1, self.largest + 1)), after))
        return works

    def _note(self, settled: Settled, context: Context) -> None:
        auction = self.auction
        auction["auction_rounds"] += settled.rounds
        auction["auction_messages"] += settled.messages
        auction["auction_bytes"] += settled.bytes
        if settled.optimum:
            auction["value"] += settled.value
            auction["optimum"] += settled.optimum
            context.record("lot_gap", 1 - settled.value / settled.optimum)

    def _report(self, context: Context) -> None:
        assert self.market is not None
        auction = self.auction
        found = findings(self.market) | auction | {"proposals": self.proposals, "rounds": context.now}
        if auction["optimum"]:
            found["gap"] = 1 - auction["value"] / auction["optimum"]
        for name, value in found.items():
            context.result(name, value)
            if isinstance(value, int | float):
                context.record(name, value)


def work_of(given: dict[str, Any]) -> Work:
    """A task of an experiment file. Raises `ConfigurationError`."""
    unknown = sorted(set(given) - {"id", "size", "after", "deadline"})
    name, size, after, deadline = (given.get(key) for key in ("id", "size", "after", "deadline"))
    size, after = 1.0 if size is None else size, [] if after is None else after
    if (
        unknown
        or not isinstance(name, str)
        or not isinstance(after, list)
        or not all(isinstance(other, str) for other in after)
        or not _is_amount(size)
        or not (deadline is None or _is_amount(deadline))
    ):
        raise ConfigurationError(
            f"works: {given!r} must have an id, and may have size (0 or more), after (a list of ids) and deadline."
        )
    return Work(name, float(size), tuple(after), None if deadline is None else float(deadline))


def weights_of(given: dict[str, float]) -> Weights:
    """The weights of an experiment file; those left out are 1. Raises `ConfigurationError`."""
    known = {each.name for each in fields(Weights)}
    if not given.keys() <= known or not all(_is_amount(weight) for weight in given.values()):
        raise ConfigurationError(
            f"weights: {given!r} must be numbers of 0 or more for some of {sorted(known)}."
        )
    return Weights(**given)


def _is_amount(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and isfinite(value) and value >= 0


def findings(market: TaskMarket) -> dict[str, Any]:
    """What a market came to; shares are of tasks completed, over all bidders that ever proposed."""
    states = [task.state for task in market.tasks.values()]
    shares = [float(count) for count in market.earned.values()]
    return {
        "tasks": len(states),
        "completed": states.count(TaskState.COMPLETED),
        "failed": states.count(TaskState.FAILED),
        "canceled": states.count(TaskState.CANCELED),
        "delivered": sum(market.delivered.values()),
        "delivered_mean": sum(market.delivered.values()) / max(1, len(states)),
        "paid": sum(market.paid.values()),
        "lots": market.lots,
        "awards": market.made,
        "reauctioned": market.reauctioned,
        "ignored": market.ignored,
        "jain": jain(shares) if shares else 1.0,
        "gini": gini(shares) if shares else 0.0,
        "imbalance": imbalance(shares) if shares else 1.0,
        "reputations": {name: record.mean for name, record in sorted(market.reputations.of.items())},
        "completed_by": dict(sorted(market.earned.items())),
    }
