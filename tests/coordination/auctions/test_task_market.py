"""The market's state machine, event by event, and under every order of events that a random world makes."""

from random import Random
from typing import Any

import pytest

from actors import ConfigurationError, TaskState
from actors.a2a import to_json
from actors.message import Part
from actors.task import Artifact
from coordination.auctions.auctioneer import findings
from coordination.auctions.contract_net import Act
from coordination.auctions.task_market import Say, TaskMarket, Terms, Work, opened

DONE = to_json(Artifact("result", (Part("data", {"gain": 7}),)))


def market(*works: Work, **terms: Any) -> TaskMarket:
    return opened(works or [Work("a")], Terms(**{"bidding": 2.0, "patience": 5.0, **terms}))


def tick(of: TaskMarket, now: float) -> list[Say]:
    return of.tick(now, Random(0))[0]


def bid(of: TaskMarket, bidder: str, now: float, **gains: float) -> None:
    bids = {task: [gain, 0, 1] for task, gain in gains.items()}
    of.propose(bidder, {"lot": of.lots, "bids": bids, "seats": 9, "budget": None, "name": bidder}, now)


def completed(of: TaskMarket, bidder: str, task: str, now: float, epoch: int | None = None) -> list[Say]:
    body = {"act": Act.INFORM, "state": TaskState.COMPLETED, "artifact": DONE}
    return of.report(bidder, task, {**body, "epoch": of.epochs[task] if epoch is None else epoch}, now)


def test_a_task_is_called_awarded_confirmed_and_completed() -> None:
    of = market()
    (call,) = tick(of, 0)
    assert call.to == "*"
    assert call.body["tasks"] == [["a", 1.0, 0.0]]
    bid(of, "x", 1, a=3)
    bid(of, "y", 1, a=4)
    (accepted,) = tick(of, 2)
    assert (accepted.to, accepted.task, accepted.body["epoch"], accepted.body["until"]) == ("y", "a", 1, 8.0)
    assert of.tasks["a"].state == TaskState.SUBMITTED
    assert tick(of, 3) == []
    assert [say.to for say in tick(of, 5)] == ["y"]  # until it is confirmed
    of.report("y", "a", {"act": Act.INFORM, "state": TaskState.WORKING, "epoch": 1}, 6)
    assert of.tasks["a"].state == TaskState.WORKING
    assert tick(of, 6) == tick(of, 7) == []
    (heard,) = completed(of, "y", "a", 7)
    assert heard.body["act"] == "acknowledge"
    assert of.tasks["a"].state == TaskState.COMPLETED
    assert of.delivered == {"a": 7.0}
    assert of.is_over
    assert of.reputations.mean("y") > 0.5


@pytest.mark.parametrize("act", [Act.REFUSE, Act.FAILURE])
def test_a_winner_that_gives_up_makes_room_for_the_next(act: Act) -> None:
    of = market()
    tick(of, 0)
    bid(of, "x", 1, a=3)
    tick(of, 2)
    of.report("x", "a", {"act": act, "epoch": 1}, 3)
    assert of.reauctioned == 1
    assert (of.reputations.mean("x") < 0.5) == (act == Act.FAILURE)
    assert tick(of, 4)[0].body["act"] == Act.CALL
    bid(of, "y", 5, a=3)
    assert tick(of, 6)[0].body["epoch"] == 2


def test_a_silent_winner_keeps_its_award_until_the_lease_is_over_and_no_longer() -> None:
    of = market(skew=1.0)
    tick(of, 0)
    bid(of, "x", 1, a=3)
    tick(of, 2)
    assert of.awards["a"].until == 8.0
    tick(of, 8)
    assert completed(of, "x", "a", 8.5) != []
    assert not of.tasks["a"].state.is_terminal  # too late: the lease is over
    assert "a" in of.awards  # and nobody else has it yet: a clock may be late
    rejected, call = tick(of, 9)
    assert (rejected.to, rejected.body["act"], call.body["act"]) == ("x", Act.REJECT, Act.CALL)
    assert of.reputations.mean("x") < 0.5


def test_only_the_holder_of_the_present_epoch_is_believed() -> None:
    of = market()
    tick(of, 0)
    bid(of, "x", 1, a=3)
    tick(of, 2)
    of.report("x", "a", {"act": Act.FAILURE, "epoch": 1}, 3)
    tick(of, 4)
    bid(of, "x", 5, a=3)
    tick(of, 6)
    before = of.ignored
    completed(of, "x", "a", 7, epoch=1)
    completed(of, "y", "a", 7, epoch=2)
    of.report("x", "a", {"act": Act.FAILURE, "epoch": 1}, 7)
    assert of.ignored == before + 3
    assert "a" in of.awards
    completed(of, "x", "a", 7)
    completed(of, "x", "a", 7)
    assert of.earned == {"x": 1}


