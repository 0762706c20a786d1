"""One directive of a script, and what its words and options may be.

Rules: what is not understood is malformed, with the command, the fault and what there is instead; nothing is ignored.
"""

from dataclasses import dataclass

from coordination.protocol import NEVER
from coordination.raft.hand import HandOptions, ScriptError
from coordination.raft.node import NodeOptions
from coordination.raft.transcript import Argument, MalformedScript

_UNLIMITED = 2**62


@dataclass(frozen=True)
class Directive:
    """A command with its arguments, and what reading them can go wrong with."""

    command: str
    arguments: tuple[Argument, ...]
    input: tuple[str, ...] = ()

    @property
    def words(self) -> list[str]:
        """The arguments without values."""
        return [argument.key for argument in self.arguments if argument.word]

    def number(self, place: int, what: str) -> int:
        """A word that is a number."""
        words = self.words
        if place >= len(words) or not words[place].isdigit():
            raise MalformedScript(f"`{self.command}` needs {what} as word {place + 1}, a whole number.")
        return int(words[place])

    def options(self, *known: str) -> dict[str, tuple[str, ...]]:
        """The arguments with values."""
        found = {argument.key: argument.values for argument in self.arguments if not argument.word}
        for key, values in found.items():
            if key not in known:
                raise MalformedScript(
                    f"`{self.command}` knows no {key!r}. It knows: {', '.join(known) or 'none'}."
                )
            if not values and key not in ("voters", "learners", "cfg", "cfgj", "idx", "votes", "drop"):
                raise MalformedScript(f"`{self.command}`: {key} has no value. Give one.")
        return found


def whole(text: str, what: str) -> int:
    """A whole number. Raises `MalformedScript`."""
    if not text.isdigit() or int(text) >= 2**62:
        raise MalformedScript(f"{what}={text} is no whole number. Give one of 0 or more.")
    return int(text)


def truth(text: str, what: str) -> bool:
    """True or false. Raises `MalformedScript`."""
    if text.lower() not in ("true", "false", "1", "0", "t", "f"):
        raise MalformedScript(f"{what}={text} is neither true nor false. Give one of them.")
    return text.lower() in ("true", "1", "t")


NODE_OPTIONS = (
    "inflight",
    "async-storage-writes",
    "prevote",
    "checkquorum",
    "max-committed-size-per-ready",
    "disable-conf-change-validation",
    "read-only",
    "step-down-on-removal",
)


def hand_options(given: dict[str, tuple[str, ...]]) -> HandOptions:
    """The options of `add-nodes`. Raises `MalformedScript`."""

    def flag(name: str) -> bool:
        return truth(given.get(name, ("false",))[0], name)

    read_only = given.get("read-only", ("safe",))[0]
    if read_only not in ("safe", "lease-based"):
        raise ScriptError(f'invalid read-only option "{read_only}"')
    inflight = whole(given.get("inflight", (str(2**31 - 1),))[0], "inflight")
    size = given.get("max-committed-size-per-ready")
    node = NodeOptions(
        election_s=3.0,
        heartbeat_s=1.0,
        pre_vote=flag("prevote"),
        check_quorum=flag("checkquorum"),
        lease_reads=read_only == "lease-based",
        step_down_on_removal=flag("step-down-on-removal"),
        check_changes=not flag("disable-conf-change-validation"),
        snapshots_name_us=True,
        most_inflight=max(1, inflight),
        most_commands=_UNLIMITED,
        most_uncommitted=_UNLIMITED,
    )
    if node.lease_reads and not node.check_quorum:
        raise MalformedScript("read-only=lease-based needs checkquorum=true: add it.")
    limit = float(whole(size[0], "max-committed-size-per-ready")) if size else NEVER
    return HandOptions(node, flag("async-storage-writes"), limit or NEVER)
