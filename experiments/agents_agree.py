"""Do agents with private values come to agree on one? By exchanging opinions alone, or by other means beside it.

Rules of the game: n agents each hold a private whole number; the last f of them lie. Each honest agent decides on a
number or fails to. *Valid agreement*: all honest agents decide, on one number, and it lies between the least and the
greatest private value of honest agents. The referee judges; the agents know nothing of it.

The game is that of "Can AI agents agree?" (Berdoz, Rugli and Wattenhofer, arXiv 2603.01213), whose agents are language
models: 41.6% of its runs without any liar ended in valid agreement, and most failures were failures to end.

`Opinionated` agents exchange opinions and nothing else: in each talk round each tells all others its present number and
whether it would stop. The way they revise is a stand-in for a language model, and its numbers are chosen, not measured:
* `rule`: what an agent makes of the opinions that it heeds, its own among them: the most frequent number (`mode`, ties
  drawn), the lower `median`, or the rounded `mean`.
* `heeds`: how many of the others' opinions it takes in each time, drawn anew; None for all. Three is the least with
  which drawn majorities agree fast (Becchetti et al., "Simple dynamics for plurality consensus", SPAA 2014).
* `inertia`: the probability that it keeps its number this time whatever it heard.
* `slip`: the probability that it makes a mistake, and takes any number at all.
* `sure`: the share of heeded opinions like its own at which it says that it would stop. It decides when the same share
  of those whom it heeds, itself included, would stop. Who has decided stays with it.
A liar tells each what it wants to hear: its own number, and that it is time to stop. That breaks agreement where
stubborn or random lies only delay it.

With `heeds` None, `inertia` 0 and `slip` 0 it is a rational exchange. The talk ends after `talk_rounds`.

Another way to agree is another class for the role `agent`: it takes `agents`, `liars` and `values`, and each honest
agent sends the referee what `report` makes, once.
"""

from collections import Counter
from collections.abc import Sequence
from statistics import median_low
from typing import TYPE_CHECKING, Any, Literal

from actors import Agent, ConfigurationError, Context, Message

if TYPE_CHECKING:
    from random import Random

    from cluster.experiment import Experiment

Revision = Literal["mode", "median", "mean"]
REVISIONS: tuple[Revision, ...] = ("mode", "median", "mean")


def is_liar(address: str, agents: int, liars: int) -> bool:
    """Whether the agent at this address is one of those who lie: the last of its role."""
    return int(address.partition("/")[2]) >= agents - liars


def report(private: int, decided: int | None) -> dict[str, Any]:
    """What an honest agent tells the referee at its end: its private value, and what it decided, if anything."""
    return {"private": private, "decided": decided}


class Opinionated(Agent):
    """Tells its opinion, hears others', and revises; or flatters each, if it is one of the last `liars`."""

    def __init__(
        self,
        agents: int,
        liars: int = 0,
        values: int = 50,
        *,
        rule: Revision = "mode",
        heeds: int | None = 3,
        inertia: float = 0.2,
        slip: float = 0.02,
        sure: float = 2 / 3,
        talk_rounds: int = 50,
    ) -> None:
        """`values`: private numbers are drawn from 0 to values - 1."""
        check_game(agents, liars, values)
        if rule not in REVISIONS:
            raise ConfigurationError(f"rule: there is no {rule!r}. There are: {', '.join(REVISIONS)}.")
        for name, share in (("inertia", inertia), ("slip", slip), ("sure", sure)):
            if not 0 <= share <= 1:
                raise ConfigurationError(f"{name}: {share} is no probability. Give 0 to 1.")
        for name, number in (("talk_rounds", talk_rounds), ("heeds", heeds)):
            if number is not None and number < 1:
                raise ConfigurationError(f"{name}: {number} is too few. Give 1 or more.")
        self.agents = agents
        self.liars = liars
        self.values = values
        self.rule: Revision = rule
        self.heeds = heeds
        self.inertia = inertia
        self.slip = slip
        self.sure = sure
        self.talk_rounds = talk_rounds
        self.private = self.opinion = 0
        self.decided: int | None = None
        self.would_stop = False
        self.heard: dict[str, tuple[int, bool]] = {}
        self.talked = 0
        self.clock = 0

    async def on_start(self, context: Context) -> None:
        """Draws its private value, and sets the clock: one talk round is a message's way there, and a turn to think."""
        self.private = self.opinion = context.rng.randrange(self.values)
        self.clock = context.every(2)

    async def on_message(self, message: Message, context: Context) -> None:
        """The clock is a message to oneself; any other is an opinion: [number, would stop]."""
        if message.sender != context.address:
            self._hear(message.sender, message.data)
        elif is_liar(context.address, self.agents, self.liars):
            self._lie(context)
        else:
            self._talk(context)

    def _hear(self, sender: str, opinion: Any) -> None:
        if not isinstance(opinion, list) or len(opinion) != 2:
            return
        number, would_stop = opinion
        if isinstance(number, int) and 0 <= number < self.values and isinstance(would_stop, bool):
            self.heard[sender] = (number, would_stop)

    def _lie(self, context: Context) -> None:
        """Tells each what it wants to hear: its own number, and that it is time to stop."""
        for other in self._others(context):
            number, _ = self.heard.get(other, (context.rng.randrange(self.values), False))
            context.send(other, [number, True])
        self._end_at_limit(context)

    def _talk(self, context: Context) -> None:
        if self.talked and self.decided is None and self._decides(context.rng):
            self.decided = self.opinion
            context.send("referee", report(self.private, self.decided))
        self.heard.clear()
        for other in self._others(context):
            context.send(other, [self.opinion, self.would_stop])
        if self._end_at_limit(context) and self.decided is None:
            context.send("referee", report(self.private, None))

    def _decides(self, rng: "Random") -> bool:
        """Thinks over what it heard: revises, and says whether it decides on that."""
        heeded = list(self.heard.values())
        if self.heeds is not None and self.heeds < len(heeded):
            heeded = rng.sample(heeded, self.heeds)
        would_stop = self.would_stop
        numbers = [self.opinion, *(number for number, _ in heeded)]
        if rng.random() >= self.inertia:
            self.opinion = revised(numbers, self.rule, rng)
        if rng.random() < self.slip:
            self.opinion = rng.randrange(self.values)
        alike = 1 + sum(number == self.opinion for number, _ in heeded)
        self.would_stop = alike >= self.sure * len(numbers)
        stopping = would_stop + sum(stop for _, stop in heeded)
        return self.would_stop and stopping >= self.sure * len(numbers)

    def _end_at_limit(self, context: Context) -> bool:
        self.talked += 1
        if self.talked > self.talk_rounds:
            context.cancel(self.clock)
            return True
        return False

    def _others(self, context: Context) -> list[str]:
        role = context.address.partition("/")[0]
        return [f"{role}/{n}" for n in range(self.agents) if f"{role}/{n}" != context.address]


