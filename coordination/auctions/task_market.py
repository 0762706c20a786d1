"""A market for tasks: what an auctioneer does, as a state machine.

Tasks are A2A tasks. Those whose dependencies are completed are called in a lot; bidders propose until the lot closes;
a mechanism awards; an award is a lease: the task is the winner's until `until`, and nobody else's. The acts are the
contract net's (`contract_net.py`).

Rules:
* No task is awarded twice: a new award of a task is made only when the old one has ended, by the winner's own word
  (refusal, failure) or because its lease is over, when the winner has let go too. Each award of a task has a number,
  the epoch; a report counts only from the holder, with the epoch of the award, before the lease ends. So a task is
  completed once, whatever is lost, repeated, late or out of order. Clocks may differ by `skew` at most.
* An award that is not confirmed, and a report that is not acknowledged, are said again.
* A winner that fails or is late costs the task an offer, and itself reputation; one that refuses, an offer. A lot that
  comes to nothing, with no work under way, costs all its tasks one. After `offers` of them a task has failed. So
  has one whose deadline has passed, and what depends on a failed task is canceled.
* Events in, things to say out; time is handed in. All state is plain data, so a journal or a checkpoint holds it.
  A market whose memory is lost all the same waits, when it opens again, until every old lease is over.

Source: Smith (1980) for the protocol; Gray and Cheriton, "Leases" (SOSP 1989) for awards that end by themselves.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from graphlib import CycleError, TopologicalSorter
from math import isfinite
from random import Random
from typing import Any

from actors.a2a import from_json, to_json
from actors.errors import ConfigurationError, InvalidContent
from actors.message import Message, Part
from actors.task import Artifact, Task, TaskState
from coordination.auctions.contract_net import Act
from coordination.auctions.lot import ALLOCATIONS, Lot, Settled, proposal_of
from coordination.auctions.mechanism import named
from coordination.auctions.scoring import Reputations, Weights

CONTEXT = "market"
_EPOCHS = 1_000_000
"""Awards of a task in a unit of time are fewer, so that later markets have higher epochs."""
EVERYBODY = "*"
"""A call goes to all bidders."""


@dataclass(frozen=True)
class Work:
    """What is to be done."""

    id: str
    size: float = 1.0
    """Time that it takes a bidder of speed 1."""
    after: tuple[str, ...] = ()
    """What must be completed before it is called."""
    deadline: float | None = None
    """When it has failed if it is not completed."""


@dataclass(frozen=True)
class Say:
    """A message of the auctioneer."""

    to: str
    """An address, or `EVERYBODY`."""
    body: dict[str, Any]
    task: str = ""


@dataclass
class Award:
    """A lease of a task."""

    bidder: str
    name: str
    epoch: int
    price: float
    promised: float
    """The gain, as it was bid: what the outcome is held against."""
    until: float
    again: float
    """When the acceptance is said again."""
    confirmed: bool = False


@dataclass(frozen=True)
class Terms:
    """How a market is run; times are in any one unit."""

    allocation: str = "contract-net"
    bidding: float = 3.0
    """From a call to the close of its lot."""
    patience: float = 10.0
    """From an award to its end, beside the size of the task."""
    offers: int = 5
    """Awards, or calls without a bid, that a task may have."""
    lot_tasks: int = 200
    """Tasks in a lot at most."""
    retry: float = 3.0
    """From an acceptance to its repetition, if it is not confirmed; as long as an answer takes, or longer."""
    skew: float = 0.0
    """By which clocks may differ."""
    check_names: bool = True
    """Whether a bidder's name is its address, or whatever it says."""
    weights: Weights = field(default_factory=Weights)

    def __post_init__(self) -> None:
        object.__setattr__(
            self, "allocation", named(self.allocation, dict.fromkeys(ALLOCATIONS), "allocation")
        )
        if (
            min(self.bidding, self.patience, self.retry) <= 0
            or self.skew < 0
            or min(self.offers, self.lot_tasks) < 1
        ):
            raise ConfigurationError(
                f"market: bidding {self.bidding:g}, patience {self.patience:g} and retry {self.retry:g} must be "
                f"above 0, skew {self.skew:g} at least 0, offers {self.offers} and lot_tasks {self.lot_tasks} at "
                f"least 1."
            )


