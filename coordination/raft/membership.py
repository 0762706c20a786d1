"""Membership: who votes and who only learns, and how that changes.

Rules:
* A change is an entry of the log and takes effect when it is applied, on every replica at the same index.
* One change at a time: a leader appends a change only when it has applied the one before.
* A change of at most one voter is made at once (`simple`). Any other goes through a joint configuration, in which both
  the old voters and the new must agree, and is left by a second entry: by itself if `autoleave`, else by an empty
  change.
* A voter that becomes a learner stays a voter until the joint configuration is left (`learners_next`).
* A change that makes no sense (no voters left, joint while joint) raises nothing where it is applied: it changes
  nothing, on every replica alike. Leaders refuse it before that.
* Id 0 is nobody: what is to be done with it is passed over, so that whoever is above the log can void a change there.

Source: Ongaro 2014, chapter 4; the words and the form of etcd-io/raft, package confchange.
"""

from collections.abc import Iterable
from typing import Literal

import msgspec

from actors.errors import ConfigurationError
from coordination.quorum import Joint, QuorumSystem, majority

KINDS = {"v": "voter", "l": "learner", "r": "remove", "u": "update"}
MOST_CHANGES = 1000
"""The most replicas that one change may name: what comes from outside is bounded."""

Transition = Literal["auto", "implicit", "explicit"]


class MembershipChange(msgspec.Struct, frozen=True, gc=False, array_like=True):
    """A change of members: (letter, id) pairs, `v` voter, `l` learner, `r` remove, `u` update; none leaves joint.

    `transition`: "auto" is joint only if it must be; "implicit" is joint and leaves by itself; "explicit" is joint
    until an empty change leaves it. `single` marks one change in the older form, which never is joint.
    """

    changes: tuple[tuple[str, int], ...] = ()
    transition: Transition = "auto"
    single: bool = False

    @property
    def leaves_joint(self) -> bool:
        """Whether this is the change that leaves a joint configuration."""
        return not self.changes and self.transition == "auto" and not self.single

    @property
    def enters_joint(self) -> bool:
        """Whether it goes through a joint configuration."""
        return not self.single and (self.transition != "auto" or len(self.changes) > 1)

    @property
    def autoleave(self) -> bool:
        """Whether the leader leaves that joint configuration by itself."""
        return self.transition != "explicit"

    def __str__(self) -> str:
        return " ".join(f"{letter}{member}" for letter, member in self.changes)


def change_from(
    text: str, transition: Transition = "auto", *, single: bool = False, nobody: bool = False
) -> MembershipChange:
    """A change from words such as `v3 l4 r1 u2`; id 0 is refused but with `nobody`. Raises `ConfigurationError`."""
    changes = []
    first = 0 if nobody else 1
    for word in text.split():
        if word[0] not in KINDS or not word[1:].isdecimal() or not first <= int(word[1:]) < 2**63:
            raise ConfigurationError(
                f"membership: '{word}' is no change. Write v3 (voter), l3 (learner), r3 (remove) or u3 (update)."
            )
        changes.append((word[0], int(word[1:])))
    if len(changes) > MOST_CHANGES:
        raise ConfigurationError(f"membership: {len(changes)} changes at once. Give at most {MOST_CHANGES}.")
    return MembershipChange(tuple(changes), transition, single)


class InvalidChange(ConfigurationError):
    """A change of members that the present configuration does not allow."""


class Members(msgspec.Struct, frozen=True, gc=False, array_like=True):
    """A configuration. Every tuple rises."""

    voters: tuple[int, ...] = ()
    outgoing: tuple[int, ...] = ()
    """The old voters while joint, else none."""
    learners: tuple[int, ...] = ()
    learners_next: tuple[int, ...] = ()
    """Old voters that become learners when joint is left."""
    autoleave: bool = False

    @property
    def joint(self) -> bool:
        """Whether two majorities are needed."""
        return bool(self.outgoing)

    @property
    def all_voters(self) -> tuple[int, ...]:
        """Voters of either half."""
        return tuple(sorted({*self.voters, *self.outgoing}))

    @property
    def everybody(self) -> tuple[int, ...]:
        """Voters and learners."""
        return tuple(sorted({*self.voters, *self.outgoing, *self.learners}))

    @property
    def quorum(self) -> QuorumSystem:
        """Who decides."""
        incoming = majority(self.voters)
        return Joint(incoming, majority(self.outgoing)) if self.outgoing else incoming

    def changed(self, change: MembershipChange) -> "Members":
        """The configuration after a change. Raises `InvalidChange`."""
        if change.leaves_joint:
            return self.leave_joint()
        if change.enters_joint:
            return self.enter_joint(change.changes, autoleave=change.autoleave)
        return self.simple(change.changes)

    def simple(self, changes: Iterable[tuple[str, int]]) -> "Members":
        """Changes at once, of at most one voter. Raises `InvalidChange`."""
        if self.joint:
            raise InvalidChange("can't apply simple config change in joint config")
        after = self._applied(changes)
        if len({*self.voters} ^ {*after.voters}) > 1:
            raise InvalidChange("more than one voter changed without entering joint config")
        return after

    def enter_joint(self, changes: Iterable[tuple[str, int]], *, autoleave: bool) -> "Members":
        """Both the voters as they are and as they will be. Raises `InvalidChange`."""
        if self.joint:
            raise InvalidChange("config is already joint")
        if not self.voters:
            raise InvalidChange("can't make a zero-voter config joint")
        joint = msgspec.structs.replace(self, outgoing=self.voters)
        return msgspec.structs.replace(joint._applied(changes), autoleave=autoleave)

    def leave_joint(self) -> "Members":
        """The new voters alone. Raises `InvalidChange`."""
        if not self.joint:
            raise InvalidChange("can't leave a non-joint config")
        return Members(self.voters, (), tuple(sorted({*self.learners, *self.learners_next})))

    def _applied(self, changes: Iterable[tuple[str, int]]) -> "Members":
        voters, learners, staged = {*self.voters}, {*self.learners}, {*self.learners_next}
        for letter, member in changes:
            if letter == "u" or not member:
                continue
            if letter == "l" and member in learners:
                continue
            voters.discard(member)
            learners.discard(member)
            staged.discard(member)
            if letter == "v":
                voters.add(member)
            elif letter == "l":
                (staged if member in self.outgoing else learners).add(member)
        if not voters:
            raise InvalidChange("removed all voters")
        return Members(
            tuple(sorted(voters)),
            self.outgoing,
            tuple(sorted(learners)),
            tuple(sorted(staged)),
            self.autoleave,
        )

    def __str__(self) -> str:
        text = f"voters={_set(self.voters)}"
        if self.outgoing:
            text += f"&&{_set(self.outgoing)}"
        if self.learners:
            text += f" learners={_set(self.learners)}"
        if self.learners_next:
            text += f" learners_next={_set(self.learners_next)}"
        return text + (" autoleave" if self.autoleave else "")


def _set(members: tuple[int, ...]) -> str:
    return "(" + " ".join(map(str, members)) + ")"
