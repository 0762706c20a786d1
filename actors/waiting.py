"""What the agents of a cell wait for: answers, timers, calls to the outside, and room on the way.

Each wait ends exactly once, in a call that writes the entry that makes it end in a replay too. Deadlines and alarms are
timers of the cell; an ask that is answered removes its deadline, so nothing is left behind.
"""

import math
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import msgspec

from actors.entry import Answered, Finished, Fired, Held, Released
from actors.errors import FAILURES, AgentStopped, DeadlinePassed, EffectFailed, SwarmError
from actors.message import Kind, Message, Part, frozen
from actors.resident import HELD, Resident
from actors.state import decode_state
from actors.timer import TimerQueue
from actors.turn import Turn, Wait

if TYPE_CHECKING:
    from actors.cell import Cell
    from actors.faults import FaultInjector

TICKS_PER_S = 1000
ANYWHERE = -1
"""The cell for which an agent waits that was held when a journal was written, if the journal does not say."""


class Timer(msgspec.Struct, frozen=True, tag=True):
    """A message to oneself, later; again and again if it has a period."""

    address: str
    number: int
    parts: tuple[Part, ...]
    period: float | None

    @property
    def key(self) -> tuple[str, int]:
        """Its name among the timers of a tick."""
        return (self.address, self.number)


class Delayed(msgspec.Struct, frozen=True, tag=True):
    """A message that a fault of the experiment holds back, or several copies of it."""

    messages: tuple[Message, ...]

    @property
    def key(self) -> tuple[str, int, str]:
        """Its name among the timers of a tick."""
        message = self.messages[0]
        return (message.sender, message.sequence, message.recipient)


class Crash(msgspec.Struct, frozen=True, tag=True):
    """An agent goes down, by a fault of the experiment, or comes back."""

    rule: int
    down: bool

    @property
    def key(self) -> tuple[str, int]:
        """Its name among the timers of a tick."""
        return ("", 2 * self.rule + self.down)


Due = Wait | Timer | Delayed | Crash


