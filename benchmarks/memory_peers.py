"""The scoped workload of the memory benchmark on other stores and indexes, where they are installed.

The same vectors in the same scopes, asked the same questions: query, and where a store is durable, single adds and
deletes as it makes them durable. chromadb, lancedb and qdrant-client run in this process on a folder; mem0 is measured
by its FAISS store, the part that would be replaced. hnswlib and usearch are indexes and no stores: hnswlib filters
while it searches, usearch, which cannot, afterwards. None is a dependency. Their modules are imported when found.

`recall`: the share of the true ten nearest of the scope that came back.
"""

import time
from collections.abc import Callable
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from benchmarks.memory_data import DIMENSION, Clumps, Vectors
from benchmarks.outcome import median, rounded

_K = 10
_QUERIES = 60
_WRITES = 20
_BATCH = 1000


class Peer(Protocol):
    """A store, or an index, with items in scopes."""

    def fill(self, ids: list[int], scopes: list[int], vectors: Vectors) -> None:
        """Adds many."""
        ...

    def query(self, vector: Vectors, scope: int) -> list[int]:
        """The ids of the ten nearest in a scope, as far as it finds them."""
        ...

    def add(self, item: int, scope: int, vector: Vectors) -> None:
        """Adds one."""
        ...

    def delete(self, item: int) -> None:
        """Deletes one."""
        ...


class Chroma:
    """chromadb, persistent."""

    durable = True

    def __init__(self, module: Any, folder: Path) -> None:
        self._items = module.PersistentClient(str(folder)).create_collection(
            "bench", metadata={"hnsw:space": "ip"}, embedding_function=None
        )

    def fill(self, ids: list[int], scopes: list[int], vectors: Vectors) -> None:
        """Adds many."""
        self._items.add(
            ids=[str(each) for each in ids],
            embeddings=vectors,
            metadatas=[{"scope": scope} for scope in scopes],
        )

    def query(self, vector: Vectors, scope: int) -> list[int]:
        """The nearest."""
        found = self._items.query(query_embeddings=[vector], n_results=_K, where={"scope": scope}, include=[])
        return [int(each) for each in found["ids"][0]]

    def add(self, item: int, scope: int, vector: Vectors) -> None:
        """Adds one."""
        self.fill([item], [scope], vector[None])

    def delete(self, item: int) -> None:
        """Deletes one."""
        self._items.delete(ids=[str(item)])


class Lance:
    """lancedb, without an index: it then searches exactly."""

    durable = True

    def __init__(self, module: Any, folder: Path) -> None:
        self._base = module.connect(str(folder))
        self._table: Any = None

    def fill(self, ids: list[int], scopes: list[int], vectors: Vectors) -> None:
        """Adds many."""
        rows = [
            {"id": each, "scope": scope, "vector": vector.tolist()}
            for each, scope, vector in zip(ids, scopes, vectors, strict=True)
        ]
        if self._table is None:
            self._table = self._base.create_table("bench", data=rows)
        else:
            self._table.add(rows)

    def query(self, vector: Vectors, scope: int) -> list[int]:
        """The nearest."""
        asked = self._table.search(vector).distance_type("dot").where(f"scope = {scope}", prefilter=True)
        return [row["id"] for row in asked.select(["id", "_distance"]).limit(_K).to_list()]

    def add(self, item: int, scope: int, vector: Vectors) -> None:
        """Adds one."""
        self.fill([item], [scope], vector[None])

    def delete(self, item: int) -> None:
        """Deletes one."""
        self._table.delete(f"id = {item}")


class Qdrant:
    """qdrant-client in its local mode, pure Python."""

    durable = True

    def __init__(self, module: Any, folder: Path) -> None:
        self._models = module.models
        self._client = module.QdrantClient(path=str(folder))
        size = self._models.VectorParams(size=DIMENSION, distance=self._models.Distance.DOT)
        self._client.create_collection("bench", vectors_config=size)

    def fill(self, ids: list[int], scopes: list[int], vectors: Vectors) -> None:
        """Adds many."""
        points = [
            self._models.PointStruct(id=each, vector=vector.tolist(), payload={"scope": scope})
            for each, scope, vector in zip(ids, scopes, vectors, strict=True)
        ]
        self._client.upsert("bench", points)

    def query(self, vector: Vectors, scope: int) -> list[int]:
        """The nearest."""
        models = self._models
        only = models.Filter(must=[models.FieldCondition(key="scope", match=models.MatchValue(value=scope))])
        found = self._client.query_points("bench", query=vector.tolist(), query_filter=only, limit=_K)
        return [point.id for point in found.points]

    def add(self, item: int, scope: int, vector: Vectors) -> None:
        """Adds one."""
        self.fill([item], [scope], vector[None])

    def delete(self, item: int) -> None:
        """Deletes one."""
        self._client.delete("bench", points_selector=[item])


class Mem0:
    """mem0's FAISS store."""

    durable = True

    def __init__(self, module: Any, folder: Path) -> None:
        store = import_module(f"{module.__name__}.vector_stores.faiss")
        self._store = store.FAISS(
            "bench", path=str(folder), distance_strategy="inner_product", embedding_model_dims=DIMENSION
        )

    def fill(self, ids: list[int], scopes: list[int], vectors: Vectors) -> None:
        """Adds many."""
        self._store.insert(
            vectors=[vector.tolist() for vector in vectors],
            payloads=[{"scope": scope} for scope in scopes],
            ids=[str(each) for each in ids],
        )

    def query(self, vector: Vectors, scope: int) -> list[int]:
        """The nearest."""
        found = self._store.search("", vector.tolist(), top_k=_K, filters={"scope": scope})
        return [int(each.id) for each in found]

    def add(self, item: int, scope: int, vector: Vectors) -> None:
        """Adds one."""
        self.fill([item], [scope], vector[None])

    def delete(self, item: int) -> None:
        """Deletes one."""
        self._store.delete(str(item))


