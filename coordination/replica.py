"""A replica as an agent: a protocol of the laboratory over A2A messages, on cells here or on Ray.

Rules:
* Replica number i of a role with n agents lives at `role/i` and has the id i + 1. Only the agent at a replica's address
  speaks for it: that is the channel that `Receive.source` vouches for.
* A protocol's messages travel as raw parts of A2A messages, one part each, all of a turn to one recipient together;
  what does not decode is dropped.
* Records are durable before what waits for them leaves. With `directory` they are written and synced to a file, and an
  agent that lost its state restores from it; without, they live and die with the agent's state (which its cell's
  journal recovers, and the fault `crash` loses unless it says `keep_state`).
* The state of a replica is its parameters, what it has applied, and the events that it has taken: the protocol itself,
  which is a function of these, is made anew from them. `keep_events=False` saves their memory where no checkpoint, no
  fingerprint and no replay is wanted.
* Clients `ask` any replica with `{"propose": [command, ...]}`: a request, which is decided and applied as one. The
  answer is `{"slot": slot, "results": [...]}`, or `{"rejected": true, "leader": address or None}`: a definite refusal.
  A deadline that passed says nothing: ask again with the same `"serial"`, and the request takes effect once.
* Clients are known by their addresses and do not sign: a replica that lies can invent a request, but it cannot make
  honest replicas apply different ones, or the same ones in another order.
"""

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
from coordination.catalogue import protocol_named
from coordination.event_record import Disk, event_from, kept_form, records_from
from coordination.protocol import (
    NEVER,
    Codec,
    Compact,
    Decided,
    Effects,
    Event,
    Persisted,
    Propose,
    Protocol,
    Receive,
    Rejected,
    Restore,
    Send,
    Setting,
    Tick,
)
from coordination.signature import Scheme, TokenScheme, ed25519_schemes
from coordination.simulation.liar import liar_named

COMMANDS = 10_000
"""Most commands in one request of a client."""
REMEMBERED = 1_000
"""Requests of one client whose results a replica keeps, for those that come again."""
_TICK = "tick"
_pack = msgspec.msgpack.Encoder(order="deterministic").encode
_unpack = msgspec.msgpack.Decoder().decode


@dataclass
class _Core:
    """What is made anew from a replica's state."""

    protocol: Protocol
    codec: Codec
    disk: Disk | None
    durable_token: int = 0


def _are_requests(commands: tuple[Any, ...]) -> bool:
    """External validity: each is a request, packed."""
    return all(_request_in(command) is not None for command in commands)


def _request_in(command: Any) -> tuple[str, int, list[Any]] | None:
    """The client, the serial and the commands of a packed request; None for anything else."""
    try:
        client, serial, commands = _unpack(command)
    except (msgspec.MsgspecError, TypeError, ValueError):
        return None
    fits = isinstance(client, str) and isinstance(serial, int) and isinstance(commands, list)
    return (client, serial, commands) if fits and len(commands) <= COMMANDS else None


