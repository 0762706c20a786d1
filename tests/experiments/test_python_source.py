"""What the survey says of a tree of Python code, and of files that nobody would want to import."""

import ast
import os
import sysconfig
from collections.abc import Mapping
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors.errors import ConfigurationError
from experiments.python_source import (
    MAXIMUM_BYTES,
    SourceFile,
    Summary,
    dependencies,
    imports_of,
    public_names,
    root_of,
    source_files,
    summary_of,
)


def write(root: Path, files: Mapping[str, str | bytes]) -> Path:
    for name, content in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content.encode() if isinstance(content, str) else content)
    return root


def names_in(root: Path) -> list[str]:
    return [file["name"] for file in source_files(str(root))["files"]]


def summary(root: Path, name: str = "it.py", content: str | bytes = "") -> Summary:
    (root / name).write_bytes(content.encode() if isinstance(content, str) else content)
    file = next(file for file in source_files(str(root))["files"] if file["uri"] == name)
    return summary_of(str(root), file)


def file_named(name: str, *, package: bool = False) -> SourceFile:
    return SourceFile(name=name, uri="", bytes=0, package=package)


# --- Which modules there are ----------------------------------------------------------------------------------


def test_modules_are_listed_by_dotted_name_with_size_and_place(tmp_path: Path) -> None:
    write(tmp_path, {"shop/__init__.py": "", "shop/cart.py": "x = 1\n", "tool.py": "", "notes.txt": ""})
    listing = source_files(str(tmp_path))
    assert listing["files"] == [
        SourceFile(name="shop", uri="shop/__init__.py", bytes=0, package=True),
        SourceFile(name="shop.cart", uri="shop/cart.py", bytes=6, package=False),
        SourceFile(name="tool", uri="tool.py", bytes=0, package=False),
    ]
    assert listing["unreadable"] == []


def test_a_package_names_its_modules_wherever_it_stands_and_a_plain_folder_by_its_place(
    tmp_path: Path,
) -> None:
    write(tmp_path, {"src/shop/__init__.py": "", "src/shop/data/table.py": "", "scripts/run.py": ""})
    assert names_in(tmp_path) == ["scripts.run", "shop", "shop.data.table"]


def test_the_root_may_be_a_package_or_within_one(tmp_path: Path) -> None:
    write(tmp_path, {"shop/__init__.py": "", "shop/till/__init__.py": "", "shop/till/key.py": ""})
    assert names_in(tmp_path / "shop") == ["shop", "shop.till", "shop.till.key"]
    assert names_in(tmp_path / "shop" / "till") == ["shop.till", "shop.till.key"]


def test_installed_packages_caches_tests_and_hidden_folders_are_left_out(tmp_path: Path) -> None:
    left_out = ("site-packages", "__pycache__", "test", "tests", ".venv")
    write(tmp_path, {f"{name}/it.py": "" for name in left_out} | {"kept.py": "", "contest/it.py": ""})
    assert names_in(tmp_path) == ["contest.it", "kept"]


def test_what_is_left_out_can_be_chosen(tmp_path: Path) -> None:
    write(tmp_path, {"tests/it.py": "", "old/it.py": ""})
    assert [file["name"] for file in source_files(str(tmp_path), ["old"])["files"]] == ["tests.it"]


def test_of_two_modules_with_one_name_the_package_keeps_it(tmp_path: Path) -> None:
    write(tmp_path, {"shop.py": "", "shop/__init__.py": "", "shop~2.py": "", "a/shop/__init__.py": ""})
    named = {file["uri"]: file["name"] for file in source_files(str(tmp_path))["files"]}
    assert named["a/shop/__init__.py"] == "shop"  # the first by place
    assert sorted(named.values()) == ["shop", "shop~2", "shop~2~2", "shop~3"]


def test_names_fit_an_address_whatever_the_file_is_called(tmp_path: Path) -> None:
    odd = tmp_path / os.fsdecode(b"\xff#1.py")
    write(tmp_path, {"a b@c*.py": "x = 1\n"})
    odd.write_text("y = 2\n")
    files = source_files(str(tmp_path))["files"]
    assert [file["name"] for file in files] == ["__1", "a_b_c_"]
    assert [summary_of(str(tmp_path), file).get("names") for file in files] == [["y"], ["x"]]