class Hnswlib:
    """hnswlib with a filter in the search: an index, nothing is durable."""

    durable = False

    def __init__(self, module: Any, folder: Path) -> None:
        self._index = module.Index(space="ip", dim=DIMENSION)
        self._index.init_index(max_elements=200_000, M=16, ef_construction=100)
        self._index.set_ef(128)
        self._scopes: dict[int, int] = {}

    def fill(self, ids: list[int], scopes: list[int], vectors: Vectors) -> None:
        """Adds many."""
        self._index.add_items(vectors, ids)
        self._scopes |= dict(zip(ids, scopes, strict=True))

    def query(self, vector: Vectors, scope: int) -> list[int]:
        """The nearest."""
        try:
            found, _ = self._index.knn_query(vector, k=_K, filter=lambda each: self._scopes[each] == scope)
        except RuntimeError:  # what it says when it finds fewer than were asked for
            return []
        return [int(each) for each in found[0]]

    def add(self, item: int, scope: int, vector: Vectors) -> None:
        """Adds one."""
        self.fill([item], [scope], vector[None])

    def delete(self, item: int) -> None:
        """Marks one."""
        self._index.mark_deleted(item)


class Usearch:
    """usearch, filtered afterwards: an index, nothing is durable."""

    durable = False

    def __init__(self, module: Any, folder: Path) -> None:
        index = import_module(f"{module.__name__}.index")
        self._index = index.Index(ndim=DIMENSION, metric="ip", dtype="f16")
        self._scopes: dict[int, int] = {}

    def fill(self, ids: list[int], scopes: list[int], vectors: Vectors) -> None:
        """Adds many."""
        self._index.add(np.array(ids, np.uint64), vectors)
        self._scopes |= dict(zip(ids, scopes, strict=True))

    def query(self, vector: Vectors, scope: int) -> list[int]:
        """The nearest of 200 that are of the scope."""
        found = self._index.search(vector, 200).keys
        return [int(each) for each in found if self._scopes[int(each)] == scope][:_K]

    def add(self, item: int, scope: int, vector: Vectors) -> None:
        """Adds one."""
        self.fill([item], [scope], vector[None])

    def delete(self, item: int) -> None:
        """Removes one."""
        self._index.remove(item)


_PEERS: tuple[tuple[str, str, Callable[[Any, Path], Any]], ...] = (
    ("chromadb", "chromadb", Chroma),
    ("lancedb", "lancedb", Lance),
    ("qdrant_client", "qdrant-client", Qdrant),
    ("mem0", "mem0ai", Mem0),
    ("hnswlib", "hnswlib", Hnswlib),
    ("usearch", "usearch", Usearch),
)


def peer_figures(folder: Path, source: Clumps, items: int, scopes: int) -> tuple[dict[str, float], list[str]]:
    """Figures by peer; a sentence for each that is not installed or does not work."""
    figures: dict[str, float] = {}
    left_out: list[str] = []
    for module, package, make in _PEERS:
        if find_spec(module) is None:
            left_out.append(f"{package} is not installed and was left out (pip install {package}).")
            continue
        place = folder / module
        place.mkdir(parents=True)
        try:
            peer = make(import_module(module), place)
            told = _measured(peer, source, items, scopes)
        except Exception as error:  # a peer of another version: it is left out, and why is told
            left_out.append(f"{package} was left out: {type(error).__name__}: {str(error)[:200]}")
            continue
        kept = told if peer.durable else {name: told[name] for name in ("query_p50_ms", "recall")}
        figures |= {f"{module}_{name}": value for name, value in kept.items()}
    return figures, left_out


def _measured(peer: Peer, source: Clumps, items: int, scopes: int) -> dict[str, float]:
    vectors = source.take(items, 11)
    owner = [number % scopes for number in range(items)]
    for start in range(0, items, _BATCH):
        after = min(start + _BATCH, items)
        peer.fill(list(range(start, after)), owner[start:after], vectors[start:after])
    queries = source.take(_QUERIES, 12)
    times, hits = [], 0
    for number, query in enumerate(queries):
        scope = number % scopes
        began = time.perf_counter()
        found = peer.query(query, scope)
        times.append((time.perf_counter() - began) * 1e3)
        mine = np.arange(scope, items, scopes)
        best = mine[np.argsort(-(vectors[mine] @ query))[:_K]]
        hits += len(set(best.tolist()) & set(found))
    adds, deletes = [], []
    for number, vector in enumerate(source.take(_WRITES, 13)):
        began = time.perf_counter()
        peer.add(items + number, 0, vector)
        adds.append((time.perf_counter() - began) * 1e3)
    for number in range(_WRITES):
        began = time.perf_counter()
        peer.delete(items + number)
        deletes.append((time.perf_counter() - began) * 1e3)
    return {
        "query_p50_ms": median(times),
        "recall": rounded(hits / (_K * _QUERIES)),
        "add_p50_ms": median(adds),
        "delete_p50_ms": median(deletes),
    }
