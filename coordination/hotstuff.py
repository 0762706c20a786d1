"""Chained HotStuff: one phase a block, its leader collects the votes, three certified blocks in a row commit.

Rules:
* Vote once a view, for a block that extends the locked one, or whose certificate is from a later view than the lock.
* By a vote for b, whose parent is b' and grandparent b'', lock b'': b carries the certificate of b', and that of b''.
* Commit b when b <- b' <- b'' are certified in consecutive views (a three-chain). Then n - f replicas, f + 1 of them
  correct, are locked on b or above, and no certificate for a block beside it can come about.
* The next leader goes on as soon as it has a certificate, or n - f timeouts (optimistic responsiveness: no waiting for
  the worst delay). Timeouts go to the next leader alone, at first: a view change is linear. If it is silent too, they
  go to all after a second wait: such a view change costs n(n-1) messages, not the paper's O(n), but needs no more than
  two waits for each faulty leader in a row.

After a partition heals, with at most f faulty replicas, a decision comes within 2f + 3 waits: two for each of f faulty
leaders, two to meet in one view, and one for the blocks of a correct leader. A wait is `patience` delays, and up to
2 ** `doublings` times as much after long trouble.

Costs on a quiet network, for each block, n replicas:

    messages         2(n-1)    the block to all, the votes to the next leader
    delays           6         until the leader knows: three blocks, three rounds of votes; the rest know 1 later
    authenticators   3(n-1)    the leader's signature and one combined certificate in each proposal, one in each vote
    view change      n-1       timeouts to the next leader; n(n-1) if it is silent

The paper counts 2(n-1) authenticators: there a proposal is not signed. Here it is, so that two proposals convict.

Source: Yin, Malkhi, Reiter, Gueta, Abraham, "HotStuff: BFT consensus with linearity and responsiveness", PODC 2019
(arXiv 1803.05069), sections 4 to 6.
"""

from coordination.chain.block import QC, TC, Block
from coordination.chain.reader import ChainReader, Locking
from coordination.chain.replica import ChainReplica
from coordination.chain.tree import Tree
from coordination.protocol import Costs, ProtocolKind, Setting
from coordination.quorum import byzantine


class HotStuffRules:
    """See the module."""

    chain = 3
    all_to_all = False

    def may_vote(self, tree: Tree, lock: QC, block: Block, tc: TC | None) -> bool:
        """The paper's safeNode."""
        return block.justify.view > lock.view or tree.extends(block, lock.digest)

    def locks(self, tree: Tree, block: Block) -> QC:
        """The certificate that the parent carries, of the grandparent."""
        parent = tree.get(block.parent)
        assert parent is not None
        return parent.justify

    def committed(self, tree: Tree, certificate: QC) -> Block | None:
        """The head of the chain that this certificate completes."""
        return tree.run(certificate, self.chain)


def make(setting: Setting) -> ChainReplica:
    """A replica of chained HotStuff."""
    return ChainReplica(setting, HotStuffRules())


HOTSTUFF = ProtocolKind(
    name="hotstuff",
    title="HotStuff",
    make=make,
    faults="byzantine",
    replicas=lambda f: 3 * f + 1,
    source="Yin, Malkhi, Reiter, Gueta, Abraham 2019",
    costs=Costs(
        messages=lambda n: 2 * (n - 1),
        delays=6,
        told=1,
        authenticators=lambda n: 3 * (n - 1),
        text="2(n-1) messages, 3(n-1) authenticators a block; view change n-1",
    ),
    quorums=byzantine,
    reader=lambda: ChainReader(Locking.PARENT),
)
