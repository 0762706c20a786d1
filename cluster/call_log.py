"""The log of a trial's calls to its model: a file of JSON Lines, from which what was spent is known after any crash.

    {"type": "asked", ...}    before a call is sent, with what it may use
    {"type": "ended", ...}    when it has ended: what came of it, what it used, how long it took, what it is charged
    {"type": "again", ...}    somebody had an answer that was made before

Rules:
* A line is one write to the end of the file, so what was written survives the death of the process.
* A call that was asked and never ended may have been answered and paid for. It is charged what it might use, unless its
  answer is in the recording.
* A torn last line is left out.
* One process has the log at a time: two that count apart would both stay below a ceiling that they break together.
"""

import fcntl
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Self

import msgspec

from actors.errors import ConfigurationError
from inference.completion import Completion

FILE = "calls.jsonl"
_LOCK_TRIES = 50
_LOCK_PAUSE_S = 0.1
ANSWERED = "answered"
LOST = "lost"
"""The outcome of a call that was under way when the process that asked it died."""


class Asked(msgspec.Struct, frozen=True, omit_defaults=True, tag="asked"):
    """A call is about to be sent."""

    key: str
    agent: str
    role: str
    tokens: int = 0
    """What it may use; 0 where nothing is limited."""
    usd: float = 0.0


class Ended(msgspec.Struct, frozen=True, omit_defaults=True, tag="ended"):
    """A call has ended, or was refused before it was sent."""

    key: str
    agent: str
    role: str
    outcome: str = ANSWERED
    """Or why there is no answer: the reason of an error, or `lost`."""
    prompt_tokens: int = 0
    completion_tokens: int = 0
    cached_tokens: int | None = None
    estimated: bool = False
    cost_usd: float | None = None
    charged_tokens: int = 0
    charged_usd: float = 0.0
    queue_s: float | None = None
    total_s: float | None = None

    def of(self, completion: Completion, total_s: float | None) -> Self:
        """This, with what a completion says."""
        usage = completion.usage
        return msgspec.structs.replace(
            self,
            prompt_tokens=usage.prompt_tokens,
            completion_tokens=usage.completion_tokens,
            cached_tokens=usage.cached_tokens,
            estimated=usage.estimated,
            cost_usd=completion.cost_usd,
            queue_s=completion.timing.queue_s,
            total_s=total_s,
        )


class Again(msgspec.Struct, frozen=True, omit_defaults=True, tag="again"):
    """An answer, or an error that belongs to the request, that was there already."""

    key: str
    agent: str
    role: str


Line = Asked | Ended | Again
_decoder = msgspec.json.Decoder(Line)
_encoder = msgspec.json.Encoder()


class CallLog:
    """A log that is written to."""

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._file = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o644)
        try:
            self._lock(path)
            os.ftruncate(self._file, sum(len(line) for line in _raw_lines(path)))
        except BaseException:
            self.close()
            raise

    def _lock(self, path: Path) -> None:
        # The process that is replaced may take a moment to die.
        for _ in range(_LOCK_TRIES):
            try:
                fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                return
            except BlockingIOError:
                time.sleep(_LOCK_PAUSE_S)
        raise ConfigurationError(f"{path}: another process writes to it. Wait for it, or end it")

    def append(self, line: Line) -> None:
        """Writes a line."""
        data = _encoder.encode(line) + b"\n"
        if os.write(self._file, data) < len(data):
            raise OSError(f"the log of calls cannot be written: the disk is full ({len(data)} bytes)")

    def close(self) -> None:
        """Closes the file. It may be called twice."""
        if self._file >= 0:
            file, self._file = self._file, -1
            os.close(file)


def lines_of(path: Path) -> Iterator[Line]:
    """The lines of a log; none if there is no file. Raises `ConfigurationError` for one that is spoilt."""
    for number, line in enumerate(_raw_lines(path), start=1):
        try:
            yield _decoder.decode(line)
        except msgspec.MsgspecError as error:
            raise ConfigurationError(
                f"{path}:{number}: {error}. What was spent is not known: restore the file, or run with --fresh"
            ) from None


def _raw_lines(path: Path) -> Iterator[bytes]:
    """Those that are whole."""
    if path.exists():
        with path.open("rb") as file:
            for line in file:
                if line.endswith(b"\n"):
                    yield line
