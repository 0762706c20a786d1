"""A run with a language model: the same on any number of cells, after a crash, on Ray; in budget; replayed, forked."""

import json
import os
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from typer.testing import CliRunner, Result

from actors.errors import ConfigurationError
from actors.ray_session import ray_session
from cluster.call_log import FILE as CALLS
from cluster.cli import app
from cluster.cost import RoleCost, costs_in
from cluster.experiment import load_experiment
from cluster.results import State, find_run
from cluster.runner import Request, Summary, run_experiment
from tests.actors.ray_here import RAY_OPTIONS
from tests.cluster.test_runner import Listener

ROOT = Path(__file__).resolve().parents[2]
FILE = Path(__file__).parent / "asking.yaml"
SCRIPT = FILE.with_name("asking_script.yaml")
ASKER = "tests.cluster.model_cast:Asker"
ON_RAY = ("on=ray", "swarm.cells=2", "swarm.limits.dedicated_agents=0")


def ran(results: Path, *settings: str, file: Path = FILE, listener: Listener | None = None) -> Summary:
    request = Request(load_experiment(file, settings), str(file), settings, results)
    return run_experiment(request, listener or Listener())


def invoke(*words: str | Path) -> Result:
    return CliRunner().invoke(app, [str(word) for word in words])


def log_of(summary: Summary, trial: int = 0) -> dict[str, RoleCost]:
    return costs_in(summary.folder.trial(trial).path / CALLS)


@pytest.fixture(scope="module")
def calm(tmp_path_factory: pytest.TempPathFactory) -> Summary:
    """Eight agents, three calls each, in one cell."""
    return ran(tmp_path_factory.mktemp("calm"))


def test_a_run_says_which_model_answered_and_what_it_cost(calm: Summary) -> None:
    assert calm.state == State.DONE
    told = calm.folder.manifest["models"]["scripted:asking_script.yaml"]
    assert told["identity"].startswith("scripted:numbers@0-")
    assert told["price_known"] is False
    assert told["plan"]["model"].startswith("scripted:/")
    cost = calm.results[0]["model_cost"]
    assert [cost[role]["asked"] for role in ("asker", "other")] == [12, 12]
    assert cost["asker"]["completion_tokens"] == 24
    assert cost["asker"]["money_usd"] is None
    assert calm.measures["model_calls"] == 24
    table = pl.read_parquet(calm.folder.path / "metrics.parquet")
    measures = set(table["measure"].unique())
    assert {"model_tokens", "model_tokens_asker", "model_cached_tokens_other", "model_queue_s"} <= measures
    assert "model_money_usd" not in measures
    assert table.filter(pl.col("measure") == "model_queue_s")["count"].to_list() == [24]


@pytest.mark.parametrize("cells", [2, 4])
def test_cells_change_neither_the_fingerprint_nor_the_calls(
    cells: int, calm: Summary, tmp_path: Path
) -> None:
    other = ran(tmp_path, f"swarm.cells={cells}")
    assert other.fingerprint == calm.fingerprint
    assert (other.folder.path / "completions.jsonl").stat().st_size > 1000
    for role, cost in log_of(calm).items():
        assert (cost.asked, cost.tokens) == (log_of(other)[role].asked, log_of(other)[role].tokens)


def test_in_the_free_schedule_too_every_call_is_asked_once(tmp_path: Path) -> None:
    summary = ran(tmp_path, "swarm.schedule=free", "swarm.cells=2")
    assert summary.state == State.DONE, summary.errors
    assert [cost.asked for cost in log_of(summary).values()] == [12, 12]
    assert invoke("replay", "last", "--results", tmp_path).exit_code == 0


def test_a_cell_that_is_killed_asks_nothing_again(calm: Summary, tmp_path: Path) -> None:
    killed = ran(tmp_path, "swarm.cells=2", "faults=[{cell_crash: 1, at: 3}, {cell_crash: 0, at: 5}]")
    assert len(killed.results[0]["recoveries"]) == 2
    assert killed.fingerprint == calm.fingerprint
    assert [cost.asked for cost in log_of(killed).values()] == [12, 12]


