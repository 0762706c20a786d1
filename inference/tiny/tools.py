"""Tool calls, and answers after tool results: eight tools, of which one to three are at hand.

The answer first says which tool is needed, then calls it, or says that it is not at hand: a small model looks for a
word that it has just written, and seldom for one that it would write. Held out are combinations of a tool and what it
is asked for, from the calls and from the answers alike.
"""

import json
import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from inference.message import ChatMessage, ToolCall
from inference.request import Tool
from inference.tiny.conversation import Conversation
from inference.tiny.word import ARTICLES, PEOPLE, PLACES, number

NEEDED, MISSING = "This needs {name}.", "This needs {name}, which I have not."
Values = dict[str, Any]


@dataclass(frozen=True)
class Skill:
    """A tool with ways to ask for it, what it may find, and how that is told; `{name}`s are arguments and findings."""

    tool: Tool
    questions: tuple[str, ...]
    ask: Callable[[random.Random], Values]
    find: Callable[[random.Random], Values]
    answer: str
    failure: str

    def key(self, asked: Values) -> str:
        """The same for a call and for the answer after it: a question is held out of both, or of none."""
        return f"call {self.tool.name} {json.dumps(asked)}"

    @property
    def needed(self) -> str:
        """What is said before a call."""
        return NEEDED.format(name=self.tool.name)

    @property
    def missing(self) -> str:
        """What is said where the tool is not at hand."""
        return MISSING.format(name=self.tool.name)

    def call(self, asked: Values) -> ToolCall:
        """The call with these arguments."""
        return ToolCall("call_0", self.tool.name, json.dumps(asked))


def _tool(name: str, description: str, **types: str) -> Tool:
    properties = {name: {"type": kind} for name, kind in types.items()}
    schema = {
        "type": "object", "properties": properties, "required": sorted(types), "additionalProperties": False,
    }  # fmt: skip
    return Tool(name, description, schema)


def _item(rng: random.Random) -> Values:
    return {"item": rng.choice(ARTICLES)}


SKILLS = (
    Skill(
        _tool("stock", "how many are in store", item="string"),
        ("How many {item} are in store?", "How many {item} do we have?", "Count the {item} in store.",
         "Is there any {item} left?"),
        _item,
        lambda rng: {"units": number(rng, 99)},
        "There are {units} {item} in store.",
        "The store knows no {item}.",
    ),
    Skill(
        _tool("price", "what an item costs", item="string"),
        ("What does {item} cost?", "How much is {item}?", "Tell me the price of {item}.",
         "The price of {item}, please."),
        _item,
        lambda rng: {"coins": number(rng, 99)},
        "{item} costs {coins} coins.",
        "There is no price for {item}.",
    ),
    Skill(
        _tool("weather", "the weather in a city", city="string"),
        ("How is the weather in {city}?", "What is the weather in {city} like?", "Is it cold in {city}?",
         "Do I need a coat in {city}?"),
        lambda rng: {"city": rng.choice(PLACES)},
        lambda rng: {"sky": rng.choice(("rain", "sun", "snow", "fog", "wind")), "degrees": rng.randint(0, 39)},
        "In {city}: {sky}, {degrees} degrees.",
        "There is no weather for {city}.",
    ),
    Skill(
        _tool("phone", "the phone number of a person", person="string"),
        ("What is the number of {person}?", "How can I call {person}?", "Find the phone number of {person}.",
         "I want to phone {person}."),
        lambda rng: {"person": rng.choice(PEOPLE)},
        lambda rng: {"number": number(rng, 99)},
        "The number of {person} is {number}.",
        "{person} has no number.",
    ),
    Skill(
        _tool("distance", "how far it is between two cities", end="string", start="string"),
        ("How far is it from {start} to {end}?", "How many km from {start} to {end}?",
         "The way from {start} to {end}: how long?", "How far is {end} from {start}?"),
        lambda rng: dict(zip(("end", "start"), rng.sample(PLACES, 2), strict=True)),
        lambda rng: {"km": number(rng, 99)},
        "It is {km} km from {start} to {end}.",
        "No way from {start} to {end} is known.",
    ),
    Skill(
        _tool("reserve", "reserve a room at an hour", hour="integer", room="integer"),
        ("Reserve room {room} at {hour}.", "At {hour} I need room {room}.", "Is room {room} free at {hour}?",
         "Book room {room} for {hour}."),
        lambda rng: {"hour": number(rng, 24), "room": number(rng, 30)},
        lambda rng: {"code": number(rng, 99)},
        "Room {room} is yours at {hour}, code {code}.",
        "Room {room} is taken at {hour}.",
    ),
    Skill(
        _tool("ticket", "open a ticket for a person", about="string", person="string"),
        ("Open a ticket for {person} about {about}.", "{person} needs a ticket about {about}.",
         "A ticket about {about} for {person}, please.", "Please tell {person} by ticket: {about}."),
        lambda rng: {"about": rng.choice(ARTICLES), "person": rng.choice(PEOPLE)},
        lambda rng: {"ticket": number(rng, 99)},
        "Ticket {ticket} about {about} is open for {person}.",
        "No ticket was opened for {person}.",
    ),
    Skill(
        _tool("order", "order units of an item", item="string", units="integer"),
        ("Order {units} {item}.", "We need {units} more {item}.", "Buy {units} {item}, please.",
         "{item}: please get {units}."),
        lambda rng: {"item": rng.choice(ARTICLES), "units": number(rng, 99)},
        lambda rng: {"days": number(rng, 30)},
        "The {units} {item} come in {days} days.",
        "{item} cannot be ordered.",
    ),
)  # fmt: skip
_SYSTEM = ("You are a helpful agent.", "Use a tool if one fits.", "Help with the tools that you have.")


def draw_call(rng: random.Random) -> Conversation:
    """A question and the call that it needs; for one in five no tool is at hand."""
    skill, tools = _at_hand(rng)
    asked = skill.ask(rng)
    key = skill.key(asked)
    messages = _question(rng, skill, asked)
    if rng.random() < 0.2:
        tools = tuple(tool for tool in tools if tool is not skill.tool)
        return Conversation("tools", key, messages, skill.missing, tools)
    return Conversation("tools", key, messages, skill.needed, tools, (skill.call(asked),))


def draw_result(rng: random.Random) -> Conversation:
    """A question, the call, its result (one in eight a failure), and the answer in words."""
    skill, tools = _at_hand(rng)
    asked, found = skill.ask(rng), skill.find(rng)
    fails = rng.random() < 0.125
    result = {"error": "not found"} if fails else found
    text = (skill.failure if fails else skill.answer).format(**asked, **found)
    call = skill.call(asked)
    messages = (
        *_question(rng, skill, asked),
        ChatMessage.assistant(skill.needed, (call,)),
        ChatMessage.tool(call.id, json.dumps(result)),
    )
    return Conversation("results", skill.key(asked), messages, text, tools)


def _at_hand(rng: random.Random) -> tuple[Skill, tuple[Tool, ...]]:
    """A skill, and its tool among up to two others."""
    skills = rng.sample(SKILLS, rng.choice((1, 1, 2, 3)))
    return rng.choice(skills), tuple(skill.tool for skill in skills)


def _question(rng: random.Random, skill: Skill, asked: Values) -> tuple[ChatMessage, ...]:
    return (
        ChatMessage.system(rng.choice(_SYSTEM)),
        ChatMessage.user(rng.choice(skill.questions).format(**asked)),
    )
