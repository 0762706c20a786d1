"""A recording: completions in a file, by the hash of what was asked of which model.

Rules:
* A file of JSON Lines: a header, then a line for each completion with sorted keys. It can be shared, diffed, joined
  with another (drop the second header), and cut by hand. `write_sorted` makes a copy in which the order and the times
  of a run leave no trace. `key` is `request_hash(request, model)`.
* A line is whole or absent: it is one write to the end of the file, under a lock that other writers in this and in
  other processes take too. A torn last line (the machine stopped) is cut when the file is next written to, and told.
* The same request may have been answered several times: `occurrence` counts them. Of two lines with one key and one
  occurrence the later stands.
* What is written is read back first, so a line that could not be replayed is refused while the answer is still there.
* Only the places of lines are in memory; lines are read when they are asked for.
"""

import fcntl
import os
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
from msgspec.structs import replace

from inference.completion import Completion, Timing
from inference.difference import alike, differences, told
from inference.errors import ERRORS, LLMError, RecordingBroken
from inference.request import canonical_json, request_hash

FORMAT = "rayswarm-recording"
VERSION = 1
LINE_BYTES = 64 << 20
_COMPARED = 2_000
_HEADER = canonical_json({"format": FORMAT, "version": VERSION}) + b"\n"


class _Header(msgspec.Struct):
    format: str
    version: int


class _Place(msgspec.Struct):
    """Of a line, what the index needs."""

    key: str
    model: str
    occurrence: int = 0


class _Failure(msgspec.Struct, omit_defaults=True):
    reason: str
    text: str
    state: dict[str, int | float | bool | None] = {}


class Entry(msgspec.Struct, omit_defaults=True):
    """A line: what was asked, of which model, and what came of it: a completion, or an error that belongs to it."""

    key: str
    model: str
    request: dict[str, Any]
    occurrence: int = 0
    completion: Completion | None = None
    error: _Failure | None = None

    def outcome(self) -> Completion:
        """The completion. Raises the error where one was recorded."""
        if self.completion is not None:
            return self.completion
        if self.error is None or self.error.reason not in ERRORS:
            raise ValueError("neither a completion nor an error that can be replayed")
        error = ERRORS[self.error.reason](self.error.text)
        error.__dict__.update(self.error.state)
        raise error


