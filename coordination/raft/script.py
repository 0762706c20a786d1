"""Scripts: a cluster of Raft replicas under a transcript's commands; the output is that of etcd-io/raft's tests.

Rules:
* A script is deterministic: nothing happens but what its commands make happen.
* What a replica refuses is output. What means nothing (an unknown command, a replica that does not exist) is malformed.
* `stabilize` ends after a bounded number of rounds, with an error, if replicas go on for ever.

Commands: those of etcd-io/raft, package rafttest; docs/raft.md lists them.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace

from actors.errors import ConfigurationError
from coordination.raft import election, replication
from coordination.raft.cases import MembershipCase, committed, vote
from coordination.raft.directive import NODE_OPTIONS, Directive, hand_options, truth, whole
from coordination.raft.display import (
    APPEND_THREAD,
    Envelope,
    StorageAppend,
    StorageApply,
    entries_text,
    envelope_text,
    message_name,
    ready_text,
)
from coordination.raft.hand import Hand, ScriptError
from coordination.raft.membership import Members, MembershipChange, change_from
from coordination.raft.messages import Forward, InstallSnapshot, Snapshot
from coordination.raft.node import Role
from coordination.raft.step import NAMES, tick, transfer
from coordination.raft.transcript import Block, MalformedScript, parse_directive, parse_script

LEVELS = ("DEBUG", "INFO", "WARN", "ERROR", "FATAL", "NONE")
_QUIET = len(LEVELS) - 1
MOST_NODES = 1000
MOST_ROUNDS = 10_000
_WITH_INPUT = ("propose-conf-change", "simple", "enter-joint", "leave-joint")
_MESSAGE_NAMES = {*NAMES.values(), "MsgVote", "MsgPreVote", "MsgVoteResp", "MsgPreVoteResp"} | {
    "MsgStorageAppend",
    "MsgStorageApply",
    "MsgStorageAppendResp",
    "MsgStorageApplyResp",
}


@dataclass
class Script:
    """A cluster under the commands of one transcript. `run` takes its blocks in order."""

    nodes: list[Hand] = field(default_factory=list)
    messages: list[Envelope] = field(default_factory=list)
    level: int = 0
    membership: MembershipCase = field(default_factory=MembershipCase)
    """For the commands that change a configuration without a cluster."""
    _parts: list[str] = field(default_factory=list)

    # --- Running ------------------------------------------------------------------------------------------------

    def run(self, block: Block) -> str:
        """Carries out a block and returns what it prints. Raises `MalformedScript`."""
        self._parts = []
        directive = Directive(block.command, block.arguments, block.input)
        errors = self._carry_out(directive)
        if block.command not in _WITH_INPUT:
            for line in block.input:
                command, arguments = parse_directive(line)
                errors = self._carry_out(Directive(command, arguments)) or errors
        if errors and self.level == _QUIET:
            return errors + "\n"
        output = "".join(self._parts)
        if not output:
            return "ok\n"
        return output if output.endswith("\n") else output + "\n"

    def _carry_out(self, directive: Directive) -> str:
        """Returns the error that is to be shown, if there is one; unless all is quiet it is shown already."""
        handler = _COMMANDS.get(directive.command)
        if handler is None:
            raise MalformedScript(
                f"there is no command `{directive.command}`. There are: {', '.join(sorted(_COMMANDS))}."
            )
        try:
            handler(self, directive)
        except ScriptError as error:
            self.write(str(error))
            return str(error)
        return ""

    def write(self, text: str) -> None:
        """Adds to the output, unless all is quiet."""
        if self.level != _QUIET:
            self._parts.append(text)

    def say(self, level: int, text: str) -> None:
        """A replica's log line."""
        if self.level <= level:
            self.write(f"{LEVELS[level]} {text}\n")

    @contextmanager
    def indented(self) -> Iterator[None]:
        """What is written meanwhile is indented."""
        outer, self._parts = self._parts, []
        try:
            yield
        finally:
            inner = "".join(self._parts)
            self._parts = outer
            self._parts += [f"  {line}\n" for line in inner.splitlines()]

    def node(self, id: int) -> Hand:
        """A replica. Raises `MalformedScript`."""
        if not 1 <= id <= len(self.nodes):
            raise MalformedScript(
                f"there is no node {id}: there are {len(self.nodes)}. `add-nodes` makes more."
            )
        return self.nodes[id - 1]

    def named(self, directive: Directive) -> list[Hand]:
        """The replicas that the words name."""
        return [self.node(directive.number(place, "a node")) for place in range(len(directive.words))]

    def first(self, directive: Directive) -> Hand:
        """The replica that the first word names."""
        return self.node(directive.number(0, "a node"))

    # --- Set up -------------------------------------------------------------------------------------------------

    def add_nodes(self, directive: Directive) -> None:
        """add-nodes N [voters=(..)] [learners=(..)] [index=I] [content=..] [...]."""
        count = directive.number(0, "how many")
        if len(self.nodes) + count > MOST_NODES:
            raise MalformedScript(f"`add-nodes`: a script may have {MOST_NODES} nodes. Add fewer.")
        given = directive.options(*NODE_OPTIONS, "voters", "learners", "index", "content")
        options = hand_options(given)
        voters = tuple(sorted({whole(one, "voters") for one in given.get("voters", ())}))
        learners = tuple(sorted({whole(one, "learners") for one in given.get("learners", ())}))
        index = whole(given["index"][0], "index") if "index" in given else 0
        content = given.get("content", ("",))[0]
        if voters or learners or index or content:
            if index <= 1:
                raise ScriptError("index must be specified as > 1 due to bootstrap")
            first = Snapshot(index, 1, Members(voters, learners=learners), content)
        else:
            first = Snapshot(0, 0, Members(), "")
        for _ in range(count):
            self.nodes.append(Hand(len(self.nodes) + 1, options, first, self.say))

    def log_level(self, directive: Directive) -> None:
        """log-level debug|info|warn|error|fatal|none."""
        self._set_level(directive.words[0] if directive.words else "")

    def _set_level(self, name: str) -> None:
        if name.upper() not in LEVELS:
            raise ScriptError(f"log levels must be either of [{' '.join(LEVELS)}]")
        self.level = LEVELS.index(name.upper())

    # --- Acts ---------------------------------------------------------------------------------------------------

    def campaign(self, directive: Directive) -> None:
        """campaign n."""
        election.hup(self.first(directive).node)

    def propose(self, directive: Directive) -> None:
        """propose n data."""
        node = self.first(directive)
        if len(directive.words) != 2:
            raise MalformedScript("`propose` takes a node and one word of data.")
        node.propose(Forward((directive.words[1],)))

    def propose_conf_change(self, directive: Directive) -> None:
        """propose-conf-change n [v1=true] [transition=auto|implicit|explicit], the changes as input."""
        node = self.first(directive)
        given = directive.options("v1", "transition")
        transition = given.get("transition", ("auto",))[0]
        if transition not in ("auto", "implicit", "explicit"):
            raise ScriptError(f"unknown transition {transition}")
        single = truth(given.get("v1", ("false",))[0], "v1")
        try:
            change: MembershipChange = change_from(" ".join(directive.input), nobody=True)
        except MalformedScript:
            raise
        except ConfigurationError as error:
            raise MalformedScript(str(error)) from None
        if single and (len(change.changes) != 1 or transition != "auto"):
            raise ScriptError("v1 conf change can only have one operation and no transition")
        node.propose(Forward((), MembershipChange(change.changes, transition, single)))  # type: ignore[arg-type]  # it was checked above

    def transfer_leadership(self, directive: Directive) -> None:
        """transfer-leadership from=a to=b."""
        given = directive.options("from", "to")
        if "from" not in given or "to" not in given:
            raise MalformedScript("`transfer-leadership` needs from=a and to=b.")
        source = self.node(whole(given["from"][0], "from"))
        transfer(source.node, self.node(whole(given["to"][0], "to")).id)

    def forget_leader(self, directive: Directive) -> None:
        """forget-leader n."""
        election.forget_leader(self.first(directive).node)

    def report_unreachable(self, directive: Directive) -> None:
        """report-unreachable n m."""
        peer = self.node(directive.number(1, "the node that is unreachable"))
        replication.report_unreachable(self.first(directive).node, peer.id)

    def send_snapshot(self, directive: Directive) -> None:
        """send-snapshot n m."""
        source = self.first(directive)
        to = self.node(directive.number(1, "the node to send to"))
        message = InstallSnapshot(source.node.term, source.history[-1])
        self.messages.append(Envelope(source.id, to.id, message))
        self.write(envelope_text(self.messages[-1]))

    def compact(self, directive: Directive) -> None:
        """compact n index."""
        self.first(directive).compact(directive.number(1, "an index"))
        self.raft_log(directive)

    # --- Time ---------------------------------------------------------------------------------------------------

    def tick_election(self, directive: Directive) -> None:
        """tick-election n: three ticks."""
        self._tick(self.first(directive), 3)

    def tick_heartbeat(self, directive: Directive) -> None:
        """tick-heartbeat n: one tick."""
        self._tick(self.first(directive), 1)

    def _tick(self, node: Hand, count: int) -> None:
        for _ in range(count):
            node.node.now += 1.0
            tick(node.node)

    def set_randomized_election_timeout(self, directive: Directive) -> None:
        """set-randomized-election-timeout n timeout=k."""
        given = directive.options("timeout")
        if "timeout" not in given or not whole(given["timeout"][0], "timeout"):
            raise MalformedScript("`set-randomized-election-timeout` needs timeout=k, 1 or more.")
        self.first(directive).node.election_timeout = float(whole(given["timeout"][0], "timeout"))

    # --- Schedule -----------------------------------------------------------------------------------------------

    def process_ready(self, directive: Directive) -> None:
        """process-ready n..."""
        self._each(directive, "handling Ready", self._process_ready)

    def process_append_thread(self, directive: Directive) -> None:
        """process-append-thread n..."""
        self._each(directive, "processing append thread", self._process_append)

    def process_apply_thread(self, directive: Directive) -> None:
        """process-apply-thread n..."""
        self._each(directive, "processing apply thread", self._process_apply)

    def _each(self, directive: Directive, what: str, act: Callable[[Hand], None]) -> None:
        nodes = self.named(directive)
        for node in nodes:
            if len(nodes) == 1:
                act(node)
                continue
            self.write(f"> {node.id} {what}\n")
            with self.indented():
                act(node)

    def _process_ready(self, node: Hand) -> None:
        ready = node.take_ready()
        self.write(ready_text(ready))
        if not node.options.beside:
            node.store(ready.entries, ready.snapshot)
            node.apply(ready.committed)
        for envelope in ready.messages:
            if envelope.to >= 0:
                self.messages.append(envelope)
            elif envelope.to == APPEND_THREAD:
                node.append_work.append(envelope.message)
            else:
                node.apply_work.append(envelope.message)
        if not node.options.beside:
            node.advance()

    def _process_append(self, node: Hand) -> None:
        if not node.append_work:
            self.write("no append work to perform")
            return
        work: StorageAppend = node.append_work.pop(0)
        asked = Envelope(node.id, APPEND_THREAD, replace(work, responses=()))
        self.write(f"Processing:\n{envelope_text(asked)}\n")
        node.store(work.entries, work.snapshot)
        self._respond(work.responses)

    def _process_apply(self, node: Hand) -> None:
        if not node.apply_work:
            self.write("no apply work to perform")
            return
        work: StorageApply = node.apply_work.pop(0)
        asked = Envelope(node.id, APPEND_THREAD - 1, replace(work, responses=()))
        self.write(f"Processing:\n{envelope_text(asked)}\n")
        node.apply(work.entries)
        self._respond(work.responses)

    def _respond(self, responses: tuple[Envelope, ...]) -> None:
        self.write("Responses:\n" + "".join(envelope_text(one) + "\n" for one in responses))
        self.messages += responses

    def deliver_msgs(self, directive: Directive) -> None:
        """deliver-msgs n... [type=MsgApp] [drop=(m)]."""
        given = directive.options("type", "drop")
        kind = given.get("type", ("",))[0]
        if kind and kind not in _MESSAGE_NAMES:
            raise MalformedScript(
                f"there is no message type {kind}. There are: {', '.join(sorted(_MESSAGE_NAMES))}."
            )
        to = [directive.number(place, "a node") for place in range(len(directive.words))]
        dropped = [whole(one, "drop") for one in given.get("drop", ())]
        both = sorted({*to} & {*dropped})
        if both:
            raise MalformedScript(f"can't both deliver and drop msgs to {both[0]}: name it once.")
        handled = sum(self._deliver(id, kind, drop=False) for id in to)
        handled += sum(self._deliver(id, kind, drop=True) for id in dropped)
        if not handled:
            self.write("no messages\n")

    def _deliver(self, id: int, kind: str = "", *, drop: bool = False) -> int:
        due, self.messages = self._split(id, kind, drop=drop)
        for one in due:
            if drop:
                self.write(f"dropped: {envelope_text(one)}\n")
                continue
            self.write(f"{envelope_text(one)}\n")
            try:
                self.node(id).receive(one)
            except ScriptError as error:
                self.write(f"{error}\n")
        return len(due)

    def _split(self, id: int, kind: str = "", *, drop: bool = False) -> tuple[list[Envelope], list[Envelope]]:
        """The messages for a replica, and the others; what never leaves a machine is not dropped."""
        due: list[Envelope] = []
        rest: list[Envelope] = []
        for one in self.messages:
            fits = (
                one.to == id and not (drop and one.local) and (not kind or message_name(one.message) == kind)
            )
            (due if fits else rest).append(one)
        return due, rest

    def stabilize(self, directive: Directive) -> None:
        """stabilize [n...] [log-level=x]."""
        given = directive.options("log-level")
        nodes = self.named(directive) or self.nodes
        before = self.level
        if "log-level" in given:
            self._set_level(given["log-level"][0])
        try:
            for _ in range(MOST_ROUNDS):
                if not self._round(nodes):
                    return
            raise ScriptError(f"not stable after {MOST_ROUNDS} rounds")
        finally:
            self.level = before

    def _round(self, nodes: list[Hand]) -> bool:
        """Returns whether anything moved."""
        moved = False
        for node in nodes:
            if node.has_ready:
                moved = True
                self.write(f"> {node.id} handling Ready\n")
                with self.indented():
                    self._process_ready(node)
        for node in nodes:
            if self._split(node.id)[0]:
                moved = True
                self.write(f"> {node.id} receiving messages\n")
                with self.indented():
                    self._deliver(node.id)
        for node in nodes:
            if node.append_work:
                moved = True
                self.write(f"> {node.id} processing append thread\n")
                while node.append_work:
                    with self.indented():
                        self._process_append(node)
        for node in nodes:
            if node.apply_work:
                moved = True
                self.write(f"> {node.id} processing apply thread\n")
                while node.apply_work:
                    with self.indented():
                        self._process_apply(node)
        return moved

    # --- Looks --------------------------------------------------------------------------------------------------

    def raft_log(self, directive: Directive) -> None:
        """raft-log n."""
        storage = self.first(directive).storage
        if not storage.entries:
            self.write(f"log is empty: first index={storage.base + 1}, last index={storage.last}")
        self.write(entries_text(storage.entries))

    def raft_state(self, directive: Directive) -> None:
        """raft-state."""
        for node in self.nodes:
            inner = node.node
            voter = "(Voter)" if node.id in inner.members.all_voters else "(Non-Voter)"
            self.write(f"{node.id}: {inner.role.value} {voter} Term:{inner.term} Lead:{inner.leader}\n")

    def status(self, directive: Directive) -> None:
        """status n."""
        inner = self.first(directive).node
        if inner.role is Role.LEADER:
            for peer, progress in inner.progress.items():
                self.write(f"{peer}: {progress}\n")

    # --- Cases without a cluster --------------------------------------------------------------------------------

    def committed(self, directive: Directive) -> None:
        """committed cfg=(..) [cfgj=(..)] idx=(..)."""
        self.write(committed(directive))

    def vote(self, directive: Directive) -> None:
        """vote cfg=(..) [cfgj=(..)] votes=(..)."""
        self.write(vote(directive))

    def change_members(self, directive: Directive) -> None:
        """simple, enter-joint [autoleave=true] or leave-joint, the changes as input."""
        self.write(self.membership.changed(directive))

    def breakpoint(self, directive: Directive) -> None:
        """_breakpoint: nothing."""


