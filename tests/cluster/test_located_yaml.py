from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors.errors import ConfigurationError
from cluster.located_yaml import assigned, dotted, load, nearest, parse, undotted

TEXT = """\
on: local
seed: 3
swarm:
  roles: &roles
    worker: {count: 2, speed: 1e-3}
copy:
  <<: *roles
  extra: [1, {deep: 0x10}]
"""


def test_values_follow_the_core_schema_of_yaml_1_2() -> None:
    value = parse(
        "{a: on, b: yes, c: 1e-3, d: 2020-01-01, e: , f: ~, g: True, h: '12', i: -0o17, j: 12:30}", "x"
    ).value
    assert value == {
        "a": "on",
        "b": "yes",
        "c": 0.001,
        "d": "2020-01-01",
        "e": None,
        "f": None,
        "g": True,
        "h": "12",
        "i": "-0o17",
        "j": "12:30",
    }


def test_every_value_and_key_knows_its_line_and_column() -> None:
    document = parse(TEXT, "x.yaml")
    assert document.value["copy"]["worker"] == {"count": 2, "speed": 0.001}
    assert document.place(("swarm", "roles", "worker", "speed")) == "x.yaml:5:31"
    assert document.place(("swarm", "roles", "worker"), about_key=True) == "x.yaml:5:5"
    assert document.place(("copy", "extra", 1, "deep")) == "x.yaml:8:21"


def test_what_is_not_there_has_the_place_of_what_is_around_it() -> None:
    assert parse(TEXT, "x.yaml").place(("swarm", "roles", "worker", "class")) == "x.yaml:5:5"


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("a: [1", "x:1:6: not valid YAML: expected ',' or ']'"),
        ("a: 1\nb: 2\na: 3", "x:3:1: not valid YAML: the key 'a' is written twice"),
        ("a: !!python/object:os.system x", "x:1:4: not valid YAML"),
        ("a: &a [*a]", "x:1:4: not valid YAML: a value contains itself"),
        ("a: b\n---\nc: d", "x:2:1: not valid YAML"),
        ("? [a]\n: b", "x:1:3: not valid YAML: a key must be text"),
        ("a: 1e999", "x:1:4: not valid YAML"),
        ("\t- a", "x:1:1: not valid YAML"),
        ("a: \x00", "x: not valid YAML"),
    ],
)
def test_what_is_not_yaml_is_refused_with_its_place(text: str, told: str) -> None:
    with pytest.raises(ConfigurationError) as raised:
        parse(text, "x")
    assert str(raised.value).startswith(told)


def test_a_document_that_unfolds_without_end_is_refused() -> None:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 8)]
    with pytest.raises(ConfigurationError, match="over 1000000 values"):
        parse("\n".join(lines), "x")


def test_deep_nesting_is_an_error_and_not_a_crash() -> None:
    with pytest.raises(ConfigurationError, match="nested too deeply"):
        parse("[" * 5000 + "]" * 5000, "x")


def test_a_missing_file_names_the_nearest(tmp_path: Path) -> None:
    (tmp_path / "survey.yaml").touch()
    with pytest.raises(ConfigurationError, match=r"no such file; did you mean 'survey\.yaml'"):
        load(tmp_path / "survye.yaml")


def test_a_setting_replaces_a_value_and_becomes_its_place() -> None:
    document = parse(TEXT, "x.yaml")
    document.assign("copy.extra.1.deep=[1, 2]")
    document.assign("new.path=yes")
    assert document.value["copy"]["extra"] == [1, {"deep": [1, 2]}]
    assert document.value["new"] == {"path": "yes"}
    assert document.place(("copy", "extra", 1, "deep", 0)) == "--set copy.extra.1.deep=[1, 2]"
    assert document.place(("new",)) == "--set new.path=yes"


@pytest.mark.parametrize(
    ("setting", "told"),
    [
        ("cells", "--set cells: write it as path=value"),
        ("=3", "--set =3: write it as path=value"),
        ("copy.extra.7=1", "no item '7': the sequence has 2"),
        ("seed.x=1", "no key 'x': 3 stands there, not a mapping"),
        ("seed=[", "not valid YAML"),
    ],
)
def test_a_setting_that_cannot_be_is_told(setting: str, told: str) -> None:
    with pytest.raises(ConfigurationError) as raised:
        parse(TEXT, "x.yaml").assign(setting)
    assert told in str(raised.value)


def test_assigning_leaves_the_original_as_it_was() -> None:
    original = {"a": {"b": [1, 2]}}
    assert assigned(original, ("a", "b", "1"), 5, "test") == {"a": {"b": [1, 5]}}
    assert original == {"a": {"b": [1, 2]}}


@given(st.lists(st.text(st.characters(exclude_characters="\\"), min_size=1), min_size=1).map(tuple))
def test_a_path_written_with_dots_reads_back(path: tuple[str, ...]) -> None:
    assert undotted(dotted(path)) == path


def test_only_a_word_that_is_alike_is_suggested() -> None:
    assert nearest("cuont", ["class", "count"]) == "; did you mean 'count'?"
    assert nearest("zzz", ["class", "count"]) == ""
