"""Broken variants of the chained protocols, which the checker must catch, and liars that put them to the test."""

from collections.abc import Callable
from dataclasses import replace
from random import Random

from coordination.chain.block import GENESIS, GENESIS_QC, QC, TC, Block, Standing, Timeout, Vote
from coordination.chain.replica import ChainReplica
from coordination.chain.rules import Rules
from coordination.chain.tree import Tree
from coordination.hotstuff import HOTSTUFF, HotStuffRules
from coordination.jolteon import JOLTEON, JolteonRules
from coordination.protocol import Effects, Event, Protocol, ProtocolKind, Restore
from coordination.simulation.simulation import Disguise
from coordination.streamlet import STREAMLET, Streamlet


class Unlocked(HotStuffRules):
    """Votes whatever it has locked."""

    def may_vote(self, tree: Tree, lock: QC, block: Block, tc: TC | None) -> bool:
        return True


class Uncertain(JolteonRules):
    """Does not ask whether a block after a timeout rests on the highest certificate named."""

    def may_vote(self, tree: Tree, lock: QC, block: Block, tc: TC | None) -> bool:
        return True


class HotStuffOfOne(HotStuffRules):
    """Commits what is certified."""

    def committed(self, tree: Tree, certificate: QC) -> Block | None:
        return tree.get(certificate.digest)


class HotStuffOfTwo(HotStuffRules):
    """Commits the parent of what is certified, whatever their views."""

    def committed(self, tree: Tree, certificate: QC) -> Block | None:
        block = tree.get(certificate.digest)
        return None if block is None else tree.get(block.parent)


class HotStuffWithGaps(HotStuffRules):
    """Three certified blocks in a row, but not in consecutive views."""

    def committed(self, tree: Tree, certificate: QC) -> Block | None:
        block = tree.get(certificate.digest)
        parent = None if block is None else tree.get(block.parent)
        return None if parent is None else tree.get(parent.parent)


class JolteonOfOne(JolteonRules):
    """Commits what is certified."""

    def committed(self, tree: Tree, certificate: QC) -> Block | None:
        return tree.get(certificate.digest)


class JolteonWithGaps(JolteonRules):
    """Two certified blocks in a row, but not in consecutive views."""

    def committed(self, tree: Tree, certificate: QC) -> Block | None:
        block = tree.get(certificate.digest)
        return None if block is None else tree.get(block.parent)


class Amnesiac(ChainReplica):
    """Forgets its promises when it restarts."""

    def _restore(self, event: Restore) -> None:
        promises = (Vote, Timeout, Standing)
        super()._restore(Restore(event.now, tuple(r for r in event.records if not isinstance(r, promises))))


class Hasty(ChainReplica):
    """Does not wait for its records."""

    def handle(self, event: Event) -> Effects:
        effects = super().handle(event)
        effects.sends = [(to, message, 0) for to, message, _ in effects.sends]
        return effects


class Understating(ChainReplica):
    """Names a low certificate in its timeouts."""

    def _give_up(self) -> None:
        high, self.high = self.high, GENESIS_QC
        try:
            super()._give_up()
        finally:
            self.high = high


class Shortsighted(Streamlet):
    """Votes for a block on any notarised chain."""

    def _vote(self, block: Block) -> None:
        longest, self.longest = self.longest, (GENESIS, GENESIS_QC)
        try:
            super()._vote(block)
        finally:
            self.longest = longest


class StreamletOfTwo(Streamlet):
    """Finalises two notarised blocks of consecutive epochs."""

    def _notarise(self, qc: QC, source: int) -> None:
        super()._notarise(qc, source)
        block = self.tree.get(qc.digest)
        if block is not None and self.tree.run(qc, 2) is not None:
            self.store.commit(block, qc)


class Backward(ChainReplica):
    """A liar: after a timeout it proposes on an older block than it could, and it votes for anything.

    It commits nothing, so that all of its tree stays open to it.
    """

    depth = 1

    def _commit_by(self, qc: QC) -> None:
        pass

    def _propose(self) -> None:
        high = self.high
        if self.pace.entry is not None and high.view != self.pace.view - 1:
            for _ in range(self.depth):
                block = self.tree.get(self.high.digest)
                if block is not None and block.view > 0:
                    self.high = block.justify
        try:
            super()._propose()
        finally:
            if self.high.view < high.view:
                self.high = high


def of(kind: ProtocolKind, cls: type[ChainReplica], rules: type[Rules]) -> ProtocolKind:
    """A kind whose replicas are of another class or have other rules."""
    return replace(kind, make=lambda setting: cls(setting, rules()))


def backward(rules: type[Rules], depth: int) -> Disguise:
    """The liar above, as a disguise: it goes back so many blocks."""

    def disguised(make: Callable[[], Protocol], rng: Random, liars: frozenset[int]) -> Protocol:
        honest = make()
        assert isinstance(honest, ChainReplica)
        liar = Backward(honest.setting, rules())
        liar.depth = depth
        return liar

    return disguised


class Relapsing(ChainReplica):
    """A liar that forgets all but the last view of its second leader's span when it restarts, and then votes on."""

    def _restore(self, event: Restore) -> None:
        super()._restore(Restore(event.now))
        if event.records:
            self.voted = self._proposed = 7


def relapsing(make: Callable[[], Protocol], rng: Random, liars: frozenset[int]) -> Protocol:
    """The liar above, as a disguise."""
    honest = make()
    assert isinstance(honest, ChainReplica)
    return Relapsing(honest.setting, honest.rules)


CAUGHT_BY_CHANCE: tuple[ProtocolKind, ...] = (
    of(HOTSTUFF, ChainReplica, HotStuffOfOne),
    of(HOTSTUFF, ChainReplica, HotStuffOfTwo),
    of(HOTSTUFF, ChainReplica, HotStuffWithGaps),
    of(JOLTEON, ChainReplica, JolteonOfOne),
    of(JOLTEON, ChainReplica, JolteonWithGaps),
    of(HOTSTUFF, Amnesiac, HotStuffRules),
    of(JOLTEON, Amnesiac, JolteonRules),
    of(HOTSTUFF, Hasty, HotStuffRules),
    of(JOLTEON, Understating, JolteonRules),
    replace(STREAMLET, make=Shortsighted),
    replace(STREAMLET, make=StreamletOfTwo),
)
NAMES = (
    "HotStuff that commits at once",
    "HotStuff that commits two",
    "HotStuff that commits over gaps",
    "Jolteon that commits at once",
    "Jolteon that commits over gaps",
    "HotStuff that forgets",
    "Jolteon that forgets",
    "HotStuff that does not wait for the disk",
    "Jolteon that understates",
    "Streamlet on any chain",
    "Streamlet of two",
)
