"""Items for tests of ranking and what stands on it."""

from memory.item import Item, Kind
from memory.scope import Scope

HERE = Scope("acme", swarm="s1")


def item_of(number: int, text: str, **fields: object) -> Item:
    """An item with what a test does not name left at its default; a note unless told otherwise."""
    told = {"id": number, "scope": HERE, "kind": Kind.NOTE, "text": text, **fields}
    return Item(**told)  # type: ignore[arg-type]  # the fields are the test's own


def turn(number: int, text: str, speaker: str = "Ada", session: str = "one", **fields: object) -> Item:
    """A turn of a conversation."""
    told = {"kind": Kind.EPISODE, "session": session, "turn": number, "speaker": speaker, **fields}
    return item_of(number, text, **told)


def fact(number: int, subject: str, relation: str, object_: str, **fields: object) -> Item:
    """An item that states a fact."""
    attributes = {"subject": subject, "relation": relation, "object": object_, "literal": False}
    told = {"kind": Kind.FACT, "attributes": attributes, **fields}
    return item_of(number, f"{subject} {relation} {object_}", **told)
