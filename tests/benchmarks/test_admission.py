"""The benchmark of a crowd before one model: bounded memory, and nobody starved."""

from benchmarks.admission import app, waits
from tests.benchmarks.runs import figures_of


def test_a_crowd_is_admitted_in_bounded_memory_and_fairly() -> None:
    figures = figures_of(
        app, "--agents", "100", "--requests", "1000", "--running", "64", "--answer-s", "0.01"
    )
    assert figures["requests_per_second"] > 0
    assert 0 < figures["admission_p99_s"] <= figures["drain_s"]
    assert 500 < figures["waiting_request_bytes"] < 40_000
    assert figures["refused_growth_mb"] < figures["waiting_mb"]
    assert figures["first_ratio_fifo_to_fair"] > 2


def test_one_chatty_agent_does_not_starve_a_thousand() -> None:
    options = {"agents": 1_000, "requests": 10_000, "chatty": 5_000, "running": 256, "answer_s": 0.05}
    fair = waits(**options, fair=True)  # type: ignore[arg-type]  # one mapping of all
    fifo = waits(**options, fair=False)  # type: ignore[arg-type]  # the same
    rounds = 1_000 / 256  # in which every agent had its turn once
    assert max(fair["first"]) <= 0.05 * (rounds + 1)
    assert min(fifo["first"]) >= 0.05 * (5_000 // 256 - 1)
    assert max(fair["others"]) < max(fifo["others"])
    assert sum(map(len, (fair["chatty"], fair["others"]))) == 10_000
