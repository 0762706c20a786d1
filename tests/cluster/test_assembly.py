from pathlib import Path
from typing import Any

import pytest

from actors.errors import ConfigurationError
from cluster.assembly import completed, plan_of
from cluster.experiment import Experiment
from tests.cluster.rumour import Node

BASE: dict[str, Any] = {
    "name": "rumour",
    "input": {"nodes": 4},
    "swarm": {
        "roles": {"node": {"class": "tests.cluster.rumour:Node", "parameters": {"nodes": "${input.nodes}"}}}
    },
}


def test_a_plan_says_what_the_experiment_says(tmp_path: Path) -> None:
    experiment = Experiment.of(BASE).having(
        {"seed": 5, "swarm.cells": 3, "swarm.roles.node.count": 4, "swarm.journal": {"checkpoint_every": 7}}
    )
    plan = plan_of(experiment, run_id="r", journal=tmp_path)
    assert plan.roles["node"].agent is Node
    assert plan.roles["node"].parameters == {"nodes": 4}
    assert (plan.seed, plan.cells, plan.run_id) == (5, 3, "r")
    assert plan.journal is not None
    assert (plan.journal.directory, plan.journal.checkpoint_every) == (tmp_path, 7)


def test_without_a_journal_the_plan_has_none(tmp_path: Path) -> None:
    assert (
        plan_of(Experiment.of(BASE).having({"swarm.journal": False}), run_id="r", journal=tmp_path).journal
        is None
    )


def test_setup_fills_in_what_depends_on_the_input() -> None:
    experiment = completed(Experiment.of({**BASE, "setup": "tests.cluster.rumour:as_many_as_input"}))
    assert experiment.setup is None
    assert experiment.swarm.roles["node"].count == 4
    assert experiment.swarm.roles["node"].parameters == {"nodes": 4}


@pytest.mark.parametrize(
    ("setup", "told"),
    [
        (
            "misspelt_role",
            "setup tests.cluster.rumour:misspelt_role: there is no role 'nod'; did you mean 'node'?",
        ),
        ("broken", "setup tests.cluster.rumour:broken: FileNotFoundError: no such library ("),
    ],
)
def test_a_setup_that_fails_is_told_in_a_line(setup: str, told: str) -> None:
    with pytest.raises(ConfigurationError) as raised:
        completed(Experiment.of({**BASE, "setup": f"tests.cluster.rumour:{setup}"}))
    assert str(raised.value).startswith(told)


def test_a_message_to_an_agent_that_is_not_declared_is_refused() -> None:
    experiment = Experiment.of({**BASE, "send": [{"to": "node/4"}]})
    with pytest.raises(ConfigurationError, match=r"there is no agent 'node/4'\. Send to 'node'"):
        plan_of(experiment, run_id="r", journal=None)
    with pytest.raises(ConfigurationError, match="The role has 4 agents, from node/0"):
        plan_of(experiment.having({"swarm.roles.node.count": 4}), run_id="r", journal=None)
