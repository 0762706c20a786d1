"""Counting signed votes: one a replica at each ballot, and a second one for something else is evidence.

Rules:
* A vote counts once its signature is checked, and its signer is a member; who relayed it does not matter.
* A signer's first vote stands. A second one for another digest is handed back as a conflict and does not count.
"""

from coordination.signature import Certificate, Scheme, Signature, certificate

Vote = tuple[bytes, Signature]
"""What is voted for, and the voter's word."""


class Tally:
    """The votes of one ballot."""

    __slots__ = ("_by_digest", "_votes")

    def __init__(self) -> None:
        self._votes: dict[int, bytes] = {}
        self._by_digest: dict[bytes, dict[int, Signature]] = {}

    def add(self, found: bytes, word: Signature) -> Vote | None:
        """Counts a checked vote. Gives the signer's earlier vote if that was for something else."""
        signer = word.signer
        first = self._votes.get(signer)
        if first is None:
            self._votes[signer] = found
            self._by_digest.setdefault(found, {})[signer] = word
        elif first != found:
            return first, self._by_digest[first][signer]
        return None

    def has(self, signer: int, found: bytes) -> bool:
        """Whether this vote is counted already."""
        return self._votes.get(signer) == found

    def count(self, found: bytes) -> int:
        """How many votes there are for something."""
        return len(self._by_digest.get(found, ()))

    def __len__(self) -> int:
        return len(self._votes)

    def certificate(self, scheme: Scheme, found: bytes) -> Certificate:
        """All words for something."""
        return certificate(scheme, self._by_digest[found].values())
