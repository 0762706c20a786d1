"""Bad disks, bad files, bad input: a clear error, and nothing lost."""

import json
import os
import random
import shutil
import signal
import sqlite3
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest

from memory.errors import (
    EmbedderMismatch,
    InvalidItem,
    Overloaded,
    StoreClosed,
    StoreCorrupt,
    StoreFull,
    StoreLocked,
    WriteUncertain,
)
from memory.item import Draft
from memory.memory import Memory
from memory.scope import Scope
from memory.settings import MemorySettings
from tests.memory.embedding import TinyEmbedder

HERE = Scope("t", agent="a")
DATABASE = "memory.sqlite"


def filled(folder: Path, count: int = 50, *, snapshot: bool = True) -> list[int]:
    """A memory of so many notes, closed; their ids."""
    memory = Memory.open(folder, TinyEmbedder())
    ids = [
        each.id
        for each in memory.remember_all([Draft(HERE, f"note number {n}") for n in range(count)], scope=HERE)
    ]
    memory.shard.close(snapshot=snapshot)
    return ids


def change(folder: Path, sql: str, *values: object) -> None:
    """What a bad disk, or a careless hand, does to a row."""
    connection = sqlite3.connect(folder / DATABASE)
    with connection:
        connection.execute(sql, values)
    connection.close()


def test_a_full_store_refuses_the_write_keeps_all_and_reads_on(tmp_path: Path) -> None:
    settings = MemorySettings(max_bytes=400_000)
    with Memory.open(tmp_path, TinyEmbedder(), settings=settings) as memory:
        kept: list[int] = []

        def fill() -> None:
            for number in range(10_000):
                receipt = memory.remember(f"{number} " + "x" * 2000, scope=HERE)
                kept.append(receipt.id)

        with pytest.raises(StoreFull, match="Make room") as caught:
            fill()
        assert caught.value.definite
        assert len(kept) > 20
        assert len(memory.recall("x", scope=HERE, k=10_000)) == len(kept)
        assert memory.check().sound
        for each in kept[:20]:
            memory.forget(each, scope=HERE)
        memory.remember("there is room again", scope=HERE)
    with Memory.open(tmp_path, TinyEmbedder(), settings=settings) as memory:
        assert len(memory) == len(kept) - 19
        assert memory.check().sound


_FULL_DISK = """
import resource, signal, sys
from memory.errors import MemoryFault
from memory.memory import Memory
from memory.scope import Scope
from tests.memory.embedding import TinyEmbedder
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
memory = Memory.open(sys.argv[1], TinyEmbedder())
resource.setrlimit(resource.RLIMIT_FSIZE, (600_000, 600_000))
try:
    for number in range(10_000):
        print(memory.remember(f"{number} " + "x" * 2000, scope=Scope("t", agent="a")).id, flush=True)
except MemoryFault as error:
    print(f"{type(error).__name__} {len(memory.recall('x', scope=Scope('t', agent='a'), k=10_000))}", flush=True)
"""


