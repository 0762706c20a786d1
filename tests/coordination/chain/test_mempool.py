"""The commands that wait: order, limits, and nothing twice."""

from coordination.chain.block import GENESIS_QC, Block, Bundle
from coordination.chain.mempool import SERIALS, Mempool


def pool(batch: int = 3, capacity: int = 12) -> Mempool:
    made = Mempool(1, 4, batch=batch, capacity=capacity)
    made.begin_life(2)
    return made


def block(*bundles: Bundle, height: int = 1) -> Block:
    return Block(height, height, 1, GENESIS_QC, bundles)


def test_commands_that_wait_together_leave_together_in_order_a_batch_at_most() -> None:
    waiting = pool()
    for command in "abcde":
        assert waiting.offer((command,))
    first = waiting.take([])
    assert [bundle.commands for bundle in first] == [("a", "b", "c")]
    second = waiting.take([block(*first)])
    assert [bundle.commands for bundle in second] == [("d", "e")]
    assert [bundle.serial for bundle in (*first, *second)] == [2 * SERIALS + 1, 2 * SERIALS + 2]
    assert waiting.take([block(*first), block(*second)]) == ()
    # A block that comes to nothing frees what it held.
    assert waiting.take([]) == first


def test_what_is_decided_waits_no_more_and_is_not_taken_again() -> None:
    waiting = pool()
    other = Bundle(2, 5, ("z",))
    assert waiting.hear(2, other)
    assert not waiting.hear(3, other)
    waiting.offer(("a",))
    taken = waiting.take([])
    assert taken[0] == other
    waiting.settle(block(*taken))
    assert not waiting
    assert not waiting.hear(2, other)
    assert waiting.repeats(block(other, height=2), [])
    assert waiting.repeats(block(Bundle(3, 1, ("q",)), Bundle(3, 1, ("q",))), [])
    fresh = block(Bundle(3, 1, ("q",)))
    assert not waiting.repeats(fresh, [])
    assert waiting.repeats(fresh, [fresh])


def test_no_sender_takes_more_than_its_share_and_own_commands_stay_within_the_capacity() -> None:
    waiting = pool()
    assert sum(waiting.hear(2, Bundle(2, serial, ("x",))) for serial in range(20)) == 3
    assert waiting.hear(3, Bundle(3, 1, ("y",)))
    assert not waiting.hear(3, Bundle(3, 2, ("too", "long", "a", "bundle")))
    assert not waiting.hear(3, Bundle(3, 3, ()))
    assert waiting.offer(tuple(range(12)))
    assert not waiting.offer(("one more",))
    for height in (1, 2, 3):
        waiting.settle(block(*waiting.take([]), height=height))
    assert waiting.offer(("again",))


def test_other_commands_under_an_own_name_do_not_count_and_the_own_ones_are_offered_again() -> None:
    waiting = pool()
    waiting.offer(("mine", ("a", "tuple")))
    (bundle,) = waiting.take([])
    through_the_wire = Bundle(1, bundle.serial, ("mine", ["a", "tuple"]))
    forged = Bundle(1, bundle.serial, ("forged",))
    waiting.settle(block(forged))
    (again,) = waiting.take([])
    assert again.commands == bundle.commands
    assert again.serial == bundle.serial + 1
    waiting.settle(block(Bundle(1, again.serial, through_the_wire.commands)))
    assert not waiting


def test_a_replica_is_told_of_each_own_bundle_once() -> None:
    waiting = pool()
    waiting.offer(("a",))
    waiting.hear(3, Bundle(3, 1, ("z",)))
    told = waiting.untold(2, [])
    assert [bundle.commands for bundle in told] == [("a",)]
    assert waiting.untold(2, []) == ()
    assert waiting.untold(4, [block(*told)]) == ()
    assert waiting.untold(4, []) == told
    assert waiting.untold(1, []) == ()
    assert [bundle.commands for bundle in waiting.oldest()] == [("z",), ("a",)]


def test_the_names_decided_up_to_a_block_go_with_its_snapshot() -> None:
    waiting, behind = pool(), pool()
    waiting.settle(block(Bundle(2, 1, ("a",)), height=1))
    waiting.settle(block(Bundle(2, 2, ("b",)), height=2))
    behind.hear(2, Bundle(2, 1, ("a",)))
    behind.hear(2, Bundle(2, 2, ("b",)))
    names = waiting.names_up_to(1)
    assert names == ((2, 1),)
    behind.resume(names)
    assert [bundle.serial for bundle in behind.take([])] == [2]
