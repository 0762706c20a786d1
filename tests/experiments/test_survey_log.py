"""The survey with its awards in a replicated log, one of whose replicas lies."""

import asyncio
from pathlib import Path
from typing import Any

import pytest

from actors import ConfigurationError, Plan, Role, RunResult, Swarm
from experiments.library_survey import Auctioneer, Surveyor
from experiments.pagerank import Cartographer, Module
from experiments.survey_log import PERIOD, ROLE, AwardLog, log_settings, replica_role

MODULES = 12


@pytest.fixture
def library(tmp_path: Path) -> Path:
    for number in range(MODULES):
        (tmp_path / f"module_{number}.py").write_text(f"import json\nx = {number}\n" * (number + 1))
    return tmp_path


def surveyed(root: Path, cells: int = 1, **consensus: Any) -> RunResult:
    log = log_settings(consensus)
    told = replica_role(log)
    plan = Plan(
        roles={
            "auctioneer": Role(
                Auctioneer, parameters={"root": str(root), "lots": 3, "log": log, "period": PERIOD}
            ),
            "surveyor": Role(Surveyor, 3, {"root": str(root)}),
            "cartographer": Role(Cartographer, parameters={"tolerance": 1e-9}),
            "module": Role(Module, 0, dedicated=False),
            ROLE: Role(AwardLog, told["count"], told["parameters"]),
        },
        cells=cells,
        on_error="stop",
    )

    async def run() -> RunResult:
        async with Swarm.local(plan) as swarm:
            return await swarm.run(rounds=2_000)

    return asyncio.run(run())


@pytest.mark.parametrize("protocol", ["pbft", "hotstuff", "jolteon", "tendermint", "raft", "multi-paxos"])
def test_all_honest_replicas_hold_the_same_awards_though_one_lies(library: Path, protocol: str) -> None:
    result = surveyed(library, protocol=protocol)
    assert result.quiet
    assert result.results["modules"] == MODULES
    assert result.results["failed"] == 0
    assert result.results["awards_decided"] == MODULES
    assert result.results["honest_replicas_agree"] is True
    rows = result.results["replicas_of_the_log"]
    assert [row["honest"] for row in rows] == [True, True, True, False]
    assert {row["awards"] for row in rows[:3]} == {MODULES}
    assert len({row["digest of all awards"] for row in rows[:3]}) == 1


def test_the_survey_with_a_log_is_the_same_on_any_number_of_cells(library: Path) -> None:
    prints = {surveyed(library, cells, protocol="pbft").fingerprint for cells in (1, 2)}
    assert len(prints) == 1


@pytest.mark.parametrize(
    ("consensus", "mend"),
    [
        ({"protocol": "pbtf"}, "Did you mean 'pbft'"),
        ({"protocol": "pbft", "replicas": 3}, "at least 4 replicas"),
        ({"protocol": "pbft", "liars": 2}, "at least 7 replicas"),
        ({"protocol": "pbft", "lie": "polite"}, "There are: silent"),
        ({"replicas": 4}, "consensus.protocol=pbft"),
        ({"protocol": "pbft", "replica": 4}, "There are: protocol, replicas"),
        ({"protocol": "pbft", "replicas": "4"}, "not of type int"),
    ],
)
def test_a_log_that_cannot_be_is_refused_with_the_mend(consensus: dict[str, Any], mend: str) -> None:
    with pytest.raises(ConfigurationError, match=mend):
        log_settings(consensus)
