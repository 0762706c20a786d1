"""What else a question's words may have been called: words of like meaning, from a list written by hand.

A question about "the ceramics class" is answered by a turn about pottery. Each term of a question also finds the terms
that stand with it in `thesaurus.txt`, at a discount: query expansion by a thesaurus (Voorhees, "Query Expansion using
Lexical-Semantic Relations", SIGIR 1994), with the translated term taking the place of the asked one rather than adding
to it, so that a text with both gains nothing by it.

Rules:
* The list is data, read once. A line of words: each means nearly what the others do. A line `head: words`: kinds,
  parts or companions of the head, and strangers to each other.
* Words are brought to terms (`text.py`) first, so any form of a word finds any form of another.
* It knows everyday English and some programmers' words, and no names. A sentence model knows far more.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Final

from memory.errors import InvalidItem
from memory.text import STOP_WORDS, stem

THESAURUS_FILE: Final = Path(__file__).with_name("thesaurus.txt")
_FILE_BYTES_MAX: Final = 4_000_000
_LINE_WORDS_MAX: Final = 64
_COMMENTS: Final = ("#", "[")


@dataclass(frozen=True)
class ThesaurusSettings:
    """How much a relative of a word counts, of the word itself: 0 (not at all) to 1."""

    alike: float = 0.6
    """Of two words on one line."""
    kind: float = 0.5
    """Of a head and what stands under it."""
    file: Path | None = None
    """In place of the list that comes with the package."""

    def __post_init__(self) -> None:
        if not all(0 <= each <= 1 for each in (self.alike, self.kind)):
            raise InvalidItem(f"a relative counts 0 to 1 of the word itself: {self}")


class Thesaurus:
    """Terms with their relatives."""

    def __init__(self, lines: Iterable[str], settings: ThesaurusSettings) -> None:
        """Raises `InvalidItem` at a line with too many words."""
        self._related: dict[str, dict[str, float]] = {}
        for number, line in enumerate(lines, start=1):
            if line.startswith(_COMMENTS):
                continue
            head, colon, rest = line.lower().rpartition(":")
            under = [stem(word) for word in rest.split() if word not in STOP_WORDS]
            if len(under) > _LINE_WORDS_MAX:
                raise InvalidItem(f"thesaurus, line {number}: over {_LINE_WORDS_MAX} words: part the line")
            for place, one in enumerate(under):
                others, weight = (
                    ([stem(head.strip())], settings.kind) if colon else (under[:place], settings.alike)
                )
                for other in others:
                    self._relate(one, other, weight)
        self._listed = {term: tuple(related.items()) for term, related in self._related.items()}

    def related(self, term: str) -> tuple[tuple[str, float], ...]:
        """The relatives of a term, each with its discount; none for a term that is not known."""
        return self._listed.get(term, ())

    def __len__(self) -> int:
        """How many terms have relatives."""
        return len(self._related)

    def _relate(self, one: str, other: str, weight: float) -> None:
        if one != other and weight > 0:
            for term, relative in ((one, other), (other, one)):
                known = self._related.setdefault(term, {})
                known[relative] = max(known.get(relative, 0.0), weight)


@cache
def load_thesaurus(settings: ThesaurusSettings) -> Thesaurus:
    """The thesaurus of a file. Raises `InvalidItem` if it cannot be read."""
    file = settings.file or THESAURUS_FILE
    try:
        if file.stat().st_size > _FILE_BYTES_MAX:
            raise InvalidItem(f"{file} is larger than {_FILE_BYTES_MAX:,} bytes: give a smaller thesaurus")
        text = file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidItem(
            f"{file} is no thesaurus: {error}. Give a text file, a group of words a line"
        ) from error
    return Thesaurus(text.splitlines(), settings)
