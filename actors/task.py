"""A2A tasks: a unit of work, from submission to one of four ends.

The fields and states are those of `Task` in the Agent2Agent protocol, version 1.0 (`specification/a2a.proto`). The
protocol names the states and says which are terminal; which may follow which is settled here, in `TRANSITIONS`.

Rules:
* A task is immutable. `advanced`, `with_artifact` and `with_message` return the next one; there is no clock in here.
* A terminal state is final: nothing follows it, not even an artifact. Work goes on in a new task of the same context.
* Each message is in the task once: that of the status moves to the history when the next status takes its place.
* On the wire a task is a MessagePack array, its fields in order, as a message is.
"""

from collections.abc import Mapping
from datetime import UTC, datetime
from enum import StrEnum
from types import MappingProxyType
from typing import Any, ClassVar

import msgspec

from actors.errors import InvalidContent, SwarmError
from actors.message import Message, Part


class IllegalTransition(SwarmError):
    """A task was to go where its state does not lead. The text names both states and what may follow."""

    reason: ClassVar[str] = "illegal transition"


class TaskState(StrEnum):
    """Where a task stands. The order is that of the protocol's numbers, from 0."""

    UNSPECIFIED = "TASK_STATE_UNSPECIFIED"
    SUBMITTED = "TASK_STATE_SUBMITTED"
    WORKING = "TASK_STATE_WORKING"
    COMPLETED = "TASK_STATE_COMPLETED"
    FAILED = "TASK_STATE_FAILED"
    CANCELED = "TASK_STATE_CANCELED"
    INPUT_REQUIRED = "TASK_STATE_INPUT_REQUIRED"
    """Waits for an answer, of a person or of another agent."""
    REJECTED = "TASK_STATE_REJECTED"
    AUTH_REQUIRED = "TASK_STATE_AUTH_REQUIRED"

    @property
    def is_terminal(self) -> bool:
        """True if nothing can follow."""
        return not TRANSITIONS[self]

    @property
    def is_interrupted(self) -> bool:
        """True if the task waits for somebody outside it."""
        return self in (TaskState.INPUT_REQUIRED, TaskState.AUTH_REQUIRED)


_ENDS = frozenset({TaskState.COMPLETED, TaskState.FAILED, TaskState.CANCELED, TaskState.REJECTED})
_UNDER_WAY = frozenset({TaskState.WORKING, TaskState.INPUT_REQUIRED, TaskState.AUTH_REQUIRED}) | _ENDS

TRANSITIONS: Mapping[TaskState, frozenset[TaskState]] = MappingProxyType(
    {
        # A task whose state a peer did not tell may turn out to be in any.
        TaskState.UNSPECIFIED: _UNDER_WAY | {TaskState.SUBMITTED},
        TaskState.SUBMITTED: _UNDER_WAY,
        # Progress is told by the same state again, with another message; so is a second question.
        TaskState.WORKING: _UNDER_WAY,
        TaskState.INPUT_REQUIRED: _UNDER_WAY,
        TaskState.AUTH_REQUIRED: _UNDER_WAY,
        **dict.fromkeys(_ENDS, frozenset[TaskState]()),
    }
)
"""The states that may follow each state. An agent may reject at any time, also after it began to work."""


class TaskStatus(msgspec.Struct, frozen=True, gc=False, array_like=True):
    """The state of a task, since when, and what was said about it."""

    state: TaskState
    message: Message | None = None
    timestamp: str = ""
    """RFC 3339 in UTC (see `rfc3339`), to the nanosecond if a peer gave as much; empty if not given."""


class Artifact(msgspec.Struct, frozen=True, gc=False, array_like=True):
    """A result of a task."""

    artifact_id: str
    """Unique within its task."""
    parts: tuple[Part, ...]
    name: str = ""
    description: str = ""
    metadata: dict[str, Any] | None = None
    extensions: tuple[str, ...] = ()


class Task(msgspec.Struct, frozen=True, gc=False, array_like=True):
    """A unit of work: its state, what was said and what came of it."""

    id: str
    context_id: str
    status: TaskStatus = TaskStatus(TaskState.SUBMITTED)
    artifacts: tuple[Artifact, ...] = ()
    history: tuple[Message, ...] = ()
    metadata: dict[str, Any] | None = None

    @property
    def state(self) -> TaskState:
        """The state of the status."""
        return self.status.state

    def advanced(self, state: TaskState, message: Message | None = None, timestamp: str = "") -> "Task":
        """The task in its next state. Raises `IllegalTransition` if that state may not follow."""
        allowed = TRANSITIONS[self.state]
        if state not in allowed:
            self._check_open(f"{state} cannot follow")
            raise IllegalTransition(
                f"task {self.id!r}: {state} cannot follow {self.state}. "
                f"These can: {', '.join(s for s in TaskState if s in allowed)}."
            )
        history = self.history if self.status.message is None else (*self.history, self.status.message)
        return msgspec.structs.replace(self, status=TaskStatus(state, message, timestamp), history=history)

    def with_message(self, message: Message) -> "Task":
        """The task with one more message in its history. Raises `IllegalTransition` if the task has ended."""
        self._check_open("no message can be added")
        return msgspec.structs.replace(self, history=(*self.history, message))

    def with_artifact(self, artifact: Artifact, append: bool = False) -> "Task":
        """The task with an artifact: a new one, or in place of the one with its id.

        With `append`, the parts are added to those of the artifact with this id. Raises `InvalidContent` if there is
        none, and `IllegalTransition` if the task has ended.
        """
        self._check_open("no artifact can be added")
        known = {old.artifact_id: old for old in self.artifacts}
        old = known.get(artifact.artifact_id)
        if append:
            if old is None:
                raise InvalidContent(
                    f"task {self.id!r}: there is no artifact {artifact.artifact_id!r} to append to, only "
                    f"{', '.join(map(repr, known)) or 'none at all'}. Give its first parts without append."
                )
            artifact = msgspec.structs.replace(old, parts=old.parts + artifact.parts)
        known[artifact.artifact_id] = artifact
        return msgspec.structs.replace(self, artifacts=tuple(known.values()))

    def _check_open(self, consequence: str) -> None:
        if self.state.is_terminal:
            raise IllegalTransition(
                f"task {self.id!r}: it ended as {self.state}, which is final: {consequence}. "
                f"Go on in a new task of context {self.context_id!r}."
            )


encode = msgspec.msgpack.Encoder().encode
"""Encodes a task, or any part of one, as MessagePack."""

_decode_task = msgspec.msgpack.Decoder(Task).decode


def decode(data: bytes) -> Task:
    """The task in `data`. Raises `msgspec.DecodeError` (or its `ValidationError`) for anything else."""
    return _decode_task(data)


def rfc3339(moment: datetime) -> str:
    """A moment as `TaskStatus.timestamp` holds it: in UTC, to the microsecond where there are any.

    Raises `InvalidContent` for a moment without a time zone, which would mean another time on another machine.
    """
    if moment.tzinfo is None:
        raise InvalidContent(
            f"the moment {moment} has no time zone. Give it one: moment.replace(tzinfo=UTC)."
        )
    return moment.astimezone(UTC).replace(tzinfo=None).isoformat() + "Z"
