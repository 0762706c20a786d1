"""A memory measured: durable writes, scoped and large searches, bulk writing, batching over Ray, recovery from a kill.

Every figure is taken on a real folder with every write synchronised, on the file system of the temporary folder (choose
another by TMPDIR). The disk's own fsync is measured beside, so that figures of different disks can be compared.
Exactness is measured against a sort of everything. Figures with `cpu` are processor time, which says more than the
clock on a machine that others use too.
"""

import asyncio
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import numpy as np
import typer

from benchmarks.memory_data import CHUNK, DIMENSION, Clumps, Exact, Vectors
from benchmarks.memory_gauge import process_and_resident_bytes
from benchmarks.memory_peers import peer_figures
from benchmarks.outcome import AsJson, Outcome, median, rounded, tell
from benchmarks.ray_memory import batching
from inference.embedder import EmbedderIdentity
from inference.hashing_embedder import HashingEmbedder
from memory.item import Draft
from memory.memory import Memory
from memory.scope import Scope

app = typer.Typer(add_completion=False)
_SCOPES = 200
_SCOPED_ITEMS = 20_000
_K = 10
_SELECTIVITIES = (10, 100, 1_000, 5_000, 20_000)
_WORDS = [
    "harbour",
    "dock",
    "ship",
    "rope",
    "tide",
    "crane",
    "north",
    "south",
    "bidder",
    "price",
    "euro",
    "contract",
    "late",
    "early",
    "red",
    "blue",
]


class Given:
    """Stands for the embedder where vectors are given: its vectors are not of the texts."""

    identity = EmbedderIdentity("given", "1", "given", DIMENSION)

    def embed(self, texts: object) -> Vectors:
        """Is not called."""
        raise AssertionError(f"vectors are given, and {texts!r:.50} was to be embedded")


def timed(call: Callable[[], object]) -> float:
    """Milliseconds that a call took."""
    began = time.perf_counter()
    call()
    return (time.perf_counter() - began) * 1e3


def sync_ms(folder: Path) -> float:
    """The median of a bare append of 4 KiB with fdatasync on this disk."""
    with (folder / "bare").open("ab", buffering=0) as file:

        def append() -> None:
            file.write(b"x" * 4096)
            os.fdatasync(file.fileno())

        return median(timed(append) for _ in range(200))


def durable(memory: Memory, source: Clumps, scope: Scope, count: int, seed: int) -> tuple[float, float]:
    """Medians of a durable add and a durable delete, one at a time."""
    vectors = source.take(count, seed)
    ids: list[int] = []

    def add(number: int) -> None:
        draft = Draft(scope, f"one more {seed} {number} {_text(number)}")
        receipts = memory.remember_all([draft], scope=scope, vectors=vectors[number : number + 1])
        ids.append(receipts[0].id)

    adds = [timed(lambda number=number: add(number)) for number in range(count)]  # type: ignore[misc]  # bound at once
    deletes = [timed(lambda each=each: memory.forget(each, scope=scope)) for each in ids]  # type: ignore[misc]  # likewise
    return median(adds), median(deletes)


