"""The errors of a swarm, each saying whether what was asked for may have happened.

An error is *definite* when it did not happen and asking again is safe, *indefinite* when it may have happened and
asking again may do it twice (the distinction is Maelstrom's, https://github.com/jepsen-io/maelstrom, doc/protocol.md).

Every error is made of one string and survives pickling, so it crosses process boundaries as what it is.
"""

from typing import ClassVar


class SwarmError(Exception):
    """Whatever goes wrong in a swarm. `definite` is true if what was asked for did not happen."""

    definite: ClassVar[bool] = True
    reason: ClassVar[str] = "error"


class UnknownAddress(SwarmError):
    """No such role, or no such agent in it: nothing was delivered."""

    reason = "unknown address"


class AgentStopped(SwarmError):
    """The agent has stopped or crashed: the message was not handled."""

    reason = "agent stopped"


class MailboxFull(SwarmError):
    """The recipient's mailbox, or the way to it, holds as much as it may: the message was not taken."""

    reason = "mailbox full"


class DeadlinePassed(SwarmError):
    """No answer came in time. The message may have been handled, or may yet be."""

    definite = False
    reason = "deadline passed"


class HandlerFailed(SwarmError):
    """The recipient's handler raised; what it did before stands. The text has agent, message id and traceback."""

    definite = False
    reason = "handler failed"


class EffectFailed(SwarmError):
    """A call to the outside world raised. It may have happened."""

    definite = False
    reason = "effect failed"


class CellLost(SwarmError):
    """A cell died and could not be recovered: what its agents did since their last checkpoint is gone."""

    definite = False
    reason = "cell lost"


class InvalidContent(SwarmError):
    """The content of a message or the state of an agent cannot be encoded. Nothing was sent."""

    reason = "invalid content"


class ConfigurationError(SwarmError):
    """A swarm was described wrongly. The text names the field, the fault and the mend."""

    reason = "configuration"


FAILURES: dict[str, type[SwarmError]] = {
    kind.reason: kind
    for kind in (
        UnknownAddress,
        AgentStopped,
        MailboxFull,
        DeadlinePassed,
        HandlerFailed,
        EffectFailed,
        CellLost,
    )
}
"""The errors that travel back to a sender as a message, by the reason that names them on the wire."""
