"""Trials: the cells of a comparison."""

import math

import pytest

from actors.errors import ConfigurationError
from coordination.simulation.trial import Trial


def test_a_trial_measures_what_theory_says_of_raft() -> None:
    result = Trial("raft", 5, latency="1ms", clients=4, seconds=0.5, delay_s=0.2).run(seed=3)
    assert result.latency_p50_delays == pytest.approx(2.0)
    assert result.throughput_per_s == pytest.approx(4 / 0.002, rel=0.02)
    assert result.messages_per_decision == pytest.approx(16, rel=0.02)
    assert (result.agreement, result.validity, result.termination) == (True, True, True)
    assert result.outage_s == 0.0


def test_the_same_seed_gives_the_same_numbers() -> None:
    trial = Trial("raft", 3, latency="lognormal:1ms,0.5", loss=0.01, clients=3, seconds=0.3)
    first, again = trial.run(9), trial.run(9)
    assert (first.latency_p50_s, first.events, first.bytes_per_decision) == (
        again.latency_p50_s,
        again.events,
        again.bytes_per_decision,
    )


def test_the_death_of_a_leader_is_an_outage_of_some_time_outs() -> None:
    result = Trial("raft", 3, faults="crash:leader@0.2s", clients=2, seconds=0.5).run(1)
    assert 0.005 < result.outage_s < 0.3
    assert result.termination
    assert any(rate == 0 for at, rate in result.timeline if 0.2 < at < 0.2 + result.outage_s)


def test_a_dead_majority_ends_without_an_answer_at_the_limit_of_time() -> None:
    result = Trial("raft", 3, faults="crash:1@0.1s;crash:2@0.1s", seconds=0.3, warm_up_delays=200).run(1)
    assert not result.termination
    assert math.isnan(result.latency_p50_s)
    assert result.agreement


@pytest.mark.parametrize(
    ("settings", "mend"),
    [
        ({"protocol": "rfat"}, "Did you mean 'raft'"),
        ({"protocol": "raft", "replicas": 2}, "Give at least 3 replicas"),
        ({"protocol": "raft", "liars": "silent"}, "Write equivocating:1"),
        ({"protocol": "raft", "liars": "polite:1"}, "There are: silent"),
        ({"protocol": "raft", "latency": "soon"}, "cannot be read"),
        ({"protocol": "raft", "seconds": 0.0}, "Give larger numbers"),
        ({"protocol": "raft", "signatures": "wax"}, "token-vector"),
    ],
)
def test_what_does_not_fit_together_is_refused_with_the_mend(settings: dict[str, object], mend: str) -> None:
    with pytest.raises(ConfigurationError, match=mend):
        Trial(**settings).world()  # type: ignore[arg-type]  # wrong on purpose
