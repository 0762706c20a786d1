"""A member as an agent: a protocol that spreads, averages or elects, over A2A messages, on cells here or on Ray.

Rules:
* Member number i of a role with n agents lives at `role/i` and has the id i + 1. Only the agent at a member's address
  speaks for it.
* A protocol's messages travel as raw parts of A2A messages, all of a turn to one member together; what does not decode
  is dropped. Records are durable before what waits for them leaves: in a file if there is a `directory`, and else in
  the agent's state, which lives and dies with it.
* The state of a member is its parameters and the events that it has taken; the protocol is made anew from them.
* Anybody may `ask` a member: `{"propose": [...]}` tells rumours or makes updates, and is answered with what was
  refused; `{"order": "elect"}` is the protocol's own order; `{"status": true}` is answered with `status()`.
* Protocols that replicate a log are hosted by `Replica`, whose clients wait for decisions; here nothing is decided.
"""

from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any

import msgspec

from actors.agent import Agent
from actors.context import Context
from actors.errors import ConfigurationError
from actors.message import Message, Part
from coordination.averaging import Metropolis, PushSum
from coordination.event_record import Disk, event_from, kept_form, records_from
from coordination.protocol import (
    NEVER,
    Codec,
    Effects,
    Event,
    Instruct,
    Persisted,
    Propose,
    Protocol,
    ProtocolKind,
    Receive,
    Restore,
    Setting,
    Tick,
    Trace,
)
from coordination.resilient_averaging import WMSR
from coordination.simulation.search import SPREADING
from coordination.state_gossip import StateGossip
from coordination.swim import Swim

PROPOSALS = 1_000
"""Most commands in one request."""
KEPT = 10_000
"""Commands that a member keeps of those that were delivered to it, the last ones."""
_TICK = "tick"
_pack = msgspec.msgpack.Encoder(order="deterministic").encode


@dataclass
class _Core:
    """What is made anew from a member's state."""

    protocol: Protocol
    codec: Codec
    disk: Disk | None
    durable_token: int = 0


