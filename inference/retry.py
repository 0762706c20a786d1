"""When to ask again, and how long to wait before: pure, for whoever calls an endpoint.

Rules:
* Only a transient error is retried, and of those a definite one always, an indefinite one (it may have been computed
  and paid for) only if the policy says so.
* Waits grow exponentially with full jitter (M. Brooker, "Exponential Backoff And Jitter", AWS Architecture Blog, 2015),
  so that many callers who failed together do not come back together.
* A wait that the provider asked for (`Retry-After`) is kept in full, and the jitter comes on top. One longer than the
  policy's longest is not waited for: the error goes to the caller, who may know better.
"""

from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from random import Random

from inference.errors import ConfigurationError, LLMError, RateLimited


@dataclass(frozen=True)
class RetryPolicy:
    """How often and how long."""

    attempts: int = 4
    """Calls in all."""
    first_wait_s: float = 0.5
    longest_wait_s: float = 60.0
    indefinite: bool = False
    """True asks again where a completion may have been made, and pays twice for some."""

    def __post_init__(self) -> None:
        if not 1 <= self.attempts <= 100 or not 0 <= self.first_wait_s <= self.longest_wait_s <= 3600:
            raise ConfigurationError(f"{self}: give 1 to 100 attempts, and waits of 0 to 3600 s that grow")

    def wait_s(self, error: LLMError, attempt: int, rng: Random) -> float | None:
        """Seconds to wait after call number `attempt` (from 1) failed; None if it is not to be repeated."""
        if attempt >= self.attempts or not error.transient or not (error.definite or self.indefinite):
            return None
        jitter_s = rng.random() * min(self.longest_wait_s, self.first_wait_s * 2.0 ** (attempt - 1))
        if isinstance(error, RateLimited) and error.wait_s is not None:
            return error.wait_s + jitter_s if error.wait_s <= self.longest_wait_s else None
        return jitter_s


def retry_after_s(value: str | None, now_unix_s: float) -> float | None:
    """A `Retry-After` header in seconds (RFC 9110, section 10.2.3: seconds, or a date); None if it says nothing."""
    if not value:
        return None
    try:
        seconds = float(value)
    except ValueError:
        try:
            seconds = parsedate_to_datetime(value).timestamp() - now_unix_s
        except (ValueError, TypeError, OverflowError):
            return None
    if not seconds < 1e9:  # not a number, or no time at all
        return None
    return max(0.0, seconds)
