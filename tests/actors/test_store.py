"""The rules of `actors/store.py`: all or nothing at a commit, the last commit survives, damage is never returned."""

import os
import signal
import sqlite3
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from actors.errors import InvalidContent, SwarmError
from actors.store import CheckpointDamaged, CheckpointFailed, CheckpointLocked, CheckpointStore

ROOT = Path(__file__).parents[2]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "checkpoint.db"


def contents(path: Path | None) -> dict[str, bytes | None]:
    with CheckpointStore(path) as store:
        return {address: store.get(address) for address in store.addresses()}


# What it keeps


@pytest.mark.parametrize("private", [True, False])
def test_what_was_put_last_is_got(path: Path, private: bool) -> None:
    with CheckpointStore(None if private else path) as store:
        assert store.get("a/1") is None
        assert store.meta() is None
        store.put("a/1", b"one")
        store.put("a/1", b"")
        store.put_many([("a/2", b"two"), ("ü", b"\0" * 20_000)])
        assert [store.get(address) for address in ("a/1", "a/2", "ü")] == [b"", b"two", b"\0" * 20_000]
        store.delete("a/2")
        store.delete("a/3")
        store.commit(b"meta")
        assert list(store.addresses()) == ["a/1", "ü"]
        assert store.meta() == b"meta"


def test_a_commit_survives_and_what_came_after_it_does_not(path: Path) -> None:
    with CheckpointStore(path) as store:
        store.put_many([("a/1", b"one"), ("a/2", b"two")])
        store.commit(b"first")
        store.put("a/1", b"later")
        store.delete("a/2")
        store.put("a/3", b"three")
    assert contents(path) == {"a/1": b"one", "a/2": b"two"}
    with CheckpointStore(path) as store:
        assert store.meta() == b"first"
        store.delete("a/2")
        store.commit(b"")
    with CheckpointStore(path) as store:
        assert store.meta() == b""
    assert contents(path) == {"a/1": b"one"}


@given(
    st.lists(
        st.tuples(
            st.sampled_from(["put", "delete", "commit", "reopen"]),
            st.sampled_from("abc"),
            st.binary(max_size=9),
        ),
        max_size=25,
    )
)
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_it_does_as_a_dictionary_with_a_snapshot_at_each_commit(
    path: Path, steps: list[tuple[str, str, bytes]]
) -> None:
    path.unlink(missing_ok=True)
    now: dict[str, bytes] = {}
    committed: tuple[dict[str, bytes], bytes | None] = ({}, None)
    store = CheckpointStore(path)
    for step, address, data in steps:
        if step == "put":
            store.put(address, data)
            now[address] = data
        elif step == "delete":
            store.delete(address)
            now.pop(address, None)
        elif step == "commit":
            store.commit(data)
            committed = (dict(now), data)
        else:
            store.close()
            store = CheckpointStore(path)
            now = dict(committed[0])
        assert {address: store.get(address) for address in store.addresses()} == now
        assert store.meta() == committed[1]
    store.close()


def test_a_hundred_thousand_agents_are_kept(path: Path) -> None:
    count = 100_000
    with CheckpointStore(path) as store:
        store.put_many((f"walker/{number}", b"%d" % number * 20) for number in range(count))
        store.commit(b"")
    with CheckpointStore(path) as store:
        assert sum(1 for _ in store.addresses()) == count
        for number in range(0, count, 997):
            assert store.get(f"walker/{number}") == b"%d" % number * 20


def test_the_store_may_change_while_its_addresses_are_read() -> None:
    with CheckpointStore(None) as store:
        store.put_many((f"{number:04}", b"") for number in range(2500))
        for address in store.addresses():
            store.delete(address)
        assert list(store.addresses()) == []


def test_a_private_store_leaves_nothing_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with CheckpointStore(None) as store:
        store.put("a", b"x" * 100_000)
        store.commit(b"")
    assert list(tmp_path.iterdir()) == []


# Death and the disk


