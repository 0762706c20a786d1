"""One line of configuration names a model: `PROVIDER:WHICH`, with a name after `#` where there is an address.

    vllm:Qwen/Qwen3-8B              a model in a vLLM actor
    openai:http://host:8000/v1#name a model behind an OpenAI-compatible endpoint
    openai:gpt-5-mini               one of OpenAI's own; its key is in OPENAI_API_KEY
    ollama:qwen3:0.6b               a model of the Ollama server here; elsewhere ollama:http://host:11434#qwen3:0.6b
    pydantic-ai:anthropic:NAME      a model of a provider that pydantic-ai knows
    scripted:voters.yaml            rules from a file
    replay:RUN                      a recording: a file, or a run's folder; with several models in it replay:RUN#MODEL

Everything wrong with a line is told with what to write instead. A key is never part of it: name where it is kept
(`env:NAME`, `file:PATH`) in `EndpointSettings`.
"""

from collections.abc import Callable
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from typing import Literal
from urllib.parse import urlsplit

import msgspec

from inference.endpoint import EndpointSettings
from inference.errors import ConfigurationError
from inference.llm import BaseLLM
from inference.ollama import DEFAULT_URL, OllamaLLM
from inference.openai_endpoint import OpenAICompatLLM
from inference.pydantic_ai_model import PydanticAILLM
from inference.recorded import RecordedLLM
from inference.script_file import load_script
from inference.secret import Secret
from inference.vllm_settings import VLLMSettings

Provider = Literal["vllm", "openai", "ollama", "pydantic-ai", "scripted", "replay"]
OPENAI_URL = "https://api.openai.com/v1"
RECORDING = "completions.jsonl"
"""What a run's recording is called in its folder."""
_FORMS: dict[Provider, str] = {
    "vllm": "vllm:Qwen/Qwen3-8B",
    "openai": "openai:http://host:8000/v1#name",
    "ollama": "ollama:name",
    "pydantic-ai": "pydantic-ai:anthropic:name",
    "scripted": "scripted:rules.yaml",
    "replay": "replay:RUN",
}


class ModelSpec(msgspec.Struct, frozen=True):
    """A line, read. `str` gives it back."""

    provider: Provider
    name: str
    """The model's name; of a recording the model's identity, empty if it holds one only."""
    place: str = ""
    """An address, a file or a folder."""

    def __str__(self) -> str:
        return f"{self.provider}:{'#'.join(filter(None, (self.place, self.name)))}"


def parse_model(line: str) -> ModelSpec:
    """Reads a line. Raises `ConfigurationError` with the mend."""
    if not isinstance(line, str) or line != line.strip() or not line.isprintable():
        raise ConfigurationError(f"model is {line!r:.80}: give one line, such as {_FORMS['ollama']}")
    provider, colon, rest = line.partition(":")
    if provider not in _FORMS:
        raise ConfigurationError(
            f"model is {_shown(line)!r}, of no known provider: give {', '.join(_FORMS.values())}"
        )
    if not colon or not rest:
        raise ConfigurationError(f"model is {line!r}, and names no model: give {_FORMS[provider]}")
    return _READERS[provider](rest)


def open_model(
    line: str | ModelSpec, settings: EndpointSettings | None = None, *, vllm: VLLMSettings | None = None
) -> BaseLLM:
    """The model that a line names. `settings` are for endpoints, `vllm` for a model in an actor.

    A `vllm:` line starts the actor, on Ray, and waits until it serves: in an event loop use `asyncio.to_thread`.
    Raises `ConfigurationError` with the mend.
    """
    spec = parse_model(line) if isinstance(line, str) else line
    settings = settings or EndpointSettings()
    match spec.provider:
        case "vllm":
            # Imported here, so that no other line loads Ray.
            start: Callable[..., BaseLLM] = import_module("inference.ray_vllm").start_vllm
            return start(spec.name, vllm)
        case "openai":
            return OpenAICompatLLM(spec.place, spec.name, settings=_with_own_key(spec, settings))
        case "ollama":
            return OllamaLLM(spec.name, url=spec.place or DEFAULT_URL, settings=settings)
        case "pydantic-ai":
            return PydanticAILLM(spec.name, settings=settings)
        case "scripted":
            return load_script(Path(spec.place))
        case "replay":
            return RecordedLLM.replay(_recording(Path(spec.place)), spec.name)


