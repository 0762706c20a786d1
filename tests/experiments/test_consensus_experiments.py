"""The experiments with protocols run, and show what they are for."""

import json
from pathlib import Path

import pytest

from actors import ConfigurationError
from cluster.experiment import load_experiment
from coordination.catalogue import CATALOGUE
from experiments.agents_agree_by_protocol import Agreeing
from experiments.consensus.laboratory import MEASURES, Laboratory, measured

FOLDER = Path(__file__).resolve().parents[2] / "experiments"
FILES = sorted((FOLDER / "consensus").glob("*.yaml"))
"""All of them are loaded; what takes long is run smaller here."""


@pytest.mark.parametrize("file", FILES, ids=lambda path: path.stem)
def test_each_file_is_valid_and_names_protocols_that_exist(file: Path) -> None:
    experiment = load_experiment(file)
    swept = experiment.sweep.get("swarm.roles.laboratory.parameters.protocol", ["raft"])
    assert set(swept) <= set(CATALOGUE)
    assert experiment.description


def test_one_liar_too_many_breaks_agreement_and_the_permitted_number_does_not() -> None:
    settings = {"replicas": 4, "latency": "uniform:1ms,3ms", "clients": 8, "seconds": 0.3}
    for protocol in ("hotstuff", "tendermint"):
        held = [
            measured({"protocol": protocol, "liars": "equivocating:f", **settings}, seed) for seed in range(3)
        ]
        broken = [
            measured({"protocol": protocol, "liars": "equivocating:f+1", **settings}, seed)
            for seed in range(3)
        ]
        assert all(trial["agreement"] for trial in held)
        assert not all(trial["agreement"] for trial in broken)
        assert any(trial["breaches"] for trial in broken)


def test_the_laboratory_measures_plain_numbers_and_the_papers_costs() -> None:
    found = measured({"protocol": "pbft", "replicas": 4, "clients": 2, "seconds": 0.2, "delay_s": 0.1}, 1)
    assert all(isinstance(found[name], float) for name in MEASURES)
    (costs,) = found["costs"]
    assert costs["messages a decision"] == pytest.approx(costs["in theory"], rel=0.02)
    assert costs["delays to a decision"] == pytest.approx(costs["delays in theory"], abs=2.1)
    json.dumps(found)


def test_a_wrong_setting_is_told_before_anything_runs() -> None:
    with pytest.raises(ConfigurationError, match=r"There are: .*latency"):
        Laboratory("raft", latencies="5ms")
    with pytest.raises(ConfigurationError, match="at least 4 replicas"):
        Laboratory("pbft", replicas=3)
    with pytest.raises(ConfigurationError, match="withstands no liars"):
        Agreeing(4, 1, protocol="raft")
