"""The journal beside other processes: killed while they write, locked out, and out of room."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from actors.journal import (
    JournalFull,
    JournalLocked,
    JournalWriter,
)
from tests.actors.journals import read, read_with_tail

ROOT = Path(__file__).parents[2]


def run(script: str, *arguments: object, **options: object) -> "subprocess.Popen[str]":
    command = [sys.executable, "-c", script, *map(str, arguments)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment, **options)  # type: ignore[call-overload, no-any-return]  # options are Popen's


@pytest.fixture
def started() -> Iterator[list["subprocess.Popen[str]"]]:
    """Processes to be ended, however the test ends."""
    processes: list[subprocess.Popen[str]] = []
    yield processes
    for process in processes:
        process.kill()
        process.wait()
        if process.stdout is not None:
            process.stdout.close()


APPEND_FOR_EVER = """
import sys
from pathlib import Path
from actors.journal import JournalWriter
journal = JournalWriter(Path(sys.argv[1]), segment_bytes=20_000)
number = int(sys.argv[2])
while True:
    journal.append(b"%d " % number * (number % 500 + 1))
    print(number, flush=True)
    number += 1
"""


def test_what_was_acknowledged_before_a_kill_is_there(
    tmp_path: Path, started: list["subprocess.Popen[str]"]
) -> None:
    acknowledged = -1
    for kills in range(1, 6):
        process = run(APPEND_FOR_EVER, tmp_path, acknowledged + 1)
        started.append(process)
        assert process.stdout is not None
        for _ in range(150 * kills):
            acknowledged = int(process.stdout.readline())
        process.send_signal(signal.SIGKILL)
        process.wait()
        acknowledged = max([acknowledged, *map(int, process.stdout.read().split("\n")[:-1])])
        with JournalWriter(tmp_path, segment_bytes=20_000):
            payloads = read(tmp_path)
        assert len(payloads) in (acknowledged + 1, acknowledged + 2)
        for number, payload in enumerate(payloads):
            assert payload == b"%d " % number * (number % 500 + 1)
        acknowledged = len(payloads) - 1


FILL = """
import resource, sys
from pathlib import Path
from actors.journal import JournalFull, JournalWriter
journal = JournalWriter(Path(sys.argv[1]), segment_bytes=int(sys.argv[2]))
resource.setrlimit(resource.RLIMIT_FSIZE, (4000, resource.RLIM_INFINITY))
number = 0
try:
    while True:
        journal.append(b"%d" % number * 100)
        number += 1
except JournalFull as error:
    print(number, str(error))
try:
    journal.append(b"x" * 5000)
except JournalFull as error:
    print("again")
resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
journal.append(b"room")
"""


def test_a_full_disk_keeps_what_was_acknowledged_and_writing_goes_on_after_room_is_made(
    tmp_path: Path, started: list["subprocess.Popen[str]"]
) -> None:
    process = run(FILL, tmp_path, 2**20)
    started.append(process)
    assert process.stdout is not None
    first, again, *_ = process.stdout.read().split("\n")
    count, _, text = first.partition(" ")
    assert process.wait() == 0
    assert "no room for a commit" in text
    assert "Free space on this disk" in text
    assert again == "again"
    assert read_with_tail(tmp_path) == (
        [b"%d" % number * 100 for number in range(int(count))] + [b"room"],
        [],
    )


def test_a_second_writer_is_refused_by_the_first_in_this_process_or_another(
    tmp_path: Path, started: list["subprocess.Popen[str]"]
) -> None:
    process = run(APPEND_FOR_EVER, tmp_path, 0)
    started.append(process)
    assert process.stdout is not None
    process.stdout.readline()
    with pytest.raises(JournalLocked, match=f"process {process.pid} writes this journal"):
        JournalWriter(tmp_path)
    process.kill()
    process.wait()
    with JournalWriter(tmp_path), pytest.raises(JournalLocked):
        JournalWriter(tmp_path)
    JournalWriter(tmp_path).close()


@pytest.mark.skipif(os.geteuid() != 0, reason="mounting a small disk takes root")
def test_a_really_full_disk_keeps_the_journal_readable_over_rotations(tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", disk], check=False, capture_output=True
    )
    if mounted.returncode:
        pytest.skip("mounting is not allowed here")
    try:
        kept = []
        with JournalWriter(disk / "journal", segment_bytes=10_000) as journal:
            for number in range(1000):
                payload = os.urandom(900 + number)
                try:
                    journal.append(payload)
                except JournalFull:
                    break
                kept.append(payload)
            assert read_with_tail(disk / "journal") == (kept, [])
            journal.drop_before(journal.position)
            journal.append(payload)
            assert read(disk / "journal")[-1] == payload
    finally:
        subprocess.run(["umount", disk], check=True)
    assert 20 < len(kept) < 100
