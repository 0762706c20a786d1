"""A run's fingerprint: equal for two runs if every agent took, sent and ended with the same.

It is the sum, modulo 2^128, of a BLAKE2b hash of each delivery (with its place in the agent's history), of each send
and of each final state. A sum does not depend on its order, so cells add up their own agents and the total is the same
for any number of cells; and it is one number to checkpoint. It guards against accidents, not against a forger.
"""

from hashlib import blake2b

from actors.message import Message, encode

_MASK = (1 << 128) - 1


class Fingerprint:
    """The running sum of one cell."""

    def __init__(self, total: int = 0) -> None:
        self.total = total

    def _add(self, kind: bytes, data: bytes) -> None:
        digest = blake2b(data, digest_size=16, person=kind).digest()
        self.total = (self.total + int.from_bytes(digest, "little")) & _MASK

    def send(self, message: Message) -> None:
        """Adds a message as its sender sent it."""
        self._add(b"send", encode(message))

    def delivery(self, address: str, turn: int, message: Message) -> None:
        """Adds a message as the agent at `address` took it, its `turn`-th."""
        self._add(b"take", encode((address, turn, message)))

    def state(self, address: str, sequence: int, turns: int, draws: int, state: bytes) -> None:
        """Adds the final state of an agent."""
        self._add(b"state", encode((address, sequence, turns, draws, state)))


def combined(totals: list[int]) -> str:
    """The fingerprint of a run, from those of its cells, as 32 hexadecimal digits."""
    return f"{sum(totals) & _MASK:032x}"
