"""The survey of a small library whose answer is known: undisturbed, with surveyors killed and with messages lost."""

import asyncio
from pathlib import Path
from typing import Any

import networkx  # type: ignore[import-untyped]  # it has no types of its own
import pytest

from actors import (
    Agent,
    ConfigurationError,
    Context,
    HandlerFailed,
    Message,
    Plan,
    Role,
    RunResult,
    Swarm,
    Task,
)
from actors.a2a import to_json
from actors.faults import FaultPlan, fault_from
from experiments.library_survey import Act, Auctioneer, Surveyor
from experiments.pagerank import Cartographer, Module
from tests.actors.ray_here import RAY_OPTIONS

LIBRARY: dict[str, bytes] = {
    "shop/__init__.py": b'"""A shop."""\nfrom . import cart\n__all__ = ["cart"]\n',
    "shop/cart.py": b"import json\nfrom .price import Price\nfrom . import till\n",
    "shop/price.py": b"import decimal\n\n\nclass Price:\n    pass\n",
    "shop/till.py": b"from shop import price, cart\n",
    "tool.py": b"import shop.cart, shop.price\nimport broken\n",
    "broken.py": b"def f(:\n",
    "latin.py": "x = 1\ny = 2\n# caf\xe9\n".encode("latin-1"),
    "empty.py": b"",
}
EDGES = [
    ("shop", "shop.cart"),
    ("shop.cart", "shop.price"),
    ("shop.cart", "shop.till"),
    ("shop.till", "shop.price"),
    ("shop.till", "shop.cart"),
    ("tool", "shop.cart"),
    ("tool", "shop.price"),
    ("tool", "broken"),
]
FAILED = {
    "broken": "cannot be parsed: invalid syntax, line 1",
    "latin": "cannot be decoded: byte 0xe9 at 17 is not utf-8",
}
KILLED = {"crash": "surveyor/1", "at": 5}
"""The first awards of four lots are under way."""


@pytest.fixture
def library(tmp_path: Path) -> Path:
    for name, content in LIBRARY.items():
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(content)
    return tmp_path


def plan_for(
    root: Path, *faults: dict[str, Any], cells: int = 1, surveyors: int = 3, **auctioneer: Any
) -> Plan:
    parameters = {"root": str(root), "lots": 4, **auctioneer}
    return Plan(
        roles={
            "auctioneer": Role(Auctioneer, parameters=parameters),
            "surveyor": Role(Surveyor, surveyors, {"root": str(root)}),
            "cartographer": Role(Cartographer, parameters={"tolerance": 1e-12}),
            "module": Role(Module, 0, dedicated=False),
        },
        cells=cells,
        on_error="stop",
        faults=FaultPlan(tuple(fault_from(fault) for fault in faults)) if faults else None,
    )


def survey(plan: Plan, rounds: int | None = None) -> RunResult:
    async def run() -> RunResult:
        async with Swarm.local(plan) as swarm:
            return await swarm.run(rounds=rounds)

    return asyncio.run(run())


def findings(result: RunResult) -> dict[str, Any]:
    """What a survey says of the library, whoever carried it out."""
    names = ("modules", "lines", "bytes", "failed", "failed_modules", "import_edges", "most_depended_upon")
    return {name: result.results[name] for name in names}


def many_modules(root: Path, count: int) -> Path:
    for number in range(count):
        (root / f"m{number}.py").write_text(
            f"import m{(number * 7 + 1) % count}\n" + "x = 1\n" * (number % 13)
        )
    return root


# --- The survey -----------------------------------------------------------------------------------------------


def test_a_library_is_surveyed(library: Path) -> None:
    result = survey(plan_for(library))
    assert result.quiet
    found = result.results
    assert found["modules"] == len(LIBRARY)
    assert found["bytes"] == sum(map(len, LIBRARY.values()))
    assert found["lines"] == 3 + 3 + 5 + 1 + 2
    assert {row["module"]: row["reason"] for row in found["failed_modules"]} == FAILED
    assert found["failed"] == 2
    assert found["import_edges"] == len(EDGES)
    assert found["modules_imported_by_none"] == 4
    assert found["most_depended_upon"][0][0] == "shop.price"
    assert sum(row["modules"] for row in found["surveyors"]) == len(LIBRARY)
    assert found["announced_again"] == found["reports_ignored"] == 0


