"""Addresses, and where they live.

An address is a role and a key, `bidder/17`, or the bare name of a role that has one agent, `auctioneer`. `bidder/*`
means all agents of the role. Keys of declared agents are the numbers below the role's count; an agent spawned at run
time may have any key.

Where an address lives is computed from it alone, the same in every process: no look-up, no registry. Numbered agents
of a packed role go to the cells in turn (number modulo cells); other keys by a checksum of the address; each agent of a
dedicated role has a cell of its own, numbered after the packed ones.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import overload
from zlib import crc32

OUTSIDE = "@"
"""First character of an address outside the swarm: the caller of `Swarm.ask`, an operator, a gateway."""


def role_of(address: str) -> str:
    """The role in an address: `bidder` of `bidder/17`, `auctioneer` of `auctioneer`."""
    return address.partition("/")[0]


class Members(Sequence[str]):
    """The declared addresses of a role, in order, without a list of them in memory."""

    def __init__(self, role: str, count: int | None) -> None:
        self.role = role
        self._count = count

    def __len__(self) -> int:
        return 1 if self._count is None else self._count

    @overload
    def __getitem__(self, index: int) -> str: ...
    @overload
    def __getitem__(self, index: slice) -> list[str]: ...
    def __getitem__(self, index: int | slice) -> str | list[str]:
        if isinstance(index, slice):
            return [self[i] for i in range(*index.indices(len(self)))]
        if not -len(self) <= index < len(self):
            raise IndexError(index)
        return self.role if self._count is None else f"{self.role}/{index % len(self)}"

    def __iter__(self) -> Iterator[str]:
        return iter((self.role,)) if self._count is None else (f"{self.role}/{n}" for n in range(self._count))

    def __repr__(self) -> str:
        return self.role if self._count is None else f"{self.role}/0..{self._count - 1}"


@dataclass(frozen=True)
class Placement:
    """A pure function from address to cell, shared by all cells of a swarm."""

    counts: Mapping[str, int | None]
    """For each role the number of its declared agents; None for a role of one agent with a bare name."""
    packed: int
    """The number of cells that hold packed roles; at least 1."""
    dedicated: Mapping[str, int] = field(default_factory=dict)
    """For each dedicated role the first of its cells; it has one for each declared agent."""

    @property
    def cells(self) -> int:
        """The number of cells in all."""
        return self.packed + sum(len(self.members(role)) for role in self.dedicated)

    def members(self, role: str) -> Members:
        """The declared agents of a role. Raises KeyError for an unknown role."""
        return Members(role, self.counts[role])

    def declared(self, address: str) -> bool:
        """True if the address is one that the swarm was described with."""
        role, slash, key = address.partition("/")
        if role not in self.counts:
            return False
        count = self.counts[role]
        if count is None or not slash:
            return count is None and not slash
        return _is_number(key) and int(key) < count

    def cell_of(self, address: str) -> int:
        """The cell that hosts the address, declared or not, existing or not."""
        role, _, key = address.partition("/")
        first = self.dedicated.get(role)
        if first is None:
            return (int(key) if _is_number(key) else crc32(address.encode())) % self.packed
        size = len(self.members(role))
        return first + (int(key) if _is_number(key) else crc32(address.encode())) % size

    def local_members(self, role: str, cell: int) -> Sequence[str]:
        """The declared agents of a role that live in a cell, in order of their numbers."""
        members = self.members(role)
        if self.counts[role] is None or role in self.dedicated:
            return [address for address in members if self.cell_of(address) == cell]
        return (
            [f"{role}/{number}" for number in range(cell, len(members), self.packed)]
            if cell < self.packed
            else []
        )


def _is_number(key: str) -> bool:
    # "07" and "7" must not be two agents in two mailboxes: only the canonical form is a number.
    # More digits than any count has are a name: Python refuses to read thousands of them.
    return key.isdecimal() and key.isascii() and (key[0] != "0" or key == "0") and len(key) < 19
