"""Words, stems and times: what a text is about, by rules alone.

Rules:
* A term is a word in lower case, without stop words, brought to a common form: irregular forms by a table ("went" to
  "go"), then one inflectional ending off ("hiking" to "hike"), then one derivational ending ("activity" to "active"),
  where three or four letters stay; then British and American spellings become one. It is lighter than Porter's (1980),
  which also joins words that have little in common, and unlike it knows irregular verbs.
* Unicode letters are letters. A text without any word has no terms.
* A time cue is a year, month, season or day named in a question; it is compared with the time of an item.
"""

import re
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

import numpy as np
from numpy.typing import NDArray

STOP_WORDS: Final = frozenset(
    """
    a about after again all also am an and any are as at be because been before being but by can could d did do does
    doing don during each few for from further had has have having he her here hers him his how i if in into is it its
    just let ll m me more most my no nor not now of off on once only or other our out over own re s same she should so
    some such t than that the their them then there these they this those through to too under until up us ve very was
    we were what when where which while who whom whose why will with would yes you your yours
    """.split()  # noqa: SIM905  # a list of 120 quoted words is no easier to read
)
_IRREGULAR_FORMS: Final = """
    ate eaten:eat became:become began begun:begin bit bitten:bite blew blown:blow bought:buy broke broken:break
    brought:bring built:build came:come caught:catch children:child chose chosen:choose cost:cost dealt:deal drank
    drunk:drink drew drawn:draw driven drove:drive dug:dig fed:feed feet:foot fell fallen:fall felt:feel fled:flee flew
    flown:fly forgot forgotten:forget fought:fight found:find froze frozen:freeze gave given:give goes gone went:go
    going:go got gotten:get
    grew grown:grow heard:hear held:hold hid hidden:hide hung:hang hurt:hurt kept:keep knew known:know
    laid:lay lay:lie led:lead left:leave lent:lend lost:lose made:make meant:mean men:man met:meet mice:mouse paid:pay
    people:person ran:run rang rung:ring ridden rode:ride rose risen:rise said:say sang sung:sing sank:sink sat:sit
    saw seen:see sent:send shook shaken:shake shone:shine shot:shoot showed shown:show shut:shut slept:sleep sold:sell
    sought:seek spent:spend spoke spoken:speak spun:spin stole stolen:steal stood:stand struck:strike stuck:stick
    used using uses:use tying tied:tie dying died dies:die lying lied lies:lie beaten:beat bound:bind clung:cling
    crept:creep dreamt:dream forgave forgiven:forgive knelt:kneel leapt:leap leant:lean learnt:learn lit:light
    overcame:overcome proven:prove sewn:sew shrank:shrink slid:slide spelt:spell spilt:spill sprang:spring stung:sting
    swollen:swell swung:swing tore torn:tear undid undone:undo wept:weep withdrew withdrawn:withdraw sown:sow
    wives:wife knives:knife lives:life wolves:wolf shelves:shelf loaves:loaf thieves:thief halves:half
    geese:goose dice:die better best:good worse worst:bad centre centres:center theatre theatres:theater grey:gray
    cheque cheques:check programme programmes:program jewelry:jewellery movies:movie cookies:cookie shoes:shoe
    decision decisions:decide death deaths:die marriage marriages:marry photography:photograph bakery bakeries:bake
    choice choices:choose belief beliefs:believe growth:grow flight flights:fly speech speeches:speak sale sales:sell
    analysis analyses:analyze advice:advise puppies:puppy selfies:selfie calories:calorie buses:bus gases:gas
    swam swum:swim swept:sweep swore sworn:swear taken took:take taught:teach teeth:tooth thought:think threw
    thrown:throw told:tell understood:understand woke woken:wake women:woman won:win wore worn:wear wrote written:write
    kids:child kid:child mum:mother mom:mother moms:mother mums:mother dad:father dads:father grandma:grandmother
    granny:grandmother grandpa:grandfather grandad:grandfather bike:bicycle bikes:bicycle photo:photograph
    photos:photograph pic:photograph pics:photograph tv:television fridge:refrigerator
"""
_INFLECTIONS: Final = ("ingly", "edly", "ings", "ing", "ies", "ied", "ed", "es", "s", "ly")
_DERIVATIONS: Final = (
    "iveness", "fulness", "ization", "isation", "ation", "ition", "fully", "iness", "ment", "ness", "less", "ful",
    "ion", "ive", "ity", "ism", "ist", "est", "er", "or", "al",
)  # fmt: skip
_DERIVATIONS_MAX: Final = 2
_INSTEAD: Final = {"iness": "y", "isation": "ize", "ization": "ize"}
_NEED_FOUR: Final = frozenset(("er", "or", "al", "est", "ion", "ive", "ation", "ition", "ity", "ism", "ist"))
_NEVER_LY: Final = frozenset(
    ("family", "reply", "supply", "apply", "early", "only", "assembly", "daily", "july")
)
_KEPT: Final = frozenset(
    """
    always news series species this evening morning ceiling flower shower corner mother brother letter matter number
    counter answer summer dinner weather interest request harvest protest contest forest invest suggest arrest digest
    format combat
    """.split()  # noqa: SIM905  # as above
)
"""Words that are not what is left of them without an ending."""
_WORD: Final = re.compile(r"[^\W_]+")
_VOWEL: Final = re.compile("[aeiouy]")
_LOST_E: Final = re.compile("[^aeiou][aeiou][^aeiouwxy]")
"""What is left of `baking`, `hiked`, `moves`: their words end in e."""
_OUR: Final = re.compile("(?<=[a-z]{3})our")
_CLITIC: Final = re.compile(r"['\u2019](?:s|re|ve|ll|d|m|t)\b")
_SPEAKER: Final = re.compile(r"^([^\W\d_][\w .'-]{0,40}?)\s*:\s+")
_QUESTION_CHARACTERS: Final = 1_000
_QUESTIONS: Final = 1_000


