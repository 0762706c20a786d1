"""Agents that the tests of moderated deliberations share. At module level, so that any process finds them."""

from random import Random

from actors import Agent, Context, Message
from actors.llm_seat import LLMSeat, LLMSeats
from coordination.voting import Answer, Choice, Number, Panellist, Question
from coordination.voting.transcript import to_data
from inference import Request, ScriptedLLM


class Follower(Panellist):
    """Drafts a favourite, and joins whom it hears most often."""

    def __init__(self, favourites: list[str]) -> None:
        self.favourites = favourites

    async def answer(self, question: Question, context: Context) -> Answer:
        number = int(context.address.partition("/")[2])
        draft = self.favourites[number % len(self.favourites)]
        heard = [opinion.vote.candidate for opinion in question.opinions if isinstance(opinion.vote, Choice)]
        choice = max(sorted({*heard, draft}), key=[*heard, draft].count)
        return Answer(context.address, question.number, Choice(choice), 10 + len(question.opinions))


class Mute(Panellist):
    """Never answers."""

    async def on_message(self, message: Message, context: Context) -> None:
        pass


class Nonsense(Panellist):
    """Answers with what is no answer, for another, and to what nobody asked."""

    async def on_message(self, message: Message, context: Context) -> None:
        number = message.data["number"]
        for data in (None, 7, {"number": number}, {"number": "one", "vote": {}}):
            context.reply(data)
        context.reply(to_data(Answer("follower/0", number, Choice("forged"), 1)) | {"number": 1})


async def estimate(question: Question, context: Context) -> Answer:
    """A private estimate, and half way to the median that is told."""
    own = float(context.address.partition("/")[2])
    value = (own + question.summary["median"]) / 2 if question.summary else own
    return Answer(context.address, question.number, Number(value), 5)


Estimator = Panellist.answering(estimate)


def model(request: Request, rng: Random) -> str:
    """Stands in for a language model: says tea, unless others gave reasons for milk."""
    prompt = request.messages[-1].text
    if "Choose one" in prompt:
        return "It is clear.\nANSWER: milk"
    answer = "milk" if "milk" in prompt.partition("Others answered")[2] else "tea"
    return f"I weighed it.\nANSWER: **{answer}**"


def milkman(request: Request, rng: Random) -> str:
    """Always says milk."""
    return "ANSWER: milk"


def unreachable(request: Request, rng: Random) -> str:
    """Must not be called."""
    raise AssertionError("a replay called the model")


def model_of(context: Context) -> LLMSeat:
    """Sits at `context.llm`."""
    return LLMSeats(ScriptedLLM(milkman if context.address.endswith("/0") else model))(context)


no_model = LLMSeats(ScriptedLLM(unreachable))
"""Sits at `context.llm` in a replay."""


class Client(Agent):
    """Wants to know the result, and keeps it."""

    async def on_message(self, message: Message, context: Context) -> None:
        if message.data is None:
            answer = await context.ask("moderator", "begin", timeout_s=500)
            context.result("heard", answer.data)
