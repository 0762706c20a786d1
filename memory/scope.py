"""Scopes: whose memory an item is, and who sees it. All rules of visibility are here, and nowhere else.

A scope names a tenant and, as far as it goes, a swarm, a role, an agent and a session. An item lives in exactly one.

Rules:
* **Seen**: an item is seen by a reader exactly if each level that the item's scope names is named alike by the reader's
  scope. So what lives at a tenant is seen by its swarms and agents; what lives at an agent is seen by that agent alone;
  and a reader that leaves a level out sees nothing that names it: less said is less seen, never more.
* **Erased**: what is private (its scope names an agent or a session) by whoever sees it; what is shared only by a
  reader that acts at that very scope.
* **Purged**: whoever may erase an item may erase what was derived from it, wherever in the tenant it lives.
* **Corrected**: by whoever sees it. A correction supersedes and erases nothing.
* A scope that cannot be read, or has no tenant, is an error: nothing falls back to a wider scope.

A reader of n levels below the tenant sees 2^n scopes, at most 16: they are listed and looked up one by one, so a
scope that is not in the list cannot be reached by any search.
"""

import sys
from dataclasses import dataclass
from functools import lru_cache
from hashlib import blake2b
from itertools import product
from typing import Any, Final
from urllib.parse import quote, unquote

from memory.errors import InvalidScope

LEVELS: Final = ("tenant", "swarm", "role", "agent", "session")
NAME_CHARACTERS: Final = 200
SLOTS: Final = 1024
"""Scopes are spread over so many slots, and slots over shards. Fixed for ever: the slot is part of an item's id."""
_REMEMBERED = 10_000
_EXAMPLE = 'for example "tenant=acme/swarm=s1/role=bidder/agent=bidder%2F17"'


@dataclass(frozen=True, slots=True)
class Scope:
    """Whose memory. Levels that are left out are empty; the tenant may not be."""

    tenant: str
    swarm: str = ""
    role: str = ""
    agent: str = ""
    session: str = ""

    def __post_init__(self) -> None:
        for level in LEVELS:
            _check_name(level, getattr(self, level))
        if not self.tenant:
            raise InvalidScope(
                f"a scope names its tenant, and this one does not: {self!r}. Give tenant='...'."
            )
        # Scopes are keys of every index: equal names are then one object, and compare at once.
        for level in LEVELS:
            object.__setattr__(self, level, sys.intern(getattr(self, level)))

    def __reduce__(self) -> tuple[Any, ...]:
        """Scopes go with every call between processes: one that has come before is not made and checked again."""
        return _come, (self.tenant, self.swarm, self.role, self.agent, self.session)

    @property
    def path(self) -> str:
        """The scope as text, `tenant=a/swarm=b`; names are percent-encoded. `parse` reads it."""
        return _path(self)

    @property
    def slot(self) -> int:
        """The slot that the scope falls into: 0 to `SLOTS` - 1, the same on every machine."""
        return _slot(self)

    @staticmethod
    def parse(text: str) -> "Scope":
        """The scope that `path` wrote. Raises `InvalidScope` for anything else."""
        names: dict[str, str] = {}
        for piece in text.split("/") if isinstance(text, str) else [""]:
            level, equals, name = piece.partition("=")
            if not equals or level not in LEVELS or level in names or not name:
                raise InvalidScope(f"{text!r} is no scope: write {_EXAMPLE}.")
            names[level] = unquote(name)
        if "tenant" not in names:
            raise InvalidScope(f"{text!r} does not name its tenant: write {_EXAMPLE}.")
        return Scope(**names)

    def sees(self, other: "Scope") -> bool:
        """True if a reader of this scope sees what lives in the other."""
        return (
            other.tenant == self.tenant
            and other.swarm in ("", self.swarm)
            and other.role in ("", self.role)
            and other.agent in ("", self.agent)
            and other.session in ("", self.session)
        )

    def seen(self) -> "tuple[Scope, ...]":
        """All scopes that a reader of this one sees: at most 16, itself last."""
        return _seen(self)

    def may_erase(self, other: "Scope") -> bool:
        """True if a reader of this scope may erase what lives in the other."""
        return self.sees(other) and (bool(other.agent or other.session) or other == self)


def checked(scope: object) -> Scope:
    """`scope`, if it is one. Everything that takes a scope from outside passes here; there is no default."""
    if isinstance(scope, Scope):
        return scope
    raise InvalidScope(
        f"{scope!r} is no scope: give Scope(tenant=...), or Scope.parse of a text, {_EXAMPLE}. "
        "Without one nothing is seen."
    )


@lru_cache(maxsize=_REMEMBERED)
def _come(tenant: str, swarm: str, role: str, agent: str, session: str) -> Scope:
    return Scope(tenant, swarm, role, agent, session)


@lru_cache(maxsize=_REMEMBERED)
def _path(scope: Scope) -> str:
    return "/".join(f"{level}={quote(name, safe='')}" for level in LEVELS if (name := getattr(scope, level)))


@lru_cache(maxsize=_REMEMBERED)
def _slot(scope: Scope) -> int:
    return int.from_bytes(blake2b(_path(scope).encode(), digest_size=4).digest(), "little") % SLOTS


@lru_cache(maxsize=_REMEMBERED)
def _seen(reader: Scope) -> tuple[Scope, ...]:
    choices = [
        ("", name) if name else ("",) for name in (reader.swarm, reader.role, reader.agent, reader.session)
    ]
    return tuple(Scope(reader.tenant, *names) for names in product(*choices))


def _check_name(level: str, name: object) -> None:
    if not isinstance(name, str):
        raise InvalidScope(f"the {level} of a scope is text, not {name!r}")
    if len(name) > NAME_CHARACTERS:
        raise InvalidScope(
            f"the {level} of a scope has {len(name)} characters: {NAME_CHARACTERS} at most ({name[:40]!r}...)"
        )
    if name and not name.isprintable():
        raise InvalidScope(f"the {level} of a scope holds a character that cannot be printed: {name!r}")