def _table_of(text: str) -> dict[str, str]:
    """{form: word} of a text such as `went gone:go`: forms, the last of them with its word after a colon."""
    table: dict[str, str] = {}
    waiting: list[str] = []
    for entry in text.split():
        form, colon, word = entry.partition(":")
        waiting.append(form)
        if colon:
            table.update(dict.fromkeys(waiting, word))
            waiting.clear()
    return table


_IRREGULAR: Final = _table_of(_IRREGULAR_FORMS)


def words(text: str) -> list[str]:
    """The words of a text in lower case, clitics ('s, 'll) off, in order."""
    return _WORD.findall(_CLITIC.sub("", text.lower()))


def terms(text: str) -> list[str]:
    """The terms of a text, in order: stems of its words without stop words."""
    return [term for term, _ in terms_and_words(text)]


def terms_and_words(text: str) -> list[tuple[str, str]]:
    """The terms of a text, each with the word that it stands for."""
    return [(stem(word), word) for word in words(text) if word not in STOP_WORDS]


@lru_cache(maxsize=100_000)
def stem(word: str) -> str:
    """The common form of a word in lower case."""
    word = _OUR.sub("or", word)
    word = _IRREGULAR.get(word, word)
    if len(word) <= 3 or not word.isalpha():
        return word
    if word not in _KEPT:
        word = _without_inflection(word)
        word = _IRREGULAR.get(word, word)
    for _ in range(_DERIVATIONS_MAX):
        if word not in _KEPT:
            word = _without_derivation(word)
    return _spelt(word)


def _without_inflection(word: str) -> str:
    """Without a plural's, a verb's or an adverb's ending, where what is left has three letters and a vowel."""
    for ending in _INFLECTIONS:
        left = word[: -len(ending)]
        if not word.endswith(ending) or len(left) < 3 or not _VOWEL.search(left):
            continue
        if (
            (ending == "s" and left[-1] in "su")
            or (ending == "ly" and word in _NEVER_LY)
            or word[-3:] == "eed"
        ):
            return word
        if ending in ("ies", "ied"):
            return left + "y"
        if ending in ("s", "ly"):
            return left
        if len(left) > 3 and left[-1] == left[-2] and left[-1] not in "aeiouls":
            return left[:-1]
        return left + "e" if _LOST_E.fullmatch(left) else left
    return word