@pytest.mark.ray
@pytest.mark.slow
def test_on_ray_with_a_killed_cell_it_is_the_same_run_and_each_call_is_asked_once(
    calm: Summary, tmp_path: Path
) -> None:
    with ray_session("local", RAY_OPTIONS):
        other = ran(tmp_path, *ON_RAY, "faults=[{cell_crash: 1, at: 3}]", "repeats=2")
        budget = ran(tmp_path, *ON_RAY, "budget.tokens=150")
    assert other.state == State.DONE, other.errors
    assert other.results[0]["recoveries"]
    assert other.results[0]["fingerprint"] == calm.fingerprint
    for trial in (0, 1):
        assert [cost.asked for cost in log_of(other, trial).values()] == [12, 12]
    assert budget.results[0]["ended"] == "budget.tokens"
    assert sum(cost.charged_tokens for cost in log_of(budget).values()) == spent_locally(
        tmp_path / "local", 150
    )
    # What ran on Ray is replayed here, without it.
    assert invoke("replay", other.folder.path, "--results", tmp_path).exit_code == 0


def spent_locally(folder: Path, tokens: int) -> int:
    return sum(cost.charged_tokens for cost in log_of(ran(folder, f"budget.tokens={tokens}")).values())


def test_a_run_that_was_killed_goes_on_and_pays_nothing_twice(calm: Summary, tmp_path: Path) -> None:
    words = ("run", FILE, "--json", "--set", "swarm.cells=2", "--results", tmp_path)
    told = {**os.environ, "RUMOUR_SIGNAL": "SIGKILL", "RUMOUR_MARK": str(tmp_path / "mark")}
    broken = command(*words, environment=told)
    assert broken.returncode == -signal.SIGKILL
    folder = next(tmp_path.glob("asking/*/trials/000"))
    before = costs_in(folder / CALLS)
    assert 0 < sum(cost.asked for cost in before.values()) < 24
    resumed = command(*words)
    assert resumed.returncode == 0, resumed.stderr
    assert json.loads(resumed.stdout.splitlines()[-1])["fingerprint"] == calm.fingerprint
    after = costs_in(folder / CALLS)
    assert sum(cost.answered for cost in after.values()) == 24
    lost = sum(cost.errors.get("lost", 0) for cost in after.values())
    assert sum(cost.asked for cost in after.values()) == 24 + lost


