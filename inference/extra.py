"""Optional packages, imported when they are first needed, with an error that names what to install."""

from importlib import import_module
from types import ModuleType

from inference.errors import ExtraMissing


def optional(module: str, extra: str, purpose: str) -> ModuleType:
    """The module. Raises `ExtraMissing` if it is not installed."""
    try:
        return import_module(module)
    except ModuleNotFoundError as error:
        if error.name is None or error.name.partition(".")[0] != module.partition(".")[0]:
            raise
        raise ExtraMissing(f"{purpose} needs the package {module}: pip install 'rayswarm[{extra}]'") from None
