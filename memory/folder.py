"""A folder that one process has: its lock, and files that are replaced whole.

Rules:
* The lock is `flock` on a file that stays: the kernel frees it when the process ends, however it ends. (Two processes
  on one folder are what ruined other stores: chroma#2594, #5259, claude-mem#3012.)
* A file is written under another name, synchronised, renamed, and its folder synchronised: there is the old or the new
  one, never half of one.
"""

import fcntl
import os
from pathlib import Path
from typing import Self

from memory.errors import StoreLocked

_LOCK = "lock"
_PID_BYTES = 20


class FolderLock:
    """Holds a folder until it is closed. Raises `StoreLocked` if somebody else has it."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._descriptor = os.open(folder / _LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            owner = os.pread(self._descriptor, _PID_BYTES, 0).decode(errors="replace").strip() or "unknown"
            os.close(self._descriptor)
            raise StoreLocked(
                f"the memory in {folder} is open in process {owner}: close it there, or use it through its actor. "
                "One process at a time may have a folder."
            ) from error
        os.ftruncate(self._descriptor, 0)
        os.pwrite(self._descriptor, str(os.getpid()).encode(), 0)

    def close(self) -> None:
        """Frees the folder. May be called again."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def sync_folder(folder: Path) -> None:
    """Makes the folder's entries durable."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def sync_file(path: Path) -> None:
    """Makes a file's content durable."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
