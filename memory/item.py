"""An item: one thing remembered, with where it came from and when it held.

Rules:
* An item is immutable. A correction is a new item, to which the old one points (`superseded_by`).
* Two times, as in Snodgrass's bi-temporal tables: `valid_from` and `valid_to` say when it holds in the world,
  `recorded_at` and `retired_at` when the memory believed it. The first is told by who writes, the second by the store
  alone, whose clock never runs back. All are seconds since 1970, UTC; intervals hold their start and not their end.
* Two items say the same if their *content hash* is equal: it covers what is said (kind, text, session, turn, speaker,
  attributes, and a validity that was given), not who said it or how much it matters. A scope holds it once.
* A `Draft` is checked where it is made: text of 1 to 1,000,000 characters, numbers that are numbers, plain JSON.
"""

import json
import math
from dataclasses import dataclass, field
from enum import StrEnum
from hashlib import blake2b
from typing import Any, Final

import msgspec

from memory.errors import InvalidItem
from memory.scope import Scope, checked

TEXT_CHARACTERS: Final = 1_000_000
ATTRIBUTES_BYTES: Final = 100_000
PARENTS: Final = 1_000
NAME_CHARACTERS: Final = 1_000
HASH_BYTES: Final = 16
_quoted: Final = json.encoder.encode_basestring_ascii


class Kind(StrEnum):
    """What an item is."""

    EPISODE = "episode"
    """A turn of a conversation, or an event."""
    FACT = "fact"
    PROCEDURE = "procedure"
    """A workflow that worked."""
    NOTE = "note"
    """Anything else, summaries among them."""


class Item(msgspec.Struct, frozen=True, gc=False):
    """One thing remembered.

    A `Struct`, since answers are full of them: one is made in a tenth of a dataclass's time, from a row or from bytes.
    """

    id: int
    """Unique over all shards, below 2^53, never used again."""
    scope: Scope
    kind: Kind
    text: str
    importance: float = 0.5
    """0 to 1, as told by who writes."""
    source: str = ""
    """Who or what it came from: an agent's address, a document, a tool."""
    trust: float = 0.5
    """0 to 1: how far the source is believed."""
    session: str = ""
    """The conversation or sitting; empty if none."""
    turn: int = 0
    """The turn's number in its session."""
    speaker: str = ""
    valid_from: float | None = None
    """Since when it holds in the world; None if not told."""
    valid_to: float | None = None
    """Until when, itself not included; None if not told, or still."""
    recorded_at: float = 0.0
    """Since when the memory believes it."""
    retired_at: float | None = None
    """Since when it no longer does; None if it does."""
    superseded_by: int | None = None
    """The item that took its place; None if none, also where it was retired without a successor."""
    attributes: dict[str, Any] = msgspec.field(default_factory=dict)
    """Plain JSON."""
    derived_from: tuple[int, ...] = ()
    """The items it was made of: they are purged together."""

    @property
    def current(self) -> bool:
        """True if the memory believes it now."""
        return self.retired_at is None

    def believed_at(self, time: float) -> bool:
        """True if the memory believed it at that time."""
        return self.recorded_at <= time and (self.retired_at is None or time < self.retired_at)

    def valid_at(self, time: float) -> bool:
        """True if it holds in the world at that time, as far as was told."""
        return (self.valid_from is None or self.valid_from <= time) and (
            self.valid_to is None or time < self.valid_to
        )

    def to_json(self) -> dict[str, Any]:
        """As plain JSON; `Item.from_json` reads it."""
        fields = {name: getattr(self, name) for name in Item.__struct_fields__}
        return fields | {
            "scope": self.scope.path,
            "kind": str(self.kind),
            "derived_from": list(self.derived_from),
        }

    @staticmethod
    def from_json(value: dict[str, Any]) -> "Item":
        """The item that `to_json` wrote. Raises `InvalidItem` for anything else."""
        try:
            return Item(
                **{
                    **value,
                    "scope": Scope.parse(value["scope"]),
                    "kind": Kind(value["kind"]),
                    "derived_from": tuple(value.get("derived_from", ())),
                }
            )
        except (KeyError, TypeError, ValueError) as error:
            raise InvalidItem(
                f"not an item: {error!r} in {str(value)[:200]}. Give what Item.to_json wrote."
            ) from error