def test_a_disk_that_takes_no_more_loses_nothing_that_was_acknowledged(tmp_path: Path) -> None:
    """The system's own limit on a file's size stands for the disk: writes fail as they do on a full one."""
    done = subprocess.run(
        [sys.executable, "-c", _FULL_DISK, str(tmp_path)],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    *ids, last = done.stdout.split("\n")[:-1]
    assert last.split()[0] in ("StoreFull", "WriteUncertain", "StoreClosed"), done.stderr
    assert int(last.split()[1]) >= len(ids) > 5
    with Memory.open(tmp_path, TinyEmbedder()) as memory:
        assert all(memory.get(int(each), scope=HERE).text for each in ids)
        assert len(memory) <= len(ids) + 1
        assert memory.check().sound


@pytest.mark.parametrize("damage", ["flip", "cut", "empty", "gone", "manifest", "old", "foreign"])
def test_a_snapshot_that_is_doubtful_is_not_used_and_nothing_is_lost(tmp_path: Path, damage: str) -> None:
    folder = tmp_path / "memory"
    ids = filled(folder)
    [snapshot] = (folder / "snapshots").iterdir()
    blocks, manifest = snapshot / "blocks", snapshot / "manifest.json"
    if damage == "flip":
        data = bytearray(blocks.read_bytes())
        data[len(data) // 2] ^= 1
        blocks.write_bytes(data)
    elif damage == "cut":
        os.truncate(blocks, blocks.stat().st_size // 2)
    elif damage == "empty":
        manifest.write_bytes(b"")
    elif damage == "gone":
        blocks.unlink()
    elif damage == "manifest":
        outer = json.loads(manifest.read_text())
        outer["body"] = outer["body"].replace('"sequence": 1', '"sequence": 0')
        manifest.write_text(json.dumps(outer))
    elif damage == "old":  # the database went back to an earlier state, the snapshot did not
        change(folder, "UPDATE meta SET value = 0 WHERE name = 'sequence'")
    else:
        change(folder, "UPDATE meta SET value = 'another' WHERE name = 'name'")
    with Memory.open(folder, TinyEmbedder()) as memory:
        assert memory.recovery.problem
        assert memory.recovery.snapshot == 0
        assert sorted(found.item.id for found in memory.recall("note", scope=HERE, k=100)) == ids
        assert memory.check().sound
        memory.snapshot()
    if damage != "old":
        with Memory.open(folder, TinyEmbedder()) as memory:
            assert not memory.recovery.problem
            assert memory.recovery.rows == 0


def test_rows_after_a_snapshot_are_added_changed_and_removed(tmp_path: Path) -> None:
    folder = tmp_path / "memory"
    ids = filled(folder)
    memory = Memory.open(folder, TinyEmbedder())
    memory.forget(ids[0], scope=HERE)
    memory.correct(ids[1], "another text", scope=HERE)
    memory.remember("a new one", scope=HERE)
    memory.shard.close(snapshot=False)
    with Memory.open(folder, TinyEmbedder()) as memory:
        assert memory.recovery.snapshot == 1
        assert memory.recovery.rows == 4
        assert memory.check().sound
        assert len(memory) == 50


def test_a_row_whose_vector_went_bad_is_mended_from_its_text(tmp_path: Path) -> None:
    ids = filled(tmp_path, snapshot=False)
    change(tmp_path, "UPDATE item SET vector = zeroblob(32) WHERE id = ?", ids[3])
    with Memory.open(tmp_path, TinyEmbedder()) as memory:
        assert memory.recovery.corrupt == (ids[3],)
        with pytest.raises(StoreCorrupt, match="repair"):
            memory.get(ids[3], scope=HERE)
        assert len(memory.recall("note", scope=HERE, k=100)) == 49
        assert memory.check().corrupt == (ids[3],)
        assert memory.repair().mended == (ids[3],)
        assert memory.check().sound
        assert memory.get(ids[3], scope=HERE).text == "note number 3"
        assert len(memory.recall("note", scope=HERE, k=100)) == 50


@pytest.mark.parametrize(
    "sql",
    [
        "UPDATE item SET text = 'false' WHERE id = ?",
        "UPDATE item SET importance = 1.0 WHERE id = ?",
        "UPDATE item SET text = x'00ff' WHERE id = ?",
        "UPDATE item SET kind = 'nonsense' WHERE id = ?",
    ],
)
def test_a_row_that_cannot_be_trusted_is_set_aside_and_not_recalled(tmp_path: Path, sql: str) -> None:
    ids = filled(tmp_path, snapshot=False)
    change(tmp_path, sql, ids[3])
    with Memory.open(tmp_path, TinyEmbedder()) as memory:
        assert memory.repair().aside == (ids[3],)
        assert memory.check().sound
        assert len(memory.recall("note", scope=HERE, k=100)) == 49
    [kept] = (tmp_path / "aside.jsonl").read_text().splitlines()
    assert json.loads(kept)["id"] == ids[3]


def test_a_file_that_is_no_memory_is_refused(tmp_path: Path) -> None:
    (tmp_path / DATABASE).write_bytes(b"this is no database, but it is long enough to be looked at" * 100)
    with pytest.raises(StoreCorrupt, match=r"memory\.sqlite"):
        Memory.open(tmp_path, TinyEmbedder())
    other = tmp_path / "other"
    other.mkdir()
    change(other, "CREATE TABLE t(a)")
    with pytest.raises(StoreCorrupt, match="format"):
        Memory.open(other, TinyEmbedder())


def test_a_log_torn_anywhere_leaves_whole_writes(tmp_path: Path) -> None:
    """After a power loss the log may end anywhere: what is left is a beginning of the writes, each of them whole."""
    folder = tmp_path / "memory"
    memory = Memory.open(folder, TinyEmbedder())
    for number in range(40):
        memory.remember_all([Draft(HERE, f"{number} one"), Draft(HERE, f"{number} two")], scope=HERE)
    log = folder / f"{DATABASE}-wal"
    content = log.read_bytes()
    copies = []
    rng = random.Random(1)
    for number in range(12):
        copy = tmp_path / f"copy{number}"
        shutil.copytree(folder, copy)
        with (copy / log.name).open("r+b") as file:
            file.truncate(rng.randrange(len(content)))
        copies.append(copy)
    memory.close()
    left = []
    for copy in copies:
        with Memory.open(copy, TinyEmbedder()) as torn:
            found = {item.text for item in torn.items(scope=HERE)}
            count = len(found) // 2
            assert found == {f"{number} {which}" for number in range(count) for which in ("one", "two")}
            assert torn.check().sound
            left.append(count)
    assert len(set(left)) > 3


def test_one_folder_is_one_processs(tmp_path: Path) -> None:
    with Memory.open(tmp_path, TinyEmbedder()):
        with pytest.raises(StoreLocked, match=str(os.getpid())):
            Memory.open(tmp_path, TinyEmbedder())
        code = (
            "import sys; from memory.memory import Memory; from tests.memory.embedding import TinyEmbedder\n"
            "Memory.open(sys.argv[1], TinyEmbedder())"
        )
        done = subprocess.run(
            [sys.executable, "-c", code, str(tmp_path)], capture_output=True, text=True, check=False
        )
        assert "StoreLocked" in done.stderr
    Memory.open(tmp_path, TinyEmbedder()).close()


def test_another_embedder_is_refused_until_all_is_embedded_anew(tmp_path: Path) -> None:
    filled(tmp_path)
    with pytest.raises(EmbedderMismatch, match=r"reembed"):
        Memory.open(tmp_path, TinyEmbedder(32))
    with pytest.raises(EmbedderMismatch):
        Memory.open(tmp_path, TinyEmbedder(16, "other"))
    assert Memory.reembed(tmp_path, TinyEmbedder(32)) == 50
    with Memory.open(tmp_path, TinyEmbedder(32)) as memory:
        assert memory.check().sound
        assert len(memory.recall("note number 7", scope=HERE, k=100)) == 50
        assert memory.recall("note number 7", scope=HERE)[0].item.text == "note number 7"


@pytest.mark.parametrize("value", [np.nan, np.inf, 0.0])
def test_a_vector_that_is_none_is_refused(tmp_path: Path, value: float) -> None:
    with Memory.open(tmp_path, TinyEmbedder()) as memory:
        bad = np.ones((2, 16), np.float32)
        bad[1] = value
        with pytest.raises(InvalidItem, match="vector 1"):
            memory.remember_all([Draft(HERE, "a"), Draft(HERE, "b")], scope=HERE, vectors=bad)
        with pytest.raises(InvalidItem):
            memory.nearest(bad[1], scope=HERE)
        with pytest.raises(InvalidItem, match="16"):
            memory.nearest(np.ones(8, np.float32), scope=HERE)
        assert len(memory) == 0


@pytest.mark.parametrize("text", ["", "  ", "x" * 1_048_576])
def test_a_text_that_is_none_or_too_long_is_refused_in_questions_too(tmp_path: Path, text: str) -> None:
    with Memory.open(tmp_path, TinyEmbedder()) as memory:
        for call in (memory.remember, memory.recall):
            with pytest.raises(InvalidItem) as caught:
                call(text, scope=HERE)
            assert len(str(caught.value)) < 500
        with pytest.raises(InvalidItem):
            memory.recall("a", scope=HERE, k=0)


def test_a_commit_that_fails_ends_the_writer_and_reading_goes_on(tmp_path: Path) -> None:
    memory = Memory.open(tmp_path, TinyEmbedder())
    memory.remember("kept", scope=HERE)

    class FailingDisk:
        """The connection, but for a COMMIT that fails as after an fsync that failed."""

        def __init__(self, real: sqlite3.Connection) -> None:
            self._real = real

        def __getattr__(self, name: str) -> object:
            return getattr(self._real, name)

        def execute(self, sql: str, *values: object) -> object:
            if sql == "COMMIT":
                raise sqlite3.OperationalError("disk I/O error")
            return self._real.execute(sql, *values)

    real = memory.shard.store.writing
    memory.shard.store.writing = FailingDisk(real)  # type: ignore[assignment]  # stands in for a bad disk
    with pytest.raises(WriteUncertain) as caught:
        memory.remember("uncertain", scope=HERE)
    assert not caught.value.definite
    memory.shard.store.writing = real
    with pytest.raises(StoreClosed, match="open it again"):
        memory.remember("refused", scope=HERE)
    assert [found.item.text for found in memory.recall("kept", scope=HERE)] == ["kept"]
    memory.close()
    with Memory.open(tmp_path, TinyEmbedder()) as again:
        assert [item.text for item in again.items(scope=HERE)] == ["kept"]


def test_more_writes_than_may_wait_are_refused(tmp_path: Path) -> None:
    held, go = threading.Event(), threading.Event()

    def probe(point: str) -> None:
        if point == "commit.before" and not go.is_set():
            held.set()
            go.wait(10)

    memory = Memory.open(tmp_path, TinyEmbedder(), settings=MemorySettings(queue_writes=4), probe=probe)
    try:
        memory.shard.writer.submit(lambda _: None)
        held.wait(10)
        for _ in range(4):
            memory.shard.writer.submit(lambda _: None)
        with pytest.raises(Overloaded):
            memory.shard.writer.submit(lambda _: None)
    finally:
        go.set()
        memory.close()


def test_a_killed_process_frees_the_folder(tmp_path: Path) -> None:
    code = (
        "import os, signal, sys; from memory.memory import Memory; from memory.scope import Scope\n"
        "from tests.memory.embedding import TinyEmbedder\n"
        "Memory.open(sys.argv[1], TinyEmbedder()).remember('kept', scope=Scope('t', agent='a'))\n"
        "os.kill(os.getpid(), signal.SIGKILL)"
    )
    done = subprocess.run([sys.executable, "-c", code, str(tmp_path)], check=False, timeout=60)
    assert done.returncode == -signal.SIGKILL
    with Memory.open(tmp_path, TinyEmbedder()) as memory:
        assert [item.text for item in memory.items(scope=HERE)] == ["kept"]
