"""What tells one chained protocol from another, and the settings they have in common."""

from dataclasses import dataclass
from typing import Protocol

from coordination.chain.block import QC, TC, Block
from coordination.chain.tree import Tree


@dataclass(frozen=True)
class Options:
    """Settings of a chained protocol. Times are multiples of `Setting.delay_s`."""

    span: int = 0
    """Views in a row under one leader; 0: as many as let it commit by itself (see `pacemaker`)."""
    patience: float = 5.0
    """How long to wait in a view: a proposal, its votes and the next proposal are 3 delays; forwarding takes 2."""
    doublings: int = 3
    """How often the wait may double."""
    heartbeat: float = 20.0
    """After how much silence to ask another replica for news; 0: never."""
    capacity: int = 100_000
    """Most commands that wait here: own ones, and others'."""


class Rules(Protocol):
    """The rules of one protocol. Without state."""

    chain: int
    """So many certified blocks in consecutive views commit the first."""
    all_to_all: bool
    """Whether the first timeouts of a view go to all, not to the next leader alone."""

    def may_vote(self, tree: Tree, lock: QC, block: Block, tc: TC | None) -> bool:
        """Whether a replica with this lock may vote for a block in its view, whose parent is in the tree."""

    def locks(self, tree: Tree, block: Block) -> QC:
        """What a vote for this block locks."""

    def committed(self, tree: Tree, certificate: QC) -> Block | None:
        """The highest block that this certificate of a known block commits, if any."""
