"""Forgetting what the application has taken over, and starting anew from it.

Rules:
* When the application says that its state covers a slot, that state, the slot's block with its certificate, and the
  names of the bundles decided lately become one record in the place of all earlier ones. What binds the replica (its
  votes, its lock, its certificates) and the blocks above are written again behind it.
* A replica that lacks blocks which others have forgotten gets their snapshot instead. States are not certified, so it
  waits for f + 1 replicas that send the same, one of which is correct. Replicas that compact at the same slots agree.
* One snapshot of each sender is kept while it waits, and one of its own.
"""

from typing import Any

from coordination.chain.block import QC, Block, Snapshot
from coordination.chain.store import Store
from coordination.protocol import Installed, Wire
from coordination.signature import digest


class Checkpointer:
    """The last snapshot of a replica, and those that others sent."""

    def __init__(self, store: Store) -> None:
        self.snapshot: Snapshot | None = None
        self._store = store
        self._offered: dict[int, tuple[bytes, Snapshot]] = {}

    def compact(self, slot: int, state: Any, standing: list[Wire]) -> None:
        """Puts a snapshot at a decided slot in the place of all earlier records; `standing` binds the replica."""
        store = self._store
        block, certificate = store.tree.certified_at(slot)
        if block is None or certificate is None or (self.snapshot and slot <= self.snapshot.block.height):
            return
        self._write(Snapshot(block, certificate, state, store.pool.names_up_to(slot)), standing)
        store.tree.forget(slot)

    def _write(self, snapshot: Snapshot, standing: list[Wire]) -> None:
        self.snapshot = snapshot
        above = self._store.tree.above(snapshot.block.height)
        self._store.out.checkpoint([snapshot, self._store.life, *above, *standing])

    def restore(self, snapshot: Snapshot) -> None:
        """Starts from a snapshot: this replica's own record, or one that f + 1 others vouch for."""
        self.snapshot = snapshot
        self._store.tree.root(snapshot.block)
        self._store.pool.resume(snapshot.names)
        self._store.out.effects.installed = Installed(snapshot.block.height, snapshot.state)

    def offer(self, source: int, snapshot: Snapshot, standing: list[Wire]) -> bool:
        """Another replica's snapshot came. Whether it was installed, since f + 1 sent the same."""
        store = self._store
        if snapshot.block.height <= store.tree.committed.height or source not in store.members:
            return False
        content = digest((snapshot.block.digest, snapshot.state, snapshot.names))
        self._offered[source] = (content, snapshot)
        same = sum(1 for offered, _ in self._offered.values() if offered == content)
        if same <= store.f or not is_certified(snapshot, store):
            return False
        self._offered.clear()
        self.restore(snapshot)
        self._write(snapshot, standing)
        return True


def is_certified(snapshot: Snapshot, store: Store) -> bool:
    """Whether a quorum certified its block."""
    certificate: QC = snapshot.certificate
    block: Block = snapshot.block
    return (
        certificate.digest == block.digest
        and certificate.view == block.view
        and certificate.holds(store.setting.scheme, store.quorum)
    )