def test_what_comes_after_waits_and_is_canceled_with_what_it_waits_for() -> None:
    works = Work("a"), Work("b", after=("a",)), Work("c", after=("b",)), Work("d")
    of = market(*works, offers=1)
    assert [task[0] for task in tick(of, 0)[0].body["tasks"]] == ["a", "d"]
    bid(of, "x", 1, a=1, d=1)
    tick(of, 2)
    of.report("x", "a", {"act": Act.FAILURE, "epoch": 1}, 3)
    completed(of, "x", "d", 3)
    assert [of.tasks[name].state for name in "abcd"] == [
        TaskState.FAILED,
        TaskState.CANCELED,
        TaskState.CANCELED,
        TaskState.COMPLETED,
    ]
    assert of.is_over


def test_a_deadline_ends_a_task_and_a_lease() -> None:
    of = market(Work("a", deadline=4.0), Work("b", deadline=1.0))
    tick(of, 0)
    bid(of, "x", 1, a=1)
    tick(of, 2)
    assert of.tasks["b"].state == TaskState.FAILED
    assert of.awards["a"].until == 4.0
    tick(of, 4)
    assert of.tasks["a"].state == TaskState.FAILED


def test_a_task_that_nobody_wants_fails_after_its_offers() -> None:
    of = market(offers=2)
    for now in range(10):
        tick(of, now)
    assert of.tasks["a"].state == TaskState.FAILED
    assert of.tasks["a"].status.message is not None
    assert of.tasks["a"].status.message.text == "nobody proposed"
    assert of.lots == 2


@pytest.mark.parametrize("broken", [None, {"lot": 1}, {"lot": 9, "bids": {}, "seats": 1}])
def test_broken_and_late_proposals_are_counted_and_ignored(broken: Any) -> None:
    of = market()
    tick(of, 0)
    of.propose("x", broken, 1)
    bid(of, "y", 5, a=1)
    assert of.ignored == 2


def test_a_name_that_is_not_ones_address_is_taken_only_where_names_are_not_checked() -> None:
    for check in (True, False):
        of = market(check_names=check)
        tick(of, 0)
        of.propose("x", {"lot": 1, "bids": {"a": [1, 0, 1]}, "seats": 1, "name": "other"}, 1)
        assert of.ignored == check


@pytest.mark.parametrize("gain", [None, "much", float("inf"), -1.0])
def test_a_broken_artifact_completes_nothing(gain: Any) -> None:
    of = market()
    tick(of, 0)
    bid(of, "x", 1, a=1)
    tick(of, 2)
    artifact = {**DONE, "parts": [{"data": {"gain": gain}}]} if gain is not None else {}
    of.report(
        "x", "a", {"act": Act.INFORM, "state": TaskState.COMPLETED, "artifact": artifact, "epoch": 1}, 3
    )
    assert not of.tasks["a"].state.is_terminal
    assert of.ignored == 1


def test_a_task_waits_while_bidders_are_busy() -> None:
    of = market(Work("a", size=50.0), Work("b"), offers=2)
    tick(of, 0)
    bid(of, "x", 1, a=1)
    for now in range(2, 40):
        tick(of, now)
    assert of.lots > 5
    assert of.offered["b"] == 0
    completed(of, "x", "a", 40)
    for now in range(40, 60):
        tick(of, now)
    assert of.tasks["b"].state == TaskState.FAILED  # nobody is busy, and nobody wants it


def test_an_outcome_is_held_against_the_bid_and_not_against_what_the_bidder_says_of_it() -> None:
    of = market()
    tick(of, 0)
    bid(of, "x", 1, a=70)
    tick(of, 2)
    modest = to_json(Artifact("result", (Part("data", {"gain": 7}),), metadata={"promised": 7}))
    done = {"act": Act.INFORM, "state": TaskState.COMPLETED, "artifact": modest, "epoch": 1}
    of.report("x", "a", done, 3)
    assert of.delivered == {"a": 7.0}
    assert of.reputations.mean("x") == pytest.approx((0.1 + 1) / 3)


def test_shares_are_those_of_all_who_asked_for_one() -> None:
    of = market()
    tick(of, 0)
    for bidder in ("x", "y", "z"):
        bid(of, bidder, 1, a=9 if bidder == "x" else 1)
    tick(of, 2)
    completed(of, "x", "a", 3)
    told = findings(of)
    assert told["completed_by"] == {"x": 1, "y": 0, "z": 0}
    assert told["jain"] == pytest.approx(1 / 3)
    assert told["gini"] == pytest.approx(2 / 3)
    assert told["imbalance"] == 3


