from pathlib import Path

import pytest

from actors.errors import ConfigurationError
from cluster.experiment import Experiment, load_experiment, substituted

GOOD = """\
name: rumour
input: {nodes: 5, deep: {er: 7}}
swarm:
  roles:
    node:
      class: tests.cluster.rumour:Node
      count: 5
      parameters: {nodes: "${input.nodes}"}
  limits: {mailbox_messages: 9}
stop: {rounds: 20}
measures: [heard, {measure: hops, show: maximum}]
send: [{to: node/0, content: {hops: 0}}]
sweep:
  swarm.cells: [1, 2]
repeats: 3
"""


def written(folder: Path, text: str) -> Path:
    file = folder / "x.yaml"
    file.write_text(text)
    return file


def problems(folder: Path, text: str, *settings: str) -> list[str]:
    with pytest.raises(ConfigurationError) as raised:
        load_experiment(written(folder, text), settings)
    return str(raised.value).replace(f"{folder}/", "").splitlines()


def test_an_experiment_reads_back_from_its_configuration(tmp_path: Path) -> None:
    experiment = load_experiment(written(tmp_path, GOOD))
    assert experiment.swarm.limits.mailbox_messages == 9
    assert [section.show for section in experiment.measures] == ["mean", "maximum"]
    assert len(experiment.trials) == 6
    again = Experiment.of(experiment.configuration())
    assert again == experiment
    assert again.hash == experiment.hash


def test_the_hash_covers_all_but_the_description_and_how_it_is_written(tmp_path: Path) -> None:
    plain = load_experiment(written(tmp_path, GOOD))
    assert load_experiment(written(tmp_path, GOOD + "seed: 0\ndescription: a\n")).hash == plain.hash
    assert load_experiment(written(tmp_path, GOOD), ["seed=1"]).hash != plain.hash
    assert load_experiment(written(tmp_path, GOOD), ["input.other=1"]).hash != plain.hash


def test_without_a_name_it_is_called_as_its_file(tmp_path: Path) -> None:
    assert load_experiment(written(tmp_path, GOOD.replace("name: rumour\n", ""))).name == "x"


def test_an_unknown_key_names_the_nearest_with_file_line_and_column(tmp_path: Path) -> None:
    assert problems(tmp_path, GOOD.replace("count: 5", "cuont: 5")) == [
        "x.yaml:7:7: swarm.roles.node.cuont: unknown key; did you mean 'count'?"
    ]


def test_everything_wrong_is_told_at_once(tmp_path: Path) -> None:
    text = """\
swarm:
  roles:
    node: {class: "tests.cluster.rumour:Nodd", count: -1}
    other: {class: "tests.cluster.rumuor:Node", parameters: 3}
    third: {class: "tests.cluster.rumour:NOT_AN_AGENT", count: "3"}
    fourth: {class: "tests.cluster.rumour:Node", parameters: {node: 4}}
    fifth: {count: 2.5}
    a/b: {class: nonsense}
  schedule: round
  cells: 0
  limits: {packet_byte: 3, restarts: -1}
  journal: {sync: never}
faults: [{drp: 0.1}, {drop: 2}]
stop: {when: [{measure: a}, {measure: b, below: x}]}
budget: {mesages: 3}
setup: tests.cluster.rumour:as_many
repeats: true
stopp: {}
"""
    told = "\n".join(problems(tmp_path, text))
    for line in (
        "x.yaml:3:19: swarm.roles.node.class: module tests.cluster.rumour has no 'Nodd'; did you mean 'Node'?",
        "x.yaml:3:55: swarm.roles.node.count: must be greater than or equal to 0, got -1",
        "x.yaml:4:20: swarm.roles.other.class: there is no module tests.cluster.rumuor;"
        " did you mean 'tests.cluster.rumour'?",
        "x.yaml:4:61: swarm.roles.other.parameters: must be a mapping of keys to values, got 3",
        "x.yaml:5:20: swarm.roles.third.class: tests.cluster.rumour:NOT_AN_AGENT is not a class that extends Agent",
        "x.yaml:5:64: swarm.roles.third.count: must be a valid integer, got '3'",
        "x.yaml:6:63: swarm.roles.fourth.parameters.node: unknown parameter; did you mean 'nodes'?",
        "x.yaml:7:5: swarm.roles.fifth.class: is missing",
        "x.yaml:8:5: swarm.roles.a/b: 'a/b' is not a name",
        "x.yaml:8:18: swarm.roles.a/b.class: 'nonsense' is not module:name",
        "x.yaml:9:13: swarm.schedule: must be 'rounds' or 'free', got 'round'",
        "x.yaml:10:10: swarm.cells: must be greater than or equal to 1, got 0",
        "x.yaml:11:12: swarm.limits.packet_byte: unknown key; did you mean 'packet_bytes'?",
        "x.yaml:12:19: swarm.journal.sync: must be 'process' or 'disk', got 'never'",
        "x.yaml:13:10: faults.0: ",
        "x.yaml:14:15: stop.when.0: give either 'below' or 'above'",
        "x.yaml:14:49: stop.when.1.below: must be a valid number, got 'x'",
        "x.yaml:15:10: budget.mesages: unknown key; did you mean 'messages'?",
        "x.yaml:16:8: setup: module tests.cluster.rumour has no 'as_many'; did you mean 'as_many_as_input'?",
        "x.yaml:17:10: repeats: must be a valid integer, got True",
        "x.yaml:18:1: stopp: unknown key; did you mean 'stop'?",
    ):
        assert line in told


