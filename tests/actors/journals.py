"""What a journal on disk holds."""

from pathlib import Path

from actors.journal import Position, TornTail, read_journal


def read(directory: Path, start: Position | None = None) -> list[bytes]:
    return [payload for _, payload in read_journal(directory, start)]


def read_with_tail(directory: Path) -> tuple[list[bytes], list[TornTail]]:
    torn: list[TornTail] = []
    return [payload for _, payload in read_journal(directory, on_torn=torn.append)], torn
