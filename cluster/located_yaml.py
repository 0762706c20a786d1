"""YAML in which every value knows its place in the file, so that an error can name file, line and column.

Rules:
* A document is data only: mappings with text keys, sequences, text, numbers, booleans, null. No tags or dates.
* Scalars follow the core schema of YAML 1.2 (https://yaml.org/spec/1.2.2/, 10.3.2): `on`, `off`, `yes` and `no`
  are text and `1e-3` is a number. PyYAML alone follows 1.1: the key `on` is the boolean true, `1e-3` is text.
* A key written twice is an error: YAML forbids it, PyYAML keeps the last one and loses the first.
* Anchors, aliases and merge keys (`<<`) work; one that contains itself or unfolds without end is refused.
"""

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import yaml

from actors.errors import ConfigurationError

KeyPath = tuple[str | int, ...]
"""Where a value stands: `("swarm", "roles", "worker", "count")`. Items of a sequence count from 0."""

Places = dict[tuple[str, ...], tuple[str, str]]
"""For the path of each value (indices as text) the places of its key and of itself."""

MAXIMUM_NODES = 1_000_000
"""Values in one document, aliases unfolded."""


@dataclass(frozen=True)
class Problem:
    """One thing that is wrong, and where."""

    path: KeyPath
    text: str
    about_key: bool = False
    """True if the key is wrong (its place is reported), false if its value is."""


class _CoreLoader(yaml.SafeLoader):
    yaml_implicit_resolvers = {}  # noqa: RUF012  # PyYAML's own mutable class attribute, emptied to begin from nothing


for _tag, _pattern, _first in (
    ("null", r"~|null|Null|NULL|", ["~", "n", "N", ""]),
    ("bool", r"true|True|TRUE|false|False|FALSE", list("tTfF")),
    ("int", r"[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+", list("-+0123456789")),
    ("float", r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?", list("-+.0123456789")),
    ("merge", r"<<", ["<"]),
):
    _CoreLoader.add_implicit_resolver(f"tag:yaml.org,2002:{_tag}", re.compile(rf"^(?:{_pattern})$"), _first)


class Document:
    """A parsed document: its `value`, and where each part of it was written."""

    def __init__(self, value: Any, places: Places, source: str) -> None:
        self.value = value
        self.source = source
        self._places = places

    def place(self, path: KeyPath, *, about_key: bool = False) -> str:
        """`file:line:column` of the value at a path, or of its key; if it is not there, of what is around it."""
        names = _names(path)
        for length in range(len(names), -1, -1):
            found = self._places.get(names[:length])
            if found is not None:
                return found[0] if about_key or length < len(names) else found[1]
        return self.source

    def error(self, problems: list[Problem]) -> ConfigurationError:
        """All problems as one error, a line for each: place, path, fault and mend."""
        lines = [
            f"{self.place(p.path, about_key=p.about_key)}: {dotted(p.path) + ': ' if p.path else ''}{p.text}"
            for p in problems
        ]
        return ConfigurationError("\n".join(dict.fromkeys(lines)))

    def assign(self, setting: str) -> None:
        """Carries out `path=value` as given to `--set`; the value is YAML. Raises `ConfigurationError`."""
        name, equals, text = setting.partition("=")
        # What somebody gives for a key, or before the @ of an address, may be a secret: it is not repeated.
        secret = name.strip().endswith("key") or "@" in text
        origin = f"--set {name}" if secret else f"--set {setting}"
        if not equals or not name.strip():
            raise ConfigurationError(f"{origin}: write it as path=value, for example --set swarm.cells=4")
        path = undotted(name.strip())
        self.value = assigned(self.value, path, parse(text, origin).value, origin)
        names = _names(path)
        self._places = {key: place for key, place in self._places.items() if key[: len(names)] != names}
        for length in range(1, len(names)):
            self._places.setdefault(names[:length], (origin, origin))
        self._places[names] = (origin, origin)


def load(path: Path) -> Document:
    """The document in a file. Raises `ConfigurationError` if it cannot be read or is not YAML."""
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError as error:
        near = nearest(path.name, [neighbour.name for neighbour in path.parent.glob("*.y*ml")])
        raise ConfigurationError(f"{path}: no such file{near}") from error
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"{path}: cannot be read as text: {error}") from error
    return parse(text, str(path))


def parse(text: str, source: str) -> Document:
    """The document in a text. `source` names it in errors."""
    try:
        loader = _CoreLoader(text)
        node = loader.get_single_node()
        places: Places = {}
        value = None if node is None else _Builder(loader, source, places).build(node, (), frozenset())
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        where = source if mark is None else f"{source}:{mark.line + 1}:{mark.column + 1}"
        context = f" ({error.context})" if error.context else ""
        raise ConfigurationError(f"{where}: not valid YAML: {error.problem}{context}") from error
    except yaml.YAMLError as error:
        raise ConfigurationError(f"{source}: not valid YAML: {str(error).splitlines()[0]}") from error
    except RecursionError as error:
        raise ConfigurationError(f"{source}: not valid YAML: nested too deeply") from error
    return Document(value, places, source)


