"""An agent's randomness: a counter-based stream in a few bytes.

Draw number n of the agent at an address is BLAKE2b(n) keyed by BLAKE2b(seed, address): a function of three values
(the idea is Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", SC 2011). So an agent's numbers do not
depend on what others draw, on where it lives or on how often it was restarted, and its whole state is one counter.
A draw costs 0.7 us; `generator()` gives a NumPy generator for draws in bulk.
"""

from hashlib import blake2b
from random import Random
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence


def stream_key(seed: int, *names: str) -> bytes:
    """The 16-byte key of the stream with these names under a seed. Different names give independent streams."""
    return blake2b("\x1f".join((str(seed), *names)).encode(), digest_size=16).digest()


def unit(key: bytes, *values: str | int) -> float:
    """A number in [0, 1) fixed by a key and values: a draw that needs no counter."""
    digest = blake2b("\x1f".join(map(str, values)).encode(), key=key, digest_size=8).digest()
    return (int.from_bytes(digest, "little") >> 11) * 2.0**-53


class Rng(Random):
    """A stream of draws, with all the methods of `random.Random`. `draws` is its whole state."""

    # Random's own Mersenne state is never used or seeded: methods reach randomness by random() and getrandbits() alone.
    def __new__(cls, key: bytes, draws: int = 0) -> "Rng":
        return super().__new__(cls, 0)  # type: ignore[call-arg]  # Random takes a seed; typeshed does not say so

    def __init__(self, key: bytes, draws: int = 0) -> None:
        self.key = key
        self.draws = draws
        self.gauss_next: float | None = None

    def _word(self) -> int:
        self.draws += 1
        return int.from_bytes(
            blake2b(self.draws.to_bytes(8, "little"), key=self.key, digest_size=8).digest(), "little"
        )

    def random(self) -> float:
        """A number in [0, 1)."""
        return (self._word() >> 11) * 2.0**-53

    def getrandbits(self, k: int, /) -> int:
        """An integer of k random bits."""
        if k < 0:
            raise ValueError(f"k is {k}: give 0 or more bits")
        if k <= 64:
            return self._word() >> (64 - k)
        words = -(-k // 64)
        return sum(self._word() << (64 * i) for i in range(words)) >> (64 * words - k)

    def gauss(self, mu: float = 0.0, sigma: float = 1.0) -> float:
        """A normal draw. As `normalvariate`: Random's own keeps half of a pair, a second piece of state."""
        return self.normalvariate(mu, sigma)

    def generator(self) -> np.random.Generator:
        """A NumPy generator for draws in bulk. Each call takes one draw and gives an independent stream."""
        # As integers of 64 bits by name: NumPy takes a list of small and large ones for floats, and drops bits.
        key = np.array([self._word(), int.from_bytes(self.key[:8], "little")], dtype=np.uint64)
        return np.random.Generator(np.random.Philox(key=key))

    def seed(self, *_args: Any, **_options: Any) -> None:
        """Does nothing while the base class is made; a stream has its key from the swarm's seed."""

    def getstate(self) -> tuple[Any, ...]:
        """(key, draws)."""
        return (self.key, self.draws)

    def setstate(self, state: "Sequence[Any]") -> None:
        """Goes to a state that `getstate` gave."""
        self.key, self.draws = state

    def __reduce__(self) -> tuple[Any, ...]:
        return (Rng, (self.key, self.draws))
