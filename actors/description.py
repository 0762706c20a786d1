"""A description in an experiment file: values taken one by one, each checked.

Rules:
* Every error says where, the value found and the mend. A key that nobody took is an error that names the
  nearest known one.
* True and false are not numbers, and text is not a number: YAML's surprises end here.
"""

from collections.abc import Iterable, Mapping
from difflib import get_close_matches
from math import inf, isnan

from actors.errors import ConfigurationError


def nearest(name: str, known: Iterable[str]) -> str:
    """` Did you mean 'x'?` if a known name is close, else the list of the known ones."""
    names = list(dict.fromkeys(known))
    close = get_close_matches(name, names, 1)
    return f" Did you mean '{close[0]}'?" if close else f" Known: {', '.join(names) or 'none'}."


def number(value: object, where: str, least: float = -inf, most: float = inf) -> float:
    """`value` if it is a number in [least, most]. Raises `ConfigurationError`."""
    if (
        isinstance(value, int | float)
        and not isinstance(value, bool)
        and not isnan(value)
        and least <= value <= most
    ):
        return value
    raise ConfigurationError(f"{where}: {value!r} is not a number{_range(least, most)}. Give such a number.")


def whole(value: object, where: str, least: float = -inf, most: float = inf) -> int:
    """`value` if it is a whole number in [least, most]. Raises `ConfigurationError`."""
    if isinstance(value, int) and not isinstance(value, bool) and least <= value <= most:
        return value
    raise ConfigurationError(
        f"{where}: {value!r} is not a whole number{_range(least, most)}. Give such a number."
    )


def flag(value: object, where: str) -> bool:
    """`value` if it is true or false. Raises `ConfigurationError`."""
    if isinstance(value, bool):
        return value
    raise ConfigurationError(f"{where}: {value!r} is neither true nor false. Give one of them.")


def _range(least: float, most: float) -> str:
    if least == -inf and most == inf:
        return ""
    if most == inf:
        return f" of {least:g} or more"
    return f" of {most:g} or less" if least == -inf else f" from {least:g} to {most:g}"


class Description:
    """A dictionary out of an experiment file, being read. Call `finish` at the end."""

    def __init__(self, values: object, where: str) -> None:
        if not isinstance(values, Mapping):
            raise ConfigurationError(f"{where}: {values!r} is not a dictionary. Give `key: value` pairs.")
        self.where = where
        self.values: dict[str, object] = {str(key): value for key, value in values.items()}
        self._asked: dict[str, None] = {}

    def __contains__(self, name: str) -> bool:
        self._asked[name] = None
        return name in self.values

    def at(self, name: str) -> str:
        """Where the key is, for an error."""
        return f"{self.where}.{name}"

    def take(self, name: str) -> object:
        """The value of a key. Raises `ConfigurationError` if there is none."""
        if name not in self:
            slips = get_close_matches(name, [key for key in self.values if key not in self._asked], 1)
            if slips:
                raise ConfigurationError(f"{self.at(slips[0])}: unknown key. Did you mean '{name}'?")
            raise ConfigurationError(f"{self.at(name)}: missing. Give {name!r}.")
        return self.values[name]

    def number(
        self, name: str, default: float | None = None, least: float = -inf, most: float = inf
    ) -> float:
        """A number in [least, most]. Without a default it must be there."""
        if default is not None and name not in self:
            return default
        return number(self.take(name), self.at(name), least, most)

    def whole(self, name: str, default: int | None = None, least: float = -inf, most: float = inf) -> int:
        """A whole number in [least, most]. Without a default it must be there."""
        if default is not None and name not in self:
            return default
        return whole(self.take(name), self.at(name), least, most)

    def flag(self, name: str, default: bool) -> bool:
        """True or false."""
        return flag(self.take(name), self.at(name)) if name in self else default

    def finish(self) -> None:
        """Raises `ConfigurationError` for the first key that was never asked for."""
        for name in self.values:
            if name not in self._asked:
                raise ConfigurationError(f"{self.at(name)}: unknown key.{nearest(name, self._asked)}")
