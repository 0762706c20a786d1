"""Lines out of bytes: server-sent events and newline-delimited JSON, pure and without a socket.

Server-sent events as in the WHATWG's HTML standard, section 9.2: lines end in LF, CR or CRLF, an empty line ends an
event, `data` fields are joined by LF, lines that begin with a colon say nothing. Bytes may be cut anywhere. What holds
one line or event is bounded: the bytes of an answer are bounded where they are read (`inference/http_client.py`).
"""

import re
from collections.abc import Iterator

_END = re.compile(rb"\r\n|\n|\r(?!\n|\Z)")
"""The end of a line. A CR at the end of what is there may be half of a CRLF, and waits."""


class LineDecoder:
    """Bytes in, whole lines out. A last line without its end comes with `finish`."""

    def __init__(self) -> None:
        self._pieces: list[bytes] = []

    def feed(self, piece: bytes) -> Iterator[bytes]:
        """The lines that are whole now."""
        self._pieces.append(piece)
        if b"\n" not in piece and b"\r" not in piece and not self._pieces[0].endswith(b"\r"):
            return
        lines = _END.split(b"".join(self._pieces))
        self._pieces = [lines.pop()]
        yield from lines

    def finish(self) -> bytes:
        """What is left at the end."""
        rest, self._pieces = b"".join(self._pieces), []
        return rest.removesuffix(b"\r")


class EventDecoder:
    """Bytes in, the data of whole events out. An event that the end cuts short is no event."""

    def __init__(self) -> None:
        self._lines = LineDecoder()
        self._data: list[bytes] = []

    def feed(self, piece: bytes) -> Iterator[bytes]:
        """The data of the events that are whole now."""
        for line in self._lines.feed(piece):
            if not line:
                if self._data:
                    data, self._data = b"\n".join(self._data), []
                    yield data
                continue
            field, _, value = line.partition(b":")
            if field == b"data":
                self._data.append(value.removeprefix(b" "))
