"""The survey of a library: modules of Python auctioned to surveyors, one task each.

The auction is the Contract Net (Smith, IEEE Trans. Computers, 1980) in the words of FIPA's protocol of that name
(SC00029H): call for proposals, propose, accept, inform. Work is an A2A task; what comes of it is its artifact.

A surveyor bids its load, the bytes that it has been given so far, and the lowest bid wins; of equal ones, the first
address. Modules of a lot are auctioned at the same time: a surveyor that wins one has its bid raised by that module's
size for the others. Larger modules go first, so this is the LPT rule, whose makespan is at most 4/3 of the best one
(Graham, "Bounds on multiprocessing timing anomalies", 1969). `--set allocation=NAME` shares lots out by another
mechanism from the same bids (`survey_allocation.py`), and `--set consensus.protocol=NAME` has awards decided by the
replicas of a log before they count (`survey_log.py`).

Rules:
* The modules are announced in a fixed number of lots of equal bytes, one every `period`. So half the work is half the
  rounds, whatever the input: an experiment can put a crash exactly there.
* A surveyor is not asked whether it lives. Whoever has not reported when `patience` is over has lost the award: the
  task is announced again, up to `offers` times in all, and has then failed. So is a task that nobody bids for.
* Only the present holder's report counts. A late or doubled one is counted and ignored: no task ends twice.
* A module that cannot be read or parsed is a failed task with its reason.
* Where the experiment has a memory, surveyors leave in it what each module says of itself (`module_notes.py`), for
  `rayswarm recall`. What is found does not depend on it, nor does the number of cells or crashes show in it.
"""

from collections.abc import Awaitable
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from actors.a2a import from_json, to_json
from actors.address import role_of
from actors.agent import Agent
from actors.card import AgentCard, AgentSkill
from actors.context import Context
from actors.errors import ConfigurationError, EffectFailed
from actors.message import Message, Part
from actors.task import Artifact, Task, TaskState
from coordination.auctions.mechanism import named
from experiments.module_notes import read_and_remember
from experiments.python_source import EXCLUDED, Listing, SourceFile, Summary, source_files, summary_of
from experiments.survey_allocation import ALLOCATIONS, DEFAULT, shared_out
from experiments.survey_log import PERIOD, ROLE, AwardBook, log_settings, replica_role

if TYPE_CHECKING:
    from cluster.experiment import Experiment

_TICK = "tick"


class Act(StrEnum):
    """What a message of the auction does."""

    CALL = "cfp"
    """A task is announced."""
    PROPOSE = "propose"
    """A surveyor bids its load, in bytes."""
    ACCEPT = "accept-proposal"
    """The task is the recipient's."""
    INFORM = "inform"
    """The task is done, with its artifact, or failed, with the reason."""


class Award(msgspec.Struct, frozen=True):
    """A task in work."""

    surveyor: str
    until: float
    """When it is lost."""


class Ledger(msgspec.Struct):
    """What a surveyor did."""

    modules: int = 0
    """Reported, failed ones included."""
    failed: int = 0
    lines: int = 0
    bytes: int = 0
    lost: int = 0
    """Awards that it did not report on in time."""
    paid: int = 0
    """What its awards were priced at, in bytes; 0 where the allocation knows no prices."""


