"""A committee of language models: it debates and votes on proposals, and auctions tickets to the most confident.

Rules of the game. A proposal states facts: a value and a bound for each of three measures (cost and budget, risk and
limit, ...). Each member has a name, skills, and one of the measures by which it judges. Each chair puts its
proposal to all members; they answer with a vote and a reason as JSON; in each round of the debate a member reads what
some others said and answers again; at the end a rule of `coordination.voting` counts what stands. Then the clerk calls
for bids on tickets, and a mechanism of `coordination.auctions` gives each to a member by the confidence of its bids.

The prompts are those of the tiny model's task families (`inference/tiny`), which are plain enough for any model. Each
states a rule from which one answer follows; so beside agreement it is known who was right:
* `valid_json`: of all answers, those that are JSON of the form asked for. What is not is an abstention, or no bid.
* `right`: of all answers, those that say what the stated rule says.
* `agreement`: mean over proposals of the share of members whose last vote is the most frequent one.
* `changed`: of all members' votes, those that the debate changed.
* `decisions`: proposals for which the rule found a winner; `assigned`: tickets that somebody got; `confidence`: mean of
  the winning bids.
A call that fails (`failed_calls`) counts as an answer that is none.

How debates of language models fare, and that they must be compared with plain votes: `coordination/voting/debate.py`.
"""

import json
from collections import Counter
from typing import TYPE_CHECKING, Any

import numpy as np

from actors import ConfigurationError, Context, Message
from actors.agent import Agent
from coordination.auctions import MECHANISMS, Instance, Setting, allocate
from coordination.voting import (
    Abstention,
    Answer,
    Choice,
    Debate,
    Deliberated,
    Election,
    Moderator,
    Panellist,
    Question,
    Tally,
    rule_named,
)
from inference.errors import LLMError
from inference.message import ChatMessage
from inference.request import Request, Sampling
from inference.tiny.bids import GREATEST_SIZE, SKILLS, bid, bid_messages
from inference.tiny.votes import GREATEST, MEASURES, ballot, vote_messages
from inference.tiny.word import ARTICLES, PEOPLE

if TYPE_CHECKING:
    from cluster.experiment import Experiment

OPTIONS = ("yes", "no")
_SKILLS = SKILLS[:5]
"""So few that a ticket finds somebody who has its skill."""
_FINE = 1000
"""Confidence becomes a whole number of gain, up to this."""
_NAMES = 8
"""So many proposals have different names."""
_STATEMENTS = 12
"""Shown in the report."""


