"""Keys of endpoints: read where they are kept, and struck out of all text that comes back.

Rules:
* A secret is named by its source, `env:NAME` or `file:PATH`, never given as itself, so that configuration files,
  manifests and command lines hold no key.
* Its `repr` and its pickle hold the source alone: another process reads its own environment.
* `scrub` strikes the key out of a text: whatever an endpoint says goes through it before it reaches an error, a
  completion or a log.
"""

import os
from pathlib import Path

from inference.errors import ConfigurationError

_FILE_BYTES = 65_536
STRUCK = "[key]"


class Secret:
    """A key by its source. It is read at once, so that a run does not fail at its first call."""

    __slots__ = ("_key", "_kind", "_place")

    def __init__(self, source: str) -> None:
        kind, _, place = source.partition(":")
        if kind not in ("env", "file") or not place:
            # The text is not repeated: people paste the key itself here.
            raise ConfigurationError("a key is named by its source: give env:NAME or file:PATH, not the key")
        self._kind, self._place = kind, place
        self._key = self._read()

    def reveal(self) -> str:
        """The key itself. For the request's header only."""
        return self._key

    def _read(self) -> str:
        if self._kind == "env":
            key = os.environ.get(self._place, "").strip()
            mend = f"set the environment variable {self._place}"
        else:
            key = self._from_file()
            mend = f"write the key into {self._place}"
        if not key:
            raise ConfigurationError(f"{self} is empty: {mend}")
        if not key.isascii() or not key.isprintable() or " " in key:
            raise ConfigurationError(
                f"{self} is no key: it holds spaces or characters that no header may have"
            )
        return key

    def scrub(self, text: str) -> str:
        """The text without the key."""
        return text.replace(self._key, STRUCK)

    def _from_file(self) -> str:
        try:
            with Path(self._place).open("rb") as file:
                return file.read(_FILE_BYTES).decode("ascii", "replace").strip()
        except OSError as error:
            raise ConfigurationError(f"cannot read {self}: {error.strerror}") from None

    def __repr__(self) -> str:
        return f"the key of {self._kind}:{self._place}"

    def __reduce__(self) -> tuple[type["Secret"], tuple[str]]:
        return (Secret, (f"{self._kind}:{self._place}",))
