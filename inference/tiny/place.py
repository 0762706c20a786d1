"""Where the tiny model lies: `models/tiny-HASH` in the clone, named by what makes it.

The hash is of the scripts of this package and of the versions that `requirements-vllm-cpu.txt` pins, so a model is made
again when, and only when, it would come out differently. Nothing heavy is imported: it can be asked anywhere.
"""

import re
from hashlib import sha256
from pathlib import Path

from inference.errors import ConfigurationError

ROOT = Path(__file__).resolve().parents[2]
PINS = "requirements-vllm-cpu.txt"
PINNED = ("tokenizers", "torch", "transformers")
REPORT = "report.json"
_NOT_TRAINING = ("__init__.py", "place.py")


def tiny_model(root: Path = ROOT) -> Path:
    """The folder of the trained model, in Hugging Face's format. Raises `ConfigurationError` if it is not made."""
    folder = model_folder(root)
    if not (folder / REPORT).is_file():
        raise ConfigurationError(
            f"the tiny model is not made ({folder} is missing): run `make model`, some minutes"
        )
    return folder


def model_folder(root: Path = ROOT) -> Path:
    """Where the model of these scripts and versions belongs, made or not."""
    return root / "models" / f"tiny-{_hash(root)[:12]}"


def _hash(root: Path) -> str:
    pins = root / PINS
    if not pins.is_file():
        raise ConfigurationError(
            f"{pins} is missing: the tiny model is made and found in a clone of the repository"
        )
    pattern = rf"^(?:{'|'.join(PINNED)})==\S+$"
    digest = sha256("\n".join(sorted(re.findall(pattern, pins.read_text(), re.M))).encode())
    for script in sorted((root / "inference" / "tiny").glob("*.py")):
        if script.name not in _NOT_TRAINING:
            digest.update(f"\n{script.name}\n".encode() + script.read_bytes())
    return digest.hexdigest()
