"""A cell's checkpoint: its agents' states, and everything else that must go on after it.

Taken between turns and only while no turn is suspended, since a running coroutine cannot be saved; what happens after
it is in the journal. Agents' states go into the store one by one, only those that changed; the rest, `CellState`, is
one value, written in the same transaction.
"""

from collections import Counter, deque
from itertools import islice
from typing import Any

import msgspec

from actors.cell import Cell, Failure, TrafficRow
from actors.errors import SwarmError
from actors.fingerprint import Fingerprint
from actors.link import Incoming, Outgoing, Packet
from actors.measure import Sum
from actors.message import Message
from actors.resident import Resident
from actors.state import capture, restore
from actors.store import CheckpointStore
from actors.turn import Wait
from actors.waiting import Crash, Delayed, Timer

_encode = msgspec.msgpack.Encoder().encode


class _Resting(msgspec.Struct, array_like=True):
    sequence: int
    turns: int
    draws: int
    state: bytes | None


_decode_resting = msgspec.msgpack.Decoder(_Resting).decode


class CellState(msgspec.Struct):
    """What a cell is, beside its agents' states."""

    journal: tuple[int, int] | None
    now: float
    started: bool
    turns: int
    inboxes: dict[str, list[Message]]
    next_local: list[Message]
    arrived: dict[int, list[tuple[int, Message]]]
    spawned: dict[str, list[str]]
    stopped: list[str]
    timers: list[tuple[int, Timer | Delayed | Crash]]
    counts: dict[str, int]
    faults: dict[str, int]
    answers: list[Message]
    sent_total: int
    traffic: list[tuple[str, str, int]]
    sums: list[tuple[int, str, Sum]]
    results: dict[str, tuple[float, str, Any]]
    failures: list[Failure]
    sample: list[TrafficRow]
    fingerprint: str
    outboxes: list[list[Message]]
    sent: dict[int, int]
    unanswered: dict[int, list[Packet]]
    received: dict[int, tuple[int, int]]
    sent_before: dict[int, int]


_decode_state = msgspec.msgpack.Decoder(CellState).decode


def rest(resident: Resident, store: CheckpointStore) -> None:
    """Writes an agent's state to the store."""
    state = None if resident.agent is None else capture(resident.agent)
    store.put(resident.address, _encode(_Resting(resident.sequence, resident.turns, resident.draws, state)))


def put_to_rest(cell: Cell, store: CheckpointStore, count: int) -> None:
    """Takes so many agents that have nothing to do out of memory, those that were made first."""
    idle = (r for r in cell.mail.residents.values() if r.turn is None and r.inbox is None)
    for resident in list(islice(idle, count)):
        rest(resident, store)
        cell.waiting.resting.add(resident.address)
        del cell.mail.residents[resident.address]
        if cell.dirty is not None:
            cell.dirty.discard(resident.address)


def wake(resident: Resident, store: CheckpointStore) -> bool:
    """Fills in what the store has of an agent. False if there is nothing, or no agent had been made."""
    data = store.get(resident.address)
    if data is None:
        return False
    resting = _decode_resting(data)
    resident.sequence, resident.turns, resident.draws = resting.sequence, resting.turns, resting.draws
    if resting.state is None:
        return False
    agent = resident.role.agent.__new__(resident.role.agent)
    restore(agent, resting.state)
    resident.agent = agent
    return True


