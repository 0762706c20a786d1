"""Jolteon: HotStuff with two chains. One round of votes fewer, for a view change of all to all.

Rules:
* Vote once a view, for a block whose certificate is of the view before; or which comes with a timeout certificate of
  the view before, and whose certificate is at least as high as the highest that the timeouts name.
* Commit b when b <- b' are certified in consecutive views (a two-chain). Then n - f replicas, f + 1 of them correct,
  have the certificate of b, and say so in their timeouts, so that any block after a timeout extends b.
* A timeout goes to all, is signed with the view of the highest certificate that its signer has, and a correct replica
  never names a lower one than its votes rested on. That is the lock of this protocol.

After a partition heals, with at most f faulty replicas, a decision comes within f + 3 waits: one for each of f faulty
leaders, two to meet in one view, and one for the blocks of a correct leader. A wait is `patience` delays, and up to
2 ** `doublings` times as much after long trouble.

Costs on a quiet network, for each block, n replicas:

    messages         2(n-1)    the block to all, the votes to the next leader
    delays           4         until the leader knows: two blocks, two rounds of votes; the rest know 1 later
    authenticators   3(n-1)    the leader's signature and one combined certificate in each proposal, one in each vote
    view change      n(n-1)    timeouts of all to all

Source: Gelashvili, Kokoris-Kogias, Sonnino, Spiegelman, Xiang, "Jolteon and Ditto: network-adaptive efficient consensus
with asynchronous fallback", FC 2022 (arXiv 2106.10362), section 4.
"""

from coordination.chain.block import QC, TC, Block
from coordination.chain.reader import ChainReader, Locking
from coordination.chain.replica import ChainReplica
from coordination.chain.tree import Tree
from coordination.protocol import Costs, ProtocolKind, Setting
from coordination.quorum import byzantine


class JolteonRules:
    """See the module."""

    chain = 2
    all_to_all = True

    def may_vote(self, tree: Tree, lock: QC, block: Block, tc: TC | None) -> bool:
        """The paper's two cases; the lock is not asked, since timeouts name it."""
        if block.justify.view == block.view - 1:
            return True
        return tc is not None and tc.view == block.view - 1 and block.justify.view >= tc.high

    def locks(self, tree: Tree, block: Block) -> QC:
        """The certificate that the block carries."""
        return block.justify

    def committed(self, tree: Tree, certificate: QC) -> Block | None:
        """The head of the chain that this certificate completes."""
        return tree.run(certificate, self.chain)


def make(setting: Setting) -> ChainReplica:
    """A replica of Jolteon."""
    return ChainReplica(setting, JolteonRules())


JOLTEON = ProtocolKind(
    name="jolteon",
    title="Jolteon",
    make=make,
    faults="byzantine",
    replicas=lambda f: 3 * f + 1,
    source="Gelashvili, Kokoris-Kogias, Sonnino, Spiegelman, Xiang 2021",
    costs=Costs(
        messages=lambda n: 2 * (n - 1),
        delays=4,
        told=1,
        authenticators=lambda n: 3 * (n - 1),
        text="2(n-1) messages, 3(n-1) authenticators a block; view change n(n-1)",
    ),
    quorums=byzantine,
    reader=lambda: ChainReader(Locking.TIMEOUTS),
)
