"""`rayswarm memory`, as a person uses it: every command, what it prints, and how mistakes are told."""

import json
import sqlite3
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from typer.testing import CliRunner, Result

from cluster.cli import app
from memory.item import Draft, Kind
from memory.memory import Memory
from memory.scope import Scope

ACME = "tenant=acme"
COMMANDS = ("add", "recall", "show", "correct", "forget", "stats", "export", "import", "check")


@pytest.fixture
def place(tmp_path: Path) -> Path:
    return tmp_path / "memory"


def memory(place: Path, *words: str | Path, code: int = 0, text: str = "") -> Result:
    """A command's result; `place` is its memory."""
    result = CliRunner().invoke(app, ["memory", *map(str, words), "--at", str(place)], input=text)
    assert result.exit_code == code, result.output + result.stderr
    assert "Traceback" not in result.output
    return result


def told(place: Path, *words: str | Path) -> Any:
    """What a command prints with --json."""
    return json.loads(memory(place, *words, "--json").stdout)


def added(place: Path, text: str, *words: str, scope: str = ACME) -> int:
    number: int = told(place, "add", text, "--scope", scope, *words)["id"]
    return number


def test_what_is_added_is_recalled_with_its_reasons(place: Path) -> None:
    number = added(place, "The north dock opens at six", "--importance", "0.8", "--source", "ada")
    added(place, "The cat sleeps")
    assert told(place, "add", "The north dock opens at six", "--scope", ACME) == {
        "id": number,
        "duplicate": True,
    }
    best, other = told(place, "recall", "when does the dock open?", "--scope", ACME)
    assert best["item"]["id"] == number
    assert best["item"]["source"] == "ada"
    assert sum(best["parts"].values()) == pytest.approx(best["score"])
    assert best["score"] > other["score"]
    shown = memory(place, "recall", "dock", "--scope", ACME, "-k", "1").stdout
    assert "lexical" in shown
    assert "cat" not in shown


def test_standard_input_and_times_are_taken(place: Path) -> None:
    memory(
        place,
        "add",
        "-",
        "--scope",
        ACME,
        "--valid-from",
        "2026-03-01",
        "--valid-to",
        "2026-03-01T01:00:00+01:00",
        code=2,
    )
    memory(place, "add", "-", "--scope", ACME, "--valid-from", "2026-03-01", text="the dock is closed\n")
    (found,) = told(place, "recall", "dock", "--scope", ACME)
    assert found["item"]["valid_from"] == 1_772_323_200.0
    assert found["item"]["text"] == "the dock is closed\n"


def test_a_correction_leaves_the_past_and_forgetting_does_not(place: Path) -> None:
    old = added(place, "The dock opens at six")
    before = told(place, "show", str(old), "--scope", ACME)["item"]["recorded_at"]
    new = told(place, "correct", str(old), "The dock opens at seven", "--scope", ACME)["id"]
    assert [each["item"]["id"] for each in told(place, "recall", "dock", "--scope", ACME)] == [new]
    past = told(place, "recall", "dock", "--scope", ACME, "--as-of", str(before))
    assert [each["item"]["id"] for each in past] == [old]
    assert [each["id"] for each in told(place, "show", str(new), "--scope", ACME)["versions"]] == [old]
    assert "seven" in memory(place, "show", str(old), "--scope", ACME).stdout
    memory(place, "correct", str(old), "again", "--scope", ACME, code=2)
    assert told(place, "forget", str(old), "--scope", ACME) == {"erased": [old]}
    assert told(place, "recall", "dock", "--scope", ACME, "--as-of", str(before)) == []
    assert told(place, "forget", str(new), "--scope", ACME, "--derived") == {"erased": [new]}
    assert "Nothing is remembered" in memory(place, "recall", "dock", "--scope", ACME).stdout


def test_a_scope_sees_its_own_and_what_is_above_it_alone(place: Path) -> None:
    mine = added(place, "the secret of ada", scope=f"{ACME}/agent=ada")
    added(place, "the notice for all")
    for command in (["show", str(mine)], ["forget", str(mine)], ["correct", str(mine), "x"]):
        assert "no item" in memory(place, *command, "--scope", f"{ACME}/agent=bo", code=2).stderr.lower()
    assert len(told(place, "recall", "the", "--scope", f"{ACME}/agent=ada")) == 2
    assert len(told(place, "recall", "the", "--scope", ACME)) == 1
    assert told(place, "stats")["scopes"] == {ACME: {"note": 1}, f"{ACME}/agent=ada": {"note": 1}}
    assert "2 items" in memory(place, "stats").stdout


def test_a_scope_that_is_misspelt_is_an_error_and_one_that_has_just_begun_is_none(place: Path) -> None:
    added(place, "the notice for all")
    for command in (["recall", "notice"], ["export", str(place.parent / "x.jsonl")]):
        told_why = memory(place, *command, "--scope", "tenant=amce", code=2).stderr
        assert "nothing was ever remembered" in told_why.lower()
        assert "memory stats" in " ".join(told_why.split())
    assert len(told(place, "recall", "notice", "--scope", f"{ACME}/agent=new")) == 1


