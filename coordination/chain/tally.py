"""Counting signed votes, each signer's latest only: so memory is one entry a signer, whatever views liars name."""

from typing import Generic, TypeVar

Key = TypeVar("Key")
Item = TypeVar("Item")


class Tally(Generic[Key, Item]):
    """Items by key, one a signer. A signer's item of a later view takes the place of its earlier one."""

    def __init__(self) -> None:
        self._latest: dict[int, tuple[int, Key]] = {}
        self._items: dict[Key, dict[int, Item]] = {}

    def add(self, signer: int, view: int, key: Key, item: Item) -> dict[int, Item]:
        """Counts an item, unless the signer's of this view or a later one is there. All items of the key, by signer."""
        latest = self._latest.get(signer)
        if latest is not None:
            if latest[0] >= view:
                return self._items.get(key, {})
            items = self._items[latest[1]]
            del items[signer]
            if not items:
                del self._items[latest[1]]
        self._latest[signer] = (view, key)
        there = self._items.get(key)
        if there is None:
            there = self._items[key] = {}
        there[signer] = item
        return there

    def has(self, signer: int, view: int) -> bool:
        """Whether the signer's item of this view or a later one is counted."""
        latest = self._latest.get(signer)
        return latest is not None and latest[0] >= view

    def at(self, signer: int, view: int) -> Item | None:
        """The signer's item of this very view, if it is the latest."""
        latest = self._latest.get(signer)
        return self._items[latest[1]][signer] if latest is not None and latest[0] == view else None

    def of(self, key: Key) -> dict[int, Item]:
        """All items of a key, by signer."""
        return self._items.get(key, {})