class Surveyor(Agent):
    """Bids for modules, and reads those that it wins."""

    card = AgentCard(
        name="surveyor",
        description="Reads a Python module: its public names, docstring, imports and size.",
        skills=(
            AgentSkill(
                id="survey",
                name="Survey a module",
                description="Parses the module at a URI below the root, without importing it.",
                tags=("python", "ast"),
            ),
        ),
    )

    def __init__(self, root: str = "", *, remembers: bool = False) -> None:
        self.root = root
        """The folder of the tree; empty for the standard library."""
        self.remembers = remembers
        """Whether what is read goes into the swarm's memory."""
        self.load_bytes = 0
        """The size of all tasks won so far: what the auction keeps even."""

    async def on_message(self, message: Message, context: Context) -> None:
        """A call for proposals, or a task won."""
        task = from_json(Task, message.data["task"])
        file = _file_of(task)
        if message.data["act"] == Act.CALL:
            context.reply({"act": Act.PROPOSE, "load_bytes": self.load_bytes})
            return
        self.load_bytes += file["bytes"]
        try:
            summary: Summary = await self._read(file, context)
        except EffectFailed as error:  # what nobody foresaw of a file is a finding too
            summary = Summary(reason=f"the reader failed: {error}")
        if "reason" in summary:
            context.reply({"act": Act.INFORM, "state": TaskState.FAILED, "reason": summary["reason"]})
            return
        artifact = Artifact(
            "summary", (Part("data", summary),), name=task.id, description=summary["docstring"]
        )
        context.reply({"act": Act.INFORM, "state": TaskState.COMPLETED, "artifact": to_json(artifact)})

    def _read(self, file: SourceFile, context: Context) -> Awaitable[Any]:
        """Reads a module; reading and remembering are one effect, so a recovery does both again or neither."""
        if self.remembers:
            return context.effect(read_and_remember, self.root, file, context.memory)
        return context.effect(summary_of, self.root, file)