def test_a_long_chain_of_tasks_is_opened_and_canceled() -> None:
    length = 5_000
    chain = [Work("t0"), *(Work(f"t{number}", after=(f"t{number - 1}",)) for number in range(1, length))]
    of = market(*chain, offers=1)
    for now in range(4):
        tick(of, now)
    states = [task.state for task in of.tasks.values()]
    assert states == [TaskState.FAILED] + [TaskState.CANCELED] * (length - 1)
    assert of.is_over


def test_the_awards_of_a_market_that_follows_one_forgotten_are_later_ones() -> None:
    first = market()
    tick(first, 0)
    bid(first, "x", 1, a=1)
    (before,) = tick(first, 2)
    second = opened([Work("a")], first.terms, now=3.0)
    assert tick(second, before.body["until"] - 0.5) == []
    assert tick(second, 9.0)[0].body["act"] == Act.CALL
    bid(second, "x", 10, a=1)
    (after,) = tick(second, 11)
    assert after.body["epoch"] > before.body["epoch"]  # so a bidder that remembers takes it for a new one


def test_two_tasks_of_one_name_are_refused() -> None:
    with pytest.raises(ConfigurationError, match="two of the name a"):
        market(Work("a"), Work("b"), Work("a", size=3))


def test_circles_and_unknown_tasks_are_refused() -> None:
    with pytest.raises(ConfigurationError, match="wait for one another"):
        market(Work("a", after=("b",)), Work("b", after=("a",)))
    with pytest.raises(ConfigurationError, match="comes after z"):
        market(Work("a", after=("z",)))
    with pytest.raises(ConfigurationError, match=r"there is no 'vikrey'"):
        market(allocation="vikrey")


class World:
    """Bidders that hold what they are given until its time, and a network that loses, repeats and delays."""

    def __init__(self, seed: int) -> None:
        self.rng = Random(seed)
        self.holds: dict[tuple[str, str], tuple[int, float]] = {}
        """By bidder and task: epoch, until."""
        self.epochs: dict[tuple[str, str], int] = {}
        self.network: list[tuple[float, Say]] = []
        self.completed: list[tuple[str, int]] = []

    def send(self, said: list[Say], now: float) -> None:
        for say in said:
            for _ in range(self.rng.choice([0, 1, 1, 2])):
                self.network.append((now + self.rng.choice([0, 1, 1, 4, 9]), say))

    def step(self, of: TaskMarket, now: float) -> None:
        due = [say for at, say in self.network if at <= now]
        self.network = [(at, say) for at, say in self.network if at > now]
        self.rng.shuffle(due)
        for say in due:
            if say.body.get("act") == Act.CALL:
                for bidder in ("x", "y", "z"):
                    if self.rng.random() < 0.8:
                        gains = {task[0]: float(self.rng.randrange(1, 9)) for task in say.body["tasks"]}
                        bid(of, bidder, now, **gains)
            elif say.body.get("act") == Act.ACCEPT:
                key = say.to, say.task
                epoch, until = say.body["epoch"], say.body["until"]
                if now < until and epoch > self.epochs.get(key, 0):
                    self.holds[key], self.epochs[key] = (epoch, until), epoch
        for key in [key for key, (_, until) in self.holds.items() if now >= until]:
            del self.holds[key]
        for bidder, task in list(self.holds):
            if self.rng.random() < 0.3:
                epoch, _ = self.holds.pop((bidder, task))
                if self.rng.random() < 0.5:
                    self.send(of.report(bidder, task, {"act": Act.FAILURE, "epoch": epoch}, now), now)
                else:
                    completed(of, bidder, task, now, epoch)


@pytest.mark.parametrize("seed", range(150))
def test_no_two_hold_a_task_at_once_in_any_world(seed: int) -> None:
    of = market(*(Work(f"t{number}") for number in range(5)), offers=8, allocation="sequential")
    world = World(seed)
    for now in range(120):
        world.send(tick(of, now), now)
        world.step(of, now)
        holders = [task for _, task in world.holds]
        assert len(set(holders)) == len(holders), f"seed {seed}, time {now}: {world.holds}"
        if of.is_over:
            break
    assert of.is_over, f"seed {seed}"


class Hasty(TaskMarket):
    """Awards a task again before its lease is over: the mutant that the test above must catch."""

    def _expire(self, now: float) -> list[Say]:
        return super()._expire(now + 3)


def test_an_award_made_too_early_is_caught() -> None:
    caught = 0
    for seed in range(30):
        of = market(*(Work(f"t{number}") for number in range(5)), offers=8, allocation="sequential")
        of.__class__ = Hasty
        world = World(seed)
        for now in range(120):
            world.send(tick(of, now), now)
            world.step(of, now)
            holders = [task for _, task in world.holds]
            caught += len(set(holders)) < len(holders)
    assert caught > 0
