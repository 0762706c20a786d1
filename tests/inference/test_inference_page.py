"""The page on language models tells all that there is: every error, every field, every limit."""

import dataclasses
import re
from pathlib import Path

import pytest

from inference import errors
from inference.budget import Ceiling
from inference.completion import Completion
from inference.endpoint import EndpointSettings
from inference.limits import Rate, ServingLimits
from inference.provider import _FORMS
from inference.request import Request, Sampling

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "inference.md").read_text()


def missing(names: list[str]) -> list[str]:
    return [name for name in names if not re.search(rf"`[^`\n]*\b{re.escape(name)}\b[^`\n]*`", PAGE)]


@pytest.mark.parametrize("told", [Sampling, Request, Completion], ids=lambda told: told.__name__)
def test_every_field_is_told(told: type) -> None:
    assert missing(list(told.__struct_fields__)) in ([], ["model"])  # type: ignore[attr-defined]  # a msgspec struct


@pytest.mark.parametrize("told", [ServingLimits, Rate, Ceiling], ids=lambda told: told.__name__)
def test_every_limit_is_told(told: type) -> None:
    assert missing([field.name for field in dataclasses.fields(told)]) == []  # type: ignore[arg-type]  # a dataclass


def test_every_setting_of_an_endpoint_is_told() -> None:
    names = {field.name for field in dataclasses.fields(EndpointSettings)} - {"clock", "rng"}
    assert missing(sorted(names)) == []


def test_every_error_is_told_with_whether_it_is_definite_when_it_comes_and_what_to_do() -> None:
    kinds = [
        kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, errors.LLMError)
    ]
    for kind in kinds:
        if kind is not errors.LLMError:
            said = re.search(rf"^\| `{kind.__name__}` \| (yes|no)[^|]*\| [^|]+ \| [^|]+ \|$", PAGE, re.M)
            assert said, kind.__name__
            assert (said.group(1) == "yes") == kind.definite, kind.__name__


def test_every_provider_is_told() -> None:
    assert [name for name in _FORMS if f"`{name}:" not in PAGE] == []
