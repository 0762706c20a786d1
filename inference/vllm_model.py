"""The files of a model: where they lie, and a revision that is the same on every machine that holds the same files.

Rules:
* A model is a folder with a `config.json`, or a name on the Hub whose files are in the local cache.
* The revision is a hash of all files that decide an answer: configuration, tokenizer, chat template, weights. A file
  over 64 MiB is hashed by its size and 64 evenly spaced blocks of a mebibyte: to read 100 GB at each start would
  take minutes. Training changes all blocks; a file changed by hand in one place may pass. `describe` says which.
* What is missing is told before anything is imported or started.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path
from typing import Any

import msgspec

from inference.errors import ConfigurationError
from inference.extra import optional

_WHOLE_BYTES = 64 << 20
_BLOCK_BYTES = 1 << 20
_BLOCKS = 64
_WEIGHTS = (".safetensors", ".bin", ".gguf", ".pt")
_TOKENIZER = ("tokenizer", "vocab", "merges", "special_tokens", "added_tokens", "chat_template", "tekken")
_FILES = ("*.json", "*.safetensors", "*.txt", "*.model", "*.jinja", "*.tiktoken")
"""What is fetched of a model on the Hub: no second copy of the weights in another format."""


@dataclass(frozen=True)
class ModelFiles:
    """A model on disk."""

    name: str
    """As it is called: the Hub's name, or the folder's own."""
    folder: Path
    revision: str
    """16 hexadecimal digits, of all files."""
    tokenizer: str
    """16 hexadecimal digits, of the tokenizer's files and the chat template."""
    sampled: bool
    """True if some file was hashed by samples."""
    config: dict[str, Any]


def find_model(model: str, *, revision: str | None, offline: bool) -> ModelFiles:
    """The files of a model. Raises `ConfigurationError` with the mend."""
    folder = Path(model).expanduser()
    is_here = folder.is_dir()
    if not is_here:
        folder = _from_hub(model, revision, offline)
    config = _read_config(folder, model)
    paths = sorted(path for path in folder.iterdir() if path.is_file() and _decides(path))
    if not any(path.suffix in _WEIGHTS for path in paths):
        raise ConfigurationError(f"the model {model} holds no weights: {folder} has no .safetensors file")
    vocabulary = [path for path in paths if path.name.startswith(_TOKENIZER)]
    return ModelFiles(
        name=folder.resolve().name if is_here else model,
        folder=folder,
        revision=_hash(paths),
        tokenizer=_hash(vocabulary),
        sampled=any(path.stat().st_size > _WHOLE_BYTES for path in paths),
        config=config,
    )


def find_adapter(name: str, folder: str, rank: int) -> str:
    """The revision of a LoRA adapter. Raises `ConfigurationError`: vLLM's engine would die of a broken one."""
    path = Path(folder)
    described = path / "adapter_config.json"
    if not described.is_file() or not any(path.glob("adapter_model.*")):
        raise ConfigurationError(
            f"the adapter {name} is not in {folder}: a LoRA adapter is a folder with adapter_config.json and "
            f"adapter_model.safetensors"
        )
    own = _read_json(described).get("r")
    if not isinstance(own, int) or own > rank:
        raise ConfigurationError(
            f"the adapter {name} has rank {own}: set adapter_rank to at least that, not {rank}"
        )
    return _hash(sorted(file for file in path.iterdir() if file.is_file()))


def _from_hub(model: str, revision: str | None, offline: bool) -> Path:
    if model.startswith(("/", ".", "~")) or model.count("/") != 1:
        raise ConfigurationError(f"there is no folder {model}: give a model's folder, or its name on the Hub")
    hub = optional("huggingface_hub", "vllm", "a model by its name")
    try:
        return Path(
            hub.snapshot_download(
                model, revision=revision, local_files_only=offline, allow_patterns=list(_FILES)
            )
        )
    except Exception as error:  # of many kinds: not in the cache, no network, no such name, no right to it
        mend = (
            "download it once (hf download NAME), give a folder, or set offline=False"
            if offline
            else "look at its name, the network, and whether it needs a token (HF_TOKEN)"
        )
        raise ConfigurationError(
            f"the model {model} cannot be had ({type(error).__name__}: {error!s:.200}): {mend}"
        ) from None


def _read_config(folder: Path, model: str) -> dict[str, Any]:
    path = folder / "config.json"
    if not path.is_file():
        raise ConfigurationError(f"the model {model} has no config.json in {folder}: give a model's folder")
    return _read_json(path)


def _read_json(path: Path) -> dict[str, Any]:
    try:
        return msgspec.json.decode(path.read_bytes(), type=dict[str, Any])
    except (OSError, msgspec.MsgspecError) as error:
        raise ConfigurationError(f"{path} cannot be read: {error}") from None


def _decides(path: Path) -> bool:
    return path.suffix in (*_WEIGHTS, ".json", ".jinja", ".model", ".txt", ".tiktoken")


def _hash(paths: Iterable[Path]) -> str:
    """Of names and bytes, each with its length before it."""
    digest = blake2b(digest_size=8)
    for path in paths:
        size = path.stat().st_size
        digest.update(f"{path.name}\0{size}\0".encode())
        with path.open("rb") as file:
            if size <= _WHOLE_BYTES:
                digest.update(file.read())
                continue
            for block in range(_BLOCKS):
                file.seek((size - _BLOCK_BYTES) * block // (_BLOCKS - 1))
                digest.update(file.read(_BLOCK_BYTES))
    return digest.hexdigest()
