"""Response thresholds: tasks shared out without a market, as insects do.

Bonabeau, Theraulaz and Deneubourg, "Quantitative study of the fixed threshold model for the regulation of division of
labour in insect societies", Proc. R. Soc. B 263 (1996). A task that waits gives off a stimulus s that grows; a worker
with threshold t takes it up with probability s^2 / (s^2 + t^2). Who suits a task well has a low threshold for it.

Rules: the threshold for a task is the highest gain of all less one's own for it, over the highest, plus a little; s is
0.1 for each round that the task has waited. A worker looks at one open task a round, drawn at random, and never speaks
to another. If several take up a task in the same round, one of them, drawn at random, has it.

Guarantee: none; every task that fits somebody is taken in the end, with probability 1. Cost: no bids; a message for
each attempt and an answer to it. It is the baseline that a market must beat.
"""

from random import Random

from actors.errors import SwarmError
from coordination.auctions.instance import Instance, Room
from coordination.auctions.outcome import Outcome, Traffic, settled

GROWTH = 0.1
"""Of a stimulus, a round."""
LEAST = 0.05
"""Threshold of the worker that suits a task best of all."""
MOST_ROUNDS = 100_000


def response(stimulus: float, threshold: float) -> float:
    """The probability to take a task up."""
    return stimulus**2 / (stimulus**2 + threshold**2)


def threshold(gain: float, highest: float) -> float:
    """Of a worker for a task: low where it gains much."""
    return LEAST + (1.0 - gain / highest if highest else 1.0)


def foraging(instance: Instance, rng: Random) -> Outcome:
    """The awards that come about."""
    room, traffic = Room(instance), Traffic()
    awards: dict[int, int] = {}
    highest = float(instance.gains.max())
    while True:
        waiting = [task for task in range(instance.tasks) if task not in awards]
        able = {task: room.bidders_for(task) for task in waiting}
        looking = [b for b in range(instance.bidders) if any(able[task][b] for task in waiting)]
        if not looking:
            return settled(instance, awards, traffic)
        traffic.rounds += 1
        stimulus = GROWTH * traffic.rounds
        taken: dict[int, list[int]] = {}
        for bidder in looking:
            task = rng.choice(waiting)
            chance = response(stimulus, threshold(float(instance.gains[bidder, task]), highest))
            if able[task][bidder] and rng.random() < chance:
                taken.setdefault(task, []).append(bidder)
        for task in sorted(taken):
            awards[task] = rng.choice(taken[task])
            room.take(awards[task], task)
            traffic.say(2 * len(taken[task]))
        if traffic.rounds > MOST_ROUNDS:
            raise SwarmError(f"foraging: tasks are left after {MOST_ROUNDS:,} rounds: {waiting[:5]}.")