@dataclass
class TaskMarket:
    """One market; `opened` makes it. Every method that takes `now` returns what is to be said."""

    terms: Terms
    works: dict[str, Work]
    tasks: dict[str, Task]
    waiting: dict[str, None]
    """Tasks neither awarded nor ended, those that have waited longest first."""
    epochs: dict[str, int]
    """The number of each task's last award."""
    offered: dict[str, int]
    """Awards made of each task, and calls in vain."""
    followers: dict[str, list[str]]
    """Of each task those that come after it."""
    open_tasks: int
    """Tasks that have not ended."""
    opens: float = 0.0
    """Nothing is called before."""
    since: dict[str, float] = field(default_factory=dict)
    """When each task was first called."""
    awards: dict[str, Award] = field(default_factory=dict)
    lot: Lot | None = None
    lots: int = 0
    closes: float = 0.0
    reputations: Reputations = field(default_factory=Reputations)
    delivered: dict[str, float] = field(default_factory=dict)
    """The gain that each completed task turned out to have."""
    earned: dict[str, int] = field(default_factory=dict)
    """Tasks completed by each bidder that ever proposed: shares are fair or not among all who asked for one."""
    paid: dict[str, float] = field(default_factory=dict)
    made: int = 0
    """Awards."""
    reauctioned: int = 0
    ignored: int = 0
    """Messages that came late, twice, out of place or out of shape."""

    @property
    def is_over(self) -> bool:
        """True if every task has ended."""
        return self.open_tasks == 0

    def tick(self, now: float, rng: Random) -> tuple[list[Say], Settled | None]:
        """Time has passed. Also returns what became of a lot that was closed."""
        said = self._expire(now)
        settled = None
        if self.lot is not None and now >= self.closes:
            settled = self.lot.settle(self.terms.allocation, self.reputations, self.terms.weights, rng)
            self._award(self.lot, settled, now)
            self.lot = None
        for task, award in self.awards.items():
            if not award.confirmed and now >= award.again:
                award.again = now + self.terms.retry
                said.append(self._acceptance(task))
        if self.lot is None and now >= self.opens:
            said += self._call(now)
        return said, settled

    def propose(self, bidder: str, body: Any, now: float) -> None:
        """A bidder's proposal."""
        lot = self.lot
        if lot is None or not isinstance(body, dict) or body.get("lot") != self.lots or now > self.closes:
            self.ignored += 1
            return
        proposal = proposal_of(bidder, body, dict.fromkeys(lot.tasks))
        if proposal is None or (self.terms.check_names and proposal.name != bidder) or not lot.take(proposal):
            self.ignored += 1
        else:
            self.earned.setdefault(bidder, 0)

    def report(self, bidder: str, task: str, body: dict[str, Any], now: float) -> list[Say]:
        """The holder of an award says what became of it."""
        epoch, act = body.get("epoch"), body.get("act")
        award = self.awards.get(task)
        heard = Say(bidder, {"act": "acknowledge", "epoch": epoch}, task)
        if award is None or award.bidder != bidder or award.epoch != epoch or now >= award.until:
            self.ignored += 1
            return [heard]  # so that it stops saying so
        if act == Act.INFORM and body.get("state") == TaskState.WORKING:
            award.confirmed = True
            if self.tasks[task].state == TaskState.SUBMITTED:
                self.tasks[task] = self.tasks[task].advanced(TaskState.WORKING)
            return []
        if act == Act.INFORM:
            self._complete(task, award, body)
        elif act in (Act.FAILURE, Act.REFUSE):
            # To refuse is no fault: another award came first.
            self._lose(task, award, blame=act == Act.FAILURE)
        else:
            self.ignored += 1
            return []
        return [heard]

    def _complete(self, task: str, award: Award, body: dict[str, Any]) -> None:
        try:
            artifact = from_json(Artifact, body.get("artifact"))
            gain = float(artifact.parts[0].value["gain"])
        except (InvalidContent, IndexError, KeyError, TypeError, ValueError, OverflowError):
            self.ignored += 1
            return
        if not (isfinite(gain) and gain >= 0):
            self.ignored += 1
            return
        del self.awards[task]
        self.tasks[task] = self.tasks[task].with_artifact(artifact).advanced(TaskState.COMPLETED)
        self.open_tasks -= 1
        self.delivered[task] = gain
        self.earned[award.bidder] += 1
        self.paid[award.bidder] = self.paid.get(award.bidder, 0.0) + award.price
        self.reputations.update(award.name, min(1.0, gain / award.promised) if award.promised > 0 else 1.0)

    def _lose(self, task: str, award: Award, *, blame: bool) -> None:
        """The award ends without a result; the task is called again, or has failed."""
        del self.awards[task]
        self.reauctioned += 1
        if blame:
            self.reputations.update(award.name, 0.0)
        self._offer_again(task, f"{self.offered[task]} awards or calls in vain")

    def _offer_again(self, task: str, reason: str) -> None:
        if self.offered[task] >= self.terms.offers:
            self._end(task, TaskState.FAILED, reason)
        else:
            self.waiting[task] = None

    def _end(self, task: str, state: TaskState, reason: str) -> None:
        """The task ends without a result, and so do those that come after it, near or far."""
        ending = [(task, state, reason)]
        while ending:
            name, how, why = ending.pop()
            if self.tasks[name].state.is_terminal:
                continue
            self.waiting.pop(name, None)
            said = Message(CONTEXT, CONTEXT, 0, (Part("text", why),), task_id=name, context_id=CONTEXT)
            self.tasks[name] = self.tasks[name].advanced(how, said)
            self.open_tasks -= 1
            ending += [
                (after, TaskState.CANCELED, f"{name} did not get done") for after in self.followers[name]
            ]

    def _expire(self, now: float) -> list[Say]:
        """Leases that are over, and deadlines that have passed."""
        said: list[Say] = []
        for task in [task for task, award in self.awards.items() if now >= award.until + self.terms.skew]:
            award = self.awards[task]
            said.append(Say(award.bidder, {"act": Act.REJECT, "epoch": award.epoch}, task))
            self._lose(task, award, blame=True)
        for task in list(self.waiting):
            deadline = self.works[task].deadline
            if deadline is not None and now >= deadline and not self.tasks[task].state.is_terminal:
                self._end(task, TaskState.FAILED, f"not completed by its deadline, {deadline:g}")
        return said

    def _call(self, now: float) -> list[Say]:
        """Opens a lot of the tasks that can be begun."""
        ready = [
            task
            for task in self.waiting
            if all(self.tasks[other].state == TaskState.COMPLETED for other in self.works[task].after)
        ][: self.terms.lot_tasks]
        if not ready:
            return []
        self.lot, self.closes = Lot(tuple(ready)), now + self.terms.bidding
        self.lots += 1
        for task in ready:
            self.since.setdefault(task, now)
        tasks = [[task, self.works[task].size, now - self.since[task]] for task in ready]
        body = {"act": Act.CALL, "lot": self.lots, "tasks": tasks, "how": self.terms.allocation}
        return [Say(EVERYBODY, body)]

    def _award(self, lot: Lot, settled: Settled, now: float) -> None:
        for winner in settled.winners:
            task = winner.task
            if task not in self.waiting:
                continue  # its deadline passed while it was on offer
            del self.waiting[task]
            self.offered[task] += 1
            self.epochs[task] += 1
            self.made += 1
            until = now + self.terms.patience + self.works[task].size
            deadline = self.works[task].deadline
            if deadline is not None:
                until = min(until, deadline)
            self.awards[task] = Award(
                winner.bidder, winner.name, self.epochs[task], winner.price, winner.gain, until, again=now
            )
        # With work under way bidders may just be busy; it will end, and so does this.
        is_in_vain = not self.awards
        for task in lot.tasks:
            if task in self.waiting:
                del self.waiting[task]  # in the next lot it stands behind those that were not called yet
                self.offered[task] += is_in_vain
                self._offer_again(task, "nobody proposed")

    def _acceptance(self, task: str) -> Say:
        award = self.awards[task]
        body = {
            "act": Act.ACCEPT,
            "task": to_json(self.tasks[task]),
            "epoch": award.epoch,
            "until": award.until,
            "price": award.price,
        }
        return Say(award.bidder, body, task)