def scoped(folder: Path, source: Clumps) -> dict[str, float]:
    """20,000 items in 200 scopes: query, add, delete; the disk's own fsync beside."""
    scopes = [Scope("bench", agent=f"a{number}") for number in range(_SCOPES)]
    with Memory.open(folder / "scoped", Given()) as memory:
        for number, scope in enumerate(scopes):
            _fill(memory, scope, source.take(_SCOPED_ITEMS // _SCOPES, number))
        queries = source.take(4000, 9_000)
        for warm in range(2):
            times = [
                timed(lambda at=at: memory.nearest(queries[at], scope=scopes[at % _SCOPES], k=_K))  # type: ignore[misc]  # bound at once
                for at in range(warm, 4000)
            ]
        add, delete = durable(memory, source, scopes[0], 300, 9_001)
        bare = sync_ms(folder)
    return {
        "scoped_query_p50_ms": median(times), "durable_add_p50_ms": add, "durable_delete_p50_ms": delete,
        "fsync_p50_ms": bare,
        "add_to_fsync_ratio": rounded(add / bare), "delete_to_fsync_ratio": rounded(delete / bare),
    }  # fmt: skip


def exactness(folder: Path, source: Clumps) -> float:
    """The share of the true ten nearest that scoped searches find, at every selectivity, while others write."""
    with Memory.open(folder / "exact", Given()) as memory:
        truth: list[tuple[Scope, list[int], Vectors]] = []
        for number, size in enumerate(_SELECTIVITIES):
            scope = Scope("bench", agent=f"a{size}")
            vectors = source.take(size, 5_000 + number)
            ids = _fill(memory, scope, vectors)
            truth.append((scope, ids, vectors.astype(np.float16).astype(np.float32)))
        stop = threading.Event()
        busy = Scope("bench", agent="busy")

        def write() -> None:
            count = 0
            while not stop.is_set():
                count += 1
                drafts = [Draft(busy, f"{count} {each}") for each in range(50)]
                made = memory.remember_all(drafts, scope=busy, vectors=source.take(50, count))
                memory.forget(made[0].id, scope=busy)

        writer = threading.Thread(target=write)
        writer.start()
        found = wanted = 0
        for scope, ids, vectors in truth:
            for query in source.take(100, 6_000):
                got = {item.id for item, _ in memory.nearest(query, scope=scope, k=_K)}
                best = np.argsort(-(vectors @ query), kind="stable")[:_K]
                wanted += len(best)
                found += len({ids[at] for at in best} & got)
        stop.set()
        writer.join()
    return rounded(found / wanted)


def large(folder: Path, source: Clumps, items: int) -> dict[str, float]:
    """One scope of so many items: recall at 10, query, add and delete, the size of the process."""
    scope = Scope("bench", agent="large")
    queries = source.take(200, 7_000)
    exact = Exact(queries, _K)
    numbers: dict[int, int] = {}
    before = process_and_resident_bytes()[1]
    with Memory.open(folder / "large", Given()) as memory:
        for first, vectors in source.chunks(items):
            exact.see(first, vectors)
            numbers |= dict(
                zip(_fill(memory, scope, vectors, first), range(first, first + len(vectors)), strict=True)
            )
        memory.shard.settle()
        found: list[set[int]] = []

        def ask(query: Vectors) -> None:
            found.append({numbers[item.id] for item, _ in memory.nearest(query, scope=scope, k=_K)})

        cpu: list[float] = []
        times: list[float] = []
        for query in queries:
            began = time.thread_time()
            times.append(timed(lambda query=query: ask(query)))  # type: ignore[misc]  # bound at once
            cpu.append((time.thread_time() - began) * 1e3)
        hits = sum(len(got & best) for got, best in zip(found, exact.places(), strict=True))
        add, delete = durable(memory, source, scope, 200, 7_001)
        size = process_and_resident_bytes()[1] - before
    return {
        "large_items": items, "recall_at_10": rounded(hits / (_K * len(queries))), "large_query_p50_ms": median(times),
        "large_query_cpu_p50_ms": median(cpu),
        "large_add_p50_ms": add, "large_delete_p50_ms": delete, "large_gb": rounded(size / 1e9),
    }  # fmt: skip


def bulk(folder: Path, items: int) -> dict[str, float]:
    """Memories a second, embedded by the built-in embedder and stored, in batches, by two threads."""
    scope = Scope("bench", agent="bulk")
    with Memory.open(folder / "bulk", HashingEmbedder()) as memory:
        batches = [
            [Draft(scope, f"{number}: {_text(number)}") for number in range(start, min(start + 2000, items))]
            for start in range(0, items, 2000)
        ]
        memory.embedder.embed(["warm"])
        began, worked = time.perf_counter(), time.process_time()
        threads = [
            threading.Thread(
                target=lambda mine=mine: [memory.remember_all(each, scope=scope) for each in mine]
            )
            for mine in (batches[0::2], batches[1::2])
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        seconds, worked = time.perf_counter() - began, time.process_time() - worked
        if len(memory) != items:
            raise AssertionError(f"{items} memories should be there, and {len(memory)} are")
    return {
        "memories_per_second": rounded(items / seconds),
        "memory_cpu_us": rounded(worked / items * 1e6),
    }


_KILLED = """
import os, signal, sys
from pathlib import Path
from benchmarks.memory import fill_for_recovery
fill_for_recovery(Path(sys.argv[1]), int(sys.argv[2]))
os.kill(os.getpid(), signal.SIGKILL)
"""


def fill_for_recovery(folder: Path, items: int) -> None:
    """Fills a memory in scopes of 5,000 and leaves it open, as it is when the process is killed."""
    source = Clumps(1)
    memory = Memory.open(folder, Given())
    for first, vectors in source.chunks(items):
        for part in range(0, len(vectors), 5000):
            scope = Scope("bench", agent=f"a{first + part}")
            _fill(memory, scope, vectors[part : part + 5000], first + part)


def recovery(folder: Path, items: int) -> dict[str, float]:
    """Seconds for 100,000 items to open a memory whose process was killed, as it was left, and without its snapshot."""
    place = folder / "killed"
    done = subprocess.run([sys.executable, "-c", _KILLED, str(place), str(items)], check=False)  # noqa: S603 (our own program)
    if done.returncode != -signal.SIGKILL:
        raise AssertionError(f"the process that fills ended with {done.returncode}")
    figures: dict[str, float] = {}
    for name in ("recovery", "recovery_from_rows"):
        began, worked = time.perf_counter(), time.process_time()
        memory = Memory.open(place, Given())
        seconds, worked = time.perf_counter() - began, time.process_time() - worked
        figures[f"{name}_s_per_100k"] = rounded(seconds * 100_000 / items)
        figures[f"{name}_cpu_s_per_100k"] = rounded(worked * 100_000 / items)
        if len(memory) != items:
            raise AssertionError(f"{items} items should be there, and {len(memory)} are")
        memory.shard.close(snapshot=False)
        for path in sorted((place / "snapshots").glob("*/manifest.json")):
            path.write_bytes(b"")
    return figures


def _fill(memory: Memory, scope: Scope, vectors: Vectors, first: int = 0) -> list[int]:
    ids: list[int] = []
    for start in range(0, len(vectors), CHUNK):
        some = vectors[start : start + CHUNK]
        drafts = [Draft(scope, f"{first + start + at}: {_text(at)}") for at in range(len(some))]
        ids += [receipt.id for receipt in memory.remember_all(drafts, scope=scope, vectors=some)]
    return ids


def _text(number: int) -> str:
    return " ".join(_WORDS[(number * step + step) % len(_WORDS)] for step in (1, 3, 5, 7, 11, 13))


def measure(items: int, *, ray: bool, peers: bool) -> Outcome:
    """Runs the benchmark."""
    source = Clumps(0)
    notes = [
        f"384 dimensions, k = {_K}. scoped: {_SCOPED_ITEMS:,} items in {_SCOPES} scopes; large: {items:,} in one.",
        f"recall: against a sort of everything; scoped at {', '.join(f'{size:,}' for size in _SELECTIVITIES)} members.",
    ]
    with tempfile.TemporaryDirectory(prefix="rayswarm-bench-") as name:
        folder = Path(name)
        grown = large(folder, source, items)  # first: the size of the process is then that of the memory
        figures = scoped(folder, source)
        figures["scoped_recall"] = exactness(folder, source)
        figures |= grown
        figures |= bulk(folder, min(items, 40_000))
        figures |= recovery(folder, items)
        if ray:
            figures |= asyncio.run(batching(folder / "ray"))
        if peers:
            more, left_out = peer_figures(folder / "peers", source, _SCOPED_ITEMS, _SCOPES)
            figures |= more
            notes += left_out
    return Outcome("memory", figures, notes)


@app.command()
def memory(
    *,
    items: Annotated[int, typer.Option(min=1000, help="In the large scope, and for recovery.")] = 100_000,
    ray: Annotated[bool, typer.Option(help="Measure batching over Ray too.")] = True,
    peers: Annotated[bool, typer.Option(help="Measure other stores too, where they are installed.")] = True,
    as_json: AsJson = False,
) -> None:
    """Durable writes, scoped and large searches, bulk writing, batching, recovery.

    Example:

        rayswarm bench memory --items 1000000
    """
    tell(measure(items, ray=ray, peers=peers), as_json=as_json)


if __name__ == "__main__":
    # Under the name that its child processes import, not as `__main__`.
    from benchmarks.memory import app as importable

    importable()