class Replica(Agent):
    """One replica of a log. Extend it and define `apply` for another state machine than a plain list."""

    transient = frozenset({"core"})

    def __init__(
        self,
        protocol: str,
        replicas: int,
        *,
        delay: float = 1.0,
        options: Mapping[str, Any] | None = None,
        batch: int = 1000,
        signatures: str = "ed25519",
        secret: str = "rayswarm",  # noqa: S107 - the seed of an experiment's keys; whoever lies has only his own
        liars: Mapping[str, str] | None = None,
        directory: str | None = None,
        keep_events: bool = True,
        compact_every: int | None = None,
    ) -> None:
        """`delay` is the bound on message delays in the schedule's time (seconds, or rounds). Raises as `check` does.

        `liars` says what some replicas do instead of their part: {"3": "equivocating"} is about `role/3`.
        """
        protocol_named(protocol)
        if signatures not in ("ed25519", "token"):
            raise ConfigurationError(f"signatures: there is no {signatures!r}. Give 'ed25519' or 'token'.")
        for name in (liars or {}).values():
            liar_named(name, delay)
        self.name = protocol
        self.replicas = replicas
        self.delay = delay
        self.options = dict(options or {})
        self.batch = batch
        self.signatures = signatures
        self.secret = secret
        self.liars = dict(liars or {})
        self.directory = directory
        self.keep_events = keep_events
        self.compact_every = compact_every
        """Slots after which the protocol may forget what was applied. None: it keeps everything."""
        self.compacted = 0
        self.id = 0
        self.role = ""
        self.seed = 0
        self.events: list[tuple[Any, ...]] = []
        """All that the protocol was told, as plain data."""
        self.applied: list[Any] = []
        """The commands that were decided, in order: what `apply` keeps unless it is overridden."""
        self.slot = -1
        self.done: dict[str, dict[int, list[Any]]] = {}
        """Of each client the last requests that were applied, by serial: one that is decided twice acts once."""
        self.waiting: dict[tuple[str, int], Message] = {}
        """Requests to answer."""
        self.serial = 0
        """Of the last request of the replica's own."""
        self.submitted: list[bytes] = []
        self.timer: int | None = None
        self.timer_at = NEVER
        self.core: _Core

    # --- the state machine ------------------------------------------------------------------------------------

    def apply(self, command: Any) -> Any:
        """Takes a decided command into the application's state and returns its result: plain data."""
        self.applied.append(command)
        return len(self.applied)

    def submit(self, commands: Sequence[Any]) -> int:
        """Proposes commands of the replica's own, when the present turn's effects are carried out; see `answered`."""
        self.serial += 1
        self.submitted.append(_pack((self._address_of(self.id), self.serial, list(commands))))
        return self.serial

    def answered(self, serial: int, results: list[Any] | None, context: Context) -> None:
        """What was submitted under this number is decided and applied here; or refused, if there are no results."""

    def snapshot(self) -> Any:
        """The application's whole state as plain data, for replicas that are far behind; override it with `apply`."""
        return list(self.applied)

    def install(self, state: Any) -> None:
        """Takes over a state that another replica's `snapshot` gave."""
        self.applied = list(state)

    # --- life -------------------------------------------------------------------------------------------------

    async def on_start(self, context: Context) -> None:
        """Makes the protocol and restores what is on the disk."""
        role, _, number = context.address.partition("/")
        if not number.isdigit() or int(number) >= self.replicas:
            raise ConfigurationError(
                f"{context.address}: a replica is one of role/0 to role/{self.replicas - 1}. "
                f"Give the role count: {self.replicas}."
            )
        self.role, self.id = role, int(number) + 1
        self.seed = context.rng.getrandbits(63)
        self.core = self._made()
        records: list[Any] = []
        if self.core.disk is not None:
            batches: list[bytes] = await context.effect(self.core.disk.read)
            records = records_from(batches, self.core.codec)
        await self._carry_out([Restore(context.now, tuple(records))], context)

    def _made(self) -> _Core:
        kind = protocol_named(self.name)
        members = tuple(range(1, self.replicas + 1))
        copies = iter(range(1_000_000))

        def make() -> Protocol:
            setting = Setting(
                self.id,
                members,
                Random(f"{self.seed}/{next(copies)}"),
                delay_s=self.delay,
                scheme=self._scheme(members),
                valid=_are_requests,
                batch=self.batch,
                options=self.options,
            )
            return kind.make(setting)

        lie = self.liars.get(str(self.id - 1))
        honest = make()
        protocol = (
            honest
            if lie is None
            else liar_named(lie, self.delay)(make, Random(f"{self.seed}/liar"), frozenset())
        )
        disk = None if self.directory is None else Disk(Path(self.directory) / f"{self.role}-{self.id - 1}")
        return _Core(protocol, Codec(type(honest)), disk)

    def _scheme(self, members: Sequence[int]) -> Scheme:
        if self.signatures == "token":
            return TokenScheme(self.id)
        return ed25519_schemes(members, self.secret.encode())[self.id]

    def _ready(self) -> _Core:
        if not hasattr(self, "core"):  # after a recovery: the same events lead to the same state
            self.core = self._made()
            for kept in self.events:
                event = event_from(kept, self.core.codec)
                self.core.protocol.handle(event)
                if isinstance(event, Persisted):
                    self.core.durable_token = event.token
        return self.core

    async def on_message(self, message: Message, context: Context) -> None:
        """A tick, messages of another replica, or a client's request."""
        core = self._ready()
        now = context.now
        if message.sender == context.address and message.text == _TICK:
            self.timer, self.timer_at = None, NEVER
            await self._carry_out([Tick(now)], context)
            return
        source = self._replica_at(message.sender)
        if source is not None:
            found = (self._decoded(core, part) for part in message.parts if part.kind == "raw")
            await self._carry_out([Receive(now, source, wire) for wire in found if wire is not None], context)
            return
        content = message.data
        if isinstance(content, dict) and isinstance(content.get("propose"), list):
            await self._propose(message, content, context)
        elif isinstance(content, dict) and "status" in content:
            context.reply(self.status())

    def status(self) -> dict[str, Any]:
        """What a replica says of itself: {"slot", "applied", "leader", "protocol"}."""
        leader = self._ready().protocol.leader
        return {
            "slot": self.slot,
            "applied": len(self.applied),
            "leader": None if leader is None else self._address_of(leader),
            "protocol": self.name,
        }

    def _replica_at(self, address: str) -> int | None:
        role, _, number = address.partition("/")
        return (
            int(number) + 1
            if role == self.role and number.isdigit() and int(number) < self.replicas
            else None
        )

    def _address_of(self, replica: int) -> str:
        return f"{self.role}/{replica - 1}"

    @staticmethod
    def _decoded(core: _Core, part: Part) -> Any:
        try:
            return core.codec.decode(part.value)
        except msgspec.MsgspecError:
            return None

    # --- clients ----------------------------------------------------------------------------------------------

    async def _propose(self, message: Message, content: Mapping[str, Any], context: Context) -> None:
        commands = content["propose"]
        serial = content.get("serial", message.sequence)
        if not 0 < len(commands) <= COMMANDS or not isinstance(serial, int):
            context.reply(
                {"error": f"propose a list of 1 to {COMMANDS} commands, with a whole number as serial"}
            )
            return
        results = self.done.get(message.sender, {}).get(serial)
        if results is not None:
            context.reply({"slot": self.slot, "results": results})
            return
        self.waiting[message.sender, serial] = message
        await self._carry_out([Propose(context.now, (_pack((message.sender, serial, commands)),))], context)

    def _decide(self, decided: Decided, context: Context) -> None:
        self.slot = decided.slot
        for packed in decided.commands:
            request = _request_in(packed)
            if request is None:
                continue
            client, serial, commands = request
            done = self.done.setdefault(client, {})
            if serial not in done:
                done[serial] = [self.apply(command) for command in commands]
                if len(done) > REMEMBERED:
                    del done[next(iter(done))]
            asked = self.waiting.pop((client, serial), None)
            if asked is not None:
                context.reply({"slot": decided.slot, "results": done[serial]}, to=asked)
            elif client == context.address:
                self.answered(serial, done[serial], context)

    def _refuse(self, rejected: Rejected, context: Context) -> None:
        leader = None if rejected.leader is None else self._address_of(rejected.leader)
        for packed in rejected.commands:
            request = _request_in(packed)
            asked = None if request is None else self.waiting.pop(request[:2], None)
            if asked is not None:
                context.reply({"rejected": True, "leader": leader}, to=asked)
            elif request is not None and request[0] == context.address:
                self.answered(request[1], None, context)

    # --- effects ----------------------------------------------------------------------------------------------

    async def _carry_out(self, events: Sequence[Event], context: Context) -> None:
        """Handles events and what their effects cause, in the order that the contract asks for."""
        core = self._ready()
        while events or self.submitted:
            if self.submitted:
                events = (*events, Propose(context.now, tuple(self.submitted)))
                self.submitted = []
            letters: dict[int, list[Part]] = {}
            marked: list[Send] = []
            batch: list[tuple[bool, list[bytes]]] = []
            token = 0
            wake_at = NEVER
            for event in events:
                if self.keep_events:
                    self.events.append(kept_form(event, core.codec))
                effects = core.protocol.handle(event)
                for send in effects.sends:
                    if send[2] > core.durable_token:
                        marked.append(send)
                    else:
                        letters.setdefault(send[0], []).append(Part("raw", core.codec.encode(send[1])))
                if effects.records:
                    token = effects.token
                    batch.append(
                        (effects.checkpoint, [core.codec.encode(record) for record in effects.records])
                    )
                self._apply_effects(effects, context)
                wake_at = effects.wake_at
            self._post(letters, context)
            events = ()
            if token:
                if core.disk is not None:
                    await context.effect(core.disk.write, _pack(batch))
                core.durable_token = token
                letters = {}
                for to, wire, _ in marked:
                    letters.setdefault(to, []).append(Part("raw", core.codec.encode(wire)))
                self._post(letters, context)
                events = (Persisted(context.now, token),)
            self._set_timer(wake_at, context)
            if self.compact_every is not None and self.slot - self.compacted >= self.compact_every:
                self.compacted = self.slot
                sessions = [(client, list(done.items())) for client, done in self.done.items()]
                state = _pack((sessions, self.snapshot()))
                events = (*events, Compact(context.now, self.slot, state))

    def _apply_effects(self, effects: Effects, context: Context) -> None:
        if effects.installed is not None:
            self.slot = effects.installed.slot
            self.done, state = _unpack_sessions(effects.installed.state)
            self.install(state)
        for decided in effects.decided:
            if decided.slot > self.slot:
                self._decide(decided, context)
        for rejected in effects.rejected:
            self._refuse(rejected, context)
        for found in effects.evidence:
            context.log.warning(
                "replica %s lies: %r and %r", self._address_of(found.culprit), found.first, found.second
            )
            context.record("evidence", 1.0)

    def _post(self, letters: Mapping[int, list[Part]], context: Context) -> None:
        for to, parts in letters.items():
            context.send(self._address_of(to), parts)

    def _set_timer(self, wake_at: float, context: Context) -> None:
        if wake_at >= self.timer_at:
            return  # the timer that is set comes first, and looks again
        if self.timer is not None:
            context.cancel(self.timer)
        self.timer_at = wake_at
        self.timer = context.after(max(wake_at - context.now, 1e-6), _TICK)


def _unpack_sessions(state: bytes) -> tuple[dict[str, dict[int, list[Any]]], Any]:
    sessions, application = _unpack(state)
    return {client: dict(done) for client, done in sessions}, application
