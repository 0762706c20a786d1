"""The survey's awards in a replicated log: an award counts when the replicas have decided it, though one of them lies.

Rules:
* The auctioneer proposes the awards of a lot as one request. Only when enough replicas have answered alike (f + 1 where
  replicas may lie, so that an honest one is among them) are the surveyors told.
* At the end every replica says what it holds: how many awards, and the SHA-256 of them all in order. The report shows
  them side by side; those of the honest replicas must be the same.
* Which replica lies is known to the experiment alone: it is the last one. Where the protocol withstands only crashes it
  is silent, else it tells each half of the others another story.
"""

from dataclasses import dataclass, field
from hashlib import sha256
from typing import Any

import msgspec

from actors.context import Context
from actors.errors import ConfigurationError
from actors.message import Message
from coordination.catalogue import protocol_named
from coordination.log_client import LogClient
from coordination.replica import Replica
from coordination.simulation.liar import liar_named

ROLE = "replica"
PERIOD = 12.0
"""Rounds from lot to lot: a decision takes about six of them, and surveyors bid by what they were awarded."""
ASKED = 10
"""How often the replicas are asked at the end before who has not answered is left out."""
_DELAY = 2.0
_SETTINGS = {"protocol": str, "replicas": int, "liars": int, "lie": str}
_encode = msgspec.msgpack.Encoder(order="deterministic").encode


class AwardLog(Replica):
    """A replica of the log of awards."""

    async def on_message(self, message: Message, context: Context) -> None:
        """As a replica; and tells what it holds."""
        if isinstance(message.data, dict) and "holdings" in message.data:
            context.reply(
                {"holdings": len(self.applied), "digest": sha256(_encode(self.applied)).hexdigest()}
            )
        else:
            await super().on_message(message, context)


@dataclass
class AwardBook:
    """The auctioneer's side of the log; a part of its state."""

    client: LogClient
    replicas: int
    liars: list[int]
    proposed: dict[int, list[tuple[str, str]]] = field(default_factory=dict)
    """Awards (task, surveyor) that are not yet decided, by the request's number."""
    decided: int = 0
    holdings: dict[str, dict[str, Any]] = field(default_factory=dict)
    asked: int = 0

    @classmethod
    def of(cls, settings: dict[str, Any]) -> "AwardBook":
        """An empty book for what `log_settings` gave."""
        client = LogClient(ROLE, settings["replicas"], settings["needed"], patience=4 * PERIOD)
        return cls(client, settings["replicas"], settings["liars"])

    def propose(self, awards: list[tuple[str, str]], context: Context) -> None:
        """Puts a lot's awards to the replicas."""
        serial = self.client.propose([list(award) for award in awards], context)
        self.proposed[serial] = awards

    def undecided(self) -> set[str]:
        """The tasks whose awards are not decided yet."""
        return {task for awards in self.proposed.values() for task, _ in awards}

    def take(self, message: Message, context: Context) -> list[tuple[str, str]]:
        """A replica's message: the awards that are decided now."""
        content = message.data
        if isinstance(content, dict) and "holdings" in content:
            self.holdings[message.sender] = content
            return []
        answer = self.client.take(message, context)
        awards = [] if answer is None else self.proposed.pop(answer.serial)
        self.decided += len(awards)
        return awards

    def settled(self, context: Context) -> bool:
        """Whether every honest replica has told that it holds all awards; asks those that have not, so many times."""
        behind = [
            replica
            for replica in range(self.replicas)
            if replica not in self.liars
            and self.holdings.get(f"{ROLE}/{replica}", {}).get("holdings") != self.decided
        ]
        self.asked += 1
        if not behind or self.asked > ASKED:
            return True
        for replica in range(self.replicas):
            context.send(f"{ROLE}/{replica}", {"holdings": True})
        return False

    def close(self, context: Context) -> None:
        """Leaves what the replicas hold for the report, and ends them."""
        rows = []
        for replica in range(self.replicas):
            held = self.holdings.get(f"{ROLE}/{replica}", {})
            rows.append(
                {
                    "replica": f"{ROLE}/{replica}",
                    "honest": replica not in self.liars,
                    "awards": held.get("holdings"),
                    "digest of all awards": str(held.get("digest", "no answer"))[:16],
                }
            )
            context.stop(f"{ROLE}/{replica}")
        honest = [row for row in rows if row["honest"]]
        context.result("replicas_of_the_log", rows)
        context.result("awards_decided", self.decided)
        alike = len({(row["awards"], row["digest of all awards"]) for row in honest}) == 1
        context.result("honest_replicas_agree", alike and honest[0]["awards"] == self.decided)


def log_settings(consensus: dict[str, Any]) -> dict[str, Any]:
    """What `consensus` of the experiment asks for, filled in: {protocol, replicas, needed, liars, lie}.

    Raises `ConfigurationError` for a wrong key, an unknown protocol, or too few replicas.
    """
    for key, value in consensus.items():
        if key not in _SETTINGS:
            raise ConfigurationError(f"consensus: there is no {key!r}. There are: {', '.join(_SETTINGS)}.")
        if not isinstance(value, _SETTINGS[key]) or isinstance(value, bool):
            raise ConfigurationError(f"consensus.{key}: {value!r} is not of type {_SETTINGS[key].__name__}.")
    if "protocol" not in consensus:
        raise ConfigurationError("consensus: it names no protocol. Give --set consensus.protocol=pbft.")
    kind = protocol_named(consensus["protocol"])
    replicas, liars = consensus.get("replicas", 4), consensus.get("liars", 1)
    kind.check(replicas, liars)
    byzantine = kind.faults == "byzantine"
    lie = consensus.get("lie", "equivocating" if byzantine else "silent")
    liar_named(lie, _DELAY)
    return {
        "protocol": kind.name,
        "replicas": replicas,
        "needed": kind.withstands(replicas) + 1 if byzantine else 1,
        "liars": list(range(replicas - liars, replicas)),
        "lie": lie,
    }


def replica_role(settings: dict[str, Any]) -> dict[str, Any]:
    """The values of the role of replicas, one Ray actor each."""
    return {
        "count": settings["replicas"],
        "dedicated": True,
        "parameters": {
            "protocol": settings["protocol"],
            "replicas": settings["replicas"],
            "delay": _DELAY,
            "liars": {str(liar): settings["lie"] for liar in settings["liars"]},
        },
    }
