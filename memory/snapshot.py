"""Snapshots of the index: what is written so that a start need not read every row.

Rules:
* A snapshot is a folder: its files, and a manifest with the sequence number, the store's name, the embedder, the
  dimension, sizes and CRC-32s. It is written beside, synchronised, renamed, and its parent synchronised: it is there
  whole or not at all. Only then is the one before removed. The rows are never shortened on its account.
* Whatever is doubtful about a snapshot makes it unusable: `SnapshotCorrupt` says why, and the index is made from the
  rows, as if there had been none.
* What came after its sequence number is read from the rows.
"""

import json
import shutil
from pathlib import Path
from typing import Any, BinaryIO, Final
from zlib import crc32

import numpy as np

from memory.block import Batch
from memory.errors import SnapshotCorrupt
from memory.folder import sync_file, sync_folder
from memory.graph import Graph
from memory.index import Captured, Index
from memory.probe import Probe, silent
from memory.schema import VECTOR_TYPE

FORMAT: Final = 1
_FOLDER: Final = "snapshots"
_MANIFEST: Final = "manifest.json"
_BLOCKS: Final = "blocks"
_UNDER_WAY: Final = ".new"
_CHUNK_BYTES: Final = 1 << 22
_MANIFEST_BYTES: Final = 1 << 26
_TYPES: Final[tuple[np.dtype[Any], ...]] = (
    np.dtype("<i8"),
    VECTOR_TYPE,
    np.dtype("u1"),
    np.dtype("<f8"),
    np.dtype("<f8"),
)


def write_snapshot(folder: Path, index: Index, name: str, embedder: str, probe: Probe = silent) -> int:
    """Writes the index of the store called `name`; gives the sequence number that it has."""
    parent = folder / _FOLDER
    parent.mkdir(exist_ok=True)
    new = parent / _UNDER_WAY
    shutil.rmtree(new, ignore_errors=True)
    new.mkdir()
    sequence, captured = index.capture()
    probe("snapshot.write.before")
    scopes = _write_files(new, captured)
    manifest: dict[str, Any] = {
        "format": FORMAT, "sequence": sequence, "store": name, "embedder": embedder, "scopes": scopes,
        "files": {path.name: [path.stat().st_size, _crc_of(path)] for path in sorted(new.iterdir())},
    }  # fmt: skip
    body = json.dumps(manifest, sort_keys=True)
    (new / _MANIFEST).write_text(json.dumps({"crc": crc32(body.encode()), "body": body}), encoding="utf-8")
    probe("snapshot.write.after")
    probe("snapshot.fsync.before")
    for path in new.iterdir():
        sync_file(path)
    sync_folder(new)
    probe("snapshot.fsync.after")
    target = parent / f"{sequence:020d}"
    if target.exists():
        shutil.rmtree(target)
    probe("snapshot.rename.before")
    new.rename(target)
    probe("snapshot.rename.after")
    probe("snapshot.folder_fsync.before")
    sync_folder(parent)
    probe("snapshot.folder_fsync.after")
    probe("snapshot.clean.before")
    for old in sorted(parent.iterdir()):
        if old != target:
            shutil.rmtree(old)
    probe("snapshot.clean.after")
    return sequence


def newest_snapshot(folder: Path) -> Path | None:
    """The newest snapshot there is, sound or not."""
    found = [path for path in (folder / _FOLDER).glob("[0-9]*") if path.is_dir()]
    return max(found, default=None)


def remove_snapshots(folder: Path) -> None:
    """Removes all of them."""
    shutil.rmtree(folder / _FOLDER, ignore_errors=True)


def read_snapshot(path: Path, index: Index, *, name: str, embedder: str, latest: int) -> int:
    """Fills an empty index; gives the snapshot's sequence number. `latest` is the store's.

    Raises `SnapshotCorrupt` if it is not as it was written, or of another store, embedder or future.
    """
    try:
        manifest = _manifest(path, name, embedder, latest)
        for file, (size, crc) in manifest["files"].items():
            if (path / file).stat().st_size != size or _crc_of(path / file) != crc:
                raise ValueError(f"{file} has another size or checksum")
        dimension = index.dimension
        loaded: list[tuple[int, Batch, list[Graph]]] = []
        with (path / _BLOCKS).open("rb") as file:
            for number, members, *rows in manifest["scopes"]:
                block = _read_batch(file, members, dimension)
                graphs = [
                    _read_graph(path / f"graph-{number}-{at}", file, count, index)
                    for at, count in enumerate(rows)
                ]
                loaded.append((number, block, graphs))
        for number, block, graphs in loaded:
            index.restore(number, block, graphs)
    except (OSError, ValueError, KeyError, TypeError, RuntimeError, AttributeError) as error:
        raise SnapshotCorrupt(
            f"the snapshot {path} cannot be used ({error}). The index is made from the rows: nothing is lost, and the "
            "next snapshot takes its place."
        ) from error
    index.sequence = manifest["sequence"]
    return index.sequence


def _write_files(new: Path, captured: list[Captured]) -> list[list[int]]:
    """Writes blocks and graphs; gives [scope's number, members of the block, rows of each graph ...] of each."""
    scopes = []
    with (new / _BLOCKS).open("wb") as file:
        for scope in captured:
            members = scope.block.members()
            _write_batch(file, members)
            counts = [scope.number, len(members.ids)]
            for at, graph in enumerate(scope.graphs):
                columns = graph.write(new / f"graph-{scope.number}-{at}")
                _write_batch(file, columns)
                alive = graph.positions
                file.write(np.array([each in alive for each in columns.ids.tolist()], np.uint8).tobytes())
                counts.append(len(columns.ids))
            scopes.append(counts)
    return scopes


def _manifest(path: Path, name: str, embedder: str, latest: int) -> dict[str, Any]:
    file = path / _MANIFEST
    if file.stat().st_size > _MANIFEST_BYTES:
        raise ValueError("the manifest is too large")
    outer = json.loads(file.read_text(encoding="utf-8"))
    if crc32(outer["body"].encode()) != outer["crc"]:
        raise ValueError("the manifest's checksum differs")
    manifest: dict[str, Any] = json.loads(outer["body"])
    wanted = {"format": FORMAT, "store": name, "embedder": embedder}
    for key, value in wanted.items():
        if manifest[key] != value:
            raise ValueError(f"its {key} is {manifest[key]!r}, the store's {value!r}")
    if manifest["sequence"] > latest:
        raise ValueError(f"it has writes up to {manifest['sequence']}, the store up to {latest}")
    return manifest


def _crc_of(path: Path) -> int:
    crc = 0
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK_BYTES):
            crc = crc32(chunk, crc)
    return crc


def _write_batch(file: BinaryIO, batch: Batch) -> None:
    for column, kind in zip(batch.columns(), _TYPES, strict=True):
        file.write(np.ascontiguousarray(column, kind).tobytes())


def _read_batch(file: BinaryIO, count: int, dimension: int) -> Batch:
    columns: list[Any] = []
    for at, kind in enumerate(_TYPES):
        width = dimension if at == 1 else 1
        columns.append(np.frombuffer(file.read(count * width * kind.itemsize), kind))
    vectors = columns[1].reshape(count, dimension).astype(np.float32)
    return Batch(columns[0], vectors, *columns[2:])


def _read_graph(path: Path, file: BinaryIO, count: int, index: Index) -> Graph:
    columns = _read_batch(file, count, 0)
    alive = np.frombuffer(file.read(count), np.uint8)
    graph = Graph.read(path, columns, index.dimension)
    for each in columns.ids[alive == 0].tolist():
        graph.remove(each)
    return graph