def test_ranks_are_those_of_networkx(library: Path) -> None:
    graph = networkx.DiGraph(EDGES)
    graph.add_nodes_from(["latin", "empty"])
    expected = networkx.pagerank(graph, tol=1e-14, max_iter=1000)
    found = survey(plan_for(library)).results
    assert found["pagerank_converged"]
    assert dict(found["most_depended_upon"]) == pytest.approx(expected, rel=1e-9)


def test_ranks_of_a_graph_with_cycles_are_those_of_networkx(tmp_path: Path) -> None:
    result = survey(plan_for(many_modules(tmp_path, 60)))
    edges = [(f"m{number}", f"m{(number * 7 + 1) % 60}") for number in range(60)]
    graph = networkx.DiGraph([edge for edge in edges if edge[0] != edge[1]])
    graph.add_nodes_from(name for name, _ in edges)
    expected = networkx.pagerank(graph, tol=1e-14, max_iter=1000)
    found = dict(result.results["most_depended_upon"])
    assert len(found) == 20
    assert found == pytest.approx({name: expected[name] for name in found}, rel=1e-9)


def test_the_auction_keeps_the_loads_even(tmp_path: Path) -> None:
    found = survey(plan_for(many_modules(tmp_path, 60))).results
    assert 1.0 <= found["makespan_over_lower_bound"] <= 4 / 3
    assert all(row["modules"] > 10 for row in found["surveyors"])


def test_the_same_survey_has_the_same_fingerprint_on_any_number_of_cells(library: Path) -> None:
    late = {"delay": {"uniform": {"low": 1, "high": 8}}, "probability": 0.3, "recipients": "surveyor"}
    for faults in ([], [KILLED], [late]):
        results = [survey(plan_for(library, *faults, cells=cells)) for cells in (1, 2, 4)]
        assert len({result.fingerprint for result in results}) == 1
        assert results[0].results == results[1].results == results[2].results


@pytest.mark.ray
@pytest.mark.slow
def test_the_same_survey_has_the_same_fingerprint_on_ray(library: Path) -> None:
    plan = plan_for(library, KILLED, cells=2)

    async def run() -> RunResult:
        async with Swarm.on_ray(plan, "local", **RAY_OPTIONS) as swarm:
            return await swarm.run()

    assert asyncio.run(run()).fingerprint == survey(plan).fingerprint


def test_half_of_the_lots_are_half_of_the_bytes(tmp_path: Path) -> None:
    result = survey(plan_for(many_modules(tmp_path, 300), lots=20))
    share = {row.now: row.mean for row in result.measures if row.measure == "share_read"}
    # Lot k, from 0, is announced in round 3k + 1 and reported by round 3k + 6; every third round it is recorded.
    assert share[34] == pytest.approx(0.5, abs=0.02)
    assert result.results["survey_rounds"] == 64


# --- Disturbed ------------------------------------------------------------------------------------------------


def test_a_killed_surveyors_tasks_are_awarded_again_and_nothing_is_missing(tmp_path: Path) -> None:
    root = many_modules(tmp_path, 60)
    calm, disturbed = survey(plan_for(root)), survey(plan_for(root, {"crash": "surveyor/1", "at": 8}))
    assert findings(disturbed) == findings(calm)
    rows = {row["surveyor"]: row for row in disturbed.results["surveyors"]}
    assert rows["surveyor/1"]["lost"] > 0
    assert rows["surveyor/1"]["modules"] > 0
    assert disturbed.results["announced_again"] == rows["surveyor/1"]["lost"]
    assert sum(row["modules"] for row in rows.values()) == 60


def test_when_all_surveyors_are_killed_every_task_fails_with_the_reason(library: Path) -> None:
    result = survey(plan_for(library, {"crash": "surveyor", "at": 0}))
    assert result.quiet
    assert result.results["failed"] == len(LIBRARY)
    reasons = {row["reason"] for row in result.results["failed_modules"]}
    assert reasons == {"no surveyor answered: announced 3 times"}
    assert result.results["makespan_over_lower_bound"] == 0.0


