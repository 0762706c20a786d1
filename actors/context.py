"""All that an agent can do. One is made for each turn and passed to the agent's handler.

Everything that is not deterministic reaches an agent here and is journaled here, which is what makes a run replayable.

Time is `now`: seconds since the run began in the schedule `free`, the number of the round in `rounds`. A duration given
to `sleep`, `after`, `every` or `ask` is in the same unit: seconds, or rounds (rounded up to a whole one, at least 1).
"""

import logging
from collections.abc import Awaitable, Callable, Generator, Sequence
from typing import TYPE_CHECKING, Any

from actors.errors import SwarmError
from actors.message import Content, Kind, Message, check_text, copy_metadata, frozen, parts_of
from actors.rng import Rng, stream_key

if TYPE_CHECKING:
    from actors.cell import Cell
    from actors.resident import Resident

_logger = logging.getLogger("rayswarm.agent")

# Plain integers, as a message from another cell has them: an agent that keeps a message has the same state either way.
_PLAIN, _ASK, _REPLY = int(Kind.PLAIN), int(Kind.ASK), int(Kind.REPLY)
_START, _STOP = int(Kind.START), int(Kind.STOP)

Effect = Callable[..., Any]
"""A function that reaches the outside world: plain (run in a thread) or `async`."""


class Context:
    """The door between an agent and its world, for one turn."""

    __slots__ = ("_cell", "_resident", "_stream", "message")

    def __init__(self, cell: "Cell", resident: "Resident", message: Message) -> None:
        self._cell = cell
        self._resident = resident
        self._stream: Rng | None = None
        """The agent's random draws, if it drew any in this turn: `rng`."""
        self.message = message
        """The message of this turn."""

    def __await__(self) -> Generator[Any, Any, None]:
        """Waits while the way of what was sent last is congested: what `send` returns is the context itself."""
        wait = self._cell.waiting.wait_for_room(self._resident)
        if wait is not None:
            yield from wait.__await__()

    @property
    def address(self) -> str:
        """The agent's own address."""
        return self._resident.address

    @property
    def now(self) -> float:
        """Seconds since the run began, or in `rounds` the number of the round."""
        return self._cell.now

    @property
    def rng(self) -> Rng:
        """The agent's own stream of random draws, fixed by the run's seed and the agent's address."""
        rng = self._stream
        if rng is None:
            resident = self._resident
            rng = self._stream = Rng(
                stream_key(self._cell.plan.seed, "agent", resident.address), resident.draws
            )
        return rng

    @property
    def neighbours(self) -> Sequence[str]:
        """The agent's neighbours in the topology; none without one."""
        topology = self._cell.plan.topology
        return () if topology is None else topology.neighbours(self._resident.address)

    @property
    def log(self) -> logging.LoggerAdapter[logging.Logger]:
        """A log whose lines carry the run and the agent."""
        extra = {"run": self._cell.plan.run_id, "agent": self._resident.address, "now": self._cell.now}
        return logging.LoggerAdapter(_logger, extra)

    def send(
        self,
        to: str,
        content: Content = None,
        *,
        metadata: dict[str, Any] | None = None,
        context_id: str = "",
        task_id: str = "",
    ) -> Awaitable[None]:
        """Sends a message; it is on its way when this returns. Content is copied.

        May be awaited: then it waits while the way to the recipient is congested. A handler that sends in a long loop
        should. Raises `InvalidContent` for what cannot be encoded, `MailboxFull` if the way has no room at all.
        """
        if context_id != "" or task_id != "":
            check_text(context_id, "context_id")
            check_text(task_id, "task_id")
        resident = self._resident
        resident.sequence = sequence = resident.sequence + 1
        self._cell.mail.route(
            Message(
                resident.address,
                to,
                sequence,
                parts_of(content),
                _PLAIN,
                0,
                context_id,
                task_id,
                None if metadata is None else copy_metadata(metadata),
            )
        )
        return self

    def reply(self, content: Content = None, *, to: Message | None = None) -> Awaitable[None]:
        """Answers this turn's message, or an earlier one that the agent kept. Keeps its context and task ids."""
        asked = self.message if to is None else to
        resident = self._resident
        resident.sequence = sequence = resident.sequence + 1
        self._cell.mail.route(
            Message(
                resident.address,
                asked.sender,
                sequence,
                parts_of(content),
                _REPLY if asked.kind == _ASK else _PLAIN,
                asked.sequence,
                asked.context_id,
                asked.task_id,
            )
        )
        return self

    async def ask(
        self,
        to: str,
        content: Content = None,
        timeout_s: float | None = None,
        *,
        metadata: dict[str, Any] | None = None,
        context_id: str = "",
        task_id: str = "",
    ) -> Message:
        """Sends a message and waits for its answer.

        Raises `DeadlinePassed` after `timeout_s` (in `rounds`, that many rounds; by default `Limits.ask_timeout_s`),
        `UnknownAddress`, `AgentStopped` or `MailboxFull` if it was not delivered, `HandlerFailed` if its handler
        raised.
        """
        if context_id != "" or task_id != "":
            check_text(context_id, "context_id")
            check_text(task_id, "task_id")
        resident = self._resident
        resident.sequence = sequence = resident.sequence + 1
        message = Message(
            resident.address,
            to,
            sequence,
            parts_of(content),
            _ASK,
            0,
            context_id,
            task_id,
            None if metadata is None else copy_metadata(metadata),
        )
        wait = self._cell.waiting.expect(resident, sequence, timeout_s)
        try:
            self._cell.mail.route(message)
        except BaseException:
            self._cell.waiting.abandon(wait)
            raise
        answer: Message = await wait
        return answer

    def broadcast(self, role: str, content: Content = None) -> Awaitable[None]:
        """Sends one message to every agent of a role but oneself."""
        return self.send(f"{role}/*", content)

    def broadcast_neighbours(self, content: Content = None) -> Awaitable[None]:
        """Sends a message to each neighbour in the topology."""
        resident = self._resident
        parts = parts_of(content)
        for neighbour in self.neighbours:
            resident.sequence = sequence = resident.sequence + 1
            self._cell.mail.route(frozen(Message(resident.address, neighbour, sequence, parts)))
        return self

    def spawn(self, role: str, key: str | int | None = None, **parameters: Any) -> str:
        """Makes an agent of a role and returns its address; one that exists already stays as it is.

        `key` is the part of the address after the role; by default one made of the spawner's address and a count.
        `parameters` go to its constructor, over those of the role, and must be sendable. Raises `UnknownAddress` for an
        unknown role.
        """
        resident = self._resident
        resident.sequence = sequence = resident.sequence + 1
        if key is None:
            key = f"{resident.address.replace('/', '.')}.{sequence}"
        address = self._cell.checked_spawn(role, str(key))
        self._cell.mail.route(Message(resident.address, address, sequence, parts_of(parameters), _START))
        return address

    def stop(self, address: str | None = None) -> None:
        """Stops an agent, by default oneself, after the messages that it already has."""
        resident = self._resident
        resident.sequence = sequence = resident.sequence + 1
        self._cell.mail.route(Message(resident.address, address or resident.address, sequence, (), _STOP))

    def sleep(self, duration: float) -> Awaitable[None]:
        """Await it to wait. Other agents run meanwhile."""
        return self._cell.waiting.set_alarm(self._resident, duration)

    def after(self, duration: float, content: Content = None) -> int:
        """Sends `content` to oneself after a while. Returns the timer's number, for `cancel`."""
        return self._cell.waiting.set_timer(self._resident, duration, parts_of(content), repeats=False)

    def every(self, period: float, content: Content = None) -> int:
        """Sends `content` to oneself again and again. Returns the timer's number, for `cancel`."""
        return self._cell.waiting.set_timer(self._resident, period, parts_of(content), repeats=True)

    def cancel(self, timer: int) -> bool:
        """Cancels a timer of `after` or `every`. False if it is not set."""
        return self._cell.waiting.cancel_timer(self._resident, timer)

    def effect(self, function: Effect, *arguments: Any) -> Awaitable[Any]:
        """Calls the outside world: a plain function in a thread, or an async one. Await it for the result.

        The result is journaled (it must be plain data: see `actors.state`) and comes from the journal when the run is
        replayed or recovered: then the function is not called again. Raises `EffectFailed` with the text of what it
        raised.
        """
        return self._cell.waiting.start_effect(self._resident, function, arguments)

    def record(self, measure: str, value: float) -> None:
        """Adds a value to a measure of the experiment, at the present time."""
        if type(measure) is not str or not measure.isascii():
            check_text(measure, "the name of a measure")
        self._cell.measures.record(int(self._cell.now), measure, float(value))

    def result(self, name: str, value: Any) -> None:
        """Leaves a result for the report: plain JSON-like data. The last one of a name stands."""
        self._cell.leave_result(self._resident.address, name, value)

    def find(self, skill: str) -> Sequence[str]:
        """The declared agents whose card offers a skill, by its id, name or one of its tags; in order of role."""
        return self._cell.find(skill)

    @property
    def llm(self) -> Any:
        """The language model of this agent. Raises if the plan names none."""
        return self._seat("llm")

    @property
    def tools(self) -> Any:
        """The tools of this agent. Raises if the plan names none."""
        return self._seat("tools")

    @property
    def memory(self) -> Any:
        """The shared memory. Raises if the plan names none."""
        return self._seat("memory")

    def _seat(self, name: str) -> Any:
        seat = self._cell.plan.seats.get(name)
        if seat is None:
            raise SwarmError(
                f"{self.address}: this swarm has no {name}. Give one in the plan: seats={{'{name}': function}}, "
                f"which is called with the context."
            )
        return seat(self)
