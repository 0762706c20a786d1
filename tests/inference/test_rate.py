"""The rate limiter, in virtual time: never above the rate, not far below it, and after a hold no storm."""

from itertools import pairwise
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from inference.errors import ConfigurationError
from inference.limits import Rate
from inference.rate import RateLimiter


def sent(
    limiter: RateLimiter, calls: list[int], until_s: float, start_s: float = 0.0
) -> list[tuple[float, int]]:
    """(time, tokens) of calls that all wait from the start, each sent as soon as it may."""
    now_s, done = start_s, []
    for tokens in calls:
        wait_s = limiter.wait_s(now_s, tokens)
        for _ in range(3):  # a wait ends on time, but for rounding
            now_s += wait_s
            wait_s = limiter.wait_s(now_s, tokens)
        assert wait_s == 0
        if now_s > until_s:
            break
        limiter.take(now_s, tokens)
        done.append((now_s, tokens))
    return done


@given(
    st.integers(1, 600),
    st.integers(100, 100_000),
    st.sampled_from([0.0, 1.0, 6.0, 60.0]),
    st.lists(st.integers(1, 400), min_size=1, max_size=200),
)
def test_no_window_holds_more_than_its_seconds_and_the_burst(
    requests: int, tokens: int, burst_s: float, calls: list[int]
) -> None:
    rate = Rate(requests, tokens, burst_s)
    done = sent(RateLimiter(rate), calls, 3600.0)
    for first in range(len(done)):
        for last in range(first, min(len(done), first + 50)):
            window_s = done[last][0] - done[first][0]
            allowed_requests = max(1.0, requests / 60 * burst_s) + requests / 60 * window_s
            assert last - first + 1 <= allowed_requests + 1e-3
            # The last call may leave a debt: it goes when the bucket is full.
            before = sum(cost for _, cost in done[first:last])
            assert before <= max(1.0, tokens / 60 * burst_s) + tokens / 60 * window_s + 1e-3


def test_the_rate_is_used() -> None:
    done = sent(RateLimiter(Rate(requests_per_minute=60)), [1] * 700, 600.0)
    assert 600 <= len(done) <= 607
    done = sent(RateLimiter(Rate(tokens_per_minute=6000)), [100] * 700, 600.0)
    assert 600 <= len(done) <= 607


def test_what_was_not_used_is_given_back_and_what_was_used_above_is_paid() -> None:
    limiter = RateLimiter(Rate(tokens_per_minute=6000, burst_s=10.0))
    limiter.take(0.0, 1000)
    assert limiter.wait_s(0.0, 1000) == pytest.approx(10.0)
    limiter.settle(0.0, 1000, 100)
    assert limiter.wait_s(0.0, 900) == 0
    limiter.settle(0.0, 100, 1100)
    assert limiter.wait_s(0.0, 1000) == pytest.approx(11.0)


def test_nothing_limits_where_nothing_is_given() -> None:
    limiter = RateLimiter(Rate())
    for _ in range(1000):
        assert limiter.wait_s(0.0, 10**9) == 0
        limiter.take(0.0, 10**9)


def test_after_a_hold_calls_come_at_the_rate_and_not_as_a_storm() -> None:
    limiter = RateLimiter(Rate(requests_per_minute=60, burst_s=6.0))
    sent(limiter, [1] * 3, 10.0)
    limiter.hold(5.0, 30.0)
    limiter.hold(6.0, 10.0)  # a shorter one does not cut it short
    done = sent(limiter, [1] * 100, 60.0, start_s=6.0)
    assert done[0][0] >= 35.0
    gaps = [later[0] - earlier[0] for earlier, later in pairwise(done)]
    assert min(gaps) >= 1.0 - 1e-6
    assert max(gaps) <= 1.0 + 1e-6


def test_time_that_goes_back_changes_nothing() -> None:
    limiter = RateLimiter(Rate(requests_per_minute=60, burst_s=0.0))
    limiter.take(10.0, 1)
    assert limiter.wait_s(5.0, 1) == pytest.approx(1.0)
    assert limiter.wait_s(10.5, 1) == pytest.approx(0.5)


@pytest.mark.parametrize("wrong", [{"requests_per_minute": 0}, {"tokens_per_minute": -1}, {"burst_s": 61}])
def test_a_rate_that_is_none_is_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(ConfigurationError, match=next(iter(wrong))):
        Rate(**wrong)


def test_many_callers_who_come_and_go_are_never_above_the_rate() -> None:
    rng = Random(7)
    limiter, now_s, taken = RateLimiter(Rate(tokens_per_minute=60_000, burst_s=6.0)), 0.0, 0
    while now_s < 600:
        tokens = rng.randrange(1, 3000)
        wait_s = limiter.wait_s(now_s, tokens)
        if wait_s:
            now_s += wait_s * rng.choice([0.5, 1.0, 1.5])
            continue
        limiter.take(now_s, tokens)
        used = rng.randrange(tokens + 1)
        limiter.settle(now_s, tokens, used)
        taken += used
    assert 0.9 * 600_000 <= taken <= 600_000 + 6_000 + 3_000
