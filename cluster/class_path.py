"""Names of Python objects in configuration: `experiments.library_survey:Surveyor`, a module and a name in it.

Rules:
* A path is resolved when a configuration is checked, so a misspelt one fails before anything runs, naming the
  nearest that exists.
* What goes wrong inside the user's module while it is imported is told in one line: the error, the file, the line.
"""

import importlib
import inspect
import pkgutil
import traceback
from collections.abc import Iterable
from types import ModuleType
from typing import Any

from actors.agent import Agent
from actors.errors import ConfigurationError
from cluster.located_yaml import nearest


def resolve(path: str) -> Any:
    """The object at `module:name`. Raises `ConfigurationError`."""
    module_name, colon, name = path.partition(":")
    if not colon or not module_name or not name.isidentifier():
        raise ConfigurationError(
            f"'{path}' is not module:name. Write it like experiments.library_survey:Surveyor"
        )
    module = _module(module_name)
    try:
        return getattr(module, name)
    except AttributeError:
        known = [word for word in vars(module) if not word.startswith("_")]
        raise ConfigurationError(f"module {module_name} has no '{name}'{nearest(name, known)}") from None


def resolve_agent(path: str) -> type[Agent]:
    """The agent class at `module:name`. Raises `ConfigurationError`."""
    found = resolve(path)
    if not (isinstance(found, type) and issubclass(found, Agent)):
        raise ConfigurationError(f"{path} is not a class that extends Agent, but {_described(found)}")
    return found


def unknown_parameters(agent: type[Agent], names: Iterable[str]) -> dict[str, str]:
    """For each name that the class's constructor does not take, what to say about it."""
    parameters = inspect.signature(agent).parameters
    if any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters.values()):
        return {}
    known = [name for name, parameter in parameters.items() if parameter.kind is not parameter.VAR_POSITIONAL]
    takes = f"{agent.__name__} takes {', '.join(known) or 'none'}"
    return {
        name: f"unknown parameter{nearest(name, known) or '; ' + takes}"
        for name in names
        if name not in known
    }


def missing_parameters(agent: type[Agent], names: Iterable[str]) -> list[str]:
    """The parameters without a default that are not among the names."""
    given = set(names)
    variadic = (inspect.Parameter.VAR_KEYWORD, inspect.Parameter.VAR_POSITIONAL)
    parameters = inspect.signature(agent).parameters
    return [
        name
        for name, parameter in parameters.items()
        if parameter.default is parameter.empty and parameter.kind not in variadic and name not in given
    ]


def told(error: BaseException) -> str:
    """What went wrong in the user's code, in one line: the error, the file, the line."""
    if isinstance(error, SyntaxError):
        return f"{error.msg} ({error.filename}:{error.lineno})"
    frame = traceback.extract_tb(error.__traceback__)[-1]
    return f"{type(error).__name__}: {error} ({frame.filename}:{frame.lineno})"


def _module(name: str) -> ModuleType:
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        missing = error.name or ""
        if name == missing or name.startswith(missing + "."):
            raise ConfigurationError(f"there is no module {missing}{_nearest_module(missing)}") from None
        raise ConfigurationError(f"module {name} needs {missing}, which is not installed") from None
    except Exception as error:
        raise ConfigurationError(f"module {name} cannot be imported: {told(error)}") from error


def _nearest_module(name: str) -> str:
    parent, dot, child = name.rpartition(".")
    if not dot:
        return nearest(child, [module.name for module in pkgutil.iter_modules()])
    try:
        path = list(importlib.import_module(parent).__path__)
    except (ImportError, AttributeError):
        return ""
    near = nearest(child, [module.name for module in pkgutil.iter_modules(path)])
    return near.replace("'", f"'{parent}.", 1)


def _described(found: object) -> str:
    return f"the class {found.__name__}" if isinstance(found, type) else f"a {type(found).__name__}"