@pytest.mark.parametrize("ending", ["jsonl", "parquet"])
def test_a_memory_goes_through_a_file_into_another_whole(ending: str, place: Path, tmp_path: Path) -> None:
    with Memory.open(place) as store:
        one, two = Scope("acme", agent="ada"), Scope("b/c=d", "ünï")
        first = store.remember(
            "the dock\nopens", scope=one, kind=Kind.EPISODE, session="s", turn=3, speaker="Ada"
        )
        store.remember_all([Draft(one, "derived", derived_from=(first.id,))], scope=one)
        store.remember("x", scope=two, attributes={"n": [1, None]}, valid_from=-5.5, importance=0.0)
        wanted = {said(item.to_json()) for scope in (one, two) for item in store.items(scope=scope)}
    file = tmp_path / f"items.{ending}"
    assert "3 items" in memory(place, "export", file).stdout
    other = tmp_path / "other"
    assert told(other, "import", file) == {"added": 3, "known": 0, "links_lost": 0}
    assert told(other, "import", file)["known"] == 3
    with Memory.open(other) as store:
        found = [item for scope in (one, two) for item in store.items(scope=scope)]
        assert {said(item.to_json()) for item in found} == wanted
        parent, child = (
            next(each for each in found if each.text == text) for text in ("the dock\nopens", "derived")
        )
        assert child.derived_from == (parent.id,)
    memory(place, "export", file, "--scope", "tenant=acme/agent=ada")
    assert told(tmp_path / "third", "import", file)["added"] == 2


def said(item: dict[str, Any]) -> str:
    """An item without what another memory gives it."""
    kept = {name: value for name, value in item.items() if name not in ("id", "recorded_at", "derived_from")}
    return json.dumps(kept, sort_keys=True)


def test_a_plain_list_of_texts_is_imported_into_a_scope(place: Path, tmp_path: Path) -> None:
    file = tmp_path / "plain.jsonl"
    file.write_text('{"text": "one"}\n{"text": "two", "derived_from": [77]}\n')
    assert told(place, "import", file, "--scope", ACME) == {"added": 2, "known": 0, "links_lost": 1}
    assert "1 of what" not in memory(place, "import", file, "--scope", ACME).stdout
    assert len(told(place, "recall", "one", "--scope", ACME)) == 2


@pytest.mark.parametrize(
    ("row", "why"),
    [
        ("{", "is not JSON"),
        ("[1]", "is no object"),
        ('{"text": "x", "scope": "nobody"}', "is no scope"),
        ('{"text": ""}', "empty"),
        ('{"text": "x", "size": 3}', "not an item"),
        ('{"text": "x", "id": [1]}', "whole numbers"),
        ('{"text": "x", "derived_from": [[1]]}', "whole numbers"),
        ('{"text": "x", "importance": 7}', "0 to 1"),
        ('{"text": 5}', "text is to be remembered"),
    ],
)
def test_a_wrong_row_is_told_with_its_number_and_those_before_are_in(
    row: str, why: str, place: Path, tmp_path: Path
) -> None:
    file = tmp_path / "rows.jsonl"
    file.write_text(f'{{"text": "sound"}}\n{row}\n{{"text": "after"}}\n')
    result = memory(place, "import", file, "--scope", ACME, code=2)
    assert "row 2" in result.stderr
    assert why in result.stderr
    assert [each["item"]["text"] for each in told(place, "recall", "x", "--scope", ACME)] == ["sound"]


@pytest.mark.parametrize(
    ("words", "why"),
    [
        (["recall", "x", "--scope", ACME], "there is no memory in"),
        (["stats"], "there is no memory in"),
        (["add", "x", "--scope", "acme"], "is no scope"),
        (["add", " ", "--scope", ACME], "empty"),
        (["add", "x", "--scope", ACME, "--valid-from", "soon"], "is no time"),
        (["add", "x", "--scope", ACME, "--embedder", "nowhere:make"], "there is no module nowhere"),
        (["import", "nowhere.jsonl"], "there is no file"),
    ],
)
def test_a_wrong_request_is_told_in_a_sentence(words: list[str], why: str, place: Path) -> None:
    assert why in memory(place, *words, code=2).stderr


def test_a_wrong_file_or_time_is_told(place: Path, tmp_path: Path) -> None:
    added(place, "x")
    assert ".jsonl or .parquet" in memory(place, "export", tmp_path / "x.csv", code=2).stderr
    broken = tmp_path / "x.parquet"
    broken.write_bytes(b"PAR1 not quite")
    assert "no Parquet file" in memory(place, "import", broken, code=2).stderr
    pl.DataFrame({"text": ["x"], "attributes": ["{"]}).write_parquet(broken)
    assert "no Parquet file" in memory(place, "import", broken, "--scope", ACME, code=2).stderr
    words = ("recall", "x", "--scope", ACME, "--as-of", "2026-01-01", "--kind", "note")
    assert "do not go together" in memory(place, *words, code=2).stderr
    assert "no item" in memory(place, "show", "12345", "--scope", ACME, code=2).stderr.lower()


def test_a_memory_in_use_is_told_with_code_1(place: Path) -> None:
    with Memory.open(place) as store:
        store.remember("x", scope=Scope("acme"))
        assert "is open in process" in memory(place, "stats", code=1).stderr


def test_a_check_tells_a_changed_row_and_a_repair_sets_it_aside(place: Path) -> None:
    number = added(place, "The dock opens at six")
    assert told(place, "check")["sound"]
    assert "sound" in memory(place, "check").stdout
    with sqlite3.connect(place / "memory.sqlite") as rows:
        rows.execute("UPDATE item SET text = 'The dock opens at nine' WHERE id = ?", (number,))
    rows.close()
    broken = memory(place, "check", "--json", code=1)
    assert json.loads(broken.stdout)["corrupt"] == [number]
    assert "not as they were written" in memory(place, "check", code=1).stdout
    mended = told(place, "check", "--repair")
    assert mended["sound"]
    assert mended["aside"] == [number]
    assert told(place, "check")["sound"]


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_explains_itself_with_an_example(command: str) -> None:
    result = CliRunner().invoke(app, ["memory", command, "--help"])
    assert result.exit_code == 0
    assert f"rayswarm memory {command}" in result.stdout.replace("Usage: ", "", 1)