class Auctioneer(Agent):
    """Announces each module of a tree as a task, awards it, and keeps the tasks' states."""

    def __init__(
        self,
        *,
        root: str = "",
        excluded: list[str] | None = None,
        lots: int = 20,
        period: float = 3.0,
        patience: float = 3.0,
        offers: int = 3,
        allocation: str = DEFAULT,
        log: dict[str, Any] | None = None,
    ) -> None:
        if lots < 1 or offers < 1:
            raise ConfigurationError(f"auctioneer: lots {lots} and offers {offers} must be 1 or more.")
        if period < 3.0 or patience < 2.0:
            # The call, the bids and the award need a round each; the award and the report too.
            raise ConfigurationError(
                f"auctioneer: period {period:g} and patience {patience:g} leave no time for an answer. "
                f"Give a period of 3 or more and a patience of 2 or more."
            )
        self.allocation = named(allocation, dict.fromkeys(ALLOCATIONS), "allocation")
        """How a lot is shared out: see `survey_allocation.py`."""
        self.book = None if log is None else AwardBook.of(log)
        """Where awards are decided before they count; None: they count at once."""
        self.root = root
        """The folder of the tree; empty for the standard library."""
        self.excluded = list(EXCLUDED) if excluded is None else excluded
        """Names of folders that are left out."""
        self.period = period
        """From one lot to the next."""
        self.patience = patience
        """From an award to its loss."""
        self.offers = offers
        """How often a task is announced before it has failed."""
        self.lots: list[list[str]] = [[] for _ in range(lots)]
        """Tasks not yet announced, in the order of announcement."""
        self.tasks: dict[str, Task] = {}
        self.offered: dict[str, int] = {}
        """How often each task was announced."""
        self.bids: dict[str, dict[str, int]] = {}
        """For each task of the present auction the loads that were bid, by surveyor."""
        self.awards: dict[str, Award] = {}
        self.ledgers: dict[str, Ledger] = {}
        self.ignored = 0
        """Reports that came late or twice."""

    async def on_start(self, context: Context) -> None:
        """Lists the modules and announces the first lot."""
        listing: Listing = await context.effect(source_files, self.root, self.excluded)
        for file in listing["files"]:
            self.tasks[file["name"]] = Task(file["name"], "survey", metadata=dict(file))
        context.result("folders_not_read", listing["unreadable"])
        self._divide()
        self._turn_over(context)

    def _divide(self) -> None:
        """Puts the tasks into lots of about equal bytes, larger tasks first."""
        # One more each: an empty file is work too.
        sizes = {name: _size_of(task) + 1 for name, task in self.tasks.items()}
        total, before = sum(sizes.values()), 0
        for name in sorted(sizes, key=lambda name: (-sizes[name], name)):
            self.lots[before * len(self.lots) // total].append(name)
            before += sizes[name]

    async def on_message(self, message: Message, context: Context) -> None:
        """The time for the next lot, a bid, or a report."""
        if message.sender == context.address:
            self._turn_over(context)
        elif self.book is not None and role_of(message.sender) == ROLE:
            for name, surveyor in self.book.take(message, context):
                self._accept(name, surveyor, context)
        elif message.data["act"] == Act.PROPOSE:
            self.ledgers.setdefault(message.sender, Ledger())
            if message.task_id in self.bids:
                self.bids[message.task_id][message.sender] = message.data["load_bytes"]
        else:
            self._take_report(message, context)

    def _turn_over(self, context: Context) -> None:
        """One lot ends, the next begins."""
        self._award(context)
        again = [*self._not_awarded(), *self._overdue(context)]
        present = self.lots.pop(0) if self.lots else []
        for name in sorted([*present, *again], key=lambda name: (-_size_of(self.tasks[name]), name)):
            self._announce(name, context)
        open_tasks = sum(1 for task in self.tasks.values() if not task.state.is_terminal)
        context.record("tasks_open", open_tasks)
        context.record("tasks_in_work", len(self.awards))
        read = [ledger.bytes for ledger in self.ledgers.values()]
        context.record("share_read", sum(read) / max(1, sum(map(_size_of, self.tasks.values()))))
        if any(read):
            context.record("load_imbalance", max(read) * len(read) / sum(read))
        if self.book is not None:
            self.book.client.hurry(context)
        if open_tasks or not (self.book is None or self.book.settled(context)):
            context.after(self.period, _TICK)
        else:
            self._report(context)

    def _announce(self, name: str, context: Context) -> None:
        offers = self.offered[name] = self.offered.get(name, 0) + 1
        if offers > self.offers:
            reason = f"no surveyor answered: announced {self.offers} times"
            self._fail(name, Message(context.address, context.address, 0, (Part("text", reason),)))
            return
        self.bids[name] = {}
        task = self.tasks[name]
        context.send(
            "surveyor/*", {"act": Act.CALL, "task": to_json(task)}, context_id=task.context_id, task_id=name
        )

    def _award(self, context: Context) -> None:
        """Ends the auctions of the present lot by the bids at hand."""
        wanted = {name: bids for name, bids in self.bids.items() if bids}
        sizes = {name: _size_of(self.tasks[name]) for name in wanted}
        awards = shared_out(self.allocation, wanted, sizes)
        for name, winner, price in awards:
            self.tasks[name] = self.tasks[name].advanced(TaskState.WORKING)
            self.ledgers[winner].paid += price
            if self.book is None:
                self._accept(name, winner, context)
        if self.book is not None and awards:
            self.book.propose([(name, winner) for name, winner, _ in awards], context)

    def _accept(self, name: str, winner: str, context: Context) -> None:
        """Tells a surveyor that it has won."""
        task = self.tasks[name]
        self.awards[name] = Award(winner, context.now + self.patience)
        context.send(
            winner, {"act": Act.ACCEPT, "task": to_json(task)}, context_id=task.context_id, task_id=name
        )

    def _not_awarded(self) -> list[str]:
        """The tasks that nobody wanted, or that were left over. Forgets the bids."""
        undecided = set() if self.book is None else self.book.undecided()
        names = [name for name in self.bids if name not in self.awards and name not in undecided]
        self.bids = {}
        return names

    def _overdue(self, context: Context) -> list[str]:
        """The tasks whose surveyors have not reported in time. Takes them away from these."""
        names = [name for name, award in self.awards.items() if award.until <= context.now]
        for name in names:
            self.ledgers[self.awards.pop(name).surveyor].lost += 1
        return names

    def _take_report(self, message: Message, context: Context) -> None:
        name = message.task_id
        award = self.awards.get(name)
        if award is None or award.surveyor != message.sender:
            self.ignored += 1
            return
        del self.awards[name]
        ledger = self.ledgers[message.sender]
        ledger.modules += 1
        ledger.bytes += _size_of(self.tasks[name])
        if message.data["state"] == TaskState.FAILED:
            ledger.failed += 1
            self._fail(name, msgspec.structs.replace(message, parts=(Part("text", message.data["reason"]),)))
            return
        artifact = from_json(Artifact, message.data["artifact"])
        ledger.lines += artifact.parts[0].value["lines"]
        self.tasks[name] = self.tasks[name].with_artifact(artifact).advanced(TaskState.COMPLETED)
        context.send("cartographer", {"artifact": message.data["artifact"]}, task_id=name)

    def _fail(self, name: str, why: Message) -> None:
        self.tasks[name] = self.tasks[name].advanced(TaskState.FAILED, why)

    def _report(self, context: Context) -> None:
        """Leaves what the survey found, and has the cartographer rank the modules."""
        failed = [task for task in self.tasks.values() if task.state == TaskState.FAILED]
        ledgers = {surveyor: self.ledgers[surveyor] for surveyor in sorted(self.ledgers)}
        results: dict[str, Any] = {
            "modules": len(self.tasks),
            "lines": sum(ledger.lines for ledger in ledgers.values()),
            "bytes": sum(map(_size_of, self.tasks.values())),
            "failed": len(failed),
            "failed_modules": [{"module": task.id, "reason": _reason_of(task)} for task in failed],
            "makespan_over_lower_bound": self._balance(),
            "announced_again": sum(min(n, self.offers) - 1 for n in self.offered.values()),
            "reports_ignored": self.ignored,
            "survey_rounds": context.now,
            "surveyors": [{"surveyor": name, **msgspec.structs.asdict(of)} for name, of in ledgers.items()],
        }
        for name, value in results.items():
            context.result(name, value)
        if self.book is not None:
            self.book.close(context)
        context.send("cartographer", {"modules": list(self.tasks)})

    def _balance(self) -> float:
        """The most bytes that one surveyor read, over the least that this could be: 1 is perfect.

        The bound is Graham's: the mean of all surveyors that ever bid, or the largest module if that is more.
        """
        read = [ledger.bytes for ledger in self.ledgers.values()]
        sizes = [_size_of(task) for task in self.tasks.values()]
        bound = max(sum(read) / max(1, len(read)), *sizes)
        return max(read, default=0) / bound if bound else 1.0


def _file_of(task: Task) -> SourceFile:
    assert task.metadata is not None, "a task of the survey says which file it is about"
    file = task.metadata
    return SourceFile(name=file["name"], uri=file["uri"], bytes=file["bytes"], package=file["package"])


def _size_of(task: Task) -> int:
    return _file_of(task)["bytes"]


def _reason_of(task: Task) -> str:
    return "" if task.status.message is None else task.status.message.text


def roles_for(experiment: "Experiment") -> dict[str, Any]:
    """The setup of the experiment: its input, a path or nothing for the standard library, as the agents' root.

    With a memory, surveyors remember what they read. Raises `ConfigurationError` if there is no Python at the path,
    or no such allocation.
    """
    roles: dict[str, dict[str, Any]] = {"auctioneer": {}, "surveyor": {}}
    if experiment.memory is not None:
        roles["surveyor"]["remembers"] = True
    if experiment.allocation is not None:
        roles["auctioneer"]["allocation"] = named(
            experiment.allocation, dict.fromkeys(ALLOCATIONS), "allocation"
        )
    replicas: dict[str, Any] = {}
    if experiment.consensus:
        settings = log_settings(experiment.consensus)
        roles["auctioneer"] |= {"log": settings, "period": PERIOD}
        replicas = {ROLE: replica_role(settings)}
    given = experiment.input
    if given is not None:
        if not isinstance(given, str) or not given:
            raise ConfigurationError(
                f"input: {given!r} is not a path. Give --set input=PATH, or leave it out."
            )
        root = str(Path(given).expanduser().resolve())
        excluded = experiment.swarm.roles["auctioneer"].parameters.get("excluded", EXCLUDED)
        source_files(root, excluded)  # so that a wrong path is told before anything runs
        for parameters in roles.values():
            parameters["root"] = root
    told = {name: {"parameters": parameters} for name, parameters in roles.items() if parameters}
    return {**told, **replicas}
