"""Facts out of text: by rules, or by a language model where one is given.

Rules:
* A rule is a pattern of one sentence. It finds little and is seldom wrong: no pronoun is resolved but "I" and "my",
  which are the speaker; questions, negations and what somebody might do state nothing.
* A model is a `BaseLLM`, or any function from a prompt to a text. What it answers is checked, not believed: a list of
  JSON objects, at most `FACTS_MAX`, every word of the object in the text; what fails is counted and left out. The same
  input with the same model's answers gives the same facts, so a recorded model replays.
* Texts are cut at `TEXT_MAX` characters before either looks.
"""

import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from inference.llm import BaseLLM
from inference.message import ChatMessage
from inference.request import Request, Sampling
from memory.fact import FIELD_CHARACTERS
from memory.text import words

TEXT_MAX: Final = 20_000
FACTS_MAX: Final = 100
ANSWER_MAX: Final = 200_000
ANSWER_TOKENS: Final = 2_048


@dataclass(frozen=True)
class Extracted:
    """A statement found in a text."""

    subject: str
    relation: str
    object: str
    sentence: str
    literal: bool = False
    """True if the object is a value, not an entity."""


@dataclass(frozen=True)
class Extraction:
    """What was found, and how much was refused."""

    facts: tuple[Extracted, ...]
    refused: int = 0
    """Entries of the model's answer that were malformed, or not in the text."""


_SENTENCE: Final = re.compile(r"[^.!?\n]+(?:\.(?=\w)[^.!?\n]+)*[.!?]?")
_STATES_NOTHING: Final = re.compile(
    r"\?\s*$|\b(?:not|never|no longer|n't|isn't|don't|doesn't|didn't|wasn't|won't|can't|might|maybe|perhaps|"
    r"would|could|should|if|used to|wish|hope)\b",
    re.I,
)
_PRONOUNS: Final = frozenset(
    {
        "he",
        "she",
        "it",
        "they",
        "we",
        "you",
        "this",
        "that",
        "these",
        "those",
        "there",
        "here",
        "who",
        "what",
        "which",
    }
)
_TRAILING: Final = re.compile(r"(?:\s+(?:now|too|again|today|these days|as well|already))?[\s./:-]*$")
_PROPER: Final = r"(?:[Tt]he )?[A-Z][\w'-]*(?: (?:of )?[A-Z][\w'-]*){0,3}"
_NAME: Final = rf"(?P<subject>{_PROPER}|I|[Mm]y [a-z]+|[Tt]he [a-z]+(?: [a-z]+)?)"
_END: Final = r"(?=\s*(?:[,.;!]|$| and | but | because | since | with | when | for (?!the )))"
_OBJECT: Final = r"(?:the |a |an )?(?P<object>[\w'@./:+-]+(?: [\w'@./:+-]+){0,5}?)" + _END
_PATTERNS: Final[tuple[tuple[re.Pattern[str], str, bool], ...]] = tuple(
    (re.compile(pattern), relation, literal)
    for pattern, relation, literal in (
        (rf"\b(?:[Mm]y name is|call me) (?P<object>[A-Z][\w'-]*(?: [A-Z][\w'-]*){{0,2}}){_END}", "name", True),
        (rf"{_NAME} (?:now )?(?:live|lives|am living|is living) in {_OBJECT}", "lives in", False),
        (rf"{_NAME} (?:just |recently |have |has )?moved to {_OBJECT}", "lives in", False),
        (rf"{_NAME} (?:now )?(?:work|works|am working|is working) (?:at|for) {_OBJECT}", "works at", False),
        (rf"{_NAME} (?:was|were) born in {_OBJECT}", "born in", False),
        (rf"{_NAME} (?:am|is) (?P<object>\d{{1,3}}) years old", "age", True),
        (rf"{_NAME} (?:am|is) married to {_OBJECT}", "married to", False),
        (rf"{_NAME} (?:is|are) (?:located |based )?in {_OBJECT}", "located in", False),
        (rf"{_NAME} (?:is|are) owned by {_OBJECT}", "owner", False),
        (rf"{_NAME} costs? (?P<object>[$€£]?\d[\d,.]*(?: \w+)?){_END}", "costs", True),
        (rf"{_NAME} (?:listens? on|uses?|runs? on) port (?P<object>\d+)", "port", True),
        (rf"{_NAME} (?:depends? on|requires?) {_OBJECT}", "depends on", False),
        (rf"{_NAME} (?:really )?(?:love|loves|like|likes|enjoy|enjoys|prefer|prefers) {_OBJECT}", "likes", False),
        (rf"{_NAME} (?:hate|hates|dislike|dislikes) {_OBJECT}", "dislikes", False),
        (rf"{_NAME} (?:am|is) allergic to {_OBJECT}", "allergic to", False),
        (rf"{_NAME} (?:have|has|owns?|adopted|bought) an? (?P<object>[\w'-]+(?: [\w'-]+){{0,3}}?){_END}", "has", False),
        (rf"{_NAME} (?:am|is) (?:a|an|the) {_OBJECT}", "is a", False),
    )
)  # fmt: skip


