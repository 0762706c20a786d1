"""Transcripts: files of commands, each with the output that it must give.

Form (of cockroachdb/datadriven, which etcd's tests use): comments and empty lines; then a block: a directive, that is a
command with words and `key=value` or `key=(a,b)` arguments; perhaps lines of input; `----`; and the expected output
up to an empty line. Output with empty lines stands between doubled `----`. A directive that ends in a backslash goes
on in the next line.

Rules: a file that does not have this form is an error with its line and the mend; a file is bounded in size.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from actors.errors import ConfigurationError

LINE = "----"
MOST_BYTES = 10_000_000
_WORD = re.compile(r"([^\s=]+)(=\([^)]*\)|=\S*)?(?:\s+|$)")


class MalformedScript(ConfigurationError):
    """A transcript, or a line of it, that means nothing. The text says where, and how to mend it."""


@dataclass(frozen=True)
class Argument:
    """`word`, `key=value` or `key=(a,b)`."""

    key: str
    values: tuple[str, ...] = ()
    word: bool = True
    """Whether it has no value."""


@dataclass(frozen=True)
class Block:
    """One directive, and what it should print."""

    line: int
    """Of the directive, from 1."""
    command: str
    arguments: tuple[Argument, ...]
    input: tuple[str, ...]
    expected: str
    """With a newline at the end of each line."""
    begins: int = field(repr=False)
    """The line after `----`, from 0: where the expected output stands in the file."""
    ends: int = field(repr=False)

    @property
    def words(self) -> tuple[str, ...]:
        """The arguments that have no value."""
        return tuple(argument.key for argument in self.arguments if argument.word)


def parse_directive(text: str) -> tuple[str, tuple[Argument, ...]]:
    """A command and its arguments. Raises `MalformedScript`."""
    rest = text.strip()
    parsed: list[Argument] = []
    while rest:
        match = _WORD.match(rest)
        if match is None:
            raise MalformedScript(
                f"cannot read {rest!r}: write words, key=value or key=(a,b), parted by spaces."
            )
        key, value = match.group(1), match.group(2)
        if value is None:
            parsed.append(Argument(key))
        elif value.startswith("=(") and not value.endswith(")"):
            raise MalformedScript(f"{key}{value} does not end: close the parenthesis.")
        elif value.startswith("=("):
            parts = re.split(r"[,\s]+", value[2:-1].strip())
            parsed.append(Argument(key, tuple(part for part in parts if part), word=False))
        else:
            parsed.append(Argument(key, (value[1:],), word=False))
        rest = rest[match.end() :]
    if not parsed or not parsed[0].word:
        raise MalformedScript(f"{text.strip()!r} names no command: begin with one, such as `stabilize`.")
    return parsed[0].key, tuple(parsed[1:])


def read_script(path: Path) -> str:
    """A transcript's text. Raises `MalformedScript`."""
    if path.stat().st_size > MOST_BYTES:
        raise MalformedScript(f"{path}: over {MOST_BYTES} bytes. Split it into files.")
    try:
        return path.read_bytes().decode()
    except UnicodeDecodeError as error:
        raise MalformedScript(
            f"{path}: not text ({error.reason} at byte {error.start}). Give UTF-8."
        ) from None


def parse_script(text: str, name: str) -> list[Block]:
    """The blocks of a transcript. Raises `MalformedScript` with `name:line`."""
    lines = text.splitlines()
    blocks = []
    at = 0
    while at < len(lines):
        if not lines[at].strip() or lines[at].lstrip().startswith("#"):
            at += 1
            continue
        try:
            block = _block(lines, at)
        except MalformedScript as error:
            raise MalformedScript(f"{name}:{at + 1}: {error}") from None
        blocks.append(block)
        at = block.ends
    return blocks


def _block(lines: list[str], start: int) -> Block:
    at = start
    directive = lines[at].rstrip()
    while directive.endswith("\\") and at + 1 < len(lines):
        at += 1
        directive = directive[:-1] + " " + lines[at].strip()
    command, arguments = parse_directive(directive)
    at += 1
    first = at
    while at < len(lines) and lines[at].rstrip() != LINE:
        if not lines[at].strip():
            break
        at += 1
    if at >= len(lines) or lines[at].rstrip() != LINE:
        raise MalformedScript(
            f"`{command}` has no line `{LINE}` behind it. Write one, and below it what you expect, or nothing "
            "with --rewrite."
        )
    given = tuple(lines[first:at])
    at += 1
    begins = at
    if at < len(lines) and lines[at].rstrip() == LINE:
        at += 1
        body = at
        while at + 1 < len(lines) and not (lines[at].rstrip() == LINE and lines[at + 1].rstrip() == LINE):
            at += 1
        if at + 1 >= len(lines):
            raise MalformedScript(
                f"`{command}`: the output begins with a doubled `{LINE}` and does not end with one."
            )
        expected, ends = lines[body:at], at + 2
    else:
        while at < len(lines) and lines[at].strip():
            at += 1
        expected, ends = lines[begins:at], at
    text = "".join(line.rstrip() + "\n" for line in expected)
    return Block(start + 1, command, arguments, given, text, begins, ends)


def rewritten(text: str, blocks: Iterable[Block], outputs: Iterable[str]) -> str:
    """The transcript with these outputs in place of the expected ones; all else stays."""
    lines = text.splitlines()
    result: list[str] = []
    at = 0
    for block, output in zip(blocks, outputs, strict=True):
        result += lines[at : block.begins]
        produced = output.splitlines()
        if any(not line.strip() for line in produced):
            produced = [LINE, *produced, LINE, LINE]
        result += produced
        at = block.ends
        if at < len(lines) and lines[at].strip():
            result.append("")  # a block without an empty line behind it would swallow the next
    result += lines[at:]
    return "\n".join(result) + "\n"
