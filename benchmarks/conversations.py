"""Long synthetic conversations with questions whose evidence is known: how well does recall find it?

A conversation has 400 to 700 turns over 20 to 30 sessions between two speakers. Exchanges are drawn from a script
(`conversations_*.txt`), among idle talk that mentions the same things. Both speakers go through the same kinds of
exchange with other particulars, so every question has near misses. The evidence of a question is the turns that answer
it, often without repeating what was asked before them.

Rules:
* Two scripts, `development` and `heldout`, share no template, no name, no place and no value. Weights are chosen on the
  first alone. What they share is English, and their author: figures on either are a guide, not a promise.
* A question names a thing as its asker would: `said=asked` in a script. It holds a value of the statement only where
  the two are spelt alike. The kind `paraphrase` shares nothing but chance.
* Four kinds: chat, code (developers), facts (minutes and records), paraphrase.
* A conversation is a function of (split, kind, seed).

Script: `names`, `towns`; then for each kind `[kind]`, idle lines (`- text`), exchanges (`@`): lines `A:` and `B:`
are turns of the two, `*` marks evidence, `?` a question, `x:` the pairs. {x} said, {y} asked, {T} a town, {N} a
pet's name, {n} a number.
"""

import random
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

Split = Literal["development", "heldout"]
KINDS = ("chat", "code", "facts", "paraphrase")
SAME_WORDS = {"chat": 0.85, "code": 0.85, "facts": 0.85, "paraphrase": 0.0}
"""The share of questions that name their thing as the statement does. With these BM25 and a sentence model, each alone,
find about what they found on long conversations written by people (reference: 61 and 41 recall at 10)."""
_HOUR_S = 3_600.0
_START_S = 1_672_560_000.0  # 1 January 2023, 08:00 UTC
_PETS = ("Pixel", "Waffle", "Comet", "Olive", "Biscuit", "Juniper", "Domino", "Saffron")


@dataclass(frozen=True)
class Turn:
    """What one speaker said, and when (seconds since 1970)."""

    session: str
    turn: int
    speaker: str
    text: str
    time: float


@dataclass(frozen=True)
class Question:
    """What is asked, and the places in `Conversation.turns` of the evidence."""

    text: str
    evidence: tuple[int, ...]


@dataclass(frozen=True)
class Conversation:
    """A conversation and its questions."""

    kind: str
    turns: tuple[Turn, ...]
    questions: tuple[Question, ...]


@dataclass
class Exchange:
    """A template: lines (speaker A or B, text, is evidence), questions, pairs of (said, asked)."""

    lines: list[tuple[str, str, bool]] = field(default_factory=list)
    questions: list[str] = field(default_factory=list)
    pairs: list[tuple[str, str]] = field(default_factory=list)


@dataclass
class Script:
    """All that the conversations of a split are made of."""

    names: list[str]
    towns: list[str]
    idle: dict[str, list[str]]
    exchanges: dict[str, list[Exchange]]


def load_script(split: Split) -> Script:
    """Reads the script of a split. Raises `ValueError` at a line that is none of a script."""
    script = Script([], [], {}, {})
    kind = ""
    text = Path(__file__).with_name(f"conversations_{split}.txt").read_text(encoding="utf-8")
    for number, line in enumerate(text.splitlines(), start=1):
        mark, _, rest = line.partition(" ")
        if line.startswith("["):
            kind = line.strip("[]")
            script.idle[kind], script.exchanges[kind] = [], []
        elif mark == "names":
            script.names = rest.split()
        elif mark == "towns":
            script.towns = rest.split()
        elif mark == "-":
            script.idle[kind].append(rest)
        elif mark == "@":
            script.exchanges[kind].append(Exchange())
        elif mark in ("A:", "B:", "*A:", "*B:"):
            script.exchanges[kind][-1].lines.append((mark.strip("*:"), rest, mark.startswith("*")))
        elif mark == "?":
            script.exchanges[kind][-1].questions.append(rest)
        elif mark == "x:":
            pairs = [pair.strip().partition("=") for pair in rest.split(";")]
            script.exchanges[kind][-1].pairs = [(said, asked) for said, _, asked in pairs]
        elif line:
            raise ValueError(f"{split} script, line {number}: not understood: {line!r}")
    return script


def conversation(split: Split, kind: str, seed: int) -> Conversation:
    """One conversation of a kind."""
    script = load_script(split)
    rng = random.Random(f"{split}/{kind}/{seed}")
    one, two = rng.sample(script.names, 2)
    told = [
        (exchange, pair, speakers)
        for exchange in script.exchanges[kind]
        for pair in exchange.pairs
        for speakers in ((one, two), (two, one))
    ]
    rng.shuffle(told)
    sessions = rng.randint(20, 30)
    idle_turns = rng.randint(430, 620) - sum(len(exchange.lines) for exchange, _, _ in told)
    turns: list[Turn] = []
    questions: list[Question] = []
    time = _START_S
    for session in range(sessions):
        time += rng.uniform(20, 400) * _HOUR_S
        mine = told[session::sessions]
        gaps = sorted(rng.randrange(len(mine) + 1) for _ in range(max(4, idle_turns // sessions)))
        first = len(turns)
        for place in range(len(mine) + 1):
            for _ in range(gaps.count(place)):
                speakers = (one, two) if rng.random() < 0.5 else (two, one)
                text = _idle(script, kind, speakers, rng)
                _say(turns, session, first, speakers[0], text, time)
            if place < len(mine):
                questions += _tell(turns, (session, first, time), script, kind, mine[place], rng)
    return Conversation(kind, tuple(turns), tuple(questions))


def _say(turns: list[Turn], session: int, first: int, speaker: str, text: str, time: float) -> None:
    number = len(turns) - first
    turns.append(Turn(f"session {session + 1}", number, speaker, text, time + 60.0 * number))


def _idle(script: Script, kind: str, speakers: tuple[str, str], rng: random.Random) -> str:
    """A line of idle talk, which may mention what an exchange is about."""
    said, _ = rng.choice(rng.choice(script.exchanges[kind]).pairs)
    return _filled(rng.choice(script.idle[kind]), speakers, said, "", script, rng)


def _tell(
    turns: list[Turn],
    where: tuple[int, int, float],
    script: Script,
    script_kind: str,
    what: tuple[Exchange, tuple[str, str], tuple[str, str]],
    rng: random.Random,
) -> Iterator[Question]:
    """Adds an exchange; returns its questions."""
    exchange, (said, asked), speakers = what
    session, first, time = where
    fill = rng.getrandbits(32)
    evidence = []
    for speaker, text, is_evidence in exchange.lines:
        if is_evidence:
            evidence.append(len(turns))
        # One set of particulars for all lines of an exchange.
        line = _filled(text, speakers, said, asked, script, random.Random(fill))
        _say(turns, session, first, speakers[speaker == "B"], line, time)
    for question in exchange.questions:
        named = said if rng.random() < SAME_WORDS[script_kind] else asked
        text = _filled(question, speakers, said, named, script, random.Random(fill))
        yield Question(text, tuple(evidence))


def _filled(
    text: str, speakers: tuple[str, str], said: str, asked: str, script: Script, rng: random.Random
) -> str:
    values = {
        "{A}": speakers[0],
        "{B}": speakers[1],
        "{x}": said,
        "{y}": asked,
        "{T}": rng.choice(script.towns),
        "{N}": rng.choice(_PETS),
        "{n}": str(rng.randint(3, 98)),
    }
    for name, value in values.items():
        text = text.replace(name, value)
    return text[0].upper() + text[1:]
