"""Scripts as files: rules of a `ScriptedLLM` in YAML, for `model: scripted:PATH`.

    name: voters          # optional, as are seed and context_tokens
    rules:
      - pattern: "vote on (?P<motion>.*)"
        answers: ["yes to {motion}", "no to {motion}"]
      - pattern: ""
        answers: ["I have nothing to say."]

A file is read whole, at most a megabyte of it, and nothing in it is run.
"""

from pathlib import Path
from typing import Any

import msgspec
import yaml

from inference.errors import ConfigurationError
from inference.scripted import Rule, ScriptedLLM

FILE_BYTES = 1 << 20


class _File(msgspec.Struct, forbid_unknown_fields=True):
    rules: list[dict[str, Any]]
    name: str = ""
    seed: int = 0
    context_tokens: int = 32_768


def load_script(path: Path) -> ScriptedLLM:
    """The model that a file describes. Raises `ConfigurationError` with the place of the fault."""
    try:
        if path.stat().st_size > FILE_BYTES:
            raise ConfigurationError(f"{path} is over {FILE_BYTES:,} bytes: a script is a few rules")
        described = msgspec.convert(yaml.safe_load(path.read_text(encoding="utf-8")), _File)
    except OSError as error:
        raise ConfigurationError(f"cannot read the script {path}: {error.strerror or error}") from None
    except (yaml.YAMLError, UnicodeDecodeError, RecursionError) as error:
        raise ConfigurationError(f"{path} is no YAML: {error}") from None
    except msgspec.ValidationError as error:
        raise ConfigurationError(
            f"{path}: {error}. A script has rules and may have name, seed, context_tokens."
        ) from None
    rules = []
    for number, rule in enumerate(described.rules):
        try:
            rules.append(_rule(rule))
        except (msgspec.ValidationError, ConfigurationError) as error:
            raise ConfigurationError(f"{path}: rules[{number}]: {error}") from None
    return ScriptedLLM(
        rules, name=described.name or path.stem, seed=described.seed, context_tokens=described.context_tokens
    )


def _rule(described: dict[str, Any]) -> Rule:
    unknown = sorted(set(map(str, described)) - set(Rule.__struct_fields__))
    if unknown:
        raise ConfigurationError(f"there is no {unknown[0]!r}: give {', '.join(Rule.__struct_fields__)}")
    return msgspec.convert(described, Rule)