@pytest.mark.parametrize(
    "fault",
    [
        {"drop": 0.3, "between": [["auctioneer"], ["surveyor"]]},
        {"duplicate": 0.5, "between": [["auctioneer"], ["surveyor"]]},
        {
            "delay": {"uniform": {"low": 1, "high": 8}},
            "probability": 0.3,
            "between": [["auctioneer"], ["surveyor"]],
        },
    ],
    ids=["lost", "doubled", "late"],
)
def test_messages_lost_doubled_or_late_end_no_task_twice(tmp_path: Path, fault: dict[str, Any]) -> None:
    root = many_modules(tmp_path, 60)
    result = survey(plan_for(root, fault, offers=20))
    assert findings(result) == findings(survey(plan_for(root)))
    assert sum(row["modules"] for row in result.results["surveyors"]) == 60
    troubles = result.results["announced_again"] + result.results["reports_ignored"]
    assert troubles > 0


def test_ranks_do_not_suffer_from_doubled_messages(library: Path) -> None:
    doubled = survey(
        plan_for(library, {"duplicate": 0.5, "between": [["module"], ["module", "cartographer"]]})
    )
    assert doubled.results["most_depended_upon"] == survey(plan_for(library)).results["most_depended_upon"]


def test_a_file_that_vanishes_between_listing_and_reading_is_a_failed_task(library: Path) -> None:
    async def run() -> RunResult:
        async with Swarm.local(plan_for(library)) as swarm:
            await swarm.run(rounds=1)
            (library / "tool.py").unlink()
            return await swarm.run()

    failed = {row["module"]: row["reason"] for row in asyncio.run(run()).results["failed_modules"]}
    assert failed == {**FAILED, "tool": "cannot be read: No such file or directory"}


# --- One surveyor ---------------------------------------------------------------------------------------------


class Collector(Agent):
    """Gives a surveyor one task, and keeps what it says."""

    def __init__(self, act: str, uri: str) -> None:
        self.act = act
        self.uri = uri

    async def on_start(self, context: Context) -> None:
        metadata = {"name": "it", "uri": self.uri, "bytes": 5, "package": False}
        context.send("surveyor", {"act": self.act, "task": to_json(Task("it", "survey", metadata=metadata))})

    async def on_message(self, message: Message, context: Context) -> None:
        context.result("answer", message.data)


def answer_of_a_surveyor(root: Path, act: Act, uri: str) -> dict[str, Any]:
    roles = {"surveyor": Role(Surveyor, parameters={"root": str(root)})}
    collector = Role(Collector, parameters={"act": act.value, "uri": uri})
    answer: dict[str, Any] = survey(Plan(roles={**roles, "auctioneer": collector})).results["answer"]
    return answer


def test_a_surveyor_bids_its_load(tmp_path: Path) -> None:
    assert answer_of_a_surveyor(tmp_path, Act.CALL, "it.py") == {"act": "propose", "load_bytes": 0}


def test_a_surveyor_reports_an_artifact_with_what_the_module_says(tmp_path: Path) -> None:
    (tmp_path / "it.py").write_text('"""It."""\nx = 1\n')
    answer = answer_of_a_surveyor(tmp_path, Act.ACCEPT, "it.py")
    assert answer["state"] == "TASK_STATE_COMPLETED"
    assert answer["artifact"] == {
        "artifactId": "summary",
        "name": "it",
        "description": "It.",
        "parts": [{"data": {"lines": 2, "docstring": "It.", "names": ["x"], "imports": []}}],
    }


def test_what_nobody_foresaw_of_a_file_is_a_failed_task_too(tmp_path: Path) -> None:
    answer = answer_of_a_surveyor(tmp_path, Act.ACCEPT, "%00.py")
    assert answer["state"] == "TASK_STATE_FAILED"
    assert "null" in answer["reason"]


# --- Wrong settings -------------------------------------------------------------------------------------------


def test_a_path_without_python_ends_the_run_with_the_reason(tmp_path: Path) -> None:
    with pytest.raises(HandlerFailed, match="holds no Python"):
        survey(plan_for(tmp_path))


@pytest.mark.parametrize("wrong", [{"lots": 0}, {"offers": 0}, {"period": 2}, {"patience": 1}])
def test_an_auction_that_cannot_work_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ConfigurationError):
        Auctioneer(**wrong)


def test_a_cartographer_whose_ranks_would_not_settle_is_refused() -> None:
    with pytest.raises(ConfigurationError):
        Cartographer(damping=1.0)
