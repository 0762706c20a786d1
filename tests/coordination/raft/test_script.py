"""Scripts print what they say, tell where they mean nothing, and are rewritten in place."""

from pathlib import Path

import pytest
from typer.testing import CliRunner

from cluster.raft_cli import app
from coordination.raft.script import play
from coordination.raft.transcript import MalformedScript, parse_directive, parse_script, rewritten

SCRIPTS = sorted((Path(__file__).parent / "scripts").glob("*.txt"))


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: path.stem)
def test_a_script_prints_what_it_says(path: Path) -> None:
    blocks, outputs = play(path.read_text(), path.name)
    for block, output in zip(blocks, outputs, strict=True):
        assert output == block.expected, f"{path.name}:{block.line}"


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: path.stem)
def test_a_script_that_agrees_is_not_changed_by_rewriting(path: Path) -> None:
    text = path.read_text()
    assert rewritten(text, *play(text, path.name)) == text


def test_there_is_a_script_for_each_part_of_raft() -> None:
    parts = {path.stem for path in SCRIPTS}
    assert parts >= {
        "campaign",
        "propose",
        "lost_entry",
        "conflict",
        "membership_simple",
        "membership_joint_auto",
        "membership_joint_explicit",
        "snapshot",
        "learner",
        "transfer",
        "pre_vote",
        "check_quorum",
        "slow_follower",
        "report_unreachable",
        "example",
        "quorum_cases",
    }


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("dance 1\n----\nok\n", "x:1: there is no command `dance`"),
        ("# so\n\ncampaign 1\n----\n", "x:3: there is no node 1"),
        ("add-nodes 1\n", "x:1: `add-nodes` has no line `----`"),
        ("add-nodes\n----\n", "x:1: `add-nodes` needs how many"),
        ("add-nodes 1 colour=red\n----\n", "knows no 'colour'"),
        ("add-nodes 1 prevote=maybe\n----\n", "prevote=maybe is neither true nor false"),
        ("add-nodes 1 voters=(x) index=3\n----\n", "voters=x is no whole number"),
        ("add-nodes 100000\n----\n", "a script may have 1000 nodes"),
        ("add-nodes 1\n----\n\npropose 1\n----\n", "x:4: `propose` takes a node and one word"),
        ("add-nodes 1\n----\n\npropose-conf-change 1\nx9\n----\n", "'x9' is no change"),
        ("add-nodes 2\n----\n\ndeliver-msgs 1 drop=(1)\n----\n", "can't both deliver and drop"),
        ("add-nodes 2\n----\n\ndeliver-msgs 1 type=MsgNone\n----\n", "no message type MsgNone"),
        ("transfer-leadership from=1\n----\n", "needs from=a and to=b"),
        ("add-nodes 1 index=(1\n----\n", "close the parenthesis"),
        ("add-nodes 1 index=()\n----\n", "index has no value"),
        ("status 1\n----\n----\nnever ends\n", "begins with a doubled"),
        ("=3\n----\n", "x:1: cannot read"),
        ("committed cfg=(1,2) idx=(5)\n----\n", "1 values for 2 voters"),
        ("vote cfg=(1) votes=(x)\n----\n", "x is no vote"),
    ],
)
def test_what_means_nothing_is_told_with_its_line(text: str, fault: str) -> None:
    with pytest.raises(MalformedScript) as found:
        play(text, "x")
    assert fault in str(found.value)


def test_what_a_replica_refuses_is_output() -> None:
    text = "add-nodes 1 voters=(1)\n----\n\nlog-level loud\n----\n\nadd-nodes 1\n----\n\ncompact 1 5\n----\n"
    _, outputs = play(text, "x")
    assert outputs[0] == "index must be specified as > 1 due to bootstrap\n"
    assert outputs[1] == "log levels must be either of [DEBUG INFO WARN ERROR FATAL NONE]\n"
    assert "out of bound" in outputs[3]


def test_errors_are_shown_even_if_all_is_quiet() -> None:
    _, outputs = play("log-level none\n----\n\nadd-nodes 1\n----\n\npropose 1 x\n----\n", "x")
    assert outputs == ["ok\n", "ok\n", "raft proposal dropped\n"]


def test_arguments_are_words_and_values() -> None:
    command, arguments = parse_directive("add-nodes 3 voters=(1, 2,3) index=10 content=a")
    assert command == "add-nodes"
    assert [(one.key, one.values) for one in arguments] == [
        ("3", ()),
        ("voters", ("1", "2", "3")),
        ("index", ("10",)),
        ("content", ("a",)),
    ]


def test_output_with_empty_lines_stands_between_doubled_lines() -> None:
    text = "one\n----\n----\na\n\nb\n----\n----\n\ntwo \\\n  more\ninput\n----\nc\n"
    first, second = parse_script(text, "x")
    assert first.expected == "a\n\nb\n"
    assert (second.command, second.words, second.input, second.expected) == (
        "two",
        ("more",),
        ("input",),
        "c\n",
    )
    assert rewritten(text, [first, second], ["a\n\nb\n", "c\n"]) == text


def test_the_command_compares_rewrites_and_refuses(tmp_path: Path) -> None:
    file = tmp_path / "own.txt"
    file.write_text("add-nodes 1\n----\nwrong\n\nraft-state\n----\n")
    differs = CliRunner().invoke(app, ["script", str(file)])
    assert differs.exit_code == 1
    assert "-wrong" in differs.output
    assert f"{file}:5: raft-state" in differs.output
    assert CliRunner().invoke(app, ["script", str(file), "--rewrite"]).exit_code == 0
    agrees = CliRunner().invoke(app, ["script", str(file)])
    assert (agrees.exit_code, agrees.output) == (0, f"{file}: 2 of 2 blocks agree\n")
    file.write_bytes(b"\xff\xfe")
    assert isinstance(CliRunner().invoke(app, ["script", str(file)]).exception, MalformedScript)
