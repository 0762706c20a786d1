"""An error as plain values, on its way between processes, and the error again at the other end."""

import msgspec

from inference import errors
from inference.errors import EngineDead, LLMError

KINDS: dict[str, type[LLMError]] = {
    kind.reason: kind
    for kind in vars(errors).values()
    if isinstance(kind, type) and issubclass(kind, LLMError)
}
"""Errors by reason."""


class Failure(msgspec.Struct, frozen=True, array_like=True):
    """An error as plain values."""

    reason: str
    text: str
    definite: bool
    state: dict[str, int | float | bool | str | None] = {}

    @classmethod
    def of(cls, error: LLMError) -> "Failure":
        """An error's. Values that are not plain are left out."""
        plain = (int, float, bool, str, type(None))
        state = {name: value for name, value in vars(error).items() if isinstance(value, plain)}
        return cls(error.reason, str(error), error.definite, state)

    def error(self) -> LLMError:
        """The error. One of a kind that this version does not know is an `EngineDead`, as definite as it was."""
        kind = KINDS.get(self.reason)
        if kind is None:
            return EngineDead(f"{self.reason}: {self.text}", definite=self.definite)
        error = kind(self.text)
        error.__dict__.update(self.state)
        error.definite = self.definite
        return error
