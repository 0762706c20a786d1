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

Script: `names`, `towns`, `pets`; then for each kind `[kind]`, idle lines (`- text`), exchanges (`@`): lines `A:` and
`B:` are turns of the two, `*` marks evidence, `?` a question, `x:` the pairs. {x} said, {y} asked, {T} a town, {N} a
pet's name, {n} a number.
"""

import random
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
    pets: list[str]
    idle: dict[str, list[str]]
    exchanges: dict[str, list[Exchange]]


def load_script(split: Split) -> Script:
    """Reads the script of a split. Raises `ValueError` at a line that is none of a script."""
    script = Script([], [], [], {}, {})
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
        elif mark == "pets":
            script.pets = rest.split()
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
    writer = _Writer(load_script(split), kind, random.Random(f"{split}/{kind}/{seed}"))
    writer.write()
    return Conversation(kind, tuple(writer.turns), tuple(writer.questions))


class _Writer:
    """Writes one conversation."""

    def __init__(self, script: Script, kind: str, rng: random.Random) -> None:
        self.script, self.kind, self.rng = script, kind, rng
        self.speakers = rng.sample(script.names, 2)
        self.turns: list[Turn] = []
        self.questions: list[Question] = []
        self._session = self._first = 0
        self._time = _START_S

    def write(self) -> None:
        """All sessions: every exchange once for each speaker, idle talk between them."""
        told = [
            (exchange, pair, swapped)
            for exchange in self.script.exchanges[self.kind]
            for pair in exchange.pairs
            for swapped in (False, True)
        ]
        self.rng.shuffle(told)
        sessions = self.rng.randint(20, 30)
        idle = self.rng.randint(430, 620) - sum(len(exchange.lines) for exchange, _, _ in told)
        for session in range(sessions):
            self._session, self._first = session + 1, len(self.turns)
            self._time += self.rng.uniform(20, 400) * _HOUR_S
            mine = told[session::sessions]
            gaps = [self.rng.randrange(len(mine) + 1) for _ in range(max(4, idle // sessions))]
            for place in range(len(mine) + 1):
                for _ in range(gaps.count(place)):
                    self._chat()
                if place < len(mine):
                    exchange, pair, swapped = mine[place]
                    self._tell(exchange, pair, self.speakers[::-1] if swapped else self.speakers)

    def _say(self, speaker: str, text: str) -> None:
        number = len(self.turns) - self._first
        self.turns.append(Turn(f"session {self._session}", number, speaker, text, self._time + 60.0 * number))

    def _chat(self) -> None:
        """A line of idle talk, which may mention what an exchange is about."""
        speakers = self.speakers if self.rng.random() < 0.5 else self.speakers[::-1]
        said, _ = self.rng.choice(self.rng.choice(self.script.exchanges[self.kind]).pairs)
        values = self._values(speakers) | {"{x}": said}
        self._say(speakers[0], _filled(self.rng.choice(self.script.idle[self.kind]), values))

    def _tell(self, exchange: Exchange, pair: tuple[str, str], speakers: list[str]) -> None:
        """An exchange, with one set of particulars for all its lines, and its questions."""
        said, asked = pair
        values = self._values(speakers) | {"{x}": said}
        evidence = []
        for speaker, text, is_evidence in exchange.lines:
            if is_evidence:
                evidence.append(len(self.turns))
            self._say(speakers[speaker == "B"], _filled(text, values))
        for question in exchange.questions:
            named = said if self.rng.random() < SAME_WORDS[self.kind] else asked
            text = _filled(question, values | {"{y}": named})
            self.questions.append(Question(text, tuple(evidence)))

    def _values(self, speakers: list[str]) -> dict[str, str]:
        return {
            "{A}": speakers[0],
            "{B}": speakers[1],
            "{T}": self.rng.choice(self.script.towns),
            "{N}": self.rng.choice(self.script.pets),
            "{n}": str(self.rng.randint(3, 98)),
        }


def _filled(text: str, values: dict[str, str]) -> str:
    for name, value in values.items():
        text = text.replace(name, value)
    return text[0].upper() + text[1:]