def test_a_loop_of_links_is_not_walked(tmp_path: Path) -> None:
    write(tmp_path, {"shop/__init__.py": ""})
    (tmp_path / "shop" / "again").symlink_to(tmp_path, target_is_directory=True)
    assert names_in(tmp_path) == ["shop"]


@pytest.mark.parametrize(
    ("root", "told"),
    [("nowhere", "does not exist"), ("file.txt", "is a file, not a folder"), ("empty", "holds no Python")],
)
def test_a_root_without_python_is_refused_with_the_reason(tmp_path: Path, root: str, told: str) -> None:
    write(tmp_path, {"file.txt": "", "empty/README": ""})
    with pytest.raises(ConfigurationError, match=told):
        source_files(str(tmp_path / root))


def test_without_a_root_the_standard_library_is_meant() -> None:
    assert root_of("") == Path(sysconfig.get_path("stdlib")).resolve()
    assert {"ast", "json.decoder", "concurrent.futures"} <= {
        file["name"] for file in source_files("")["files"]
    }


# --- What a module says of itself -----------------------------------------------------------------------------


def test_a_module_is_summed_up(tmp_path: Path) -> None:
    documentation = '"""What it is.\n\nAnd more."""\n'
    source = documentation + "import os.path\nfrom json import loads, dumps\nLIMIT: int = 3\n_hidden = 1\n"
    assert summary(tmp_path, content=source) == {
        "lines": 7,
        "docstring": "What it is.",
        "names": ["LIMIT"],
        "imports": [["json", "dumps", "loads"], ["os.path"]],
    }


def test_an_empty_file_is_a_module(tmp_path: Path) -> None:
    assert summary(tmp_path) == {"lines": 0, "docstring": "", "names": [], "imports": []}


def test_a_line_without_an_end_is_a_line(tmp_path: Path) -> None:
    assert summary(tmp_path, content="a = 1\r\nb = '\x0c'").get("lines") == 2


def test_declared_encodings_are_kept_to(tmp_path: Path) -> None:
    content = "# -*- coding: latin-1 -*-\ncaf\xe9 = 1\n".encode("latin-1")
    assert summary(tmp_path, content=content).get("names") == ["caf\xe9"]
    assert summary(tmp_path, content=b"\xef\xbb\xbfx = 1\n").get("names") == ["x"]


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ("x = (1\n", "cannot be parsed: '(' was never closed, line 1"),
        ("x = 1\n\n\ndef f(:\n", "cannot be parsed: invalid syntax, line 4"),
        ("# caf\xe9\n".encode("latin-1"), "cannot be parsed: invalid or missing encoding declaration"),
        ("x = 1\n\n\n# caf\xe9\n".encode("latin-1"), "cannot be decoded: byte 0xe9 at 13 is not utf-8"),
        (b"# coding: nonsense\n", "cannot be parsed: unknown encoding: nonsense"),
        (b"# coding: rot13\n", "cannot be decoded: 'rot13' is not a text encoding"),
        (b"# coding: undefined\n", "undefined encoding"),
        (b"x = 1\0\n", "null bytes"),
        (bytes(range(256)) * 4, "cannot be"),
        ("(" * 5_000, "cannot be parsed: too many nested parentheses, line 1"),
        ("x" + ".x" * 200_000, "cannot be parsed: nested too deeply"),
        ("-" * 200_000 + "1", "cannot be parsed: nested too deeply"),
    ],
    ids=lambda value: repr(value)[:20],
)
def test_what_cannot_be_parsed_says_why(tmp_path: Path, content: str | bytes, reason: str) -> None:
    found = summary(tmp_path, content=content)
    assert reason in found.get("reason", "")
    assert "lines" not in found


