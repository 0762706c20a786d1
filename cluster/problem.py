"""What is wrong with a configuration, from where it is found (pydantic, a constructor, an entry) to where it is told.

Rules:
* A check of a field reports all that is wrong below it at once, each with its path; pydantic adds the path above.
* An unknown key names the nearest known one, else all that are known there.
"""

import dataclasses
import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from types import UnionType
from typing import Annotated, Any, Union, get_args, get_origin

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails, InitErrorDetails, PydanticCustomError

from actors.errors import ConfigurationError
from cluster.located_yaml import KeyPath, Problem, nearest


@contextmanager
def as_problem(where: str = "", below: KeyPath = ()) -> Iterator[None]:
    """Turns a `ConfigurationError` into one that pydantic adds the place to.

    `where` is what the error's text calls the value that it is about, which stands at the path `below`.
    """
    try:
        yield
    except ConfigurationError as error:
        path, text = located(error, where)
        report([((*below, *path), text)])


def located(error: ConfigurationError, where: str) -> tuple[KeyPath, str]:
    """The path and the text in an error about `where`: `fault.between[1]: ...` is about ("between", "1")."""
    text = str(error)
    head, colon, rest = text.partition(": ")
    if not where or not colon or not re.fullmatch(rf"{re.escape(where)}[\w.\[\]-]*", head):
        return (), text
    return tuple(part for part in re.split(r"[.\[\]]+", head.removeprefix(where)) if part), rest


def report(problems: Iterable[tuple[KeyPath, str]], *, about_key: bool = False) -> None:
    """Raises pydantic's error with the problems, if there are any, each at its path below the field checked."""
    kind = "key" if about_key else "value"
    details = [
        InitErrorDetails(type=PydanticCustomError(kind, "{text}", {"text": text}), loc=path, input=None)
        for path, text in problems
    ]
    if details:
        raise ValidationError.from_exception_data("experiment", details)


def problem_in(error: ErrorDetails, model: type[BaseModel]) -> Problem:
    """The problem that an error of pydantic tells, in the words of this project."""
    path: KeyPath = tuple(part for part in error["loc"] if part != "[key]")
    match error["type"]:
        case "extra_forbidden" | "unexpected_keyword_argument":
            known = list(_fields_at(path[:-1], model))
            mend = nearest(str(path[-1]), known) or f"; known here: {', '.join(known)}"
            return Problem(path, f"unknown key{mend}", about_key=True)
        case "missing":
            return Problem(path, "is missing; give it a value", about_key=True)
        case "key" | "value":
            return Problem(path, error["msg"], about_key=error["type"] == "key")
        case "string_pattern_mismatch" if "[key]" in error["loc"] or path == ("name",):
            return Problem(
                path, f"'{error['input']}' is not a name of letters, digits, '_', '-' and '.'", about_key=True
            )
        case "model_type" | "model_attributes_type" | "dataclass_type" | "dict_type":
            return Problem(path, f"must be a mapping of keys to values, got {_short(error['input'])}")
        case "too_short" if error["input"] in ({}, []):
            return Problem(path, "is empty; give at least one", about_key=True)
    text = error["msg"].replace("Input should be", "must be")
    return Problem(path, f"{text}, got {_short(error['input'])}")


def _fields_at(path: KeyPath, model: type[BaseModel]) -> dict[str, Any]:
    """The keys known at a path, with their types."""
    kind: Any = model
    for key in path:
        if get_origin(kind) is Annotated:
            kind = get_args(kind)[0]
        if get_origin(kind) in (Union, UnionType):
            kind = next(choice for choice in get_args(kind) if choice is not type(None))
        origin = get_origin(kind)
        kind = get_args(kind)[-1] if origin in (dict, list) else _fields(kind).get(str(key))
    return _fields(kind)


def _fields(kind: Any) -> dict[str, Any]:
    if get_origin(kind) in (Union, UnionType):
        kind = next(choice for choice in get_args(kind) if choice is not type(None))
    if isinstance(kind, type) and issubclass(kind, BaseModel):
        return {field.alias or name: field.annotation for name, field in kind.model_fields.items()}
    return (
        {field.name: field.type for field in dataclasses.fields(kind)}
        if dataclasses.is_dataclass(kind)
        else {}
    )


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."
