"""What a budget has spent, in a file: so that a service that starts again goes on from there.

Rules:
* A file of JSON Lines: a header, then a line for each reservation (`+`) and for its end (`-`), each one write to the
  end. A reservation without an end is charged in full when the file is read: its call may have happened.
* Lines reach the operating system at once and the disk when it likes: a process that dies loses nothing, a machine
  that stops may lose the last seconds.
* One process has the file at a time: another is refused, since two that count apart would both stay below a ceiling
  that they break together.
* A torn last line is cut, and charged nothing: the call that it was to reserve was never made.
"""

import fcntl
import logging
import os
from pathlib import Path

import msgspec

from inference.errors import ConfigurationError

FORMAT = "rayswarm-ledger"
VERSION = 1
LINE_BYTES = 65_536

log = logging.getLogger("rayswarm")


class LedgerLocked(ConfigurationError):
    """Another process has the ledger."""


class Entry(msgspec.Struct, frozen=True, array_like=True):
    """A line: `+` holds, `-` ends. Money in billionths of a dollar."""

    sign: str
    number: int
    tokens: int
    billionths: int
    role: str = ""
    agent: str = ""


class _Header(msgspec.Struct):
    format: str = FORMAT
    version: int = VERSION


class Ledger:
    """The file. `spent` is what stood in it when it was opened: (role, agent) to [tokens, billionths of a dollar]."""

    def __init__(self, path: Path, *, must_exist: bool = False) -> None:
        """`must_exist` for a service that starts again: elsewhere its ledger may not be at hand."""
        self.path = path
        self.spent: dict[tuple[str, str], list[int]] = {}
        self._number = 0
        flags = os.O_RDWR | os.O_APPEND | os.O_CLOEXEC | (0 if must_exist else os.O_CREAT)
        try:
            if not must_exist:
                path.parent.mkdir(parents=True, exist_ok=True)
            self._file = os.open(path, flags, 0o644)
        except OSError as error:
            raise ConfigurationError(
                f"cannot open the ledger {path}: {error.strerror}. A budget goes on only from its ledger: give a path "
                f"that all nodes share, or mend this one"
            ) from None
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            self._read()
        except BlockingIOError:
            self.close()
            raise LedgerLocked(
                f"another process has the ledger {path}: end it there, or give this run a ledger of its own"
            ) from None
        except BaseException:
            self.close()
            raise

    def hold(self, role: str, agent: str, tokens: int, billionths: int) -> int:
        """A call is to be made. Returns its number."""
        self._number += 1
        self._write(Entry("+", self._number, tokens, billionths, role, agent))
        return self._number

    def end(self, number: int, tokens: int, billionths: int) -> None:
        """A call used so much. Where that cannot be written its reservation stands, which errs on the safe side."""
        try:
            self._write(Entry("-", number, tokens, billionths))
        except ConfigurationError as error:
            log.warning("%s: a call stays charged with what it reserved", error)

    def close(self) -> None:
        """Writes through to the disk, and lets the file go. It may be called twice."""
        if self._file >= 0:
            file, self._file = self._file, -1
            try:
                os.fsync(file)
            finally:
                os.close(file)

    def _write(self, entry: Entry) -> None:
        line = msgspec.json.encode(entry) + b"\n"
        try:
            written = os.write(self._file, line)
        except OSError as error:
            raise ConfigurationError(f"cannot write to the ledger {self.path}: {error.strerror}") from None
        if written < len(line):
            os.ftruncate(self._file, os.fstat(self._file).st_size - written)
            raise ConfigurationError(f"cannot write to the ledger {self.path}: the disk is full")

    def _read(self) -> None:
        held: dict[int, Entry] = {}
        end = 0
        with os.fdopen(os.dup(self._file), "rb") as file:
            file.seek(0)
            for place in range(1, 1 << 62):
                line = file.readline(LINE_BYTES)
                if not line.endswith(b"\n"):
                    self._check_torn(line, place)
                    break
                self._take(line, place, held)
                end += len(line)
        for entry in held.values():
            self._charge(entry, entry.tokens, entry.billionths)
        os.ftruncate(self._file, end)
        if end == 0:
            os.write(self._file, msgspec.json.encode(_Header()) + b"\n")

    def _check_torn(self, tail: bytes, place: int) -> None:
        """A tail may be cut if it is one that was torn off a line of ours: no other file is to be cut by mistake."""
        header = msgspec.json.encode(_Header())
        if len(tail) >= LINE_BYTES or (place == 1 and not header.startswith(tail)):
            raise ConfigurationError(f"{self.path}, line {place}: this is no ledger. Give another path")

    def _take(self, line: bytes, place: int, held: dict[int, Entry]) -> None:
        where = f"{self.path}, line {place}"
        try:
            if place == 1:
                header = msgspec.json.decode(line, type=_Header)
                if (header.format, header.version) != (FORMAT, VERSION):
                    raise ConfigurationError(f"{where}: this is {header.format} {header.version}, no ledger")
                return
            entry = msgspec.json.decode(line, type=Entry)
        except msgspec.MsgspecError as error:
            raise ConfigurationError(f"{where}: {error}. Mend the line, or begin a new ledger") from None
        self._number = max(self._number, entry.number)
        if entry.sign == "+":
            held[entry.number] = entry
        elif (reserved := held.pop(entry.number, None)) is not None:
            self._charge(reserved, entry.tokens, entry.billionths)

    def _charge(self, entry: Entry, tokens: int, billionths: int) -> None:
        spent = self.spent.setdefault((entry.role, entry.agent), [0, 0])
        spent[0] += tokens
        spent[1] += billionths