def _with_own_key(spec: ModelSpec, settings: EndpointSettings) -> EndpointSettings:
    """OpenAI's own key goes to OpenAI's own address, and to no other unless it is named."""
    if settings.key is None and spec.place == OPENAI_URL:
        return replace(settings, key=Secret("env:OPENAI_API_KEY"))
    return settings


def _recording(path: Path) -> Path:
    return path / RECORDING if path.is_dir() else path


def _vllm(rest: str) -> ModelSpec:
    if "#" in rest or "://" in rest:
        raise ConfigurationError(
            f"model is vllm:{_shown(rest)}: vllm takes a model's name or folder; a server is openai:URL#NAME"
        )
    return ModelSpec("vllm", rest)


def _openai(rest: str) -> ModelSpec:
    if "://" not in rest:
        if "#" in rest or "/" in rest:
            raise ConfigurationError(
                f"model is openai:{_shown(rest)}: an address begins with http:// or https://, as in {_FORMS['openai']}"
            )
        return ModelSpec("openai", rest, OPENAI_URL)
    url, name = _address("openai", rest)
    return ModelSpec("openai", name, url)


def _ollama(rest: str) -> ModelSpec:
    if "://" not in rest:
        return ModelSpec("ollama", rest)
    url, name = _address("ollama", rest)
    return ModelSpec("ollama", name, url)


def _pydantic_ai(rest: str) -> ModelSpec:
    provider, colon, name = rest.partition(":")
    if not (provider and colon and name):
        raise ConfigurationError(
            f"model is pydantic-ai:{_shown(rest)}: give PROVIDER:NAME after it, as in {_FORMS['pydantic-ai']}"
        )
    return ModelSpec("pydantic-ai", rest)


def _scripted(rest: str) -> ModelSpec:
    return ModelSpec("scripted", "", rest)


def _replay(rest: str) -> ModelSpec:
    # A recorded identity may hold a # of its own; a path before it should not.
    place, _, name = rest.partition("#")
    return ModelSpec("replay", name, place)


_READERS: dict[str, Callable[[str], ModelSpec]] = {
    "vllm": _vllm,
    "openai": _openai,
    "ollama": _ollama,
    "pydantic-ai": _pydantic_ai,
    "scripted": _scripted,
    "replay": _replay,
}


def _address(provider: Provider, rest: str) -> tuple[str, str]:
    """(address, name) of `URL#NAME`, checked. An address that holds a key is refused, and not repeated."""
    url, _, name = rest.partition("#")
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as error:
        raise ConfigurationError(f"model is {provider}:...: the address is wrong: {error}") from None
    if parts.username or parts.password or parts.query:
        raise ConfigurationError(
            f"model is {provider}:{parts.scheme}://{parts.hostname}...: an address holds no user, password or query. "
            f"Name where the key is kept, env:NAME or file:PATH, in the endpoint's settings."
        )
    if parts.scheme not in ("http", "https") or not parts.hostname or port == 0:
        raise ConfigurationError(
            f"model is {provider}:{url}: an address reads http://host:port/v1 or https://..."
        )
    if not name:
        raise ConfigurationError(
            f"model is {provider}:{url}, and names no model there: add #NAME, as in {provider}:{url}#name"
        )
    return url.rstrip("/"), name


def _shown(line: str) -> str:
    """A line as it may be repeated: without what stands before an @ in an address."""
    return line if "@" not in line else "..." + line[line.rindex("@") :]
