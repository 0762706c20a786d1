"""What can go wrong with a language model, in a few kinds, each definite or not.

An error is *definite* when no completion was made: nothing was computed or paid for, and asking again is safe. It is
*indefinite* when one may have been made: asking again may be paid for twice (the distinction is Maelstrom's,
https://github.com/jepsen-io/maelstrom, doc/protocol.md). A kind has a usual answer; where one error knows better, such
as a refused connection, it says so itself.

Every error is made of one string and plain values, and survives pickling and copying. No error holds a key: whoever
makes one from a provider's words scrubs them first (`inference/secret.py`).
"""

from typing import Any, ClassVar


class LLMError(Exception):
    """Whatever goes wrong with a language model. `definite` is true if no completion was made."""

    reason: ClassVar[str] = "model"
    definite: bool = True
    transient: ClassVar[bool] = False
    """True if the same request may succeed a little later, so that a retry makes sense."""

    def __init__(self, text: str, *, definite: bool | None = None) -> None:
        super().__init__(text)
        if definite is not None:
            self.definite = definite

    def __reduce__(self) -> tuple[Any, ...]:
        return (_rebuilt, (type(self), str(self), self.__dict__))


def _rebuilt(kind: type[LLMError], text: str, state: dict[str, Any]) -> LLMError:
    error = kind.__new__(kind, text)
    error.args = (text,)
    error.__dict__.update(state)
    return error


class ConfigurationError(LLMError):
    """A model or a limit is described wrongly. The text names the field, the fault and the mend."""

    reason = "configuration"


class ExtraMissing(ConfigurationError):
    """An optional package that this model stands on is not installed; the text names the extra."""

    reason = "extra missing"


class BadRequest(LLMError):
    """The request cannot be carried out by this model, now or later. The text names the field and the mend."""

    reason = "bad request"


class ContextTooLong(LLMError):
    """The prompt does not fit the model's context. Counts are None where the provider does not tell them."""

    reason = "context too long"

    def __init__(
        self, text: str, *, prompt_tokens: int | None = None, limit_tokens: int | None = None
    ) -> None:
        super().__init__(text)
        self.prompt_tokens = prompt_tokens
        self.limit_tokens = limit_tokens


class Refused(LLMError):
    """The model or its provider declined, by a filter or in its answer. The same request is declined again."""

    reason = "refused"
    definite = False


class RateLimited(LLMError):
    """Too many requests or tokens. `wait_s` is how long to wait, None where the provider does not tell."""

    reason = "rate limited"
    transient = True

    def __init__(self, text: str, *, wait_s: float | None = None) -> None:
        super().__init__(text)
        self.wait_s = wait_s


class QueueFull(LLMError):
    """As many requests wait as may wait: back-pressure. Nothing was taken; ask again when some have been answered."""

    reason = "queue full"
    transient = True


class EngineDead(LLMError):
    """The engine died, or its endpoint failed or cannot be reached. Definite only if it never had the request."""

    reason = "engine dead"
    definite = False
    transient = True


class InvalidAnswer(LLMError):
    """The provider answered what its protocol does not allow: broken JSON, a broken stream. It computed something."""

    reason = "invalid answer"
    definite = False
    transient = True


class DeadlinePassed(LLMError):
    """No completion came in time. Definite only if the request was never sent."""

    reason = "deadline passed"
    definite = False


class BudgetExceeded(LLMError):
    """A ceiling in tokens or money does not allow the call. The text names the ceiling and what stands against it.

    `account` is `run`, `role` or `agent`, `unit` is `tokens` or `usd`. `final` is false where it is only what is held
    for calls in flight that stands in the way: when they have settled, the call may be allowed.
    """

    reason = "budget exceeded"

    def __init__(self, text: str, *, account: str = "run", unit: str = "tokens", final: bool = True) -> None:
        super().__init__(text)
        self.account = account
        self.unit = unit
        self.final = final


class RecordingMiss(LLMError):
    """A replay was asked what was not recorded. The text names the difference from the nearest recorded request."""

    reason = "recording miss"


class RecordingBroken(ConfigurationError):
    """A recording cannot be read. The text names the file, the line and the fault."""

    reason = "recording broken"


ERRORS: dict[str, type[LLMError]] = {kind.reason: kind for kind in (BadRequest, ContextTooLong, Refused)}
"""The errors that belong to a request as its completion does: a recording keeps them, and a replay raises them."""
