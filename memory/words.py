"""The text index: which items of some scopes share words with a question.

SQLite's FTS5, beside the rows and in their transactions. It picks candidates in scopes too large to rank whole; the
order is `memory/ranking.py`'s. The scope's number is a column of the index, so a search in a scope reads no other's.
"""

from collections.abc import Sequence
from typing import Final

from memory.store import Store
from memory.text import words

_WORDS: Final = 32


def matching(store: Store, text: str, numbers: Sequence[int], limit: int) -> list[int]:
    """The ids of up to `limit` items of these scopes that share a word with the text, best by BM25 first."""
    asked = list(dict.fromkeys(words(text)))[:_WORDS]
    if not asked or not numbers:
        return []
    # Quoted, each word is one string of FTS5's and can be nothing else.
    said = " OR ".join(f'"{word}"' for word in asked)
    where = " OR ".join(f'"{number}"' for number in numbers)
    rows = store.rows(
        "SELECT rowid FROM words WHERE words MATCH ? ORDER BY bm25(words, 1.0, 0.0), rowid LIMIT ?",
        (f"(scope : ({where})) AND (text : ({said}))", limit),
    )
    return [row[0] for row in rows]
