"""Python source as the survey sees it: which modules a tree holds, and what each one says of itself.

Rules:
* `source_files` and `summary_of` touch the file system, so agents call them by `Context.effect`. What they return is
  plain data, and does not depend on the order in which a folder lists its files.
* A file that cannot be read, decoded or parsed is a finding, not an error: its summary holds the reason.
* A module is read as the interpreter would read it: PEP 263 (declared encodings), PEP 328 (relative imports), PEP 420
  (folders without `__init__.py`). Nothing is imported or executed.
* A regular package gives its modules their names, wherever in the tree it stands: `src/shop/cart.py` is `shop.cart`.
* Links to folders are not followed: so no loop is walked, and no file is met twice.
"""

import ast
import os
import re
import stat
import sysconfig
import threading
import warnings
from collections.abc import Iterator, Sequence
from importlib.util import decode_source
from pathlib import Path
from typing import NotRequired, TypedDict
from urllib.parse import quote_from_bytes, unquote_to_bytes

from actors.errors import ConfigurationError

EXCLUDED = ("__pycache__", "site-packages", "dist-packages", "node_modules", "test", "tests", "idle_test")
"""Folders that hold no module of a library: installed packages and test suites."""

MAXIMUM_BYTES = 16 * 2**20
"""Size of a file that is still parsed; a syntax tree takes some hundred times as much memory."""

_UNSENDABLE = re.compile(r"[/*@#\s\x00-\x1f\x7f\ud800-\udfff]")
# The filters of `warnings` belong to the whole process: one parser at a time may change them. It costs nothing, since
# the parser never gives up the interpreter's lock.
_filters = threading.Lock()


class SourceFile(TypedDict):
    """A module of the tree, not yet read."""

    name: str
    """Dotted, unique in its tree, and fit for an address."""
    uri: str
    """Where it is, as a URI reference relative to the tree's root: any name that a file may have, in ASCII."""
    bytes: int
    package: bool
    """True for an `__init__.py`."""


class Listing(TypedDict):
    """The modules of a tree, by name, and the folders of it that could not be read."""

    files: list[SourceFile]
    unreadable: list[str]


class Summary(TypedDict):
    """What a module says of itself, or why it cannot be known."""

    reason: NotRequired[str]
    """Why there is nothing else here."""
    lines: NotRequired[int]
    docstring: NotRequired[str]
    """Its first line."""
    names: NotRequired[list[str]]
    """Its public names: `__all__` where that is a literal list, else what the module defines without a leading `_`."""
    imports: NotRequired[list[list[str]]]
    """For each module that it imports from, [that module, names that it takes from it...], absolute and sorted."""


def root_of(root: str) -> Path:
    """The folder to survey; that of the standard library of this interpreter for an empty `root`."""
    return Path(root or sysconfig.get_path("stdlib")).resolve()


def source_files(root: str, excluded: Sequence[str] = EXCLUDED) -> Listing:
    """All modules below a folder, without what is below folders of the names in `excluded` and hidden ones.

    Raises `ConfigurationError` if there is no such folder, or no Python in it.
    """
    top = root_of(root)
    if not top.is_dir():
        fault = "is a file, not a folder" if top.exists() else "does not exist"
        raise ConfigurationError(f"input: {top} {fault}. Give the folder of a tree of Python code.")
    unreadable: list[str] = []
    found = sorted(_walk(top, frozenset(excluded), unreadable), key=_precedence)
    if not found:
        raise ConfigurationError(
            f"input: {top} holds no Python: no file *.py outside {', '.join(sorted(excluded))} and hidden folders. "
            f"Give the folder of a tree of Python code."
        )
    taken: set[str] = set()
    for file in found:
        name, number = file["name"], 1
        while file["name"] in taken:  # `pkg.py` beside `pkg/`, or the same package twice in the tree
            number += 1
            file["name"] = f"{name}~{number}"
        taken.add(file["name"])
    return Listing(files=found, unreadable=sorted(unreadable))


