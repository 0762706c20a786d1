"""The best that could be: what every auction is measured against.

| problem | solver | exact |
|---|---|---|
| linear assignment | the Hungarian method, after Jonker and Volgenant (1987), of scipy | always |
| unit loads | the same, a copy of the bidder for each task that it can carry | always |
| generalised assignment | CP-SAT | if it ends within its limit |
| makespan on unrelated machines | CP-SAT | if it ends within its limit |

Rules: CP-SAT runs with one worker, a fixed seed and a limit of deterministic time, so it gives the same answer on any
machine. Where the limit ends it, `bound` is what it proved, `is_exact` is False, and gaps are from the bound.
"""

from dataclasses import dataclass

import numpy as np
from ortools.sat.python import cp_model
from scipy.optimize import linear_sum_assignment

from actors.errors import SwarmError
from coordination.auctions.instance import Instance, Matrix


class Unsolved(SwarmError):
    """A solver reached its limit with nothing found. A higher limit may find something."""

    reason = "unsolved"


LIMIT = 60.0
"""Deterministic seconds of CP-SAT: roughly seconds of one core."""
_SCALE = 10**6
"""CP-SAT counts in integers: gains that are not are rounded to millionths."""


@dataclass(frozen=True)
class Optimum:
    """The best awards that were found, and what is proved about them."""

    awards: dict[int, int]
    value: float
    """In the terms of the instance."""
    bound: float
    """No awards are better than this; equal to `value` if it is exact."""
    is_exact: bool


def optimum(instance: Instance, limit: float = LIMIT) -> Optimum:
    """The awards with the greatest total gain."""
    if instance.is_matching:
        return _exact(instance, matching(instance.gains))
    assert instance.loads is not None
    assert instance.capacities is not None
    if (instance.loads == 1).all():
        return _exact(instance, _seated(instance.gains, instance.capacities))
    return _packed(instance, instance.loads, instance.capacities, limit)


def matching(gains: Matrix) -> dict[int, int]:
    """The bidder of each task in the assignment of greatest gain; as many tasks as there are bidders, at most."""
    bidders, tasks = linear_sum_assignment(gains, maximize=True)
    return dict(zip(tasks.tolist(), bidders.tolist(), strict=True))


def _exact(instance: Instance, awards: dict[int, int]) -> Optimum:
    value = instance.told(awards)
    return Optimum(awards, value, value, is_exact=True)


def _seated(gains: Matrix, capacities: Matrix) -> dict[int, int]:
    seats = np.repeat(np.arange(len(gains)), np.minimum(capacities.astype(np.int64), gains.shape[1]))
    return {task: int(seats[seat]) for task, seat in matching(gains[seats]).items()}


def _packed(instance: Instance, loads: Matrix, capacities: Matrix, limit: float) -> Optimum:
    gains = instance.gains
    scale = 1 if all(part.dtype.kind in "iu" for part in (gains, loads, capacities)) else _SCALE
    model = cp_model.CpModel()
    taken = {
        (bidder, task): model.new_bool_var(f"{bidder},{task}")
        for bidder in range(instance.bidders)
        for task in range(instance.tasks)
        if loads[bidder, task] <= capacities[bidder]
    }
    for task in range(instance.tasks):
        model.add_at_most_one(taken[pair] for pair in taken if pair[1] == task)
    for bidder in range(instance.bidders):
        own = [pair for pair in taken if pair[0] == bidder]
        weights = [int(np.ceil(loads[pair] * scale)) for pair in own]
        model.add(
            cp_model.LinearExpr.weighted_sum([taken[pair] for pair in own], weights)
            <= int(capacities[bidder] * scale)
        )
    worth = [round(float(gains[pair]) * scale) for pair in taken]
    model.maximize(cp_model.LinearExpr.weighted_sum(list(taken.values()), worth))
    solver, is_exact = solve(model, limit)
    awards = {task: bidder for (bidder, task), variable in taken.items() if solver.value(variable)}
    value = instance.told(awards)
    return Optimum(
        dict(sorted(awards.items())),
        value,
        value if is_exact else float(solver.best_objective_bound) / scale,
        is_exact,
    )


def least_makespan(times: Matrix, limit: float = LIMIT) -> tuple[float, bool]:
    """The least time by which machines do all tasks, and whether it is proved; `times` is (machines, tasks).

    Unrelated machines (R||Cmax; Lenstra, Shmoys and Tardos, 1990). If it is not proved, the time is a lower bound.
    """
    machines, tasks = times.shape
    if tasks == 0:
        return 0.0, True
    scale = 1 if times.dtype.kind in "iu" else _SCALE
    model = cp_model.CpModel()
    does = [[model.new_bool_var(f"{m},{t}") for t in range(tasks)] for m in range(machines)]
    whole = [[round(float(time) * scale) for time in row] for row in times]
    end = model.new_int_var(0, sum(max(column) for column in zip(*whole, strict=True)), "end")
    for task in range(tasks):
        model.add_exactly_one(row[task] for row in does)
    for row, durations in zip(does, whole, strict=True):
        model.add(cp_model.LinearExpr.weighted_sum(row, durations) <= end)
    model.minimize(end)
    solver, is_exact = solve(model, limit)
    found = solver.value(end) if is_exact else solver.best_objective_bound
    return float(found) / scale, is_exact


def solve(model: cp_model.CpModel, limit: float) -> tuple[cp_model.CpSolver, bool]:
    """Runs CP-SAT, repeatably. True if what it found is proved best. Raises `Unsolved` if it found nothing."""
    solver = cp_model.CpSolver()
    solver.parameters.num_workers = 1
    solver.parameters.random_seed = 0
    solver.parameters.max_deterministic_time = limit
    status = solver.solve(model)
    if status not in (cp_model.OPTIMAL, cp_model.FEASIBLE):
        raise Unsolved(
            f"CP-SAT found no awards within {limit:g} deterministic seconds ({solver.status_name(status)}). "
            f"Give it a higher limit."
        )
    return solver, status == cp_model.OPTIMAL
