"""Errors cross process boundaries as what they are, and each says whether anything was done."""

import copy
import pickle

import pytest

from inference import errors
from inference.errors import (
    ContextTooLong,
    DeadlinePassed,
    EngineDead,
    LLMError,
    RateLimited,
)

KINDS = [kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, LLMError)]
INDEFINITE = {"refused", "engine dead", "invalid answer", "deadline passed"}


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
@pytest.mark.parametrize("carry", [copy.copy, lambda error: pickle.loads(pickle.dumps(error))])  # noqa: S301  # our own bytes
def test_every_error_survives_pickling(kind: type[LLMError], carry: object) -> None:
    error = kind("what, where, and the mend")
    again = carry(error)  # type: ignore[operator]  # one of two functions
    assert type(again) is kind
    assert str(again) == str(error)
    assert again.__dict__ == error.__dict__
    assert again.definite == (kind.reason not in INDEFINITE)


def test_what_an_error_knows_survives_pickling() -> None:
    told = [
        ContextTooLong("x", prompt_tokens=9, limit_tokens=8),
        RateLimited("x", wait_s=2.5),
        EngineDead("x", definite=True),
        DeadlinePassed("x", definite=True),
    ]
    again = pickle.loads(pickle.dumps(told))  # noqa: S301  # our own bytes
    assert [error.__dict__ for error in again] == [error.__dict__ for error in told]
    assert [error.definite for error in again] == [True] * 4
    assert (again[0].prompt_tokens, again[0].limit_tokens, again[1].wait_s) == (9, 8, 2.5)


def test_every_kind_has_a_reason_of_its_own() -> None:
    assert len({kind.reason for kind in KINDS}) == len(KINDS)