def _precedence(file: SourceFile) -> tuple[str, bool, str]:
    # The interpreter takes a package before a module of the same name.
    return (file["name"], not file["package"], file["uri"])


def _walk(top: Path, excluded: frozenset[str], unreadable: list[str]) -> Iterator[SourceFile]:
    def note(error: OSError) -> None:
        unreadable.append(_readable(f"{os.path.relpath(error.filename, top)}: {error.strerror}"))

    above = tuple(_packages_above(top))
    packages: dict[Path, tuple[tuple[str, ...], bool]] = {}
    """For each folder its dotted name in parts, and whether it is in a regular package."""
    for walked, folders, names in os.walk(top, onerror=note):
        folder = Path(walked)
        # A folder whose name is no identifier cannot be imported from, but `my-scripts/` holds code all the same.
        folders[:] = sorted(name for name in folders if name not in excluded and not name.startswith("."))
        regular = "__init__.py" in names
        if folder == top:
            parts, inside = above, bool(above)
        else:
            parent, inside = packages[folder.parent]
            parts = (folder.name,) if regular and not inside else (*parent, folder.name)
        packages[folder] = (parts, inside or regular)
        for name in names:
            if name.endswith(".py"):
                yield _source_file(top, folder / name, parts)


def _packages_above(top: Path) -> list[str]:
    """The dotted name, in parts, of a root that is itself a package or in one; none for a plain folder."""
    parts: list[str] = []
    while top.name and (top / "__init__.py").is_file():
        parts.insert(0, top.name)
        top = top.parent
    return parts


def _source_file(top: Path, path: Path, package: tuple[str, ...]) -> SourceFile:
    is_package = path.name == "__init__.py" and bool(package)
    parts = package if is_package else (*package, path.stem)
    try:
        size = path.stat().st_size
    except OSError:  # a link to nowhere: to be found unreadable by whoever surveys it
        size = 0
    relative = path.relative_to(top).as_posix()
    return SourceFile(
        name=_UNSENDABLE.sub("_", ".".join(parts)),
        uri=quote_from_bytes(os.fsencode(relative)),
        bytes=size,
        package=is_package,
    )


def summary_of(root: str, file: SourceFile) -> Summary:
    """Reads and parses a module."""
    return read_module(root, file)[0]


def read_module(root: str, file: SourceFile) -> tuple[Summary, ast.Module | None]:
    """The summary of a module and its syntax tree; None where the summary holds a reason."""
    path = root_of(root) / os.fsdecode(unquote_to_bytes(file["uri"]))
    try:
        status = path.stat()
        if not stat.S_ISREG(status.st_mode):
            return Summary(reason="is not a regular file"), None
        if status.st_size > MAXIMUM_BYTES:
            return Summary(reason=f"too large: {status.st_size} bytes, {MAXIMUM_BYTES} are parsed"), None
        source = path.read_bytes()
    except OSError as error:
        return Summary(reason=f"cannot be read: {error.strerror}"), None
    try:
        text = decode_source(source)
        tree = _parsed(text)
    except UnicodeDecodeError as error:
        culprit = error.object[error.start]
        why = f"cannot be decoded: byte {culprit:#04x} at {error.start} is not {error.encoding}"
        return Summary(reason=why), None
    except SyntaxError as error:
        line = f", line {error.lineno}" if error.lineno else ""
        return Summary(reason=_readable(f"cannot be parsed: {error.msg}{line}")), None
    except (RecursionError, MemoryError):  # how the parser says that its stack is full
        return Summary(reason="cannot be parsed: nested too deeply"), None
    except (LookupError, ValueError) as error:  # a declared codec that is not one of text, or refuses
        return Summary(reason=_readable(f"cannot be decoded: {error}")), None
    summary = Summary(
        lines=text.count("\n") + (not text.endswith("\n") and text != ""),
        docstring=_readable((ast.get_docstring(tree) or "").partition("\n")[0]),
        names=[_readable(name) for name in public_names(tree)],
        imports=[[target, *sorted(names)] for target, names in sorted(imports_of(tree, file).items())],
    )
    return summary, tree