def revised(numbers: Sequence[int], rule: Revision, rng: "Random") -> int:
    """What an agent makes of the numbers that it heeds."""
    if rule == "median":
        return median_low(numbers)
    if rule == "mean":
        return round(sum(numbers) / len(numbers))
    counts = Counter(numbers)
    most = max(counts.values())
    return rng.choice(sorted(number for number, count in counts.items() if count == most))


class Referee(Agent):
    """Waits for the report of each honest agent, and judges."""

    def __init__(self, agents: int, liars: int = 0, values: int = 50) -> None:
        check_game(agents, liars, values)
        self.agents = agents
        self.liars = liars
        self.reports: dict[str, dict[str, Any]] = {}

    async def on_message(self, message: Message, context: Context) -> None:
        """A report. Those of liars are not asked for."""
        if is_liar(message.sender, self.agents, self.liars) or message.sender in self.reports:
            return
        self.reports[message.sender] = message.data
        if len(self.reports) == self.agents - self.liars:
            verdict = judged(list(self.reports.values()))
            for name, holds in verdict.items():
                context.record(name, holds)
            context.record("rounds", context.now)
            context.result("decided", [self.reports[name]["decided"] for name in sorted(self.reports)])


def judged(reports: Sequence[dict[str, Any]]) -> dict[str, bool]:
    """By name: all decided (`termination`), none otherwise (`agreement`), none out of range (`validity`), and all three
    (`valid_agreement`); also, whether what they agreed on was some honest agent's own (`of_one`)."""
    private = [told["private"] for told in reports]
    decided = [told["decided"] for told in reports if told["decided"] is not None]
    termination = len(decided) == len(reports)
    agreement = len(set(decided)) <= 1
    validity = all(min(private) <= number <= max(private) for number in decided)
    valid_agreement = termination and agreement and validity
    return {
        "termination": termination,
        "agreement": agreement,
        "validity": validity,
        "valid_agreement": valid_agreement,
        "of_one": valid_agreement and decided[0] in private,
    }


def check_game(agents: int, liars: int, values: int) -> None:
    """Raises `ConfigurationError` for a game that cannot be played."""
    if agents < 2 or not 0 <= liars < agents or values < 1:
        raise ConfigurationError(
            f"{agents} agents, {liars} liars and {values} values are no game. Give 2 agents or more, at least one of "
            "them honest, and 1 value or more."
        )


def roles_for(experiment: "Experiment") -> dict[str, Any]:
    """The setup of the experiment: as many agents as its input says, told the game; the referee too.

    `liars` may be `most`: as many as a protocol can withstand, (agents - 1) / 3.
    """
    game = experiment.input
    if not isinstance(game, dict) or set(game) != {"agents", "liars", "values"}:
        raise ConfigurationError(f"input: {game!r} is no game. Give agents, liars and values, each a number.")
    agents, liars, values = game["agents"], game["liars"], game["values"]
    if liars == "most" and isinstance(agents, int):
        liars = (agents - 1) // 3
    if not all(type(number) is int for number in (agents, liars, values)):
        raise ConfigurationError(f"input: {game!r} is no game. Give whole numbers; liars may be `most`.")
    check_game(agents, liars, values)
    told = {"agents": agents, "liars": liars, "values": values}
    return {"agent": {"count": agents, "parameters": told}, "referee": {"parameters": told}}
