"""Embeddings by a model of the library sentence-transformers (optional: `pip install sentence-transformers`).

Rules:
* A folder on disk is used as it is and nothing is fetched. A name is looked for in the local cache of models only,
  unless `may_download` is set: no experiment changes because a network was there.
* The identity hashes the model's files: weights, tokenizer and settings.
* Texts longer than the model takes are cut by its tokenizer, as the library does; very long ones before
  (`for_tokenizer`).
"""

import hashlib
import importlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from inference.embedder import (
    EmbedderError,
    EmbedderIdentity,
    EmbedderMissing,
    Vectors,
    for_tokenizer,
    hash_of_files,
    with_unit_rows,
)

TOKENS_MAX = 8_192
_FILES = (".json", ".txt", ".safetensors", ".bin", ".model")


class SentenceTransformerEmbedder:
    """An `Embedder` over `sentence_transformers.SentenceTransformer`."""

    def __init__(
        self,
        model: str | Path,
        *,
        name: str = "",
        device: str = "cpu",
        revision: str | None = None,
        batch_texts: int = 64,
        may_download: bool = False,
    ) -> None:
        """`name` is the identity's; without it the folder's, or the model's own."""
        try:
            library = importlib.import_module("sentence_transformers")
        except ImportError as error:
            raise EmbedderMissing(
                f"the model {model} needs sentence-transformers ({error}): pip install sentence-transformers, "
                f"or use the built-in HashingEmbedder"
            ) from error
        try:
            self._model: Any = library.SentenceTransformer(
                str(model), device=device, revision=revision, local_files_only=not may_download
            )
        except (
            Exception
        ) as error:  # the errors of torch, of the hub and of file formats have no common parent
            raise EmbedderError(
                f"the model {model} cannot be loaded on {device}: {error}. Give a folder that holds a "
                f"sentence-transformers model, or a name that is in the local cache (may_download=True fetches it)."
            ) from error
        self._batch_texts = batch_texts
        self._tokens_max = min(self._model.max_seq_length or TOKENS_MAX, TOKENS_MAX)
        self._identity = EmbedderIdentity(
            name or (Path(model).name if Path(model).is_dir() else str(model)),
            revision or "local",
            self._hash(Path(model)),
            self._dimension(),
        )

    @property
    def identity(self) -> EmbedderIdentity:
        """The model's name, its revision, the hash of its files."""
        return self._identity

    def embed(self, texts: Sequence[str]) -> Vectors:
        """float32 (len(texts), dimension), rows of length 1."""
        if not texts:
            return np.empty((0, self._identity.dimension), dtype=np.float32)
        vectors = self._model.encode(
            for_tokenizer(texts, self._tokens_max),
            batch_size=self._batch_texts,
            convert_to_numpy=True,
            show_progress_bar=False,
        )
        return with_unit_rows(np.ascontiguousarray(vectors, dtype=np.float32))

    def _dimension(self) -> int:
        return len(self._model.encode(["a"], show_progress_bar=False)[0])

    def _hash(self, model: Path) -> str:
        """Of the files where the model is a folder, else of the weights as loaded."""
        if model.is_dir():
            return hash_of_files(model, suffixes=_FILES)
        digest = hashlib.sha256()
        for name, tensor in sorted(self._model.state_dict().items()):
            digest.update(name.encode() + b"\0" + tensor.detach().cpu().float().numpy().tobytes())
        return digest.hexdigest()