def _without_derivation(word: str) -> str:
    for ending in _DERIVATIONS:
        left = word[: -len(ending)]
        if word.endswith(ending) and (
            len(left) >= (4 if ending in _NEED_FOUR else 3) or (ending == "er" and _LOST_E.fullmatch(left))
        ):
            return left + _INSTEAD.get(ending, "e" if _LOST_E.fullmatch(left) else "")
    return word


def _spelt(word: str) -> str:
    """One spelling for what has several: final e and y, doubled letters, -ate as in -ation, -ise and -ize."""
    if (
        len(word) > 3
        and word[-1] == word[-2]
        and word[-1] not in "aeious"
        and (word[-1] != "l" or len(word) > 5)
    ):
        word = word[:-1]
    if len(word) > 4 and word[-1] == "e":
        word = word[:-1]
    if len(word) > 3 and word[-1] == "y":
        word = word[:-1] + "i"
    if len(word) > 5 and word.endswith("at") and word not in _KEPT:
        word = word[:-2]
    return word[:-1] + "z" if len(word) > 4 and word.endswith(("is", "ys")) else word


def name_words(name: str) -> frozenset[str]:
    """The words by which somebody is named, in lower case: all but stop words, where there are others ("the clerk")."""
    found = words(name)
    return frozenset(word for word in found if word not in STOP_WORDS) or frozenset(found)


def names_in(question: str) -> frozenset[str]:
    """The words of a question that may name somebody, in lower case.

    A stop word does (Will) only within the question and with a capital; any other however it is written.
    """
    written = _WORD.findall(_CLITIC.sub("", question))
    return frozenset(
        word.lower()
        for place, word in enumerate(written)
        if word.lower() not in STOP_WORDS or (place > 0 and word[0].isupper() and len(word) > 1)
    )


def split_speaker(text: str) -> tuple[str, str]:
    """(speaker, what is said) of a text `Speaker: what is said`; ("", text) for any other."""
    found = _SPEAKER.match(text)
    return (found[1], text[found.end() :]) if found else ("", text)


# --- Times ----------------------------------------------------------------------------------------------------

_MONTHS: Final = {
    "january": 1, "jan": 1, "february": 2, "feb": 2, "march": 3, "april": 4, "apr": 4, "may": 5, "june": 6, "jun": 6,
    "july": 7, "jul": 7, "august": 8, "aug": 8, "september": 9, "sept": 9, "sep": 9, "october": 10, "oct": 10,
    "november": 11, "nov": 11, "december": 12, "dec": 12,
}  # fmt: skip
_SEASONS: Final = {
    "spring": (3, 4, 5),
    "summer": (6, 7, 8),
    "autumn": (9, 10, 11),
    "fall": (9, 10, 11),
    "winter": (12, 1, 2),
}
_TIME_WORDS: Final = frozenset((*_MONTHS, *_SEASONS))
_AMBIGUOUS: Final = frozenset(
    ("may", "march", "fall", "spring")
)  # words besides: only after a preposition or a day
_DATE_WORD: Final = re.compile(
    r"(?P<before>(?:\b(?:in|of|on|during|since|by|until|last|this|next|early|late|mid|before|after)\s+(?:the\s+)?)|"
    r"\b\d{1,2}(?:st|nd|rd|th)?\s+)?\b(?P<name>" + "|".join((*_MONTHS, *_SEASONS)) + r")\b"
    r"(?:\s+(?P<day>\d{1,2})(?:st|nd|rd|th)?\b)?",
    re.I,
)
_YEAR: Final = re.compile(r"\b((?:19|20)\d\d)\b")
_ISO: Final = re.compile(r"\b((?:19|20)\d\d)-(\d\d)-(\d\d)\b")
_DAY_BEFORE: Final = re.compile(r"^(\d{1,2})")