def test_a_link_to_nowhere_a_pipe_and_a_giant_cannot_be_read(tmp_path: Path) -> None:
    (tmp_path / "link.py").symlink_to(tmp_path / "nowhere")
    os.mkfifo(tmp_path / "pipe.py")
    with (tmp_path / "giant.py").open("wb") as file:
        file.truncate(MAXIMUM_BYTES + 1)
    reasons = {file["name"]: summary_of(str(tmp_path), file) for file in source_files(str(tmp_path))["files"]}
    assert reasons == {
        "giant": {"reason": f"too large: {MAXIMUM_BYTES + 1} bytes, {MAXIMUM_BYTES} are parsed"},
        "link": {"reason": "cannot be read: No such file or directory"},
        "pipe": {"reason": "is not a regular file"},
    }


def test_a_file_and_a_folder_without_permission_are_told(tmp_path: Path) -> None:
    write(tmp_path, {"closed.py": "", "shut/it.py": ""})
    (tmp_path / "closed.py").chmod(0)
    (tmp_path / "shut").chmod(0)
    try:
        listing = source_files(str(tmp_path))
        found = summary_of(str(tmp_path), listing["files"][0])
    finally:
        (tmp_path / "shut").chmod(0o755)
    forbidden = os.geteuid() != 0  # root reads everything
    assert listing["unreadable"] == (["shut: Permission denied"] if forbidden else [])
    assert found.get("reason") == ("cannot be read: Permission denied" if forbidden else None)


def test_doubtful_escapes_in_the_code_surveyed_warn_nobody(tmp_path: Path) -> None:
    assert summary(tmp_path, content="x = '\\d'\ny = 1 is 1\n").get("names") == ["x", "y"]


def test_lone_surrogates_in_a_docstring_can_be_sent(tmp_path: Path) -> None:
    assert summary(tmp_path, content='"""\\udc80"""\n').get("docstring") == "\\udc80"


@given(
    content=st.one_of(
        st.binary(max_size=200), st.text(max_size=200).map(lambda text: text.encode("utf-8", "replace"))
    )
)
def test_no_content_is_too_odd(tmp_path_factory: pytest.TempPathFactory, content: bytes) -> None:
    found = summary(tmp_path_factory.mktemp("tree"), content=content)
    assert ("reason" in found) != ("lines" in found)


# --- Names and imports ----------------------------------------------------------------------------------------


def test_public_names_are_those_of_all_or_else_what_is_defined_without_an_underscore() -> None:
    defined = "import os\nif x:\n  a = b, (c, *d) = f()\no.p = 1\n_q = 2\n"
    defined += "try:\n  def e(): g = 1\nexcept E:\n  class H: i = 1\n"
    assert public_names(ast.parse(defined)) == ["H", "a", "b", "c", "d", "e"]
    assert public_names(ast.parse("__all__ = ['b', '_a']\nc = 1\n")) == ["_a", "b"]
    assert public_names(ast.parse("__all__ = [*other]\nc = 1\n")) == ["c"]


def test_imports_are_made_absolute() -> None:
    tree = ast.parse(
        "from . import x\nfrom .y import z\nfrom ..w import v\nfrom .... import u\nimport a.b as c\nfrom d import *"
    )
    assert imports_of(tree, file_named("one.two.three")) == {
        "one.two": {"x"},
        "one.two.y": {"z"},
        "one.w": {"v"},
        "a.b": set(),
        "d": set(),
    }
    assert imports_of(ast.parse("from . import x"), file_named("one", package=True)) == {"one": {"x"}}
    assert imports_of(ast.parse("from . import x"), file_named("one")) == {}


def test_imports_anywhere_in_a_module_count() -> None:
    tree = ast.parse("def f():\n  import a\nif TYPE_CHECKING:\n  import b\n")
    assert set(imports_of(tree, file_named("it"))) == {"a", "b"}


@pytest.mark.parametrize(
    ("imported", "depended_upon"),
    [
        (["os.path"], ["os"]),
        (["shop", "cart"], ["shop.cart"]),
        (["shop", "cart", "VERSION"], ["shop", "shop.cart"]),
        (["shop.cart", "Cart"], ["shop.cart"]),
        (["shop.cart.missing", "x"], ["shop.cart"]),
        (["elsewhere", "x"], []),
        (["own"], []),
    ],
)
def test_a_dependency_is_the_nearest_module_that_is_known(
    imported: list[str], depended_upon: list[str]
) -> None:
    known = frozenset({"os", "shop", "shop.cart", "own"})
    assert dependencies([imported], known, "own") == depended_upon
