"""Cases of quorums and configurations, without a cluster, in the words of etcd-io/raft's tests (quorum, confchange).

`committed cfg=(1,2) cfgj=(2,3) idx=(5,_,7)` draws a bar for each voter, longer for who is further, and the index that
a quorum has reached. `vote cfg=(1,2,3) votes=(y,n,_)` says how a vote stands. `_`: not heard of. `cfgj=zero`: an empty
half. `simple`, `enter-joint` and `leave-joint` change a configuration, which begins empty, and show it.

Rule: a quorum system's laws are looked at in every case, and a breach is printed: halves commute, an empty half or
twice the same half changes nothing, nor does lowering what is below the answer.
"""

from coordination.quorum import UNBOUNDED, Joint, Threshold, majority
from coordination.raft.directive import Directive, truth, whole
from coordination.raft.membership import InvalidChange, Members, change_from
from coordination.raft.progress import Progress
from coordination.raft.transcript import MalformedScript


def committed(directive: Directive) -> str:
    """Draws what each voter has reached, and says what a quorum has."""
    voters, half, joint, values = _input(directive, "idx")
    reached = {voter: whole(text, "idx") for voter, text in values.items() if text != "_"}
    if any(index == 0 for index in reached.values()):
        raise MalformedScript("`committed`: an index is 0. Write _ for a voter that was not heard of.")
    everybody = majority((*voters.members, *half.members))
    system = Joint(voters, half)
    answer = system.committed(reached) if joint else voters.committed(reached)
    text = _bars(everybody.members, reached)
    for name, other in _alternatives(voters, half, joint):
        if other.committed(reached) != answer:
            text += f"{_index(other.committed(reached))} <-- via {name}\n"
    for voter, index in sorted(reached.items()):
        if not joint and index < answer and voters.committed({**reached, voter: index - 1}) != answer:
            text += f"<-- overlaying {voter}->{index}\n"
    return f"{text}{_index(answer)}\n"


def vote(directive: Directive) -> str:
    """Says how a vote stands."""
    voters, half, joint, values = _input(directive, "votes")
    strange = [text for text in values.values() if text not in ("y", "n", "_")]
    if strange:
        raise MalformedScript(f"`vote`: {strange[0]} is no vote. Write y, n or _.")
    votes = {voter: text == "y" for voter, text in values.items() if text != "_"}
    answer = (Joint(voters, half) if joint else voters).vote_result(votes)
    text = ""
    for name, other in _alternatives(voters, half, joint):
        if other.vote_result(votes) is not answer:
            text += f"{other.vote_result(votes).value} <-- via {name}\n"
    return f"{text}{answer.value}\n"


def _alternatives(voters: Threshold, half: Threshold, joint: bool) -> list[tuple[str, Joint]]:
    if joint:
        return [("symmetry", Joint(half, voters))]
    return [("zero-joint quorum", Joint(voters, majority(()))), ("self-joint quorum", Joint(voters, voters))]


def _input(directive: Directive, kind: str) -> tuple[Threshold, Threshold, bool, dict[int, str]]:
    """Both halves, whether there are two, and what each voter says, in the order in which they are first named."""
    given = directive.options("cfg", "cfgj", kind)
    zero = given.get("cfgj") == ("zero",)
    first = [whole(one, "cfg") for one in given.get("cfg", ())]
    second = [] if zero else [whole(one, "cfgj") for one in given.get("cfgj", ())]
    order = list(dict.fromkeys([*first, *second]))
    values = given.get(kind, ())
    if len(values) != len(order):
        raise MalformedScript(
            f"`{directive.command}`: {kind} has {len(values)} values for {len(order)} voters."
        )
    said = dict(zip(order, values, strict=True))
    return majority(first), majority(second), "cfgj" in given, said


def _index(index: int) -> str:
    return "\u221e" if index == UNBOUNDED else str(index)


def _bars(voters: tuple[int, ...], reached: dict[int, int]) -> str:
    count = len(voters)
    if not count:
        return "<empty majority quorum>"
    ordered = sorted(reached.get(voter, 0) for voter in voters)
    lines = [" " * count + "    idx\n"]
    for voter in voters:
        index = reached.get(voter, 0)
        bar = ordered.index(index)
        drawn = f"{'x' * bar}>{' ' * (count - bar)}" if voter in reached else "?" + " " * count
        lines.append(f"{drawn} {index:5d}    (id={voter})\n")
    return "".join(lines)


class MembershipCase:
    """A configuration that commands change, and the progress of its members."""

    def __init__(self) -> None:
        self.members = Members()
        self.progress: dict[int, Progress] = {}
        self.commands = 0

    def changed(self, directive: Directive) -> str:
        """Carries out `simple`, `enter-joint` or `leave-joint` and shows the configuration, or why it stays."""
        last = self.commands
        self.commands += 1
        changes = change_from(" ".join(directive.input), nobody=True).changes
        try:
            if directive.command == "simple":
                members = self.members.simple(changes)
            elif directive.command == "enter-joint":
                given = directive.options("autoleave").get("autoleave", ("false",))
                members = self.members.enter_joint(changes, autoleave=truth(given[0], "autoleave"))
            elif changes:
                raise InvalidChange("this command takes no input")
            else:
                members = self.members.leave_joint()
        except InvalidChange as error:
            return f"{error}\n"
        self.members = members
        self.progress = {member: self.progress.get(member) or _added(last) for member in members.everybody}
        for member, progress in self.progress.items():
            progress.learner = member in members.learners
        lines = "".join(f"{member}: {progress}\n" for member, progress in self.progress.items())
        return f"{members}\n{lines}"


def _added(last: int) -> Progress:
    progress = Progress(max(last, 1), 10)
    progress.active = True
    return progress