def extract_facts(text: str, speaker: str = "") -> Extraction:
    """What rules find in a text. "I" and "my" are the speaker; without one such sentences state nothing."""
    found: dict[tuple[str, str, str], Extracted] = {}
    for sentence in _SENTENCE.findall(text[:TEXT_MAX]):
        if _STATES_NOTHING.search(sentence):
            continue
        for pattern, relation, literal in _PATTERNS:
            for match in pattern.finditer(sentence):
                subject = _subject(match.groupdict().get("subject", "I"), speaker)
                object_ = _TRAILING.sub("", match["object"])
                if subject and object_ and len(found) < FACTS_MAX:
                    fact = Extracted(subject, relation, object_, sentence.strip(), literal)
                    found.setdefault((subject, relation, object_), fact)
    return Extraction(tuple(found.values()))


def extract_with(model: Callable[[str], str], text: str, speaker: str = "") -> Extraction:
    """What a function from prompt to answer finds in a text, as far as it stands there."""
    text = text[:TEXT_MAX]
    return _read_answer(model(_prompt(text, speaker)), text, speaker)


async def extract_by_model(model: BaseLLM, text: str, speaker: str = "") -> Extraction:
    """What a language model finds in a text, as far as it stands there. Raises `LLMError`."""
    text = text[:TEXT_MAX]
    prompt = ChatMessage.user(_prompt(text, speaker))
    request = Request((prompt,), sampling=Sampling(temperature=0.0, max_tokens=ANSWER_TOKENS))
    return _read_answer((await model.complete(request)).text, text, speaker)


def _read_answer(answer: str, text: str, speaker: str) -> Extraction:
    entries = _entries(answer[:ANSWER_MAX])
    at_hand = set(words(text)) | set(words(speaker))
    found: dict[tuple[str, str, str], Extracted] = {}
    refused = 0
    for entry in entries:
        fact = _checked(entry, at_hand)
        if fact is None or len(found) >= FACTS_MAX:
            refused += 1
        else:
            found.setdefault((fact.subject, fact.relation, fact.object), fact)
    return Extraction(tuple(found.values()), refused)


def _subject(name: str, speaker: str) -> str:
    """Who it is about; empty where that is not told."""
    if name == "I":
        return speaker
    if name.lower() in _PRONOUNS:
        return ""
    if name.lower().startswith("my "):
        return f"{speaker}'s {name[3:]}" if speaker else ""
    return name.removeprefix("The ").removeprefix("the ")


def _prompt(text: str, speaker: str) -> str:
    said = f" It was said by {speaker}." if speaker else ""
    return (
        "List the facts that the text states, as a JSON list of objects with the keys subject, relation, object. Use "
        "the words of the text for subject and object, and short relations such as 'lives in'. Leave out questions, "
        f"guesses and what is denied. Answer with the list alone.{said}\n\nText:\n{text}"
    )


def _entries(answer: str) -> list[Any]:
    """The first JSON list in an answer, or nothing."""
    start = answer.find("[")
    if start < 0:
        return []
    try:
        entries, _ = json.JSONDecoder().raw_decode(answer[start:])
    except (ValueError, RecursionError):
        return []
    return entries if isinstance(entries, list) else []


def _checked(entry: Any, at_hand: set[str]) -> Extracted | None:
    """The fact in an entry of a model's answer; None if it is malformed or its words are not in the text."""
    if not isinstance(entry, dict):
        return None
    fields = [entry.get(name) for name in ("subject", "relation", "object")]
    if not all(isinstance(each, str) and each.strip() and len(each) <= FIELD_CHARACTERS for each in fields):
        return None
    subject, relation, object_ = (str(each).strip() for each in fields)
    said = words(f"{subject} {object_}")
    if not said or not set(said) <= at_hand:
        return None
    return Extracted(subject, relation, object_, "", object_.replace(".", "").isdigit())