@dataclass(frozen=True)
class TimeCue:
    """When a question says that something was: any of year, months, day of the month."""

    year: int | None = None
    months: tuple[int, ...] = ()
    day: int | None = None

    def match(self, times: NDArray[np.float64]) -> NDArray[np.float64]:
        """0 to 1 for each time (seconds since 1970; NaN where unknown).

        1 within; 0.5 in the month after, since things are told after they happened; 0.7 in the month on another day.
        """
        known = np.isfinite(times)
        dates = np.where(known, times, 0).astype("datetime64[s]")
        month_number = dates.astype("datetime64[M]").astype(int)
        day = (dates.astype("datetime64[D]") - dates.astype("datetime64[M]")).astype(int) + 1
        within = self._holds(month_number)
        if not self.months:
            return np.where(known & within, 1.0, 0.0)
        score = np.where(within, 1.0, np.where(self._holds(month_number - 1), 0.5, 0.0))
        if self.day is not None:
            score = np.where(within & (day != self.day), 0.7, score)
        return np.where(known, score, 0.0)

    def _holds(self, month_number: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Whether months, counted from January 1970, are of the year and months named."""
        holds = np.ones(len(month_number), dtype=bool)
        if self.year is not None:
            holds &= month_number // 12 + 1970 == self.year
        if self.months:
            holds &= np.isin(month_number % 12 + 1, self.months)
        return holds


def time_cue(question: str) -> TimeCue | None:
    """The time that a question names; None if it names none."""
    iso = _ISO.search(question)
    if iso:
        return TimeCue(int(iso[1]), (int(iso[2]),), int(iso[3]))
    year = _YEAR.search(question)
    for found in _DATE_WORD.finditer(question):
        name = found["name"].lower()
        if name in _AMBIGUOUS and not (found["before"] or found["day"] or year):
            continue
        months = _SEASONS.get(name) or (_MONTHS[name],)
        before = _DAY_BEFORE.match(found["before"] or "")
        day = int(found["day"]) if found["day"] else int(before[1]) if before else None
        if name in _SEASONS or (day is not None and not 1 <= day <= 31):
            day = None
        return TimeCue(int(year[1]) if year else None, months, day)
    return TimeCue(int(year[1])) if year else None


_ASKS_WHEN: Final = re.compile(
    r"^\W*(?:when|what (?:date|day|year|month|time)|(?:on|in|since) (?:what|which) \w*(?:day|date|year|month))",
    re.I,
)
_TIMES: Final = re.compile(
    r"\b(?:yesterday|today|tonight|tomorrow|ago|last|next|this (?:morning|week|month|year)|"
    r"(?:mon|tues|wednes|thurs|fri|satur|sun)day|week(?:end)?s?|months?|years?|\d+(?:st|nd|rd|th)|(?:19|20)\d\d|"
    r"january|february|march|april|june|july|august|september|october|november|december)\b",
    re.I,
)
_ASKS_NUMBER: Final = re.compile(
    r"\bhow (?:many|much|long|old|often|far|heavy|fast|big|tall|expensive)\b", re.I
)
_NUMBERS: Final = re.compile(
    r"\d|\b(?:one|two|three|four|five|six|seven|eight|nine|ten|dozen|hundred|thousand|once|twice|few|several|"
    r"couple|half|third)\b",
    re.I,
)
ANSWER_SHAPES: Final = {"tells_time": _TIMES, "tells_number": _NUMBERS}
"""What an answer looks like, by the name of its shape."""


def answer_shape(question: str) -> str | None:
    """The shape of an answer to the question: a time for "when", a number for "how many"; None where any may do."""
    if _ASKS_WHEN.search(question):
        return "tells_time"
    return "tells_number" if _ASKS_NUMBER.search(question) else None


@dataclass(frozen=True, slots=True)
class Question:
    """What a question says, apart from whom and what it is asked of."""

    terms: tuple[tuple[str, str], ...]
    """Its terms, each with the word that it stands for, in order."""
    names: frozenset[str]
    """Words that may name somebody."""
    cue: TimeCue | None
    shape: str | None
    """What an answer looks like."""


def question_of(text: str) -> Question:
    """What a question says. Short ones are remembered: the same is often asked of many."""
    return _remembered(text) if len(text) <= _QUESTION_CHARACTERS else _read(text)


def _read(text: str) -> Question:
    said = words(text)
    asked = tuple((stem(word), word) for word in said if word not in STOP_WORDS)
    # Most questions name no time: they are not searched for one.
    may_tell = not _TIME_WORDS.isdisjoint(said) or any(word[0].isdigit() for word in said)
    return Question(asked, names_in(text), time_cue(text) if may_tell else None, answer_shape(text))


_remembered = lru_cache(maxsize=_QUESTIONS)(_read)
