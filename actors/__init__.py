"""Agents, the cells that host them, the messages between them, and the swarm that they make."""

from actors.agent import Agent
from actors.card import AgentCard, AgentSkill
from actors.context import Context
from actors.errors import (
    AgentStopped,
    CellLost,
    ConfigurationError,
    DeadlinePassed,
    EffectFailed,
    HandlerFailed,
    InvalidContent,
    MailboxFull,
    SwarmError,
    UnknownAddress,
)
from actors.message import Kind, Message, Part
from actors.plan import JournalSettings, Limits, Plan, Role
from actors.run import Progress, RunResult
from actors.swarm import Swarm
from actors.task import Artifact, Task, TaskState, TaskStatus

__all__ = [
    "Agent",
    "AgentCard",
    "AgentSkill",
    "AgentStopped",
    "Artifact",
    "CellLost",
    "ConfigurationError",
    "Context",
    "DeadlinePassed",
    "EffectFailed",
    "HandlerFailed",
    "InvalidContent",
    "JournalSettings",
    "Kind",
    "Limits",
    "MailboxFull",
    "Message",
    "Part",
    "Plan",
    "Progress",
    "Role",
    "RunResult",
    "Swarm",
    "SwarmError",
    "Task",
    "TaskState",
    "TaskStatus",
    "UnknownAddress",
]
