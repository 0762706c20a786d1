"""A cell's figures in Ray's metrics, seen in the dashboard and by Prometheus as `ray_rayswarm_...`.

Tagged by run and cell, and by role where there is one; never by agent: a million series would end the dashboard.
"""

import asyncio

from ray.util import metrics

from actors.host import Host

_PERIOD_S = 1.0
_TAGS = ("run", "cell")


class CellMetrics:
    """Reports what a host counts, about once a second."""

    def __init__(self, run: str, cell: str) -> None:
        self._tags = {"run": run, "cell": cell}
        by_role = (*_TAGS, "role")
        self._messages = metrics.Counter(
            "rayswarm_messages_total", "Messages that agents took", tag_keys=by_role
        )
        self._depth = metrics.Gauge(
            "rayswarm_mailbox_depth", "Messages that wait in mailboxes", tag_keys=_TAGS
        )
        self._turns = metrics.Gauge(
            "rayswarm_turn_seconds", "Mean time of a turn in the last period", tag_keys=_TAGS
        )
        self._agents = metrics.Gauge("rayswarm_agents", "Agents that live in the cell", tag_keys=_TAGS)
        self._dead = metrics.Counter(
            "rayswarm_dead_letters_total", "Messages that were not delivered", tag_keys=_TAGS
        )
        self._round = metrics.Gauge("rayswarm_round", "The present round, or seconds", tag_keys=_TAGS)
        self._seen: dict[str, int] = {}

    async def keep(self, host: Host) -> None:
        """Reports until cancelled."""
        while True:
            self.report(host)
            await asyncio.sleep(_PERIOD_S)

    def report(self, host: Host) -> None:
        """Reports once."""
        cell = host.cell
        for role in cell.roles.values():
            grown = self._growth(f"role {role.name}", sum(role.traffic.values()))
            if grown:
                self._messages.inc(grown, tags={**self._tags, "role": role.name})
        dead = sum(number for name, number in cell.counts.items() if name.startswith("dead_letters"))
        if grown := self._growth("dead", dead):
            self._dead.inc(grown, tags=self._tags)
        turns = self._growth("turns", cell.turns)
        busy_us = self._growth("busy", int(host.busy_s * 1e6))
        self._turns.set(busy_us / 1e6 / turns if turns else 0.0, tags=self._tags)
        self._depth.set(cell.mail.queued, tags=self._tags)
        self._agents.set(len(cell.mail.residents) + len(cell.waiting.resting), tags=self._tags)
        self._round.set(cell.now, tags=self._tags)

    def _growth(self, name: str, value: int) -> int:
        grown = value - self._seen.get(name, 0)
        self._seen[name] = value
        return grown
