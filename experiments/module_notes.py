"""What a memory keeps of a Python module: a note of the module itself, and one of each thing that it offers.

Rules:
* A note is text for recall: the name as it is written, the name in words ("HTMLParser": html parser), what kind of
  thing it is, and what its docstring says. Notes of a module are numbered turns of one session, which is the module:
  so modules can be ranked whole.
* The text depends on the source alone, not on who read it or when: written twice, it is one item.
* Importance says what speaks for a module: its own note most, a method least; a part of a package less than the
  package, what is private by name least of all.
* What a module imports is kept as facts, so that the memory holds the library as a graph.
* Public means what `python_source.public_names` says; of a class also its public methods. All is bounded in number
  and length.
"""

import ast
import asyncio
import re
from collections.abc import Iterator, Sequence
from typing import TypedDict

from experiments.python_source import SourceFile, Summary, public_names, read_module
from memory.fact import fact_attributes
from memory.item import Draft, Kind
from memory.scope import Scope
from memory.seat import Seat

OFFERS_MAX = 150
IMPORTS_MAX = 500
METHODS_MAX = 40
NAMES_MAX = 300
NAMES_A_NOTE = 12
PARAGRAPHS_MAX = 12
PARAGRAPH_CHARACTERS = 400
_PARTS = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|\d+")

Definition = ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef


class Note(TypedDict):
    """One thing that a module offers, or the module itself."""

    name: str
    """Dotted within the module: `date.fromisoformat`; empty for the module."""
    text: str
    importance: float
    """0 to 1."""


async def read_and_remember(root: str, file: SourceFile, memory: Seat) -> Summary:
    """Reads a module, and remembers its notes and imports where the whole swarm sees them. Gives its summary.

    Whoever does it again, after a crash, say, finds that all is known already, and leaves it as it is.
    """
    summary, tree = await asyncio.to_thread(read_module, root, file)
    if tree is not None:
        scope = Scope(memory.scope.tenant, memory.scope.swarm)
        await memory.remember_all(drafts_of(tree, file, summary, scope))
    return summary


def drafts_of(tree: ast.Module, file: SourceFile, summary: Summary, scope: Scope) -> list[Draft]:
    """What is to be remembered of a module."""
    module = file["name"]
    notes = [
        Draft(
            scope,
            note["text"],
            Kind.NOTE,
            note["importance"],
            source=file["uri"],
            session=module,
            turn=turn,
            attributes={"module": module, "name": note["name"]},
        )
        for turn, note in enumerate(notes_of(tree, module))
    ]
    facts = [
        Draft(
            scope,
            f"{module} imports {target}",
            Kind.FACT,
            source=file["uri"],
            attributes=fact_attributes(module, "imports", target),
        )
        for target in dict.fromkeys(_readable(imported[0]) for imported in summary.get("imports", []))
    ]
    return [*notes, *facts[:IMPORTS_MAX]]


def notes_of(tree: ast.Module, module: str) -> list[Note]:
    """The notes of a module, itself first, then what it offers in the order of the source. At least one."""
    public = public_names(tree)
    offered = list(_offered(tree, frozenset(public)))
    summary, *more = _paragraphs(ast.get_docstring(tree) or "") or [""]
    about = f"{module} ({in_words(module)})"
    weight = _weight(module)
    notes = [Note(name="", text=f"module {about}. {summary}".strip(), importance=weight)]
    notes += [Note(name="", text=f"of {about}. {paragraph}", importance=0.7 * weight) for paragraph in more]
    for start in range(0, min(len(public), NAMES_MAX), NAMES_A_NOTE):
        names = ", ".join(in_words(name) for name in public[start : start + NAMES_A_NOTE])
        notes.append(Note(name="", text=f"{about} offers {names}", importance=0.7 * weight))
    for name, node in offered[:OFFERS_MAX]:
        kind = "class" if isinstance(node, ast.ClassDef) else "function" if "." not in name else "method"
        line = next(iter(_paragraphs(ast.get_docstring(node) or "")), "")
        arguments = "" if isinstance(node, ast.ClassDef) else _arguments(node)
        text = f"{kind} {name}{arguments} ({in_words(name)}) in {module}. {line}"
        importance = (0.4 if kind == "method" else 0.7) * weight
        notes.append(Note(name=name, text=_readable(text).strip(), importance=importance))
    return notes


def in_words(name: str) -> str:
    """A name in words: `HTMLParser.feed_all` gives `html parser feed all`."""
    return " ".join(part.lower() for part in _PARTS.findall(name))


def _offered(tree: ast.Module, public: frozenset[str]) -> Iterator[tuple[str, Definition]]:
    """The public functions and classes, each class followed by its public methods that say what they do."""
    seen: set[str] = set()
    for node in _definitions(tree.body):
        if node.name not in public or node.name in seen:
            continue
        seen.add(node.name)
        yield node.name, node
        if isinstance(node, ast.ClassDef):
            methods = [each for each in _definitions(node.body) if not each.name.startswith("_")]
            told = [each for each in methods if ast.get_docstring(each)]
            for each in told[:METHODS_MAX]:
                yield f"{node.name}.{each.name}", each


def _definitions(body: Sequence[ast.stmt]) -> Iterator[Definition]:
    """Functions and classes of a body, those under `if` and `try` included, in order."""
    waiting = list(reversed(body))
    while waiting:
        node = waiting.pop()
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            yield node
        elif isinstance(node, ast.If | ast.Try):
            handled = [each for handler in getattr(node, "handlers", []) for each in handler.body]
            waiting += reversed([*node.body, *handled, *node.orelse])


def _arguments(node: ast.FunctionDef | ast.AsyncFunctionDef) -> str:
    names = [argument.arg for argument in (*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs)]
    return f"({', '.join(name for name in names if name not in ('self', 'cls'))})"


def _paragraphs(docstring: str) -> list[str]:
    """The first paragraphs of a docstring, each on one line and not too long; no examples, rules or headings."""
    found = [" ".join(each.split()) for each in docstring.split("\n\n")]
    prose = [each for each in found if not each.startswith((">>>", "---", "===")) and len(each.split()) > 1]
    return [_cut(_readable(each), PARAGRAPH_CHARACTERS) for each in prose[:PARAGRAPHS_MAX]]


def _weight(module: str) -> float:
    parts = module.split(".")
    return 0.25 if any(part.startswith("_") for part in parts) else 1 / len(parts)


def _cut(text: str, characters: int) -> str:
    return text if len(text) <= characters else text[: characters - 1] + "\u2026"


def _readable(text: str) -> str:
    """The text with lone surrogates escaped: those cannot be stored."""
    return text.encode(errors="backslashreplace").decode()
