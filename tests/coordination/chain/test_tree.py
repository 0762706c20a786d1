"""The tree of blocks, and the counting of votes."""

from random import Random

from coordination.chain.block import GENESIS, GENESIS_QC, QC, Block, Bundle
from coordination.chain.pacemaker import Pacemaker
from coordination.chain.tally import Tally
from coordination.chain.tree import KEPT, MOST_LEAVES, Tree
from coordination.protocol import NEVER
from coordination.quorum import byzantine
from coordination.signature import Certificate, TokenScheme

NOBODY = Certificate(())


def child(parent: Block, view: int, *commands: str) -> Block:
    bundles = (Bundle(1, view, commands),) if commands else ()
    return Block(view, parent.height + 1, 1, QC(parent.view, parent.digest, NOBODY), bundles)


def grown(*views: int) -> tuple[Tree, list[Block]]:
    tree, blocks = Tree(), [GENESIS]
    for view in views:
        blocks.append(child(blocks[-1], view, f"{view}"))
        assert tree.insert(blocks[-1])
    return tree, blocks


def certificate(block: Block) -> QC:
    return QC(block.view, block.digest, NOBODY)


def test_a_block_enters_once_and_only_on_a_known_parent() -> None:
    tree, blocks = grown(1, 2)
    assert not tree.insert(blocks[1])
    orphan = child(child(blocks[-1], 3), 4)
    assert not tree.insert(orphan)
    assert not tree.insert(Block(1, 3, 1, certificate(blocks[-1]), ()))
    assert not tree.insert(Block(9, 4, 1, certificate(blocks[-1]), ()))


def test_a_run_is_of_consecutive_views() -> None:
    tree, blocks = grown(1, 2, 3, 5, 6)
    assert tree.run(certificate(blocks[3]), 3) == blocks[1]
    assert tree.run(certificate(blocks[4]), 2) is None
    assert tree.run(certificate(blocks[5]), 2) == blocks[4]
    assert tree.run(certificate(blocks[5]), 3) is None
    assert tree.run(certificate(child(blocks[5], 7)), 2) is None


def test_committing_commits_the_past_and_drops_what_lies_beside() -> None:
    tree, blocks = grown(1, 2, 3)
    beside = child(blocks[1], 4, "beside")
    above = child(beside, 5, "above")
    late = child(blocks[2], 6, "late")
    for block in (beside, above, late):
        assert tree.insert(block)
    assert tree.unsettled == 6
    assert tree.commit(blocks[2]) == blocks[1:3]
    assert tree.pending == [blocks[3], late]
    assert tree.unsettled == 2
    assert beside.digest not in tree
    assert tree.commit(blocks[1]) == []
    assert tree.extends(late, blocks[1].digest)
    assert not tree.extends(late, blocks[3].digest)


def test_paths_lead_from_any_height_that_is_kept_to_any_block() -> None:
    rng = Random(3)
    tree, blocks = grown(*range(1, 3 * KEPT))
    tree.commit(blocks[250])
    for _ in range(50):
        low, high = sorted(rng.sample(range(len(blocks)), 2))
        assert tree.path(blocks[high].digest, blocks[low].digest, low) == blocks[low + 1 : high + 1]
    assert tree.path(blocks[10].digest, blocks[20].digest, 20) == []
    assert tree.path(b"unknown", blocks[20].digest, 20) == []
    assert tree.path(blocks[10].digest, b"unknown", 5) == []
    tree.forget(10_000)
    assert tree.floor == 250 - KEPT
    assert blocks[tree.floor - 1].digest not in tree
    assert tree.path(blocks[-1].digest, blocks[100].digest, 100) == []
    assert tree.path(blocks[-1].digest, blocks[200].digest, 200) == blocks[201:]
    assert tree.certified_at(200) == (blocks[200], blocks[201].justify)
    assert tree.above(240) == blocks[241:]


def test_old_blocks_that_nothing_was_built_on_are_dropped_when_they_are_many() -> None:
    tree, blocks = grown(1, 2)
    tip = child(blocks[2], 3, "tip")
    tree.insert(tip)
    beside = [child(blocks[1], view, "beside") for view in range(4, 3 * MOST_LEAVES)]
    for block in beside:
        tree.insert(block)
        tree.thin_out(tip.digest)
    assert len(tree.pending) <= 2 * MOST_LEAVES + 3
    assert tip.digest in tree
    assert blocks[2].digest in tree
    assert beside[-1].digest in tree
    assert beside[0].digest not in tree
    assert tree.unsettled == len(tree.pending)


def test_a_tally_keeps_the_latest_of_each_signer_alone() -> None:
    tally: Tally[tuple[int, bytes], str] = Tally()
    assert tally.add(1, 5, (5, b"a"), "one") == {1: "one"}
    assert tally.add(2, 5, (5, b"a"), "two") == {1: "one", 2: "two"}
    assert tally.add(2, 5, (5, b"b"), "two again") == {}
    assert tally.at(2, 5) == "two"
    for view in range(6, 2000):
        tally.add(2, view, (view, b"c"), "far")
    assert tally.of((5, b"a")) == {1: "one"}
    assert len(tally._items) == 2
    assert tally.has(2, 7)
    assert not tally.has(1, 7)
    assert tally.at(1, 7) is None


def test_a_span_has_one_leader_and_is_given_up_as_a_whole() -> None:
    pace = Pacemaker(byzantine(range(1, 5)), span=3, wait_s=1.0, doublings=2)
    assert [pace.leader(view) for view in range(12)] == [1, 1, 1, 2, 2, 2, 3, 3, 3, 4, 4, 4]
    assert [pace.last(view) for view in (0, 2, 3, 11)] == [2, 2, 5, 11]


def test_a_wait_runs_only_with_work_and_doubles_after_f_plus_one_views_in_vain() -> None:
    pace = Pacemaker(byzantine(range(1, 8)), span=1, wait_s=1.0, doublings=2)
    assert pace.attend(5.0, False) == NEVER
    assert pace.attend(5.0, True) == 6.0
    assert pace.attend(5.5, True) == 6.0
    assert pace.attend(5.6, False) == NEVER
    waits = []
    for view in range(2, 14):
        pace.strike(0.0)
        pace.strike(0.0)
        waits.append(pace.wait_s())
        pace.enter(view)
    assert waits == [1, 1, 2, 2, 2, 4, 4, 4, 4, 4, 4, 4]
    pace.progress()
    assert pace.wait_s() == 1.0


def test_genesis_certifies_itself_and_nothing_else_is_certified_by_nobody() -> None:
    quorum = byzantine(range(1, 5))
    assert GENESIS_QC.holds(TokenScheme(), quorum)
    assert not QC(0, b"other", NOBODY).holds(TokenScheme(), quorum)
    assert not QC(1, GENESIS.digest, NOBODY).holds(TokenScheme(), quorum)
    assert not QC(-1, GENESIS.digest, NOBODY).holds(TokenScheme(), quorum)