PUT_AND_COMMIT = """
import sys
from pathlib import Path
from actors.store import CheckpointStore
store = CheckpointStore(Path(sys.argv[1]))
number = int(store.meta() or b"0")
while True:
    number += 1
    # More than the cache holds, so that uncommitted pages reach the disk.
    store.put_many((f"walker/{key}", b"%d " % number * 2000) for key in range(int(sys.argv[2])))
    print("put", flush=True)
    store.commit(b"%d" % number)
    print(number, flush=True)
"""


@pytest.mark.parametrize(("agents", "line"), [(6000, "put"), (50, "put"), (50, "2")])
def test_a_kill_between_put_and_commit_leaves_the_last_commit(path: Path, agents: int, line: str) -> None:
    command = [sys.executable, "-c", PUT_AND_COMMIT, str(path), str(agents)]
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, text=True, env={**os.environ, "PYTHONPATH": str(ROOT)}
    )
    assert process.stdout is not None
    seen: list[str] = []
    while not (len(seen) > 2 and seen[-1] == line):
        seen.append(process.stdout.readline().strip())
    process.send_signal(signal.SIGKILL)
    process.wait()
    seen += process.stdout.read().split()
    process.stdout.close()
    acknowledged = max(int(word) for word in seen if word != "put")
    with CheckpointStore(path) as store:
        number = int(store.meta() or b"")
        assert number in (acknowledged, acknowledged + 1)
    assert contents(path) == {f"walker/{key}": b"%d " % number * 2000 for key in range(agents)}


FILL = """
import resource, sys
from pathlib import Path
from actors.store import CheckpointFailed, CheckpointStore
store = CheckpointStore(Path(sys.argv[1]))
store.put_many((f"walker/{key}", b"kept") for key in range(100))
store.commit(b"good")
resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, resource.RLIM_INFINITY))
try:
    for key in range(100):
        store.put(f"walker/{key}", b"lost" * 100_000)
    store.commit(b"bad")
except CheckpointFailed as error:
    print(error)
try:
    store.get("walker/1")
except CheckpointFailed as error:
    print(error)
"""


