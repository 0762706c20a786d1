"""A client of a replicated log, for an agent to hold: proposes, asks again, and believes no single liar.

Rules:
* A request is believed when `needed` replicas gave the same answer to it: 1 where replicas only crash, f + 1 where f
  may lie, since then an honest one is among them.
* With `needed` 1 a request goes to one replica, the leader as far as the client knows; else to all of them.
* A request that was refused, or is not answered in time, is sent again under its serial, so it takes effect once.
* It is state and no agent: its owner passes on every message that comes from the replicas, and calls `hurry` now and
  then.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from actors.context import Context
from actors.message import Message


@dataclass
class _Request:
    """What was asked, when, and who has answered what."""

    commands: list[Any]
    sent_at: float
    answers: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Answer:
    """What the log says to a request: the slot that decided it, and a result for each command."""

    serial: int
    slot: int
    results: list[Any]


@dataclass
class LogClient:
    """Proposes to the replicas of a role."""

    role: str
    replicas: int
    needed: int = 1
    patience: float = 20.0
    """In the time of the schedule."""
    leader: int = 0
    serial: int = 0
    open: dict[int, _Request] = field(default_factory=dict)

    def propose(self, commands: Sequence[Any], context: Context) -> int:
        """Sends commands to be decided as one; the number is in their `Answer`."""
        self.serial += 1
        self.open[self.serial] = _Request(list(commands), context.now)
        self._send(self.serial, context)
        return self.serial

    def _send(self, serial: int, context: Context) -> None:
        request = self.open[serial]
        request.sent_at = context.now
        content = {"propose": request.commands, "serial": serial}
        replicas = [self.leader] if self.needed == 1 else range(self.replicas)
        for replica in replicas:
            context.send(f"{self.role}/{replica}", content, task_id=str(serial))

    def take(self, message: Message, context: Context) -> Answer | None:
        """A replica's message: an answer that is now believed, or None. Requests that were refused go out again."""
        content = message.data
        role, _, number = message.sender.partition("/")
        serial = int(message.task_id) if message.task_id.isdigit() else 0
        request = self.open.get(serial)
        if role != self.role or request is None or not isinstance(content, dict):
            return None
        if "results" not in content:
            if self.needed == 1:
                self._follow(content.get("leader"), int(number))
                request.sent_at = context.now - self.patience + 1.0  # `hurry` sends it again, but not at once
            return None
        request.answers[message.sender] = content["results"]
        same = sum(1 for results in request.answers.values() if results == content["results"])
        if same < self.needed:
            return None
        del self.open[serial]
        return Answer(serial, content.get("slot", -1), content["results"])

    def _follow(self, leader: Any, refused_by: int) -> None:
        role, _, number = str(leader or "").partition("/")
        if role == self.role and number.isdigit() and int(number) < self.replicas:
            self.leader = int(number)
        elif refused_by == self.leader:
            self.leader = (self.leader + 1) % self.replicas

    def hurry(self, context: Context) -> None:
        """Sends again what has waited too long; to another replica, if one is enough."""
        late = [
            serial for serial, request in self.open.items() if request.sent_at + self.patience <= context.now
        ]
        if late and self.needed == 1 and not any(self.open[serial].answers for serial in late):
            self.leader = (self.leader + 1) % self.replicas
        for serial in late:
            self._send(serial, context)