def name_of(address: str) -> str:
    """What others call a member."""
    number = int(address.partition("/")[2])
    return PEOPLE[number % len(PEOPLE)] + ("" if number < len(PEOPLE) else str(number // len(PEOPLE)))


class Member(Panellist):
    """Votes and bids by what its model says."""

    def __init__(self, temperature: float = 0.0, max_tokens: int = 64) -> None:
        self.sampling = Sampling(temperature=temperature, max_tokens=max_tokens)
        self.skills: dict[str, int] = {}

    async def on_start(self, context: Context) -> None:
        """Draws its skills."""
        names = context.rng.sample(_SKILLS, 3)
        self.skills = {name: context.rng.randint(1, 9) for name in names}

    async def on_message(self, message: Message, context: Context) -> None:
        """A ticket from the clerk, or a question from a chair."""
        if isinstance(message.data, dict) and "ticket" in message.data:
            await self._bid(message.data, context)
        else:
            await super().on_message(message, context)

    async def answer(self, question: Question, context: Context) -> Answer:
        """A vote with its reason; an abstention if the model gave none."""
        proposal = json.loads(question.topic)
        facts = {
            each: tuple(proposal["facts"][each.value]) for each in MEASURES if each.value in proposal["facts"]
        }
        said = [
            (name_of(opinion.author), opinion.vote.candidate, opinion.reason)
            for opinion in question.opinions
            if isinstance(opinion.vote, Choice)
        ]
        measure = list(facts)[int(context.address.partition("/")[2]) % len(facts)]
        name = name_of(context.address)
        text, tokens = await self._ask(
            vote_messages(name, measure, proposal["name"], facts, said=said), context
        )
        vote, reason = vote_in(text)
        right = vote is not None and vote == json.loads(ballot(measure, *facts[measure]))["vote"]
        self._tell(context, "vote", text, valid=vote is not None, right=right, about=proposal["name"])
        given = Abstention() if vote is None else Choice(vote)
        return Answer(context.address, question.number, given, max(1, tokens), reason)

    async def _bid(self, ticket: dict[str, Any], context: Context) -> None:
        name, skill, size = ticket["ticket"], ticket["skill"], ticket["size"]
        text, _ = await self._ask(
            bid_messages(name_of(context.address), self.skills, name, skill, size), context
        )
        confidence = confidence_in(text)
        expected = json.loads(bid(skill, self.skills.get(skill, 0), size))
        right = confidence == expected["confidence"] and _object_in(text).get("cost") == expected["cost"]
        self._tell(context, "bid", text, valid=confidence is not None, right=right, about=name)
        context.reply({"bid": name, "confidence": confidence})

    async def _ask(self, messages: tuple[ChatMessage, ...], context: Context) -> tuple[str, int]:
        """What the model says, and its tokens; nothing if the call failed, for whatever reason."""
        try:
            completion = await context.llm.complete(Request(messages, self.sampling))
        except LLMError as error:
            context.log.info("no answer: %s", error)
            context.send("clerk", {"failed": error.reason})
            return "", 0
        return completion.text, completion.usage.total_tokens

    def _tell(self, context: Context, kind: str, text: str, *, valid: bool, right: bool, about: str) -> None:
        context.send(
            "clerk",
            {
                "kind": kind,
                "valid": valid,
                "right": right,
                "about": about,
                "text": " ".join(text.split())[:200],
            },
        )


def vote_in(text: str) -> tuple[str | None, str]:
    """The vote and the reason in an answer; no vote unless it is JSON that holds one of the options."""
    told = _object_in(text)
    vote, reason = told.get("vote"), told.get("reason")
    if vote not in OPTIONS or not isinstance(reason, str):
        return None, ""
    return str(vote), reason[:300]


def confidence_in(text: str) -> float | None:
    """The confidence of a bid, 0 to 1; None unless it is JSON that holds it."""
    confidence = _object_in(text).get("confidence")
    if isinstance(confidence, bool) or not isinstance(confidence, int | float) or not 0 <= confidence <= 1:
        return None
    return float(confidence)


def _object_in(text: str) -> dict[str, Any]:
    try:
        told = json.loads(text)
    except (ValueError, RecursionError):
        return {}
    return told if isinstance(told, dict) else {}


class Chair(Moderator):
    """Puts one proposal to all members, and tells the clerk what they came to."""

    def __init__(
        self, members: int, *, debate_rounds: int = 2, hears: int = 2, rule: str = "majority"
    ) -> None:
        """`hears`: whose statements each member reads, so many others, drawn."""
        self.hears = hears
        self.heard: dict[str, list[str]] | None = None
        addresses = [f"member/{number}" for number in range(members)]
        super().__init__(addresses, rounds=debate_rounds, rule=rule, candidates=OPTIONS, samples=0)

    def method(self) -> Debate:
        """A debate in which all speak under their names."""
        election = Election(rule_named(self.rule), OPTIONS)
        return Debate(
            tuple(self.panellists), self.rounds, election, topic=self.topic, hears=self.heard, named=True
        )

    async def on_start(self, context: Context) -> None:
        """Draws the proposal, and who hears whom."""
        rng = context.rng
        facts = {
            each.value: [rng.randint(1, GREATEST), rng.randint(1, GREATEST)]
            for each in rng.sample(MEASURES, 3)
        }
        number = int(context.address.partition("/")[2])
        names = ARTICLES[number % _NAMES :: _NAMES]
        self.topic = json.dumps({"name": rng.choice(names), "facts": facts})
        self.heard = {
            name: rng.sample(others, min(self.hears, len(others)))
            for name in self.panellists
            if (others := [other for other in self.panellists if other != name]) is not None
        }

    def concluded(self, result: Deliberated, context: Context) -> None:
        """Counts the votes that stand, and those that the debate changed."""
        assert isinstance(result.outcome, Tally)
        first, last = (self._votes(number) for number in (0, self.transcript.round))
        counts = Counter(vote for vote in last.values() if vote)
        context.send(
            "clerk",
            {
                "decision": {
                    "proposal": json.loads(self.topic)["name"],
                    "decided": result.outcome.winner or "nothing",
                    "yes": counts["yes"],
                    "no": counts["no"],
                    "abstained": len(self.panellists) - counts.total(),
                    "rounds": result.rounds,
                },
                "agreement": max(counts.values(), default=0) / len(self.panellists),
                "changed": sum(last[name] != first.get(name) for name in last),
            },
        )

    def _votes(self, number: int) -> dict[str, str]:
        """What stands after a round; empty for an abstention."""
        standing = self.transcript.standing(number)
        return {
            name: answer.vote.candidate if isinstance(answer.vote, Choice) else ""
            for name, answer in standing.items()
        }


class Clerk(Agent):
    """Keeps the minutes; when all proposals are through it auctions the tickets."""

    def __init__(
        self,
        members: int,
        proposals: int,
        tickets: int,
        *,
        allocation: str = "sequential",
        patience: float = 60,
    ) -> None:
        """`patience`: how long bids are waited for, in the unit of time."""
        self.members = members
        self.proposals = proposals
        self.tickets = tickets
        self.allocation = allocation
        self.patience = patience
        self.answers = self.valid = self.right = self.failed = 0
        self.decided: list[dict[str, Any]] = []
        self.statements: list[dict[str, Any]] = []
        self.agreed = 0.0
        self.changed = 0
        self.sale: list[dict[str, Any]] = []
        self.bids: dict[str, dict[str, float]] = {}
        self.open = 0
        self.timer = 0
        self.minutes = 0
        """The timer at whose end what was said is recorded: once at a time, since a measure is a mean over its time."""

    async def on_message(self, message: Message, context: Context) -> None:
        """What was said, decided or bid; time for the minutes, or the end of patience."""
        told = message.data
        if message.sender == context.address and message.text == "minutes":
            self._write_minutes(context)
            return
        if message.sender == context.address:
            self._allocate(context)
            return
        if not self.minutes:
            self.minutes = context.after(1, "minutes")
        if "failed" in told:
            self.failed += 1
        elif "kind" in told:
            self._note(message.sender, told, context)
        elif "decision" in told:
            self._decide(told, context)
        elif "bid" in told and self.open:
            self.open -= 1
            if told["confidence"] is not None:
                self.bids[told["bid"]][message.sender] = told["confidence"]
            if not self.open:
                self._allocate(context)

    def _write_minutes(self, context: Context) -> None:
        self.minutes = 0
        context.record("failed_calls", self.failed)
        if self.answers:
            context.record("valid_json", self.valid / self.answers)
            context.record("right", self.right / self.answers)
        if self.decided:
            context.record("agreement", self.agreed / len(self.decided))
            context.record("changed", self.changed / (len(self.decided) * self.members))
            context.record("decisions", sum(one["decided"] in OPTIONS for one in self.decided))

    def _note(self, sender: str, told: dict[str, Any], context: Context) -> None:
        self.answers += 1
        self.valid += told["valid"]
        self.right += told["right"]
        if len(self.statements) < _STATEMENTS or (
            not told["valid"] and len(self.statements) < 2 * _STATEMENTS
        ):
            said = {
                "who": name_of(sender),
                "about": told["about"],
                "said": told["text"],
                "valid": told["valid"],
            }
            self.statements.append(said)
            context.result("statements", self.statements)

    def _decide(self, told: dict[str, Any], context: Context) -> None:
        self.decided.append(told["decision"])
        self.agreed += told["agreement"]
        self.changed += told["changed"]
        context.result("decisions", self.decided)
        if len(self.decided) == self.proposals:
            self._call_for_bids(context)

    def _call_for_bids(self, context: Context) -> None:
        rng = context.rng
        for name in rng.sample(ARTICLES, self.tickets):
            self.sale.append(
                {"ticket": name, "skill": rng.choice(_SKILLS), "size": rng.randint(1, GREATEST_SIZE)}
            )
            self.bids[name] = {}
        self.open = self.members * self.tickets
        if self.open:
            for ticket in self.sale:
                context.broadcast("member", ticket)
            self.timer = context.after(self.patience, "allocate")

    def _allocate(self, context: Context) -> None:
        """Gives each member one ticket at most, by confidence; a bid of 0 wins nothing."""
        context.cancel(self.timer)
        self.open = 0
        members = [f"member/{number}" for number in range(self.members)]
        gains = [[self.bids[one["ticket"]].get(name, 0.0) for one in self.sale] for name in members]
        instance = Instance(np.array(np.round(np.array(gains) * _FINE), dtype=np.int64), name="tickets")
        outcome = allocate(self.allocation, Setting(instance))
        won = {task: bidder for task, bidder in sorted(outcome.awards.items()) if gains[bidder][task] > 0}
        rows = []
        for number, ticket in enumerate(self.sale):
            winner = won.get(number)
            told = {"to": "nobody", "confidence": 0.0}
            if winner is not None:
                told = {"to": name_of(members[winner]), "confidence": gains[winner][number]}
            rows.append(ticket | told)
        context.result("awards", rows)
        context.record("assigned", len(won))
        if won:
            context.record("confidence", sum(gains[bidder][task] for task, bidder in won.items()) / len(won))


def roles_for(experiment: "Experiment") -> dict[str, Any]:
    """The setup of the experiment: as many members, proposals and tickets as its input says."""
    game = experiment.input
    names = ("members", "proposals", "tickets")
    if (
        not isinstance(game, dict)
        or set(game) != set(names)
        or not all(type(game[name]) is int for name in names)
    ):
        raise ConfigurationError(f"input: {game!r} is no committee. Give {', '.join(names)}, each a number.")
    members, proposals, tickets = (game[name] for name in names)
    if members < 1 or proposals < 1 or not 0 <= tickets <= len(ARTICLES):
        raise ConfigurationError(
            f"input: give 1 member and 1 proposal or more, and 0 to {len(ARTICLES)} tickets."
        )
    allocation = experiment.allocation or "sequential"
    if allocation not in MECHANISMS:
        raise ConfigurationError(
            f"allocation: there is no '{allocation}'. There are: {', '.join(MECHANISMS)}."
        )
    return {
        "member": {"count": members},
        "chair": {"count": proposals, "parameters": {"members": members}},
        "clerk": {"parameters": {**game, "allocation": allocation}},
    }