def _parsed(text: str) -> ast.Module:
    with _filters, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # doubtful escapes in the surveyed code are not this program's
        return ast.parse(text)


def _readable(text: str) -> str:
    """The text with lone surrogates escaped: those cannot be sent."""
    return text.encode(errors="backslashreplace").decode()


def public_names(tree: ast.Module) -> list[str]:
    """The public names of a module, sorted."""
    declared = _declared_names(tree)
    if declared is not None:
        return sorted(declared)
    names: set[str] = set()
    for node in _top_level(tree.body):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            names.add(node.name)
        elif isinstance(node, ast.Assign | ast.AnnAssign | ast.AugAssign):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            leaves = (leaf for target in targets for leaf in ast.walk(target))
            names.update(leaf.id for leaf in leaves if isinstance(leaf, ast.Name) and _is_bound(leaf))
    return sorted(name for name in names if not name.startswith("_"))


def _is_bound(name: ast.Name) -> bool:
    return isinstance(name.ctx, ast.Store)


def _declared_names(tree: ast.Module) -> set[str] | None:
    for node in tree.body:
        if isinstance(node, ast.Assign) and any(
            isinstance(t, ast.Name) and t.id == "__all__" for t in node.targets
        ):
            items = node.value.elts if isinstance(node.value, ast.List | ast.Tuple) else None
            if items is not None and all(
                isinstance(i, ast.Constant) and isinstance(i.value, str) for i in items
            ):
                return {
                    item.value
                    for item in items
                    if isinstance(item, ast.Constant) and isinstance(item.value, str)
                }
    return None


def _top_level(body: Sequence[ast.stmt]) -> Iterator[ast.stmt]:
    """The statements that run when a module is imported, those under `if`, `try`, `with` and loops included."""
    waiting = list(body)
    while waiting:
        node = waiting.pop()
        yield node
        for name in ("body", "orelse", "finalbody"):
            if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
                waiting += getattr(node, name, [])
        for handler in getattr(node, "handlers", []):
            waiting += handler.body


def imports_of(tree: ast.Module, file: SourceFile) -> dict[str, set[str]]:
    """For each module that is imported, anywhere in the source, the names that are taken from it.

    A relative import that leads out of the tree's packages is left out: it would fail.
    """
    package = file["name"] if file["package"] else file["name"].rpartition(".")[0]
    found: dict[str, set[str]] = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                found.setdefault(alias.name, set())
        elif isinstance(node, ast.ImportFrom):
            target = _absolute(node.module or "", node.level, package)
            if target:
                found.setdefault(target, set()).update(
                    alias.name for alias in node.names if alias.name != "*"
                )
    return found


def _absolute(module: str, level: int, package: str) -> str:
    if level == 0:
        return module
    parts = package.split(".")
    if not package or level > len(parts):
        return ""
    return ".".join([*parts[: len(parts) - level + 1], *([module] if module else [])])


def dependencies(imports: Sequence[Sequence[str]], known: frozenset[str], own: str) -> list[str]:
    """Which of the known modules a module depends on, itself excepted, sorted.

    For `from a import b` that is `a.b` if there is such a module, else `a`; for a module that is not known, its nearest
    package that is: `import os.path` depends on `os`.
    """
    found: set[str] = set()
    for target, *names in imports:
        submodules = {f"{target}.{name}" for name in names} & known
        found |= submodules
        if len(submodules) < len(names) or not names:
            nearest = target
            while nearest and nearest not in known:
                nearest = nearest.rpartition(".")[0]
            found.add(nearest)
    return sorted(found - {own, ""})