def command(
    *words: str | Path, environment: dict[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "cluster.cli", *map(str, words)],
        cwd=ROOT, env=environment, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip


def test_a_trial_that_failed_and_begins_anew_has_the_answers_that_it_paid_for(
    calm: Summary, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mark = tmp_path / "mended"
    monkeypatch.setenv("FRAGILE_MARK", str(mark))
    settings = ("swarm.on_error=stop", f"swarm.roles.asker.class={ASKER.replace('Asker', 'Fragile')}")
    failed = ran(tmp_path / "results", *settings)
    assert failed.state == State.FAILED
    paid = {role: cost.asked for role, cost in log_of(failed).items()}
    assert 0 < sum(paid.values()) < 24
    mark.touch()
    mended = ran(tmp_path / "results", *settings)
    assert mended.state == State.DONE, mended.errors
    assert mended.fingerprint == calm.fingerprint
    assert [cost.asked for cost in log_of(mended).values()] == [12, 12]
    assert sum(cost.again for cost in log_of(mended).values()) == sum(paid.values())


# --- Budgets ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("schedule", ["rounds", "free"])
def test_a_budget_is_exact_with_one_cell_and_with_two(schedule: str, calm: Summary, tmp_path: Path) -> None:
    """Each call may use 30 tokens and uses 17: the last that fits leaves less than 30."""
    spent = []
    for cells in (1, 2):
        settings = (f"swarm.cells={cells}", f"swarm.schedule={schedule}", "budget.tokens=150")
        summary = ran(tmp_path, *settings)
        assert summary.results[0]["ended"] == "budget.tokens"
        assert summary.state == State.DONE
        costs = log_of(summary).values()
        spent.append(sum(cost.charged_tokens for cost in costs))
        assert sum(cost.errors["budget exceeded"] for cost in costs if cost.errors) > 0
    whole = sum(cost.tokens for cost in log_of(calm).values())
    one = whole // 24
    assert spent[0] == spent[1]
    assert 150 - one - 14 < spent[0] <= 150


def test_a_trial_that_stops_at_errors_is_ended_by_its_budget_and_has_not_failed(tmp_path: Path) -> None:
    careless = 'swarm.roles={asker: {class: "tests.cluster.model_cast:Careless", count: 3}}'
    summary = ran(tmp_path, careless, "budget.tokens=5000", "swarm.on_error=stop")
    assert summary.state == State.DONE, summary.errors
    assert summary.results[0]["ended"] == "budget.tokens"


def test_a_role_or_an_agent_that_has_spent_its_own_is_refused_and_the_others_go_on(tmp_path: Path) -> None:
    summary = ran(tmp_path, "budget.roles.other.tokens=60", "budget.agents={asker/0: {tokens: 0}}")
    assert summary.results[0]["ended"] == "quiet"
    costs = log_of(summary)
    assert costs["other"].charged_tokens <= 60
    assert costs["other"].errors["budget exceeded"] > 0
    assert (costs["asker"].asked, costs["asker"].errors) == (9, {"budget exceeded": 1})


def test_what_was_spent_is_not_forgotten_when_a_trial_goes_on(tmp_path: Path) -> None:
    words = ("run", FILE, "--json", "--set", "budget.tokens=390", "--results", tmp_path)
    told = {**os.environ, "RUMOUR_SIGNAL": "SIGKILL", "RUMOUR_MARK": str(tmp_path / "mark")}
    assert command(*words, environment=told).returncode == -signal.SIGKILL
    assert command(*words).returncode == 0
    folder = next(tmp_path.glob("asking/*/trials/000"))
    spent = sum(cost.charged_tokens for cost in costs_in(folder / CALLS).values())
    assert 300 < spent <= 390
    assert json.loads((folder / "result.json").read_text())["ended"] == "budget.tokens"


def test_money_is_budgeted_where_the_price_is_known(tmp_path: Path) -> None:
    price = "model.price={prompt_usd: 0, completion_usd: 500000}"
    summary = ran(tmp_path, price, "budget.money_usd=20")
    assert summary.results[0]["ended"] == "budget.money_usd"
    assert sum(cost.money_usd or 0 for cost in log_of(summary).values()) == pytest.approx(13, abs=1)
    free = ran(tmp_path, "model.price=free", "budget.money_usd=0")
    assert free.results[0]["ended"] == "quiet"
    assert free.measures["model_money_usd"] == 0


# --- Again -----------------------------------------------------------------------------------------------------


def test_a_replay_needs_neither_the_script_nor_the_recording(tmp_path: Path) -> None:
    shutil.copy(FILE, tmp_path)
    shutil.copy(SCRIPT, tmp_path)
    summary = ran(tmp_path / "results", "swarm.cells=2", file=tmp_path / FILE.name)
    (tmp_path / SCRIPT.name).unlink()
    for name in ("completions.jsonl", "calls.jsonl"):
        for file in (tmp_path / "results").rglob(name):
            file.unlink()
    result = invoke("replay", "last", "--results", tmp_path / "results")
    assert result.exit_code == 0, result.output
    assert "the same fingerprint" in result.output
    assert invoke("replay", "last", "--agent", "asker/1", "--results", tmp_path / "results").exit_code == 0
    assert summary.folder.path.exists()


def test_a_run_is_the_model_of_another_and_the_same_questions_have_the_same_answers(
    calm: Summary, tmp_path: Path
) -> None:
    results = calm.folder.path.parents[1]
    by_path = ran(tmp_path, f"model=replay:{calm.folder.path}")
    assert by_path.fingerprint == calm.fingerprint
    assert by_path.measures["model_tokens"] == calm.measures["model_tokens"]
    by_name = ran(results, f"model=replay:{calm.folder.path.name}")
    assert by_name.fingerprint == calm.fingerprint
    other = ran(tmp_path, f"model=replay:{calm.folder.path}", "seed=5")
    assert "has no answer" in str(other.results[0]["results"]["asker/0"])


def test_a_fork_is_another_future_and_pays_only_for_what_its_run_had_not_asked(tmp_path: Path) -> None:
    summary = ran(tmp_path)
    words = ("fork", summary.folder.path, "--at", "asker/1#6", "--results", tmp_path)
    assert invoke(*words).exit_code == 0
    same = find_run("last", tmp_path)
    assert sum(cost.asked for cost in costs_in(same.trial(0).path / CALLS).values()) == 0
    assert same.trial(0).result["fingerprint"] == summary.fingerprint  # type: ignore[index]  # it is done
    result = invoke(*words, "--set", "seed=99")
    assert result.exit_code == 0, result.output
    other = find_run("last", tmp_path)
    assert sum(cost.asked for cost in costs_in(other.trial(0).path / CALLS).values()) > 0
    assert other.trial(0).result["fingerprint"] != summary.fingerprint  # type: ignore[index]  # it is done
    assert invoke("replay", other.path, "--results", tmp_path).exit_code == 0


def test_a_run_that_spent_its_budget_goes_on_in_a_fork_with_a_larger_one(tmp_path: Path) -> None:
    summary = ran(tmp_path, "budget.tokens=150")
    assert summary.results[0]["ended"] == "budget.tokens"
    words = ("fork", summary.folder.path, "--at", "other/3#2", "--results", tmp_path)
    assert invoke(*words, "--set", "budget.tokens=100000").exit_code == 0
    result = find_run("last", tmp_path).trial(0).result
    assert result is not None
    assert result["ended"] == "quiet"


def test_a_model_is_a_factor_of_a_sweep_and_its_answers_are_recorded_by_model(tmp_path: Path) -> None:
    other = tmp_path / "other.yaml"
    other.write_text("rules: [{pattern: '', answers: nine}]")
    sweep = f"sweep={{model: ['scripted:asking_script.yaml', 'scripted:{other}']}}"
    summary = ran(tmp_path, sweep, "repeats=2")
    assert summary.state == State.DONE, summary.errors
    assert len(summary.folder.manifest["models"]) == 2
    said = [set(result["results"].values()) for result in summary.results]
    assert said[2] == said[3] == {"nine"}
    assert "nine" not in said[0]
    result = invoke("run", FILE, "--model", f"replay:{summary.folder.path}", "--results", tmp_path)
    assert result.exit_code == 2
    assert "2 models" in result.output


def test_an_answer_that_several_trials_had_is_joined_once(tmp_path: Path) -> None:
    greedy = [f"swarm.roles.{role}.parameters={{greedy: true}}" for role in ("asker", "other")]
    summary = ran(tmp_path, *greedy, "repeats=2")
    asked = sum(cost.asked for cost in log_of(summary).values())
    assert asked < 24
    assert sum(cost.asked + cost.again for cost in log_of(summary).values()) == 24
    lines = (summary.folder.path / "completions.jsonl").read_text().splitlines()
    assert len(lines) == 1 + asked


def test_a_model_that_has_changed_since_is_told(tmp_path: Path) -> None:
    shutil.copy(FILE, tmp_path)
    shutil.copy(SCRIPT, tmp_path)
    first = ran(tmp_path / "results", file=tmp_path / FILE.name)
    (first.folder.trial(0).path / "result.json").unlink()
    (tmp_path / SCRIPT.name).write_text("{name: numbers, rules: [{pattern: '', answers: nine}]}")
    listener = Listener()
    ran(tmp_path / "results", file=tmp_path / FILE.name, listener=listener)
    assert any("has changed since this run began" in note for note in listener.notes)


# --- What is wrong ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("settings", "why"),
    [
        (["model=gpt:x"], "model.name: .*of no known provider"),
        (["model=''"], "model.name: .*of no known provider"),
        (["model=7"], "model: must be a mapping of keys to values, got 7"),
        (["model=openai:http://localhost/v1"], "model.name: .*add #NAME"),
        (["model.nam=x"], "model.nam: unknown key; did you mean 'name'"),
        (["model.replicas=0"], "model.replicas"),
        (["model.limits={running: 3}"], "model.limits.running: unknown key; did you mean 'running_requests'"),
        (["model.limits.running_requests=0"], "running_requests is 0"),
        (["model.limits.running_requests=many"], "model.limits.running_requests: must be a number"),
        (["model.rate={requests_per_minute: -1}"], "requests_per_minute is -1"),
        (["model.price={prompt_usd: 1}"], "model.price: .*completion_usd"),
        (["model.price=cheap"], "model.price"),
        (["model.mode=fill"], "model.mode: says how a recording is used"),
        (["model.key=sk-secret"], "model.key: .*named by its source"),
        (["model=openai:http://me:sk-secret@host/v1#m"], "model.name: .*holds no user, password"),
        (["model.vllm={dtype: float32}"], "model.vllm: "),
        (["model=scripted:nowhere.yaml"], "there is no nowhere.yaml"),
        (["model=replay:nowhere"], "there is no nowhere"),
        (["model=vllm:nowhere:made"], "nowhere"),
        (["budget.tokens=-1"], "budget.tokens"),
        (["budget.money_usd=1"], "budget.money_usd: the price of scripted:asking_script.yaml is not known"),
        (["budget.roles.nobody.tokens=1"], "budget.roles.nobody: there is no role 'nobody'"),
        (["budget.agents={nobody/1: {tokens: 1}}"], "there is no role 'nobody'"),
        (["model=false", "budget.each_agent.tokens=1"], "budget.each_agent.tokens: is spent on a model"),
        (["sweep={model.replicas: [1, 0]}"], "model.replicas"),
    ],
)
def test_a_wrong_model_or_budget_is_told_with_its_key_before_anything_is_written(
    settings: list[str], why: str, tmp_path: Path
) -> None:
    with pytest.raises(ConfigurationError, match=why) as told:
        ran(tmp_path / "results", *settings)
    assert "sk-secret" not in str(told.value)
    assert not (tmp_path / "results").exists()


def test_a_script_that_is_none_and_a_key_that_is_not_there_are_told_before_the_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("NO_SUCH_KEY", raising=False)
    (tmp_path / "bad.yaml").write_text("rules: 3")
    for settings, why in (
        ([f"model=scripted:{tmp_path / 'bad.yaml'}"], "rules"),
        (["model={name: 'openai:http://127.0.0.1:9/v1#m', key: 'env:NO_SUCH_KEY'}"], "NO_SUCH_KEY is empty"),
        (["model=openai:http://127.0.0.1:9/v1#m"], "nobody listens at 127.0.0.1:9"),
    ):
        with pytest.raises(ConfigurationError, match=why):
            ran(tmp_path / "results", *settings)
    assert not (tmp_path / "results").exists()


def test_an_agent_without_a_model_is_told_so(tmp_path: Path) -> None:
    summary = ran(tmp_path, "model=false")
    assert "has no llm" in summary.results[0]["failures"][0]["error"]


# --- The key ---------------------------------------------------------------------------------------------------

KEY = "sk-5d1e7c0f9b2a4836"


class _Endpoint(BaseHTTPRequestHandler):
    """Answers as OpenAI does, and says the key that it was given wherever it can."""

    def do_POST(self) -> None:
        length = int(self.headers["content-length"])
        asked = json.loads(self.rfile.read(length))
        given = self.headers["authorization"]
        refuse = "asker/2" in asked["messages"][-1]["content"]
        body: dict[str, Any] = {"error": {"message": f"your key {given} is not good for this", "type": "bad"}}
        if not refuse:
            message = {"role": "assistant", "content": f"I was given {given}."}
            choice = {"index": 0, "finish_reason": "stop", "message": message}
            usage = {"prompt_tokens": 5, "completion_tokens": 5, "total_tokens": 10}
            body = {"id": "1", "object": "chat.completion", "created": 1, "model": f"m {given}"}
            body |= {"choices": [choice], "usage": usage}
        data = json.dumps(body).encode()
        self.send_response(400 if refuse else 200)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, format: str, *args: Any) -> None: ...  # the base class calls it so


