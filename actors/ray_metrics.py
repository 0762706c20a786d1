"""A cell's figures in Ray's metrics, seen in the dashboard and by Prometheus as `ray_rayswarm_...`.

Rules:
* Tagged by run, role and cell; never by agent: a million series would end the dashboard. What is of a whole cell has
  the role of its agents, or `*` if they are of several.
* Read once a second from what the cell counts anyway. What takes a walk over the cell's agents (how many of each role,
  how much mail they have) is done so seldom that it takes at most a hundredth of the time.
* The time of a turn is a gauge, a mean, and no histogram: single turns are not timed, since they
  take microseconds, and the sums that Ray reports for histograms are made of the middles of their buckets.
"""

import asyncio
import time
from collections import Counter, deque
from collections.abc import Mapping

from ray.util import metrics

from actors.address import role_of
from actors.cell import Cell
from actors.host import Host

_PERIOD_S = 1.0
_WALK_SHARE = 0.01
_TAGS = ("run", "role", "cell")
_OF_SEVERAL = "*"


class CellMetrics:
    """Reports what a host counts, about once a second."""

    def __init__(self, host: Host, name: str) -> None:
        self._host = host
        own = [role for role, first in host.cell.placement.dedicated.items() if _owns(host.cell, role, first)]
        self._tags = {"run": host.plan.run_id, "cell": name, "role": own[0] if own else _OF_SEVERAL}
        self._messages = _counter("rayswarm_messages_total", "Messages that agents took")
        self._dead = _counter("rayswarm_dead_letters_total", "Messages that were not delivered", "reason")
        self._depth = _gauge("rayswarm_mailbox_depth", "Messages that wait in mailboxes")
        self._agents = _gauge("rayswarm_agents", "Agents that live in the cell")
        self._turns = _gauge("rayswarm_turn_seconds", "Mean time of a turn, of the last second with turns")
        self._round = _gauge("rayswarm_round", "The present round; in the schedule `free`, seconds")
        self._seen: dict[tuple[str, str], int] = {}
        self._walked: set[str] = set()
        self._walk_due = 0.0
        # A cell that was restarted counts on from its checkpoint; the process before has reported that.
        self._growth_of("role", self._taken())
        self._growth_of("dead", self._dead_letters())

    async def keep(self) -> None:
        """Reports until cancelled."""
        while True:
            self.report()
            await asyncio.sleep(_PERIOD_S)

    def report(self) -> None:
        """Reports once."""
        cell = self._host.cell
        for role, grown in self._growth_of("role", self._taken()).items():
            self._messages.inc(grown, tags={**self._tags, "role": role})
        for reason, grown in self._growth_of("dead", self._dead_letters()).items():
            self._dead.inc(grown, tags={**self._tags, "reason": reason})
        busy = self._growth_of("busy", {"turns": cell.turns, "us": int(self._host.busy_s * 1e6)})
        if "turns" in busy:  # An idle cell keeps the mean of its last turns: it did not become faster.
            self._turns.set(busy.get("us", 0) / 1e6 / busy["turns"], tags=self._tags)
        self._round.set(cell.now, tags=self._tags)
        began = time.monotonic()
        if began >= self._walk_due:
            self._report_agents(cell)
            now = time.monotonic()
            self._walk_due = now + (now - began) / _WALK_SHARE

    def _report_agents(self, cell: Cell) -> None:
        agents: Counter[str] = Counter(map(role_of, cell.waiting.resting))
        depth: Counter[str] = Counter()
        for resident in cell.mail.residents.values():
            role = resident.role.name
            agents[role] += 1
            inbox = resident.inbox
            if inbox is not None:
                depth[role] += len(inbox) if isinstance(inbox, deque) else 1
        # A role of which nothing is left must be told as none, or its last figures would stand for ever.
        self._walked |= agents.keys()
        for role in self._walked:
            tags = {**self._tags, "role": role}
            self._agents.set(agents[role], tags=tags)
            self._depth.set(depth[role], tags=tags)

    def _taken(self) -> dict[str, int]:
        return {role.name: sum(role.traffic.values()) for role in self._host.cell.roles.values()}

    def _dead_letters(self) -> dict[str, int]:
        prefix = "dead_letters: "
        counts = self._host.cell.counts
        return {name[len(prefix) :]: n for name, n in counts.items() if name.startswith(prefix)}

    def _growth_of(self, kind: str, values: Mapping[str, int]) -> dict[str, int]:
        """How much each value has grown since the last call, if it has."""
        grown = {name: value - self._seen.get((kind, name), 0) for name, value in values.items()}
        self._seen.update({(kind, name): value for name, value in values.items()})
        return {name: growth for name, growth in grown.items() if growth > 0}


def _owns(cell: Cell, role: str, first: int) -> bool:
    return first <= cell.number < first + len(cell.placement.members(role))


def _counter(name: str, description: str, *tags: str) -> metrics.Counter:
    return metrics.Counter(name, description, tag_keys=(*_TAGS, *tags))


def _gauge(name: str, description: str) -> metrics.Gauge:
    return metrics.Gauge(name, description, tag_keys=_TAGS)