def test_a_full_disk_is_an_error_that_says_so_and_the_last_commit_stays_good(path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", FILL, str(path)],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    first, second = done.stdout.splitlines()
    assert first == second
    assert f"{path}: the disk refused" in first
    assert "Free space on this disk" in first
    assert contents(path) == {f"walker/{key}": b"kept" for key in range(100)}
    with CheckpointStore(path) as store:
        assert store.meta() == b"good"


@pytest.mark.skipif(os.geteuid() != 0, reason="mounting a small disk takes root")
def test_a_really_full_disk_leaves_the_last_commit(tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(disk)]
    if subprocess.run(mount, check=False, capture_output=True).returncode:
        pytest.skip("mounting is not allowed here")
    path = disk / "checkpoint.db"
    try:
        with CheckpointStore(path) as store:
            store.put("a", b"kept")
            store.commit(b"good")
            with pytest.raises(CheckpointFailed, match="full"):  # noqa: PT012  # either may be the one that fails
                store.put_many((f"walker/{key}", os.urandom(1000)) for key in range(5000))
                store.commit(b"bad")
        with CheckpointStore(path) as store:
            assert store.meta() == b"good"
        assert contents(path) == {"a": b"kept"}
    finally:
        subprocess.run(["umount", disk], check=True)


# Damage


def filled(path: Path) -> bytes:
    with CheckpointStore(path) as store:
        store.put_many((f"walker/{number}", b"state %d " % number * 10) for number in range(400))
        store.commit(b"meta")
    return path.read_bytes()


@pytest.mark.parametrize(
    ("offset", "damage", "text"),
    [
        (0, b"not a database!", "not a database"),
        (8192, b"\0" * 8192, "Page 2"),
        (-8192, b"\xff" * 8192, r"Page \d+"),
    ],
)
def test_a_damaged_file_is_refused_with_the_mend(path: Path, offset: int, damage: bytes, text: str) -> None:
    data = bytearray(filled(path))
    offset %= len(data)
    data[offset : offset + len(damage)] = damage
    path.write_bytes(data)
    with pytest.raises(
        CheckpointDamaged, match=rf"checkpoint\.db: .*({text}).*recover from the whole journal"
    ):
        CheckpointStore(path)


def test_a_changed_state_is_refused_by_its_checksum(path: Path) -> None:
    data = filled(path)
    path.write_bytes(data.replace(b"state 7 state 7", b"state 7 state 8", 1))
    with pytest.raises(CheckpointDamaged, match="state of 'walker/7' is not as written"):
        CheckpointStore(path)


def test_a_state_that_changes_under_an_open_store_is_refused_when_it_is_got(path: Path) -> None:
    with CheckpointStore(path) as store:
        store.put("a", b"state")
        store._connection.execute("UPDATE agents SET state = x'00'")
        with pytest.raises(CheckpointDamaged, match="'a' is not as written"):
            store.get("a")


def test_a_truncated_file_is_refused(path: Path) -> None:
    data = filled(path)
    path.write_bytes(data[: len(data) // 2])
    with pytest.raises(CheckpointDamaged):
        CheckpointStore(path)


@given(st.data())
@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_flipped_bit_is_refused_or_harmless(path: Path, data: st.DataObject) -> None:
    path.unlink(missing_ok=True)
    whole = bytearray(filled(path))
    expected = contents(path)
    bit = data.draw(st.integers(0, 8 * len(whole) - 1))
    whole[bit // 8] ^= 1 << bit % 8
    path.write_bytes(whole)
    try:
        found = contents(path)
    except SwarmError:
        return
    assert found == expected


def test_the_database_of_another_program_is_left_alone(path: Path) -> None:
    connection = sqlite3.connect(path)
    connection.execute("CREATE TABLE recipes (name TEXT)")
    connection.commit()
    connection.close()
    before = path.read_bytes()
    with pytest.raises(CheckpointDamaged, match="another program"):
        CheckpointStore(path)
    assert path.read_bytes() == before


def test_a_checkpoint_of_a_future_version_is_refused(path: Path) -> None:
    filled(path)
    connection = sqlite3.connect(path)
    connection.execute("PRAGMA user_version = 9")
    connection.close()
    with pytest.raises(CheckpointDamaged, match=r"version 1 or lower, found 9.*Upgrade rayswarm"):
        CheckpointStore(path)


# Use


def test_a_store_that_is_open_elsewhere_is_locked(path: Path) -> None:
    with (
        CheckpointStore(path),
        pytest.raises(CheckpointLocked, match="another process has this checkpoint open"),
    ):
        CheckpointStore(path)
    CheckpointStore(path).close()


def test_a_folder_that_is_not_there_is_an_error_that_says_so(tmp_path: Path) -> None:
    with pytest.raises(CheckpointFailed, match="unable to open"):
        CheckpointStore(tmp_path / "nowhere" / "checkpoint.db")


def test_a_closed_store_refuses_more(path: Path) -> None:
    store = CheckpointStore(path)
    store.close()
    store.close()
    with pytest.raises(CheckpointFailed, match="is closed"):
        store.put("a", b"")


def test_a_state_that_is_too_large_is_refused_and_the_store_goes_on() -> None:
    with CheckpointStore(None) as store:
        store._connection.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, 1000)
        with pytest.raises(InvalidContent, match="Split the agent"):
            store.put("a", b"x" * 2000)
        store.put("a", b"x")
        assert store.get("a") == b"x"


def test_another_thread_is_refused() -> None:
    raised: list[BaseException] = []

    def use(store: CheckpointStore) -> None:
        try:
            store.get("a")
        except sqlite3.ProgrammingError as error:
            raised.append(error)

    with CheckpointStore(None) as store:
        thread = threading.Thread(target=use, args=(store,))
        thread.start()
        thread.join()
        assert "thread" in str(raised[0])
        store.put("a", b"still works")