class Member(Agent):
    """One member of a group. Extend it and define `delivered` or `noticed` to act on what comes."""

    transient = frozenset({"core"})

    def __init__(
        self,
        protocol: str,
        members: int,
        *,
        delay: float = 1.0,
        options: Mapping[str, Any] | None = None,
        directory: str | None = None,
        keep_events: bool = True,
    ) -> None:
        """`delay` is the bound on message delays in the schedule's time (seconds, or rounds). `keep_events=False` saves
        memory where no checkpoint, no fingerprint and no replay is wanted.

        Raises `ConfigurationError` for an unknown protocol; of its options when the agent starts.
        """
        _kind_named(protocol)
        if members < 1 or not delay > 0:
            raise ConfigurationError(
                f"member: {members} members and a delay of {delay:g}. Give 1 or more, above 0."
            )
        self.name = protocol
        self.members = members
        self.delay = delay
        self.options = dict(options or {})
        self.directory = directory
        self.keep_events = keep_events
        self.id = 0
        self.role = ""
        self.seed = 0
        self.events: list[tuple[Any, ...]] = []
        """All that the protocol was told, as plain data."""
        self.heard: list[Any] = []
        """The commands that were delivered here, in order: what `delivered` keeps unless it is overridden."""
        self.timer: int | None = None
        self.timer_at = NEVER
        self.core: _Core

    async def propose(self, commands: Sequence[Any], context: Context) -> list[Any]:
        """Tells rumours, or makes updates, of this member's own; gives those that were refused."""
        plain = tuple(tuple(one) if isinstance(one, list) else one for one in commands)
        return await self._carry_out([Propose(context.now, plain)], context)

    def delivered(self, command: Any, context: Context) -> None:
        """Takes a rumour, or an update of this member's own that is durable."""
        self.heard.append(command)
        del self.heard[:-KEPT]

    def noticed(self, trace: Trace, context: Context) -> None:
        """Takes what the protocol shows: of SWIM, each new statement held of a member."""

    def status(self) -> dict[str, Any]:
        """What a member says of itself: "protocol", and what its protocol has of leader, estimate, alive and value."""
        protocol = self._ready().protocol
        said: dict[str, Any] = {"protocol": self.name, "heard": len(self.heard)}
        if protocol.leader is not None:
            said["leader"] = self._address_of(protocol.leader)
        match protocol:
            case Metropolis() | PushSum() | WMSR():
                said["estimate"] = protocol.estimate
            case Swim():
                said["alive"] = [self._address_of(member) for member in protocol.alive()]
            case StateGossip():
                value = protocol.state.value
                said["value"] = sorted(value, key=str) if isinstance(value, frozenset) else value
        return said

    async def on_start(self, context: Context) -> None:
        """Makes the protocol and restores what is on the disk."""
        role, _, number = context.address.partition("/")
        if not number.isdigit() or int(number) >= self.members:
            raise ConfigurationError(
                f"{context.address}: a member is one of role/0 to role/{self.members - 1}. "
                f"Give the role count: {self.members}."
            )
        self.role, self.id = role, int(number) + 1
        self.seed = context.rng.getrandbits(63)
        self.core = self._made()
        records: list[Any] = []
        if self.core.disk is not None:
            batches: list[bytes] = await context.effect(self.core.disk.read)
            records = records_from(batches, self.core.codec)
        await self._carry_out([Restore(context.now, tuple(records))], context)

    async def on_message(self, message: Message, context: Context) -> None:
        """A tick, messages of another member, or somebody's request."""
        core, now = self._ready(), context.now
        if message.sender == context.address and message.text == _TICK:
            self.timer, self.timer_at = None, NEVER
            await self._carry_out([Tick(now)], context)
            return
        source = self._member_at(message.sender)
        if source is not None:
            wires = (_decoded(core.codec, part) for part in message.parts if part.kind == "raw")
            await self._carry_out([Receive(now, source, wire) for wire in wires if wire is not None], context)
            return
        await self._answer(message.data, context)

    async def _answer(self, content: Any, context: Context) -> None:
        match content:
            case {"propose": list(commands)} if 0 < len(commands) <= PROPOSALS:
                context.reply({"refused": await self.propose(commands, context)})
            case {"order": str(order)}:
                await self._carry_out([Instruct(context.now, order)], context)
                context.reply(self.status())
            case {"status": _}:
                context.reply(self.status())
            case _:
                context.reply(
                    {
                        "error": f'ask {{"propose": [1 to {PROPOSALS}]}}, {{"order": ...}} or {{"status": true}}'
                    }
                )

    # --- the protocol -----------------------------------------------------------------------------------------

    def _made(self) -> _Core:
        members = tuple(range(1, self.members + 1))
        setting = Setting(
            self.id, members, Random(self.seed), delay_s=self.delay, trace=True, options=self.options
        )
        protocol = _kind_named(self.name).make(setting)
        disk = None if self.directory is None else Disk(Path(self.directory) / f"{self.role}-{self.id - 1}")
        return _Core(protocol, Codec(type(protocol)), disk)

    def _ready(self) -> _Core:
        if not hasattr(self, "core"):  # after a recovery: the same events lead to the same state
            self.core = self._made()
            for kept in self.events:
                event = event_from(kept, self.core.codec)
                self.core.protocol.handle(event)
                if isinstance(event, Persisted):
                    self.core.durable_token = event.token
        return self.core

    async def _carry_out(self, events: list[Event], context: Context) -> list[Any]:
        """Handles events and what their effects cause; gives the commands that were refused."""
        core = self._ready()
        waiting = deque(events)
        refused: list[Any] = []
        letters: dict[int, list[Part]] = {}
        held: list[tuple[int, Any, int]] = []
        while waiting:
            event = waiting.popleft()
            if self.keep_events:
                self.events.append(kept_form(event, core.codec))
            effects = core.protocol.handle(event)
            held += effects.sends
            if effects.records:
                # Nothing that waits for these has left: what was handled before is sent on its own tokens below.
                batch = [(effects.checkpoint, [core.codec.encode(record) for record in effects.records])]
                if core.disk is not None:
                    await context.effect(core.disk.write, _pack(batch))
                core.durable_token = effects.token
                waiting.append(Persisted(context.now, effects.token))
            self._apply_effects(effects, context)
            refused += [command for rejected in effects.rejected for command in rejected.commands]
            wake_at = effects.wake_at
            if not waiting:
                self._set_timer(wake_at, context)
        for to, wire, token in held:
            assert token <= core.durable_token, (
                "a protocol marks messages with tokens of records that it has given"
            )
            letters.setdefault(to, []).append(Part("raw", core.codec.encode(wire)))
        for to, parts in letters.items():
            context.send(self._address_of(to), parts)
        return refused

    def _apply_effects(self, effects: Effects, context: Context) -> None:
        for decided in effects.decided:
            for command in decided.commands:
                self.delivered(command, context)
        for trace in effects.trace:
            self.noticed(trace, context)

    def _set_timer(self, wake_at: float, context: Context) -> None:
        if wake_at >= self.timer_at:
            return  # the timer that is set comes first, and looks again
        if self.timer is not None:
            context.cancel(self.timer)
        self.timer_at = wake_at
        self.timer = context.after(max(wake_at - context.now, 1e-6), _TICK)

    def _member_at(self, address: str) -> int | None:
        role, _, number = address.partition("/")
        known = role == self.role and number.isdigit() and int(number) < self.members
        return int(number) + 1 if known else None

    def _address_of(self, member: int) -> str:
        return f"{self.role}/{member - 1}"


def _decoded(codec: Codec, part: Part) -> Any:
    try:
        return codec.decode(part.value)
    except msgspec.MsgspecError:
        return None


def _kind_named(name: str) -> ProtocolKind:
    if name not in SPREADING:
        raise ConfigurationError(
            f"member: there is no protocol {name!r} without a log. There are: {', '.join(SPREADING)}."
        )
    return SPREADING[name].kind
