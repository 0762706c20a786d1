"""The documents tell all that there is: every key, setting, limit, context call and command, and examples that load."""

import dataclasses
import re
from pathlib import Path

import pytest
import yaml
from pydantic import BaseModel

from actors import Agent, Context, JournalSettings, Limits, RunResult
from actors import errors as errors_module
from actors.entry import AnyEntry
from actors.errors import SwarmError
from actors.faults import fault_from
from cluster import experiment as sections
from cluster.cli import app
from cluster.experiment import Experiment, load_experiment

ROOT = Path(__file__).resolve().parents[1]
SHELL_WORDS = re.compile(r"^(?:\$ )?rayswarm (\w+)", re.M)


def document(name: str) -> str:
    return (ROOT / name).read_text()


def yaml_blocks(text: str) -> list[str]:
    return re.findall(r"^```yaml\n(.*?)^```$", text, re.M | re.S)


def missing(names: list[str], text: str) -> list[str]:
    """The names that stand nowhere in a text as words of code."""
    return [name for name in names if not re.search(rf"`[^`\n]*\b{re.escape(name)}\b[^`\n]*`", text)]


def test_every_key_of_an_experiment_is_explained() -> None:
    keys = [
        field.alias or name
        for section in vars(sections).values()
        if isinstance(section, type)
        and issubclass(section, BaseModel)
        and not section.__name__.startswith("_")
        for name, field in section.model_fields.items()
    ]
    assert missing(keys, document("docs/experiments.md")) == []


def test_every_setting_of_the_journal_is_explained() -> None:
    names = [field.name for field in dataclasses.fields(JournalSettings)]
    assert missing([name for name in names if name != "directory"], document("docs/journal.md")) == []


def test_every_entry_of_the_journal_is_explained() -> None:
    assert missing([entry.__name__ for entry in AnyEntry.__args__], document("docs/journal.md")) == []


def test_every_limit_is_explained_with_its_default() -> None:
    text = document("docs/agents.md")
    for field in dataclasses.fields(Limits):
        default = "none" if field.default is None else f"{int(field.default):,}"
        assert re.search(rf"^\| `{field.name}` \| {default} \|", text, re.M), field.name


@pytest.mark.parametrize("told", [Agent, Context, RunResult], ids=lambda told: told.__name__)
def test_all_that_an_agent_and_a_user_can_do_is_explained(told: type) -> None:
    unsaid = {"finish", "card"}  # the cell's own; told with `find`
    names = [name for name in vars(told) if not name.startswith("_")]
    assert missing(sorted(set(names) - unsaid), document("docs/agents.md")) == []


def test_every_public_error_is_explained() -> None:
    public = [
        error.__name__
        for error in vars(errors_module).values()
        if isinstance(error, type) and issubclass(error, SwarmError)
    ]
    assert missing(public, document("docs/agents.md")) == []


def test_every_command_is_shown() -> None:
    names = [
        command.name or command.callback.__name__ for command in app.registered_commands if command.callback
    ]
    groups = [group.name for group in app.registered_groups]
    pages = [document("README.md"), *(path.read_text() for path in sorted((ROOT / "docs").glob("*.md")))]
    blocks = [
        block for page in pages for block in re.findall(r"^```(?:sh|text)\n(.*?)^```", page, re.M | re.S)
    ]
    assert {*names, *groups} == set(SHELL_WORDS.findall("\n".join(blocks)))


def test_the_readmes_experiment_is_the_one_on_disk() -> None:
    shown = yaml_blocks(document("README.md"))[0]
    assert yaml.safe_load(shown) == yaml.safe_load((ROOT / "experiments" / "rumour.yaml").read_text())


def test_the_guides_example_is_an_experiment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "my_agents.py").write_text(
        "from actors import Agent\n"
        "class Bidder(Agent): ...\n"
        "class Auctioneer(Agent):\n"
        "    def __init__(self, goods): ...\n"
        "def roles_for(experiment): return {}\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    file = tmp_path / "auction.yaml"
    file.write_text(yaml_blocks(document("docs/experiments.md"))[0])
    experiment = load_experiment(file)
    assert len(experiment.trials) == 30
    assert set(Experiment.model_fields) <= set(experiment.model_fields_set)


def test_the_guides_faults_are_faults() -> None:
    for fault in yaml.safe_load(yaml_blocks(document("docs/experiments.md"))[1])["faults"]:
        fault_from(fault)