@dataclass(frozen=True, slots=True)
class Draft:
    """What is to be remembered. Made by who writes, checked here; the store adds the id and the times of record."""

    scope: Scope
    text: str
    kind: Kind = Kind.NOTE
    importance: float = 0.5
    source: str = ""
    trust: float = 0.5
    session: str = ""
    turn: int = 0
    speaker: str = ""
    valid_from: float | None = None
    valid_to: float | None = None
    attributes: dict[str, Any] = field(default_factory=dict)
    derived_from: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        checked(self.scope)
        check_text(self.text)
        if not isinstance(self.kind, Kind):
            raise InvalidItem(f"{self.kind!r} is no kind: give one of {', '.join(Kind)}")
        _check_share("importance", self.importance)
        _check_share("trust", self.trust)
        for name in ("source", "session", "speaker"):
            _check_name(name, getattr(self, name))
        if not _is_integer(self.turn) or not 0 <= self.turn < 2**53:
            raise InvalidItem(f"turn is {self.turn!r}: give a whole number from 0")
        _check_time("valid_from", self.valid_from)
        _check_time("valid_to", self.valid_to)
        if self.valid_from is not None and self.valid_to is not None and self.valid_to < self.valid_from:
            raise InvalidItem(f"valid_to ({self.valid_to}) is before valid_from ({self.valid_from})")
        _check_attributes(self.attributes)
        if len(self.derived_from) > PARENTS or not all(_is_integer(parent) for parent in self.derived_from):
            raise InvalidItem(f"derived_from holds up to {PARENTS:,} ids of items")


def content_hash(draft: Draft) -> bytes:
    """16 bytes that are equal for two drafts of a scope exactly if they say the same."""
    if draft.attributes or draft.valid_from is not None or draft.valid_to is not None:
        said = [
            draft.kind, draft.text, draft.session, draft.turn, draft.speaker,
            draft.valid_from, draft.valid_to, draft.attributes,
        ]  # fmt: skip
        encoded = json.dumps(said, sort_keys=True)
    else:  # the same bytes: most say no more, and this takes a third of the time
        quoted = map(_quoted, (draft.kind, draft.text, draft.session, draft.speaker))
        kind, text, session, speaker = quoted
        encoded = f"[{kind}, {text}, {session}, {draft.turn:d}, {speaker}, null, null, {{}}]"
    return blake2b(encoded.encode(), digest_size=HASH_BYTES).digest()


def check_text(text: object) -> None:
    """Raises `InvalidItem` if it is no text that can be remembered or asked for."""
    if not isinstance(text, str):
        raise InvalidItem(f"text is to be remembered, not {text!r:.100} (a {type(text).__name__})")
    if not text or text.isspace():
        raise InvalidItem("the text is empty: there is nothing to remember or to look for")
    if len(text) > TEXT_CHARACTERS:
        raise InvalidItem(
            f"the text has {len(text):,} characters: {TEXT_CHARACTERS:,} at most. "
            "Remember it in pieces, with one session and numbered turns."
        )
    _check_encodable("text", text)


def _check_encodable(name: str, text: str) -> None:
    if text.isascii():
        return
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise InvalidItem(
            f"{name} cannot be stored: {error}. Encode it first, for example with errors='replace'."
        ) from None


def _check_name(name: str, value: object) -> None:
    if not isinstance(value, str):
        raise InvalidItem(f"{name} is text, not {value!r:.100}")
    if len(value) > NAME_CHARACTERS:
        raise InvalidItem(f"{name} has {len(value):,} characters: {NAME_CHARACTERS:,} at most")
    _check_encodable(name, value)


def _check_share(name: str, value: object) -> None:
    if not isinstance(value, int | float) or isinstance(value, bool) or not 0 <= value <= 1:
        raise InvalidItem(f"{name} is {value!r}: give a number from 0 to 1")


def _check_time(name: str, value: object) -> None:
    if value is not None and (
        not isinstance(value, int | float) or isinstance(value, bool) or not math.isfinite(value)
    ):
        raise InvalidItem(f"{name} is {value!r}: give seconds since 1970, or None")


def _is_integer(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _check_attributes(attributes: object) -> None:
    if not attributes and isinstance(attributes, dict):
        return
    if not isinstance(attributes, dict) or not all(isinstance(key, str) for key in attributes):
        raise InvalidItem(f"attributes are a dictionary whose keys are text, not {attributes!r:.100}")
    try:
        size = len(json.dumps(attributes, allow_nan=False).encode())
    except (TypeError, ValueError, RecursionError) as error:
        raise InvalidItem(f"attributes are plain JSON: {error} in {attributes!r:.100}") from error
    if size > ATTRIBUTES_BYTES:
        raise InvalidItem(f"attributes take {size:,} bytes: {ATTRIBUTES_BYTES:,} at most")
