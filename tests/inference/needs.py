"""What a test needs beside the core install. Where it is missing the test skips, and says why; on CI it fails.

A suite whose hardest tests were skipped looks as green as one that passed: so CI, where everything is installed, may
not skip.
"""

import os
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType

import pytest

from inference.errors import ConfigurationError
from inference.tiny.place import tiny_model

MEND = "`make vllm` installs it"


def needs(*modules: str) -> ModuleType:
    """The first of the modules, all of which are installed; otherwise skips, or with CI=true fails."""
    for module in modules:
        if find_spec(module.partition(".")[0]) is None:
            _missing(f"{module} is not installed: {MEND}")
    return import_module(modules[0])


def needs_vllm() -> None:
    """Skips, or with CI=true fails, unless vLLM is installed. It is not imported: that takes 18 seconds."""
    for module in ("vllm", "torch", "transformers"):
        if find_spec(module) is None:
            _missing(f"{module} is not installed: {MEND}")


def needs_tiny_model() -> Path:
    """The folder of the tiny model. Skips, or with CI=true fails, where it is not made."""
    try:
        return tiny_model()
    except ConfigurationError as error:
        _missing(str(error))
        raise


def _missing(why: str) -> None:
    if os.environ.get("CI") == "true":
        pytest.fail(why)
    pytest.skip(why)
