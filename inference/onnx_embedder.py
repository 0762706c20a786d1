"""Embeddings by a transformer in ONNX form (optional: `pip install onnxruntime tokenizers`); no torch.

The folder holds `model.onnx` (or `onnx/model.onnx`) and `tokenizer.json`, as `optimum-cli export onnx` writes them. The
vector is the mean of the last hidden states over the tokens, then scaled to length 1: what all-MiniLM and most
sentence models do (Reimers and Gurevych, "Sentence-BERT", EMNLP 2019). A model that gives one vector a text (an output
of two dimensions) is taken at its word.

Rules:
* Texts are cut at `tokens_max`, very long ones before (`for_tokenizer`).
* A batch is padded to its longest text, so callers sort by length (`micro_batch.py`).
* The identity hashes the model, its tokenizer and `tokens_max`.
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

_INPUTS = ("input_ids", "attention_mask", "token_type_ids")
_FILES = (".onnx", ".json", ".onnx_data")


class OnnxEmbedder:
    """An `Embedder` over ONNX Runtime."""

    def __init__(
        self,
        folder: Path,
        *,
        name: str = "",
        threads: int = 1,
        tokens_max: int = 256,
        batch_texts: int = 64,
    ) -> None:
        """`name` is the identity's; without it the folder's."""
        if not 1 <= tokens_max <= 8_192:
            raise EmbedderError(f"tokens_max is {tokens_max}: give 1 to 8,192")
        try:
            runtime = importlib.import_module("onnxruntime")
            tokenizers = importlib.import_module("tokenizers")
        except ImportError as error:
            raise EmbedderMissing(
                f"the model {folder} needs onnxruntime and tokenizers ({error}): pip install onnxruntime "
                f"tokenizers, or use the built-in HashingEmbedder"
            ) from error
        files = [file for file in (folder / "model.onnx", folder / "onnx" / "model.onnx") if file.is_file()]
        if not files or not (folder / "tokenizer.json").is_file():
            raise EmbedderError(
                f"{folder} lacks model.onnx or tokenizer.json: export one with `optimum-cli export onnx`"
            )
        options = runtime.SessionOptions()
        options.intra_op_num_threads = threads
        try:
            self._session: Any = runtime.InferenceSession(
                str(files[0]), options, providers=["CPUExecutionProvider"]
            )
            self._tokenizer: Any = tokenizers.Tokenizer.from_file(str(folder / "tokenizer.json"))
        except Exception as error:  # the runtime's own errors have no common parent
            raise EmbedderError(f"{files[0]} cannot be loaded: {error}. Export the model again.") from error
        self._tokenizer.enable_truncation(tokens_max)
        self._tokenizer.enable_padding()
        self._inputs = {entry.name for entry in self._session.get_inputs()}
        self._batch_texts = batch_texts
        self._tokens_max = tokens_max
        digest = hashlib.sha256(f"{hash_of_files(folder, suffixes=_FILES)}|{tokens_max}".encode()).hexdigest()
        try:
            dimension = self._embed_batch(["a"]).shape[1]
        except EmbedderError:
            raise
        except Exception as error:  # as above
            raise EmbedderError(
                f"{files[0]} cannot be run with {', '.join(_INPUTS)}: {error}. Export a model for features."
            ) from error
        self._identity = EmbedderIdentity(name or folder.name, "onnx", digest, dimension)

    @property
    def identity(self) -> EmbedderIdentity:
        """The folder's name, and the hash of what is in it."""
        return self._identity

    def embed(self, texts: Sequence[str]) -> Vectors:
        """float32 (len(texts), dimension), rows of length 1."""
        vectors = np.empty((len(texts), self._identity.dimension), dtype=np.float32)
        for start in range(0, len(texts), self._batch_texts):
            batch = texts[start : start + self._batch_texts]
            vectors[start : start + len(batch)] = self._embed_batch(batch)
        return vectors

    def _embed_batch(self, texts: Sequence[str]) -> Vectors:
        encoded = self._tokenizer.encode_batch(for_tokenizer(texts, self._tokens_max))
        mask = np.array([each.attention_mask for each in encoded], dtype=np.int64)
        ids = np.array([each.ids for each in encoded], dtype=np.int64)
        feed = dict(zip(_INPUTS, (ids, mask, np.zeros_like(mask)), strict=True))
        output = self._session.run(None, {name: feed[name] for name in feed if name in self._inputs})[0]
        if output.ndim == 3:
            weight = mask[:, :, None].astype(np.float32)
            output = (output * weight).sum(axis=1) / np.maximum(weight.sum(axis=1), 1.0)
        return with_unit_rows(np.ascontiguousarray(output, dtype=np.float32))
