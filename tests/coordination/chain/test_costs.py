"""Each protocol costs what its table says: messages, authenticators and delays, on a network of unit delays."""

import pytest

from coordination.chain.block import Proposal, Timeout, Vote
from coordination.hotstuff import HOTSTUFF
from coordination.jolteon import JOLTEON
from coordination.protocol import ProtocolKind
from coordination.streamlet import STREAMLET
from tests.coordination.chain.runs import Run, begin

STABLE = {"span": 1 << 20}
SIZES = range(4, 32)


def view_of(message: Proposal | Vote) -> int:
    return message.block.view if isinstance(message, Proposal) else message.view


def of_blocks(run: Run, views: range) -> tuple[int, int]:
    """Messages and authenticators about the blocks of some views."""
    messages = authenticators = 0
    for _, _, _, message in run.sent:
        if type(message) in (Proposal, Vote) and view_of(message) in views:
            messages += 1
            authenticators += message.authenticators
    return messages, authenticators


@pytest.mark.parametrize("n", SIZES)
@pytest.mark.parametrize("kind", [HOTSTUFF, JOLTEON], ids=lambda kind: kind.name)
def test_a_chained_protocol_costs_what_its_table_says(kind: ProtocolKind, n: int) -> None:
    assert kind.costs is not None
    run = begin(kind, n, options=STABLE, batch=1)
    leader = run.protocol(1).leader
    run.propose(leader, "first")
    run.finish()
    asked = 0.0
    assert run.known_at[leader]["first"] - asked == kind.costs.delays
    told = {at["first"] - asked for replica, at in run.known_at.items() if replica != leader}
    assert told == {kind.costs.delays + kind.costs.told}

    run.propose(leader, *(f"command {index}" for index in range(6)))
    first = run.protocol(leader).pace.view
    run.finish()
    messages, authenticators = of_blocks(run, range(first, first + 6))
    assert messages == 6 * kind.costs.messages(n)
    assert authenticators == 6 * kind.costs.authenticators(n)
    # Besides blocks and votes there were only the two notices that the chain goes quiet.
    assert len(run.sent) == run.count(Proposal) + run.count(Vote) + 2 * (n - 1)


@pytest.mark.parametrize("kind", [HOTSTUFF, JOLTEON], ids=lambda kind: kind.name)
@pytest.mark.parametrize("span", [1, 4])
def test_rotation_costs_no_more_a_block(kind: ProtocolKind, span: int) -> None:
    assert kind.costs is not None
    run = begin(kind, 7, options={"span": span}, batch=1)
    leader = run.protocol(1).leader
    run.propose(leader, *(f"command {index}" for index in range(12)))
    run.finish()
    messages, authenticators = of_blocks(run, range(2, 10))
    assert messages == 8 * kind.costs.messages(7)
    assert authenticators == 8 * kind.costs.authenticators(7)
    assert len({source for _, source, _, message in run.sent if type(message) is Proposal}) > 12 // 4


@pytest.mark.parametrize("n", SIZES)
def test_streamlet_costs_what_its_table_says(n: int) -> None:
    costs = STREAMLET.costs
    assert costs is not None
    run = begin(STREAMLET, n, batch=1)
    leader = run.protocol(1).leader
    run.propose(leader, "first", "second", "third")
    run.finish()
    assert [at["first"] for at in run.known_at.values()] == pytest.approx(
        [costs.delays + costs.told] * n, abs=1e-4
    )
    messages, authenticators = of_blocks(run, range(3, 6))
    assert messages == 3 * costs.messages(n)
    assert authenticators == 3 * costs.authenticators(n)


@pytest.mark.parametrize("n", [4, 7, 10, 13])
def test_streamlet_with_echo_costs_a_power_more(n: int) -> None:
    run = begin(STREAMLET, n, batch=1, options={"echo": True})
    run.propose(run.protocol(1).leader, "first", "second", "third")
    run.finish()
    assert of_blocks(run, range(3, 6))[0] == 3 * (n - 1) ** 2 * (n + 1)


def test_a_block_in_a_running_streamlet_chain_is_final_after_two_epochs() -> None:
    run = begin(STREAMLET, 4, batch=1)
    run.propose(run.protocol(1).leader, *(f"command {index}" for index in range(6)))
    run.finish()
    proposed = {
        message.block.commands[0]: at
        for at, _, _, message in run.sent
        if type(message) is Proposal and message.block.bundles
    }
    known = run.known_at[1]
    assert [known[f"command {index}"] - proposed[f"command {index}"] for index in (1, 2, 3)] == pytest.approx(
        [4.0] * 3, abs=1e-4
    )


@pytest.mark.parametrize("n", [4, 7, 16])
def test_a_view_change_costs_as_the_papers_count(n: int) -> None:
    """The leader is dead: n - 1 replicas send timeouts, to the next leader alone (one is it), or to all others."""
    for kind, expected in ((HOTSTUFF, n - 2), (JOLTEON, (n - 1) ** 2)):
        run = begin(kind, n, options=STABLE)
        dead = run.protocol(1).leader
        run.simulation.crash(run.node(dead))
        for replica in range(1, n + 1):
            if replica != dead:
                run.propose(replica, f"{replica}")
        run.until(lambda run=run: run.know("2"))
        assert run.count(Timeout) == expected