class Recording:
    """A file of completions. Writers of one process, and of several on one machine, may share it."""

    def __init__(self, path: Path, *, writable: bool = False) -> None:
        self.path = path
        self.torn_bytes = 0
        """Length of a last line that was not whole; cut if the file is writable."""
        self.models: list[str] = []
        """The identities of the models in it, in the order in which they first appear."""
        self._lock = threading.Lock()
        self._lines: dict[str, list[tuple[int, int]]] = {}
        flags = os.O_RDWR | os.O_APPEND | os.O_CREAT if writable else os.O_RDONLY
        try:
            if writable:
                path.parent.mkdir(parents=True, exist_ok=True)
            self._file = os.open(path, flags | os.O_CLOEXEC, 0o644)
        except OSError as error:
            raise RecordingBroken(
                f"cannot open the recording {path}: {error.strerror}. Record it first, or mend the path."
            ) from None
        try:
            self._load(writable)
        except BaseException:
            self.close()
            raise

    def __len__(self) -> int:
        return sum(map(len, self._lines.values()))

    def count(self, key: str) -> int:
        """How often a request was answered."""
        return len(self._lines.get(key, ()))

    def outcome(self, key: str, occurrence: int) -> Completion:
        """What came of a request. Raises the error where one was recorded, `RecordingBroken` for a spoilt line."""
        offset, length = self._lines[key][occurrence]
        where = f"{self.path}, byte {offset}"
        entry = self._decoded(os.pread(self._file, length, offset), where)
        try:
            return entry.outcome()
        except ValueError as error:
            raise RecordingBroken(
                f"{where}: {error}. Delete the line and fill the recording again."
            ) from None

    def append(
        self, model: str, request: dict[str, Any], occurrence: int, outcome: Completion | LLMError
    ) -> None:
        """Writes a line. Raises `RecordingBroken`, with nothing written, if it could not be replayed or written."""
        entry = Entry(request_hash(request, model), model, request, occurrence)
        if isinstance(outcome, Completion):
            entry.completion = outcome
        else:
            entry.error = _Failure(outcome.reason, str(outcome), dict(outcome.__dict__))
        line = self._encoded(entry)
        with self._lock:
            self._note(_Place(entry.key, model, occurrence), self._write(line), len(line))

    def nearest(self, model: str, request: dict[str, Any]) -> str:
        """How the recorded request that is most like this one differs from it, in a sentence."""
        nearest: tuple[str, list[tuple[str, Any, Any]]] | None = None
        least = (0, 0)
        for place in self._places():
            entry = self._entry(place)
            found = differences(entry.request, request)
            rank = (len(found), -alike(found))
            if nearest is None or rank < least:
                nearest, least = (entry.model, found), rank
        if nearest is None:
            return "Nothing is recorded in it."
        if not nearest[1]:
            return f"The same request is recorded of the model {nearest[0]}, and you ask {model}."
        return f"The nearest recorded request differs: {told(nearest[1], 'recorded', 'asked')}."

    def write_sorted(self, target: Path) -> None:
        """A copy to share and to compare: sorted by key and occurrence, without times.

        Two copies differ, line by line, exactly where what was asked or what was answered differs. What was superseded
        is left out. Raises `RecordingBroken` for a spoilt line or if the copy exists or cannot be written.
        """
        try:
            with target.open("xb") as file:
                file.write(_HEADER)
                for _key, places in sorted(self._lines.items()):
                    for place in places:
                        entry = self._entry(place)
                        if entry.completion is not None:
                            entry.completion = replace(entry.completion, timing=Timing())
                        file.write(self._encoded(entry))
        except OSError as error:
            raise RecordingBroken(f"cannot write {target}: {error.strerror}. Give another path.") from None

    def close(self) -> None:
        """Writes through to the disk and closes. It may be called twice."""
        if self._file >= 0:
            file, self._file = self._file, -1
            try:
                os.fsync(file)
            finally:
                os.close(file)

    # --- The file ---------------------------------------------------------------------------------------------

    def _load(self, writable: bool) -> None:
        if writable:
            fcntl.flock(self._file, fcntl.LOCK_EX)
        try:
            end = self._read_lines()
            if writable and self.torn_bytes:
                os.ftruncate(self._file, end)
            if writable and end == 0:
                os.write(self._file, _HEADER)
        finally:
            if writable:
                fcntl.flock(self._file, fcntl.LOCK_UN)

    def _read_lines(self) -> int:
        """Notes all whole lines; the offset of their end."""
        offset = 0
        with os.fdopen(os.dup(self._file), "rb") as file:
            file.seek(0)
            for number in range(1, 1 << 62):
                line = file.readline(LINE_BYTES + 1)
                if not line.endswith(b"\n"):
                    if len(line) > LINE_BYTES:
                        raise RecordingBroken(f"{self.path}, line {number} is over {LINE_BYTES:,} bytes")
                    self.torn_bytes = len(line)
                    break
                self._take(line, number, offset)
                offset += len(line)
        return offset

    def _take(self, line: bytes, number: int, offset: int) -> None:
        where = f"{self.path}, line {number}"
        try:
            if number == 1:
                header = msgspec.json.decode(line, type=_Header)
                if (header.format, header.version) != (FORMAT, VERSION):
                    raise RecordingBroken(
                        f"{where}: this is {header.format} {header.version}, not {FORMAT} {VERSION}"
                    )
                return
            self._note(msgspec.json.decode(line, type=_Place), offset, len(line))
        except (msgspec.MsgspecError, UnicodeDecodeError, IndexError) as error:
            raise RecordingBroken(f"{where}: {error}. Delete the line, or take the file anew.") from None

    def _note(self, place: _Place, offset: int, length: int) -> None:
        lines = self._lines.setdefault(place.key, [])
        if place.model not in self.models:
            self.models.append(place.model)
        if not 0 <= place.occurrence <= len(lines):
            raise IndexError(f"occurrence {place.occurrence} comes after {len(lines)} lines of its key")
        lines[place.occurrence : place.occurrence + 1] = [(offset, length)]

    def _write(self, line: bytes) -> int:
        """The offset at which the line now stands, whole."""
        fcntl.flock(self._file, fcntl.LOCK_EX)
        try:
            offset = os.fstat(self._file).st_size
            try:
                written = os.write(self._file, line)
            except OSError as error:
                raise RecordingBroken(f"cannot write to {self.path}: {error.strerror}") from None
            if written < len(line):
                os.ftruncate(self._file, offset)
                raise RecordingBroken(f"cannot write to {self.path}: the disk is full")
            return offset
        finally:
            fcntl.flock(self._file, fcntl.LOCK_UN)

    def _places(self) -> Iterator[tuple[int, int]]:
        """Of the first requests, one line each."""
        for _number, lines in zip(range(_COMPARED), self._lines.values(), strict=False):
            yield lines[0]

    def _entry(self, place: tuple[int, int]) -> Entry:
        offset, length = place
        return self._decoded(os.pread(self._file, length, offset), f"{self.path}, byte {offset}")

    def _encoded(self, entry: Entry) -> bytes:
        try:
            line = canonical_json(msgspec.to_builtins(entry)) + b"\n"
            if len(line) > LINE_BYTES:
                raise ValueError(f"it is over {LINE_BYTES:,} bytes")
            again = msgspec.json.decode(line, type=Entry)
            if canonical_json(msgspec.to_builtins(again)) + b"\n" != line:
                raise ValueError("it holds what JSON cannot")
        except (ValueError, msgspec.MsgspecError) as error:
            raise RecordingBroken(
                f"{self.path}: an answer of {entry.model} cannot be recorded: {error}"
            ) from None
        return line

    def _decoded(self, line: bytes, where: str) -> Entry:
        try:
            entry = msgspec.json.decode(line, type=Entry)
        except (msgspec.MsgspecError, LLMError, UnicodeDecodeError) as error:
            raise RecordingBroken(
                f"{where}: {error}. Delete the line and fill the recording again."
            ) from None
        if request_hash(entry.request, entry.model) != entry.key:
            raise RecordingBroken(f"{where}: the request is not the one that its key names: it was edited")
        return entry
