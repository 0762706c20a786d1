"""The settings of an arm, told in few words: for tables and legends, not to be read back.

Rules: two paths of one sweep never get the same name; a value is told as an experiment file would, without its marks:
`{crash: surveyor/1, at: 35}` is "crash surveyor/1, at 35", `{kind: grid, periodic: true}` is "grid (periodic)".
"""

from collections.abc import Mapping, Sequence
from typing import Any

from cluster.number import number_text

_SPACED = str.maketrans("_.", "  ")


def path_names(paths: Sequence[str]) -> dict[str, str]:
    """A short name for each path of a sweep: its last two words (`faults.drop.share` is "drop share")."""
    ends = [_end(path) for path in paths]
    return {
        path: (end if ends.count(end) == 1 else path).translate(_SPACED)
        for path, end in zip(paths, ends, strict=True)
    }


def _end(path: str) -> str:
    """The words after the first, without the numbers of list items, at most two of them."""
    words = [word for word in path.split(".")[1:] if not word.isdigit()]
    return ".".join(words[-2:]) or path


def value_text(value: object) -> str:
    """A value of an experiment file, in few words."""
    if isinstance(value, Mapping):
        settings = {str(name): item for name, item in value.items()}
        kind = settings.pop("kind", None)
        told = ", ".join(_setting(name, item) for name, item in settings.items())
        if kind is None:
            return told or "none"
        return f"{kind} ({told})" if told else str(kind)
    if isinstance(value, list | tuple):
        return "; ".join(value_text(item) for item in value) or "none"
    if isinstance(value, bool | int | float):
        return number_text(value)
    return "none" if value is None else str(value)


def _setting(name: str, value: Any) -> str:
    name = name.translate(_SPACED)
    if isinstance(value, bool):
        return name if value else f"not {name}"
    text = value_text(value)
    return f"{name} ({text})" if isinstance(value, Mapping) else f"{name} {text}"


def arm_text(arm: Mapping[str, Any], names: Mapping[str, str] | None = None) -> str:
    """All settings of an arm in one line; empty for no settings. `names`: see `path_names`."""
    names = path_names(list(arm)) if names is None else names
    return ", ".join(f"{names[path]} = {value_text(value)}" for path, value in arm.items())