@pytest.fixture
def endpoint() -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Endpoint)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"openai:http://127.0.0.1:{server.server_port}/v1#m"
    server.shutdown()
    thread.join()
    server.server_close()


def test_no_key_is_in_any_file_of_a_run_nor_in_what_is_printed(
    endpoint: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("SEAT_KEY", KEY)
    words = ["--model", endpoint, "--set", "model.key=env:SEAT_KEY", "--set", "swarm.traffic_sample=1"]
    result = invoke("run", FILE, *words, "--results", tmp_path)
    assert result.exit_code == 0, result.output
    folder = find_run("last", tmp_path)
    results = folder.trial(0).result
    assert results is not None
    assert results["results"]["asker/0 heard"] == "I was given Bearer [key]."
    assert "[key]" in results["results"]["asker/2"]
    shown = invoke("show", "last", "--json", "--results", tmp_path)
    assert "SEAT_KEY" in shown.output
    assert KEY not in result.output + shown.output + caplog.text
    files = [file for file in tmp_path.rglob("*") if file.is_file()]
    assert len(files) > 10
    assert not [file for file in files if KEY.encode() in file.read_bytes()]
    tables = [pl.read_parquet(file) for file in files if file.suffix == ".parquet"]
    assert not any(KEY in str(table.rows()) for table in tables)