class Waiting:
    """All waits of a cell."""

    def __init__(self, cell: "Cell") -> None:
        self._cell = cell
        self.timers: TimerQueue[Due] = TimerQueue()
        self.asks: dict[tuple[str, int], Wait] = {}
        self.effects: dict[tuple[str, int], Wait] = {}
        self.bridged: set[Turn] = set()
        """Suspended turns that use asyncio."""
        self.resting: set[str] = set()
        """Agents that were put to rest in the checkpoint store."""
        self._timer_at: dict[tuple[str, int], int] = {}
        self._held: dict[int, list[Resident]] = {}
        self._rooms: dict[int, list[Wait]] = {}

    def is_resting(self, address: str) -> bool:
        """True if the agent has a state in the checkpoint store."""
        return address in self.resting

    def outside(self) -> bool:
        """True while a turn waits for the outside world, which may answer within the present round."""
        return bool(self.effects) or any(turn.cell_waits == 0 for turn in self.bridged)

    # --- timers ------------------------------------------------------------------------------------------------

    def tick_after(self, duration: float) -> int:
        """The tick at which a duration from now is over."""
        if not duration >= 0.0 or math.isinf(duration):
            raise SwarmError(f"a duration is a number of 0 or more, not {duration}")
        if self._cell.rounds:
            return int(self._cell.now) + max(1, math.ceil(duration))
        return math.ceil((self._cell.now + duration) * TICKS_PER_S)

    def tick_now(self) -> int:
        """The present tick."""
        return int(self._cell.now) if self._cell.rounds else int(self._cell.now * TICKS_PER_S)

    def set_alarm(self, resident: Resident, duration: float) -> Wait:
        """Ends after a duration."""
        resident.sequence += 1
        key = (resident.address, resident.sequence)
        wait = Wait(self._cell, resident, key)
        wait.tick = self.tick_after(duration)
        self.timers.add(wait.tick, key, wait)
        return wait

    def set_timer(
        self, resident: Resident, duration: float, parts: tuple[Part, ...], *, repeats: bool
    ) -> int:
        """Sends parts to the agent itself after a duration; returns a number for `cancel_timer`."""
        if repeats and duration <= 0.0:
            raise SwarmError(f"a period must be more than 0, not {duration}")
        tick = self.tick_after(duration)
        resident.sequence += 1
        number = resident.sequence
        self.timers.add(
            tick,
            (resident.address, number),
            Timer(resident.address, number, parts, duration if repeats else None),
        )
        self._timer_at[resident.address, number] = tick
        return number

    def cancel_timer(self, resident: Resident, number: int) -> bool:
        """Cancels a timer; False if it is not set."""
        key = (resident.address, number)
        tick = self._timer_at.pop(key, None)
        return tick is not None and self.timers.remove(tick, key) is not None

    def delay(self, message: Message, duration: float) -> None:
        """Lets a message set out later."""
        key = (message.sender, message.sequence, message.recipient)
        tick = self.tick_after(duration)
        held = self.timers.get(tick, key)
        messages = (*held.messages, message) if isinstance(held, Delayed) else (message,)
        self.timers.add(tick, key, Delayed(messages))

    def restore_timers(self, pending: Iterable[tuple[int, Timer | Delayed | Crash]]) -> None:
        """Sets the timers of a checkpoint again."""
        for tick, item in pending:
            self.timers.add(tick, item.key, item)
            if isinstance(item, Timer):
                self._timer_at[item.key] = tick

    def fire(self, tick: int) -> list[Message]:
        """Fires what is due. Returns messages of agents to themselves, which are due now, in order."""
        messages: list[Message] = []
        ready = self._cell.ready
        for at, item in self.timers.due(tick):
            if isinstance(item, Wait):
                ready.append(item)
            else:
                message = self.carry_out(at, item)
                if message is not None:
                    messages.append(message)
        return messages

    def ring(self, tick: int, wait: Wait) -> None:
        """A sleeper goes on, or an ask meets its deadline."""
        if wait.over or wait.outcome is not None or (wait.is_ask and self.asks.pop(wait.key, None) is None):
            return
        address, number = wait.key
        if self._cell.log is not None:
            self._cell.log.append(Fired(tick, address, number))
        if wait.is_ask:
            now = self._cell.now
            self.end(wait, None, DeadlinePassed(f"{address}: no answer to {address}#{number} by {now:g}"))
        else:
            self.end(wait, None, None)

    def carry_out(self, tick: int, item: Timer | Delayed | Crash) -> Message | None:
        """A timer that is not a wait fires. Returns the message if it is one of an agent to itself."""
        cell = self._cell
        if cell.log is not None:
            cell.log.append(Fired(tick, *item.key))
        if isinstance(item, Delayed):
            for message in item.messages:
                cell.mail.dispatch(message)
            return None
        if isinstance(item, Crash):
            self._crash(item)
            return None
        self._timer_at.pop(item.key, None)
        resident = cell.mail.residents.get(item.address)
        if resident is None and self.is_resting(item.address):
            resident = cell.mail.settle(item.address)
        if resident is None:
            return None
        if item.period is not None:
            again = self._timer_at[item.key] = self.tick_after(item.period)
            self.timers.add(again, item.key, item)
        if cell.dirty is not None:
            cell.dirty.add(item.address)
        if cell.mail.injector is not None and cell.mail.injector.crashed(item.address, cell.now):
            return None
        resident.sequence += 1
        cell.counts["timers"] += 1
        return frozen(Message(item.address, item.address, resident.sequence, item.parts))

    # --- asks --------------------------------------------------------------------------------------------------

    def expect(self, resident: Resident, sequence: int, timeout_s: float | None) -> Wait:
        """Waits for the answer to a message, up to a deadline."""
        key = (resident.address, sequence)
        wait = self.asks[key] = Wait(self._cell, resident, key)
        limit = self._cell.plan.limits.ask_timeout_s if timeout_s is None else timeout_s
        wait.tick = self.tick_after(limit)
        wait.is_ask = True
        self.timers.add(wait.tick, key, wait)
        return wait

    def answer(self, resident: Resident, message: Message) -> bool:
        """Takes a message as the answer to an ask, if it is one."""
        wait = self.asks.pop((resident.address, message.reply_to), None)
        if wait is None:
            return False
        self.timers.remove(wait.tick, wait.key)
        self._cell.ready.append((self.answered, wait, message))
        return True

    def answered(self, wait: Wait, message: Message) -> None:
        """The agent that asked goes on with the answer."""
        cell, resident = self._cell, wait.resident
        if wait.over:
            return
        if cell.log is not None:
            cell.log.append(Answered(resident.address, frozen(message)))
        cell.observe(resident, message)
        if message.kind == Kind.FAILURE:
            self.end(wait, None, self.error_in(message))
        else:
            self.end(wait, message, None)

    def error_in(self, message: Message) -> SwarmError:
        """The error that a failure notice carries."""
        data = message.data if isinstance(message.data, dict) else {}
        kind = FAILURES.get(data.get("reason", ""), SwarmError)
        return kind(data.get("text", "unknown failure"))

    # --- calls to the outside ----------------------------------------------------------------------------------

    def start_effect(self, resident: Resident, function: Any, arguments: tuple[Any, ...]) -> Wait:
        """Calls the outside world."""
        resident.sequence += 1
        key = (resident.address, resident.sequence)
        wait = self.effects[key] = Wait(self._cell, resident, key)
        wait.effect = (function, arguments)
        self._cell.hooks.run_effect(wait)
        return wait

    def effect_done(self, wait: Wait, value: bytes, error: str) -> None:
        """The host reports the end of a call: an encoded value, or an error's text."""
        self._cell.ready.append((self.finish_effect, wait, value, error))
        self._cell.hooks.wake()

    def finish_effect(self, wait: Wait, value: bytes, error: str) -> None:
        """The agent goes on with what came from outside."""
        if self.effects.pop(wait.key, None) is None:
            return
        cell = self._cell
        address, number = wait.key
        if cell.log is not None:
            cell.log.append(Finished(address, number, value, error))
        if error:
            self.end(wait, None, EffectFailed(error))
        else:
            self.end(wait, decode_state(value), None)

    # --- room on the way ---------------------------------------------------------------------------------------

    def wait_for_room(self, resident: Resident) -> Wait | None:
        """Waits while the way is congested; None if it is not."""
        cell = self._cell
        if cell.rounds:
            return None
        recorded = cell.hooks.held_next(resident.address, resident.sequence)
        target = cell.mail.congested
        if (recorded is None and target is None) or recorded is False:
            return None
        if cell.log is not None:
            cell.log.append(Held(resident.address, resident.sequence))
        wait = Wait(cell, resident, (resident.address, resident.sequence))
        self._rooms.setdefault(ANYWHERE if target is None else target, []).append(wait)
        cell.mail.congested = None
        return wait

    def hold_back(self, resident: Resident) -> None:
        """The agent sent into a congested way: its next turn waits for room."""
        target = self._cell.mail.congested
        self._cell.mail.congested = None
        if target is not None and self._cell.hooks.held_next(resident.address, 0) is None:
            resident.turn = HELD
            self._held.setdefault(target, []).append(resident)

    def holds(self) -> bool:
        """True if anybody waits for room."""
        return bool(self._held or self._rooms)

    def needs_others(self) -> bool:
        """True if anybody waits for what may only come from another cell: room there, or an answer."""
        return bool(self.asks) or self.holds()

    def make_room(self, target: int) -> None:
        """The way to a cell has room again: whoever waits for it goes on."""
        cell = self._cell
        for resident in self._held.pop(target, ()):
            if resident.turn is HELD:
                resident.turn = None
                if resident.inbox is not None:
                    cell.ready.append(resident)
        for wait in self._rooms.pop(target, ()):
            cell.ready.append((self.release, wait))

    def release(self, wait: Wait) -> None:
        """An agent that waited for room goes on."""
        if self._cell.log is not None:
            self._cell.log.append(Released(wait.resident.address))
        self.end(wait, None, None)

    def release_agent(self, address: str) -> bool:
        """While replaying: the agent at an address goes on. False if it does not wait."""
        for target, waits in self._rooms.items():
            for wait in waits:
                if wait.resident.address == address:
                    waits.remove(wait)
                    if not waits:
                        del self._rooms[target]
                    self.release(wait)
                    return True
        return False

    # --- ends --------------------------------------------------------------------------------------------------

    def end(self, wait: Wait, value: Any, error: BaseException | None) -> None:
        """Ends a wait: the handler, or the asyncio task, that waits goes on. Awaited again, it gives the same."""
        wait.outcome = (value, error)
        if wait.future is not None:
            if not wait.future.done():
                if error is None:
                    wait.future.set_result(value)
                else:
                    wait.future.set_exception(error)
        elif wait.turn is not None:
            self._cell.stepper.step(wait.turn, value, error)

    def abandon(self, wait: Wait) -> None:
        """Nobody waits for it any more: what would have ended it is taken back."""
        if wait.outcome is None:
            wait.outcome = (None, AgentStopped(f"{wait.resident.address} waits no longer"))
        if wait.tick >= 0:
            self.asks.pop(wait.key, None)
            self.timers.remove(wait.tick, wait.key)

    # --- crashes -----------------------------------------------------------------------------------------------

    def schedule_crashes(self, injector: "FaultInjector") -> None:
        """Sets timers for the crashes of the experiment that are still to come."""
        now = self.tick_now()
        for rule, crash in enumerate(injector.crashes()):
            if (tick := self._tick_at(crash.at)) >= now:
                self._add_crash(tick, Crash(rule, down=True))
            if crash.end is not None and (tick := self._tick_at(crash.end)) >= now:
                self._add_crash(tick, Crash(rule, down=False))

    def _add_crash(self, tick: int, crash: Crash) -> None:
        self.timers.add(tick, crash.key, crash)

    def unschedule_crashes(self) -> None:
        """Takes back the timers of crashes."""
        for tick, key, item in self.timers.pending():
            if isinstance(item, Crash):
                self.timers.remove(tick, key)

    def _tick_at(self, time: float) -> int:
        return math.ceil(time) if self._cell.rounds else math.ceil(time * TICKS_PER_S)

    def _crash(self, item: Crash) -> None:
        cell = self._cell
        assert cell.mail.injector is not None
        outage = cell.mail.injector.crashes()[item.rule]
        for address in cell.local_addresses():
            if outage.selects(address):
                if item.down:
                    cell.bring_down(address, keep_state=outage.keep_state)
                elif not cell.mail.injector.crashed(address, cell.now):
                    cell.restart(address)

    def forget(self, turn: Turn) -> None:
        """The turn is over before its waits are: they end without it."""
        if turn.bridge is not None:
            self.bridged.discard(turn)
            turn.bridge.end()
        for waits in (self.asks, self.effects):
            for key in [key for key, wait in waits.items() if wait.resident is turn.resident]:
                self.abandon(waits.pop(key))
        if turn.wait is not None:
            turn.wait.turn = None
            turn.wait.outcome = (None, AgentStopped(f"{turn.resident.address} crashed"))