def nearest(word: str, known: Mapping[str, Any] | list[str]) -> str:
    """`; did you mean 'x'?` for the known word that is most like this one; empty if none is."""
    close = get_close_matches(word, list(known), n=1, cutoff=0.6)
    return f"; did you mean '{close[0]}'?" if close else ""


def dotted(path: KeyPath) -> str:
    """`swarm.roles.worker.count` for a path. A dot within a key is written `\\.`."""
    return ".".join(str(key).replace(".", "\\.") for key in path)


def undotted(text: str) -> KeyPath:
    """The path that `dotted` writes; a key of digits becomes an index where it meets a sequence."""
    return tuple(key.replace("\\.", ".") for key in re.split(r"(?<!\\)\.", text))


def assigned(root: Any, path: KeyPath, value: Any, origin: str) -> Any:
    """A copy of `root` with the value at `path`. Makes the mappings on the way; an item must be there."""
    if not path:
        return value
    key, rest = path[0], path[1:]
    if isinstance(root, list):
        if not str(key).isdigit() or int(key) >= len(root):
            raise ConfigurationError(
                f"{origin}: no item '{key}': the sequence has {len(root)}, counted from 0"
            )
        index = int(key)
        return [*root[:index], assigned(root[index], rest, value, origin), *root[index + 1 :]]
    if root is not None and not isinstance(root, dict):
        raise ConfigurationError(f"{origin}: no key '{key}': {root!r} stands there, not a mapping")
    return {**(root or {}), str(key): assigned((root or {}).get(str(key)), rest, value, origin)}


def _names(path: KeyPath) -> tuple[str, ...]:
    return tuple(map(str, path))


class _Builder:
    """Turns a tree of nodes into plain data and writes down the places."""

    def __init__(self, loader: yaml.SafeLoader, source: str, places: Places) -> None:
        self._loader = loader
        self._source = source
        self._places = places
        self._nodes = 0

    def build(
        self, node: yaml.Node, path: tuple[str, ...], around: frozenset[int], key: yaml.Node | None = None
    ) -> Any:
        if id(node) in around:
            raise yaml.MarkedYAMLError(problem="a value contains itself", problem_mark=node.start_mark)
        self._nodes += 1
        if self._nodes > MAXIMUM_NODES:
            raise yaml.MarkedYAMLError(problem=f"over {MAXIMUM_NODES} values", problem_mark=node.start_mark)
        self._places[path] = (self._at(key or node), self._at(node))
        if isinstance(node, yaml.MappingNode):
            return self._mapping(node, path, around | {id(node)})
        if isinstance(node, yaml.SequenceNode):
            inside = around | {id(node)}
            return [self.build(item, (*path, str(index)), inside) for index, item in enumerate(node.value)]
        return self._scalar(node)

    def _mapping(
        self, node: yaml.MappingNode, path: tuple[str, ...], around: frozenset[int]
    ) -> dict[str, Any]:
        written = [key for key, _ in node.value if key.tag != "tag:yaml.org,2002:merge"]
        self._loader.flatten_mapping(node)
        own = {id(key) for key in written}
        result: dict[str, Any] = {}
        seen: set[str] = set()
        for key, value in node.value:
            if not isinstance(key, yaml.ScalarNode):
                raise yaml.MarkedYAMLError(problem="a key must be text", problem_mark=key.start_mark)
            if key.value in seen and id(key) in own:
                raise yaml.MarkedYAMLError(
                    problem=f"the key '{key.value}' is written twice", problem_mark=key.start_mark
                )
            if id(key) in own:
                seen.add(key.value)
            result[key.value] = self.build(value, (*path, key.value), around, key)
        return result

    def _scalar(self, node: yaml.Node) -> Any:
        text = str(node.value)
        match node.tag.rpartition(":")[2]:
            case "str":
                return text
            case "null":
                return None
            case "bool":
                return text.lower() == "true"
            case "int":
                return int(text, 0) if text[:2] in ("0x", "0o") else int(text)
            case "float" if math.isfinite(float(text)):
                return float(text)
        raise yaml.MarkedYAMLError(
            problem=f"'{node.tag}' {text!r} is not text, a finite number, a boolean or null",
            problem_mark=node.start_mark,
        )

    def _at(self, node: yaml.Node) -> str:
        return f"{self._source}:{node.start_mark.line + 1}:{node.start_mark.column + 1}"