def opened(works: Iterable[Work], terms: Terms, now: float = 0.0) -> TaskMarket:
    """A market of these tasks.

    Raises `ConfigurationError` if two have one name, or if they wait for one another or for what is not there.

    One that opens later than at 0 may follow another that died and was forgotten: it waits until all leases that the
    other can have given are over, and its epochs are above the other's.
    """
    known: dict[str, Work] = {}
    for work in works:
        if work.id in known:
            raise ConfigurationError(f"tasks: there are two of the name {work.id}. Rename one.")
        known[work.id] = work
    longest = max((work.size for work in known.values()), default=0.0)
    market = TaskMarket(
        terms,
        known,
        {name: Task(name, CONTEXT, metadata={"size": work.size}) for name, work in known.items()},
        waiting=dict.fromkeys(known),
        epochs=dict.fromkeys(known, int(now * _EPOCHS)),
        offered=dict.fromkeys(known, 0),
        followers=_followers(known),
        open_tasks=len(known),
    )
    if now > 0:
        market.opens = now + terms.patience + longest + terms.skew
    return market


def _followers(works: dict[str, Work]) -> dict[str, list[str]]:
    """Of each task those that come after it.

    Raises `ConfigurationError` for a dependency that is not there, or a circle of them.
    """
    followers: dict[str, list[str]] = {name: [] for name in works}
    for work in works.values():
        for name in dict.fromkeys(work.after):
            if name not in works:
                raise ConfigurationError(f"task {work.id}: comes after {name}, which is no task.")
            followers[name].append(work.id)
    try:
        TopologicalSorter({name: work.after for name, work in works.items()}).prepare()
    except CycleError as error:
        circle = ", ".join(error.args[1][1:6])
        raise ConfigurationError(f"tasks: {circle} wait for one another. Break the circle.") from error
    return followers
