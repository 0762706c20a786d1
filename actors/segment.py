"""A segment: one file of a journal, and how records stand in it.

Rules:
* A segment is named by its number, and its header names the number and the length of the segment before, so
  one that is missing, shortened or misplaced shows.
* A record's checksum is the CRC-32 of its segment, offset, form, length and payload. Bound to its place, a
  record that was moved, or whose image stands inside another's payload, is not taken for one.
* Damage is raised, naming file, offset, what was expected and the mend.

On disk, little-endian:

    header    magic (8), version (4), number (4), length of the segment before (8), CRC-32 of these (4)
    record    length of the payload (4), checksum (4), form (1: as it is, or deflated), payload

The design is that of LevelDB's log (`doc/log_format.md`) and etcd's WAL, with one record a commit.
"""

import os
import re
import struct
import zlib
from io import FileIO
from pathlib import Path
from typing import NamedTuple

from actors.errors import SwarmError

VERSION = 1
RECORD_LIMIT_BYTES = 2**30
"""The largest payload of one commit."""

_MAGIC = b"RAYSWLOG"
_HEADER = struct.Struct("<8sIIQ")
HEADER_BYTES = _HEADER.size + 4
"""Where the first record of a segment stands."""
RECORD = struct.Struct("<IIB")
"""What stands before a payload: length, checksum, form."""
_PLACE = struct.Struct("<IQBI")
# 0xC1 is no type byte of MessagePack, 0xC9 a rare one: a search seldom mistakes a payload's byte for a form.
AS_IS, DEFLATED = 0xC1, 0xC9
"""The forms of a payload."""
_FORM = re.compile(b"[\xc1\xc9]")
_SEGMENT_NAME = re.compile(r"(\d{8,})\.log")
_MEND_DAMAGE = (
    "Restore this file from a copy, or move the journal's folder away and run again from the start."
)


class JournalDamaged(SwarmError):
    """The journal is not what was written. The text names file, offset, what was expected and the mend."""

    reason = "journal damaged"


class Position(NamedTuple):
    """A place in a journal: positions are ordered as the commits are."""

    segment: int
    offset: int


def read_record(file: FileIO, place: Position) -> tuple[int, bytes] | None:
    """Where the record at `place` ends, and its payload; None if no whole record is there."""
    head = os.pread(file.fileno(), RECORD.size, place.offset)
    if len(head) < RECORD.size:
        return None
    length, checksum, form = RECORD.unpack(head)
    start = place.offset + RECORD.size
    if form not in (AS_IS, DEFLATED) or length > os.fstat(file.fileno()).st_size - start:
        return None
    stored = os.pread(file.fileno(), length, start)
    if len(stored) < length or checksum_of(place, form, stored) != checksum:
        return None
    return start + length, zlib.decompress(stored) if form == DEFLATED else stored


def search(file: FileIO, place: Position, size: int) -> int | None:
    """The offset of the first whole record after `place`, at any byte."""
    rest = os.pread(file.fileno(), max(0, size - place.offset), place.offset)
    for match in _FORM.finditer(rest, RECORD.size):
        start = match.end() - RECORD.size
        length, checksum, form = RECORD.unpack_from(rest, start)
        stored = rest[match.end() : match.end() + length] if length <= len(rest) - match.end() else None
        at = Position(place.segment, place.offset + start)
        if stored is not None and checksum_of(at, form, stored) == checksum:
            return at.offset
    return None


def checksum_of(place: Position, form: int, stored: bytes) -> int:
    """The checksum of a record."""
    return zlib.crc32(stored, zlib.crc32(_PLACE.pack(place.segment, place.offset, form, len(stored))))


def segment_path(directory: Path, segment: int) -> Path:
    """Where a segment is."""
    return directory / f"{segment:08d}.log"


def segment_files(directory: Path) -> list[int]:
    """The numbers of all segments in a directory, dropped ones too if they are still there."""
    matches = (_SEGMENT_NAME.fullmatch(path.name) for path in directory.iterdir())
    return sorted(int(match[1]) for match in matches if match)


def segment_numbers(directory: Path) -> list[int]:
    """The numbers of the segments that are kept. Raises `JournalDamaged` if one is missing."""
    numbers = segment_files(directory)
    first = _first(directory)  # after the list: dropping writes it before it removes files
    numbers = [number for number in numbers if number >= first]
    if not numbers and first > 1:
        raise damage(segment_path(directory, first), 0, "a segment", "there is no such file")
    for expected, number in enumerate(numbers, start=first):
        if number != expected:
            raise damage(segment_path(directory, expected), 0, "a segment", "there is no such file")
    return numbers


def _first(directory: Path) -> int:
    marker = directory / "first"
    return _parse_header(marker)[0] if marker.exists() else 1


def is_stillborn(directory: Path, segment: int) -> bool:
    """Whether this is the last segment, and a crash of the machine left it without a header."""
    size = segment_path(directory, segment).stat().st_size
    return size < HEADER_BYTES and not segment_path(directory, segment + 1).exists()


def length_before(directory: Path, segment: int) -> int | None:
    """The length of the segment before this one, by this one's header; None if this one has not begun."""
    path = segment_path(directory, segment)
    if not path.exists() or is_stillborn(directory, segment):
        return None
    number, length = _parse_header(path)
    if number != segment:
        raise damage(path, 0, f"the header of segment {segment}", f"found that of segment {number}")
    return length


def header_of(segment: int, length_before: int) -> bytes:
    """The header of a segment."""
    fields = _HEADER.pack(_MAGIC, VERSION, segment, length_before)
    return fields + zlib.crc32(fields).to_bytes(4, "little")


def _parse_header(path: Path) -> tuple[int, int]:
    """The number of a segment and the length of the one before it."""
    with path.open("rb") as file:
        header = file.read(HEADER_BYTES)
    if len(header) < HEADER_BYTES:
        raise damage(path, 0, f"a header of {HEADER_BYTES} bytes", f"the file has {len(header)}")
    magic, version, segment, length_before = _HEADER.unpack_from(header)
    if magic != _MAGIC:
        raise damage(path, 0, f"{_MAGIC!r}", f"found {magic!r}: this is no journal")
    if version > VERSION:
        raise JournalDamaged(
            f"{path}: offset 8: expected format version {VERSION} or lower, found {version}: a newer "
            "rayswarm wrote it. Upgrade rayswarm, or restore the file from a copy if it did not."
        )
    if header != header_of(segment, length_before):
        raise damage(path, 0, "a header with its checksum", "they differ")
    return segment, length_before


def damage(path: Path, offset: int, expected: str, found: str) -> JournalDamaged:
    """The error that says what is wrong where, and the mend."""
    return JournalDamaged(f"{path}: offset {offset}: expected {expected}, {found}. {_MEND_DAMAGE}")
