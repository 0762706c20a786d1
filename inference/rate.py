"""One rate limiter for all callers of an endpoint: requests and tokens a minute, `Retry-After` kept by all together.

Two token buckets (J. Turner, "New directions in communications", IEEE Communications Magazine 24(10), 1986) that fill
with time. A call takes one request and the tokens that it may use; what it did not use is given back when it ends.

Rules:
* Pure: the time is handed in, and never goes back.
* A call larger than a bucket may go when the bucket is full, and leaves a debt that time pays.
* After `hold` nobody goes before its end, and then at the rate, from an empty bucket: no storm of all who waited.
"""

from inference.limits import Rate

_SLACK = 1e-6
"""Of a request or a token: what rounding may lose when a wait ends exactly on time."""


class _Bucket:
    """Fills at `per_s` up to `capacity`."""

    def __init__(self, per_minute: float, burst_s: float) -> None:
        self.per_s = per_minute / 60.0
        self.capacity = max(1.0, self.per_s * burst_s)
        self.level = self.capacity

    def fill(self, seconds: float) -> None:
        """Time passes."""
        self.level = min(self.capacity, self.level + self.per_s * seconds)

    def wait_s(self, amount: float) -> float:
        """Until `amount` may be taken."""
        missing = min(amount, self.capacity) - self.level
        return missing / self.per_s if missing > _SLACK else 0.0


class RateLimiter:
    """Says when a call may go. Times are seconds by one clock."""

    def __init__(self, rate: Rate) -> None:
        self._requests = (
            _Bucket(rate.requests_per_minute, rate.burst_s) if rate.requests_per_minute is not None else None
        )
        self._tokens = (
            _Bucket(rate.tokens_per_minute, rate.burst_s) if rate.tokens_per_minute is not None else None
        )
        self._now_s: float | None = None
        self._held_until_s = float("-inf")

    def wait_s(self, now_s: float, tokens: int) -> float:
        """Seconds until a call of so many tokens may go; 0 if it may now. Takes nothing."""
        self._advance(now_s)
        waits = [self._held_until_s - now_s]
        if self._requests is not None:
            waits.append(self._requests.wait_s(1.0))
        if self._tokens is not None:
            waits.append(self._tokens.wait_s(tokens))
        return max(0.0, *waits)

    def take(self, now_s: float, tokens: int) -> None:
        """A call goes. It must be allowed to: `wait_s` is 0."""
        assert self.wait_s(now_s, tokens) == 0
        if self._requests is not None:
            self._requests.level -= 1
        if self._tokens is not None:
            self._tokens.level -= tokens

    def settle(self, now_s: float, reserved: int, used: int) -> None:
        """A call ended, and used other than it took."""
        self._advance(now_s)
        if self._tokens is not None:
            self._tokens.level = min(self._tokens.capacity, self._tokens.level + reserved - used)

    def hold(self, now_s: float, seconds: float) -> None:
        """The endpoint said to come back after so many seconds: all do, and begin again at the rate."""
        self._advance(now_s)
        self._held_until_s = max(self._held_until_s, now_s + seconds)
        for bucket in (self._requests, self._tokens):
            if bucket is not None:
                # So that it is empty when the hold ends, though it fills while all wait.
                bucket.level = min(bucket.level, -bucket.per_s * (self._held_until_s - now_s))

    def _advance(self, now_s: float) -> None:
        last_s = now_s if self._now_s is None else self._now_s
        for bucket in (self._requests, self._tokens):
            if bucket is not None:
                bucket.fill(max(0.0, now_s - last_s))
        self._now_s = max(last_s, now_s)