def save(
    cell: Cell,
    store: CheckpointStore,
    journal: tuple[int, int] | None,
    *,
    outgoing: dict[int, Outgoing],
    incoming: dict[int, Incoming],
    sent_before: dict[int, int],
) -> None:
    """Takes a checkpoint. No turn may be suspended."""
    if cell.stepper.suspended:
        raise SwarmError(
            f"cell {cell.number} has {cell.stepper.suspended} suspended turns: it cannot be checkpointed now"
        )
    cell.measures.fold()
    for address in cell.dirty if cell.dirty is not None else list(cell.mail.residents):
        resident = cell.mail.residents.get(address)
        if resident is not None:
            rest(resident, store)
        elif address in cell.mail.stopped:
            store.delete(address)
    if cell.dirty is not None:
        cell.dirty.clear()
    pending = cell.waiting.timers.pending()
    state = CellState(
        journal=journal,
        now=cell.now,
        started=cell.started,
        turns=cell.turns,
        inboxes={r.address: _inbox(r) for r in cell.mail.residents.values() if r.inbox is not None},
        next_local=cell.mail.next_local,
        arrived={source: list(queue) for source, queue in cell.mail.arrived.items() if queue},
        spawned=cell.mail.spawned,
        stopped=sorted(cell.mail.stopped),
        timers=[(tick, item) for tick, _, item in pending if not isinstance(item, Wait)],
        counts=dict(cell.counts),
        faults={} if cell.mail.injector is None else dict(cell.mail.injector.counts),
        answers=list(cell.mail.answers.values()),
        sent_total=cell.sent,
        traffic=[(a, b, n) for (a, b), n in cell.traffic().items()],
        sums=[(at, measure, value) for (at, measure), value in cell.measures.sums.items()],
        results=cell.results,
        failures=cell.failures,
        sample=cell.sample,
        fingerprint="" if cell.fingerprint is None else f"{cell.fingerprint.total:x}",
        outboxes=cell.mail.outboxes,
        sent={peer: link.next_number for peer, link in outgoing.items()},
        unanswered={peer: list(link.unanswered) for peer, link in outgoing.items() if link.unanswered},
        received={source: (link.expected, link.epoch) for source, link in incoming.items()},
        sent_before=sent_before,
    )
    store.commit(_encode(state))


def load(
    cell: Cell, store: CheckpointStore, outgoing: dict[int, Outgoing], incoming: dict[int, Incoming]
) -> CellState | None:
    """Makes a new cell what it was at its last checkpoint. None if there is none."""
    meta = store.meta()
    if meta is None:
        return None
    state = _decode_state(meta)
    cell.now, cell.started, cell.turns = state.now, state.started, state.turns
    cell.waiting.resting.update(store.addresses())
    cell.mail.spawned, cell.mail.stopped = state.spawned, set(state.stopped)
    for address, messages in state.inboxes.items():
        resident = cell.mail.lodge(address)
        resident.inbox = messages[0] if len(messages) == 1 else deque(messages)
        cell.mail.queued += len(messages)
        cell.ready.append(resident)
    cell.mail.next_local = state.next_local
    cell.mail.arrived = {source: deque(queue) for source, queue in state.arrived.items()}
    cell.waiting.unschedule_crashes()
    cell.waiting.restore_timers(state.timers)
    cell.counts = Counter(state.counts)
    if cell.mail.injector is not None:
        cell.mail.injector.counts = Counter(state.faults)
    cell.mail.answers = {message.reply_to: message for message in state.answers}
    cell.sent = state.sent_total
    for sender, role, number in state.traffic:
        cell.roles[role].traffic[sender] = number
    cell.measures.restore({(at, measure): value for at, measure, value in state.sums})
    cell.results, cell.failures, cell.sample = state.results, state.failures, state.sample
    if cell.fingerprint is not None:
        cell.fingerprint = Fingerprint(int(state.fingerprint or "0", 16))
    cell.mail.outboxes = state.outboxes
    for peer, number in state.sent.items():
        outgoing[peer].next_number = number
        outgoing[peer].unanswered.extend(state.unanswered.get(peer, ()))
    for source, (expected, epoch) in state.received.items():
        incoming[source] = Incoming(expected, epoch)
    return state


def _inbox(resident: Resident) -> list[Message]:
    inbox = resident.inbox
    return [] if inbox is None else list(inbox) if isinstance(inbox, deque) else [inbox]