def test_limits_must_be_positive(tmp_path: Path) -> None:
    assert problems(tmp_path, GOOD, "swarm.limits={restarts: -1, ask_timeout_s: 0}") == [
        "--set swarm.limits={restarts: -1, ask_timeout_s: 0}: swarm.limits.ask_timeout_s: must be above 0, got 0",
        "--set swarm.limits={restarts: -1, ask_timeout_s: 0}: swarm.limits.restarts: must be at least 0, got -1",
    ]


@pytest.mark.parametrize("text", ["", "[]", "5", "swarm", "null"])
def test_a_file_without_a_mapping_is_refused(tmp_path: Path, text: str) -> None:
    assert "an experiment is a mapping of keys to values" in problems(tmp_path, text)[0]


def test_a_message_to_nobody_is_refused(tmp_path: Path) -> None:
    assert problems(tmp_path, GOOD.replace("to: node/0", "to: nodes/0")) == [
        "x.yaml:12:13: send.0.to: there is no role 'nodes'; did you mean 'node'?"
    ]


def test_rounds_cannot_end_a_free_run(tmp_path: Path) -> None:
    assert problems(tmp_path, GOOD, "swarm.schedule=free") == [
        "x.yaml:10:16: stop.rounds: the schedule 'free' has no rounds. Give stop.seconds"
    ]


def test_a_setting_is_told_as_it_was_given(tmp_path: Path) -> None:
    assert problems(tmp_path, GOOD, "swarm.cels=2") == [
        "--set swarm.cels=2: swarm.cels: unknown key; did you mean 'cells'?"
    ]
    assert problems(tmp_path, GOOD, "swarm.roles.nod.count=2") == [
        "--set swarm.roles.nod.count=2: swarm.roles.nod: unknown role; did you mean 'node'?"
    ]


def test_settings_reach_everything(tmp_path: Path) -> None:
    settings = ["swarm.roles.node.count=8", "on=ray", "swarm.journal=false", "send.0.to=node/7", "sweep={}"]
    experiment = load_experiment(written(tmp_path, GOOD), settings)
    assert experiment.swarm.roles["node"].count == 8
    assert experiment.on == "ray"
    assert experiment.swarm.journal is None
    assert Experiment.of(experiment.configuration()).swarm.journal is None
    assert experiment.send[0].to == "node/7"
    assert len(experiment.trials) == 3


def test_every_arm_of_a_sweep_is_checked_before_the_first_runs(tmp_path: Path) -> None:
    assert problems(tmp_path, GOOD.replace("[1, 2]", "[1, 0]")) == [
        "x.yaml:14:20: sweep.swarm\\.cells.1: makes an experiment in which "
        "swarm.cells: must be greater than or equal to 1, got 0"
    ]
    assert problems(tmp_path, GOOD.replace("swarm.cells:", "swarm.cels:")) == [
        f"x.yaml:14:{column}: sweep.swarm\\.cels.{item}: makes an experiment in which "
        "swarm.cels: unknown key; did you mean 'cells'?"
        for item, column in ((0, 16), (1, 19))
    ]
    assert problems(tmp_path, GOOD.replace("swarm.cells:", "seed:")) == [
        "x.yaml:14:3: sweep.seed: 'seed' cannot be swept"
    ]


def test_a_sweep_has_a_limit(tmp_path: Path) -> None:
    assert problems(tmp_path, GOOD, "repeats=100000") == [
        "x.yaml:13:1: sweep: 200000 trials are over the limit of 10000"
    ]


def test_a_trial_is_an_experiment_with_its_arm_and_seed(tmp_path: Path) -> None:
    experiment = load_experiment(written(tmp_path, GOOD))
    trial = experiment.trials[4]
    own = experiment.of_trial(trial)
    assert own.swarm.cells == 2
    assert own.seed == trial.seed == experiment.trials[1].seed
    assert own.sweep == {}
    assert own.repeats == 1


def test_parameters_may_refer_to_the_input(tmp_path: Path) -> None:
    assert substituted({"a": ["${input.deep.er}", "x${input}"]}, {"deep": {"er": 7}}) == {
        "a": [7, "x${input}"]
    }
    assert substituted("${input}", [1]) == [1]
    assert problems(tmp_path, GOOD, "swarm.roles.node.parameters.nodes=${input.deep.err}") == [
        "--set swarm.roles.node.parameters.nodes=${input.deep.err}: swarm.roles.node.parameters.nodes: "
        "${input.deep.err}: the input has no 'err'; did you mean 'er'?"
    ]
