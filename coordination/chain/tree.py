"""The tree of blocks that a replica knows, and the part of it that is committed.

Rules:
* A block enters after its parent, so every block has its whole past down to the committed one.
* Committing a block commits its ancestors, and drops every branch that does not pass through it.
* Committed blocks stay, for who is behind, until the application says that a slot's past may be forgotten; then the
  last `KEPT` of them stay all the same.
* Of uncommitted blocks that nothing was built on yet at most `MOST_LEAVES` stay: when there are more, the older half
  goes. (All others are certified, as their children show.) One that turns out to be needed is fetched again.
"""

from coordination.chain.block import GENESIS, QC, Block

MOST_LEAVES = 1_000
KEPT = 100


class Tree:
    """Blocks by digest. `committed` is the last committed block."""

    def __init__(self) -> None:
        self.committed = GENESIS
        self.floor = 0
        """The least height of which the committed block is still here."""
        self.unsettled = 0
        """How many uncommitted blocks hold commands."""
        self._blocks: dict[bytes, Block] = {GENESIS.digest: GENESIS}
        self._at: dict[int, Block] = {0: GENESIS}
        self._pending: dict[bytes, Block] = {}
        self._thin_above = MOST_LEAVES

    def get(self, digest: bytes) -> Block | None:
        """The block with this digest, if it is known."""
        return self._blocks.get(digest)

    def __contains__(self, digest: bytes) -> bool:
        return digest in self._blocks

    @property
    def pending(self) -> list[Block]:
        """The uncommitted blocks, in the order in which they came."""
        return list(self._pending.values())

    def insert(self, block: Block) -> bool:
        """Adds a block whose parent is known. False if it is known, or would grow from below the committed block."""
        parent = self._blocks.get(block.parent)
        digest = block.digest
        if parent is None or digest in self._blocks or block.height <= self.committed.height:
            return False
        if (
            block.height != parent.height + 1
            or block.view <= parent.view
            or block.justify.view != parent.view
        ):
            return False
        self._blocks[digest] = self._pending[digest] = block
        self.unsettled += bool(block.bundles)
        return True

    def thin_out(self, keep: bytes) -> None:
        """Drops the older half of the uncommitted blocks without children, if they are too many; not `keep`."""
        if len(self._pending) <= self._thin_above:
            return
        parents = {block.parent for block in self._pending.values()}
        leaves = [block for block in self._pending.values() if block.digest not in parents]
        if len(leaves) > MOST_LEAVES:
            for block in sorted(leaves, key=lambda block: block.view)[: len(leaves) // 2]:
                if block.digest != keep:
                    del self._pending[block.digest], self._blocks[block.digest]
                    self.unsettled -= bool(block.bundles)
        # Looking costs as much as there are blocks: not again before there are many more.
        self._thin_above = len(self._pending) + MOST_LEAVES

    def extends(self, block: Block, ancestor: bytes) -> bool:
        """Whether `ancestor` is among the block's ancestors, or is the block itself."""
        goal = self._blocks.get(ancestor)
        if goal is None:
            return False
        at: Block | None = block
        while at is not None and at.height > goal.height:
            at = self._blocks.get(at.parent)
        return at is not None and at.digest == ancestor

    def run(self, certificate: QC, length: int) -> Block | None:
        """The first of `length` blocks in consecutive views, each certified, the last by this certificate; else None.

        What the commit rules of HotStuff (3) and Jolteon (2) ask for.
        """
        block = self._blocks.get(certificate.digest)
        for _ in range(length - 1):
            if block is None or block.justify.view != block.view - 1:
                return None
            block = self._blocks.get(block.parent)
        return block

    def uncommitted(self, digest: bytes) -> list[Block]:
        """The blocks from this one down to the committed one, which is not among them; the highest first."""
        chain = []
        block = self._blocks.get(digest)
        while block is not None and block.height > self.committed.height:
            chain.append(block)
            block = self._blocks.get(block.parent)
        return chain

    def commit(self, block: Block) -> list[Block]:
        """Commits a block and its ancestors. Returns the newly committed, the lowest first."""
        chain = self.uncommitted(block.digest)[::-1]
        if not chain:
            return []
        for one in chain:
            self._at[one.height] = one
            del self._pending[one.digest]
        self.committed = block
        # Those that came first come first, so a parent's fate is known before its children's. GENESIS has no parent.
        live = {block.digest}
        for digest, one in list(self._pending.items()):
            if one.parent in live:
                live.add(digest)
            else:
                del self._pending[digest], self._blocks[digest]
        self.unsettled = sum(bool(one.bundles) for one in self._pending.values())
        self._thin_above = MOST_LEAVES
        return chain

    def path(self, target: bytes, have: bytes, height: int) -> list[Block]:
        """The blocks above `have`, which stands at `height`, up to the target, in rising order; [] if there is no path.

        Reads only what it must above the committed block, and the index of heights below.
        """
        chain = self.uncommitted(target)
        block = chain[-1] if chain else self._blocks.get(target)
        if block is None or height < self.floor:
            return []
        above = [one for one in reversed(chain) if one.height > height]
        top = min(block.height if not chain else self.committed.height, self.committed.height)
        at = self._at.get(height) if height <= self.committed.height else self._blocks.get(have)
        if at is None or at.digest != have or (chain and not self.extends(chain[0], have)):
            return []
        return [self._at[h] for h in range(height + 1, top + 1)] + above

    def certified_at(self, height: int) -> tuple[Block | None, QC | None]:
        """The committed block at a height, and its certificate as a child carries it; None where it is not known."""
        block = self._at.get(height)
        if block is None:
            return None, None
        child = self._at.get(height + 1)
        children = [child] if child is not None else self._pending.values()
        return block, next((one.justify for one in children if one.parent == block.digest), None)

    def above(self, height: int) -> list[Block]:
        """All blocks above a committed height, parents first."""
        committed = [self._at[h] for h in range(max(height, self.floor) + 1, self.committed.height + 1)]
        return committed + list(self._pending.values())

    def root(self, block: Block) -> None:
        """Starts anew from a committed block whose past is not known: another replica's, or a checkpoint's."""
        self.committed = block
        self.floor = block.height
        self.unsettled = 0
        self._blocks = {block.digest: block}
        self._at = {block.height: block}
        self._pending = {}

    def forget(self, height: int) -> None:
        """Drops committed blocks below this height, except the last `KEPT`."""
        lowest = max(self.floor, min(height, self.committed.height - KEPT))
        for gone in range(self.floor, lowest):
            block = self._at.pop(gone)
            del self._blocks[block.digest]
        self.floor = lowest
