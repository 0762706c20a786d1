import json
import re
from pathlib import Path
from random import Random
from xml.etree import ElementTree

import pytest
from typer.testing import CliRunner, Result

from cluster.cli import app
from coordination.history import History
from coordination.history_format import history_lines
from coordination.object_model import KEY_VALUE, REGISTER
from tests.coordination.histories import atomic_history, mutated

GOOD = "INFO j - 0 :invoke :write 1\nINFO j - 0 :ok :write 1\nINFO j - 1 :invoke :read nil\nINFO j - 1 :ok :read 1\n"
BAD = GOOD.replace(":read 1", ":read 2")


def check(file: Path, text: str | History, *arguments: str | Path) -> Result:
    file.write_text(text if isinstance(text, str) else "".join(history_lines(text)))
    return CliRunner().invoke(app, ["check", "history", str(file), *map(str, arguments)])


def test_an_accepted_history_exits_with_0(tmp_path: Path) -> None:
    done = check(tmp_path / "a.log", GOOD)
    assert done.exit_code == 0
    assert re.search(
        r"^Linearizable: .*a\.log \(2 operations, model register, \d+ steps\)\.$", done.output, re.M
    )


def test_a_refused_history_exits_with_1_and_shows_how_far_it_went(tmp_path: Path) -> None:
    done = check(tmp_path / "a.log", BAD)
    assert done.exit_code == 1
    assert (
        "after 1 operation the value is 1, and then process 1's read gives 2 (lines 3 to 4) cannot"
        in done.output
    )
    assert "1. process 0: write 1 (line 1 to 2)" in done.output
    assert "process 1: read gives 2 (line 3 to 4): its result does not fit: the value is 1" in done.output


def test_bad_input_exits_with_2_and_names_file_line_and_mend(tmp_path: Path) -> None:
    done = check(tmp_path / "a.log", GOOD + "INFO j - 1 :ok :read 1\n")
    assert done.exit_code == 2
    assert "a.log, line 5: process 1 returns but has not called" in done.output
    missing = CliRunner().invoke(app, ["check", "history", str(tmp_path / "nowhere")])
    assert missing.exit_code == 2
    assert "there is no file" in missing.output
    assert check(tmp_path / "a.log", GOOD, "--model", "key-value").exit_code == 2
    assert check(tmp_path / "a.log", GOOD, "--figure", "a.png").exit_code == 2


def test_an_undecided_history_exits_with_3(tmp_path: Path) -> None:
    history = atomic_history(Random(1), KEY_VALUE, clients=50, operations=400)
    done = check(tmp_path / "a.jsonl", history, "--steps", "1000", "--figure", tmp_path / "a.svg")
    assert done.exit_code == 3
    assert "Undecided" in done.output
    assert not (tmp_path / "a.svg").exists()


def test_json_tells_the_verdict_to_programs(tmp_path: Path) -> None:
    good = json.loads(check(tmp_path / "a.log", GOOD, "--json").output)
    assert good["verdict"] == "linearizable"
    assert (good["format"], good["model"], good["operations"]) == ("jepsen", "register", 2)
    done = check(tmp_path / "a.log", BAD, "--json")
    bad = json.loads(done.output)
    assert done.exit_code == 1
    assert bad["verdict"] == "illegal"
    assert [each["operation"] for each in bad["placed"]] == ["write 1"]
    assert [each["reason"] for each in bad["blocked"]] == ["its result does not fit: the value is 1"]


def test_the_picture_of_a_refusal_shows_placed_blocked_and_what_never_returned(tmp_path: Path) -> None:
    text = "INFO j - 7 :invoke :write 9\nINFO j - 7 :info :write :timed-out\n" + BAD
    assert check(tmp_path / "a.log", text, "--figure", tmp_path / "a.svg").exit_code == 1
    drawn = (tmp_path / "a.svg").read_text()
    ElementTree.fromstring(drawn)  # noqa: S314  # our own picture: that it is well formed is what is tested
    assert "1. write 1" in drawn
    assert "might come next" in drawn
    assert "stroke-dasharray" in drawn
    assert [process for process in (0, 1, 7) if f">process {process}<" in drawn] == [0, 1, 7]


@pytest.mark.parametrize("seed", range(6))
def test_pictures_of_long_histories_are_well_formed_and_bounded(seed: int, tmp_path: Path) -> None:
    model = (REGISTER, KEY_VALUE)[seed % 2]
    history = atomic_history(Random(seed), model, clients=12, operations=300, keys=2, lost=0.03)
    share = 0.02 if seed < 4 else 0.0
    check(tmp_path / "a.jsonl", mutated(Random(seed), history, share), "--figure", tmp_path / "a.html")
    drawn = (tmp_path / "a.html").read_text()
    svg = drawn[drawn.index("<svg") : drawn.index("</svg>") + 6]
    root = ElementTree.fromstring(svg)  # noqa: S314  # our own picture: that it is well formed is what is tested
    assert 10 < len(root.findall(".//{http://www.w3.org/2000/svg}g")) <= 60


def test_what_a_file_says_is_no_markup_in_the_picture(tmp_path: Path) -> None:
    text = (
        '{:process 0, :type :invoke, :f :get, :key "<script>", :value nil}\n'
        '{:process 0, :type :ok, :f :get, :key "<script>", :value "</svg>\x1b"}\n'
    )
    done = check(tmp_path / "a.txt", text, "--figure", tmp_path / "a.html")
    assert done.exit_code == 1
    assert "\x1b" not in done.output
    drawn = (tmp_path / "a.html").read_text()
    assert "<script>" not in drawn
    assert "\x1b" not in drawn
