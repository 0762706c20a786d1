"""The pure parts of endpoints: lines and events out of bytes, and the times of retries."""

from itertools import pairwise
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from inference.endpoint_error import message_of
from inference.errors import (
    BadRequest,
    ConfigurationError,
    EngineDead,
    ExtraMissing,
    InvalidAnswer,
    RateLimited,
)
from inference.extra import optional
from inference.retry import RetryPolicy, retry_after_s
from inference.sse import EventDecoder, LineDecoder


def cut(data: bytes, places: list[int]) -> list[bytes]:
    bounds = sorted({0, len(data), *(place % (len(data) + 1) for place in places)})
    return [data[start:end] for start, end in pairwise(bounds)]


BYTES = st.lists(st.sampled_from([b"a", b"\n", b"\r", b"data:", b":", b" ", b"\xc3", b"x: y"])).map(b"".join)


@given(BYTES, st.lists(st.integers(0, 1000)))
def test_lines_are_the_same_however_the_bytes_are_cut(data: bytes, places: list[int]) -> None:
    decoder = LineDecoder()
    found = [line for piece in cut(data, places) for line in decoder.feed(piece)]
    rest = decoder.finish()
    assert [*found, rest] == data.replace(b"\r\n", b"\n").replace(b"\r", b"\n").split(b"\n")[: len(found) + 1]
    assert data.replace(b"\r\n", b"\n").replace(b"\r", b"\n").split(b"\n")[len(found) + 1 :] in ([], [b""])


@given(BYTES, st.lists(st.integers(0, 1000)))
def test_events_are_the_same_however_the_bytes_are_cut(data: bytes, places: list[int]) -> None:
    whole, parts = EventDecoder(), EventDecoder()
    assert [event for piece in cut(data, places) for event in parts.feed(piece)] == list(whole.feed(data))


def test_events_are_read_as_the_standard_says() -> None:
    data = b": comment\n\ndata: a\ndata:b\nid: 1\n\nevent: x\r\ndata:  two\r\n\r\n\ndata\n\ndata: lost"
    assert list(EventDecoder().feed(data)) == [b"a\nb", b" two", b""]


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        ("7", 7.0),
        ("0.5", 0.5),
        ("-3", 0.0),
        ("Fri, 20 Nov 2026 10:00:10 GMT", 10.0),
        ("Fri, 20 Nov 2020 10:00:10 GMT", 0.0),
        ("soon", None),
        ("nan", None),
        ("inf", None),
        ("", None),
        (None, None),
    ],
)
def test_retry_after_is_seconds_or_a_date(header: str | None, seconds: float | None) -> None:
    assert retry_after_s(header, 1795168800.0) == seconds


def test_only_what_may_succeed_later_is_tried_again() -> None:
    policy = RetryPolicy(attempts=3, first_wait_s=1.0, longest_wait_s=10.0)
    rng = Random(0)
    assert policy.wait_s(BadRequest("x"), 1, rng) is None
    assert policy.wait_s(InvalidAnswer("x"), 1, rng) is None
    assert policy.wait_s(EngineDead("x"), 1, rng) is None
    assert policy.wait_s(EngineDead("x", definite=True), 1, rng) is not None
    assert policy.wait_s(RateLimited("x"), 3, rng) is None
    assert RetryPolicy(indefinite=True).wait_s(InvalidAnswer("x"), 1, rng) is not None


@given(st.integers(1, 4), st.integers(0, 1000), st.floats(0, 20))
def test_a_wait_lies_between_what_was_asked_for_and_the_jitter(attempt: int, seed: int, asked: float) -> None:
    policy = RetryPolicy(attempts=5, first_wait_s=1.0, longest_wait_s=10.0)
    jitter = min(10.0, 2.0 ** (attempt - 1))
    plain = policy.wait_s(RateLimited("x"), attempt, Random(seed))
    assert plain is not None
    assert 0 <= plain <= jitter
    wait = policy.wait_s(RateLimited("x", wait_s=asked), attempt, Random(seed))
    assert wait is None if asked > 10 else asked <= (wait or 0.0) <= asked + jitter


@pytest.mark.parametrize("wrong", [{"attempts": 0}, {"first_wait_s": 9.0, "longest_wait_s": 1.0}])
def test_a_policy_without_end_is_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(ConfigurationError, match="give 1 to 100 attempts"):
        RetryPolicy(**wrong)  # type: ignore[arg-type]  # an integer or a float, each where it belongs


@pytest.mark.parametrize(
    ("body", "told"),
    [
        (b'{"error": {"message": "a", "code": "b"}}', ("a", "b")),
        (b'{"error": {"type": "b"}}', ("{'type': 'b'}", "b")),
        (b'{"error": "a"}', ("a", "")),
        (b'{"object": "error", "message": "a"}', ("a", "")),
        (b'{"detail": "a"}', ("a", "")),
        (b"[]", ("[]", "")),
        (b"<html>", ("<html>", "")),
        (b"\xff", ("\ufffd", "")),
        (b"", ("", "")),
    ],
)
def test_an_error_is_read_from_any_usual_body(body: bytes, told: tuple[str, str]) -> None:
    assert message_of(body) == told


def test_a_missing_package_names_the_extra() -> None:
    with pytest.raises(ExtraMissing, match=r"pip install 'rayswarm\[endpoints\]'"):
        optional("no_such_package_at_all", "endpoints", "a model")