_COMMANDS: dict[str, Callable[[Script, Directive], None]] = {
    "_breakpoint": Script.breakpoint,
    "committed": Script.committed,
    "enter-joint": Script.change_members,
    "leave-joint": Script.change_members,
    "simple": Script.change_members,
    "vote": Script.vote,
    "add-nodes": Script.add_nodes,
    "campaign": Script.campaign,
    "compact": Script.compact,
    "deliver-msgs": Script.deliver_msgs,
    "forget-leader": Script.forget_leader,
    "log-level": Script.log_level,
    "process-append-thread": Script.process_append_thread,
    "process-apply-thread": Script.process_apply_thread,
    "process-ready": Script.process_ready,
    "propose": Script.propose,
    "propose-conf-change": Script.propose_conf_change,
    "raft-log": Script.raft_log,
    "raft-state": Script.raft_state,
    "report-unreachable": Script.report_unreachable,
    "send-snapshot": Script.send_snapshot,
    "set-randomized-election-timeout": Script.set_randomized_election_timeout,
    "stabilize": Script.stabilize,
    "status": Script.status,
    "tick-election": Script.tick_election,
    "tick-heartbeat": Script.tick_heartbeat,
    "transfer-leadership": Script.transfer_leadership,
}


def play(text: str, name: str) -> tuple[list[Block], list[str]]:
    """Runs a transcript: its blocks, and what each printed. Raises `MalformedScript` with `name:line`."""
    blocks = parse_script(text, name)
    script = Script()
    outputs = []
    for block in blocks:
        try:
            outputs.append(script.run(block))
        except MalformedScript as error:
            raise MalformedScript(f"{name}:{block.line}: {error}") from None
    return blocks, outputs
