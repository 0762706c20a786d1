"""The formats that histories are written in: two that others write, and one of our own.

Porcupine's key-value format (anishathalye/porcupine, `test_data/kv`), a line an event:

    {:process 0, :type :invoke, :f :append, :key "7", :value "x 0 3 y"}

Jepsen's log of a register in etcd (`INFO`, the logger, a dash, process, type, function, value, parted by white space):

    INFO  jepsen.util - 4   :invoke :cas    [3 1]

Ours is JSON lines. The first line is the header; `value` is a string, an integer or null, and `[old, new]` of a cas:

    {"history": "rayswarm", "version": 1, "model": "register"}
    {"process": 0, "type": "invoke", "f": "write", "key": "x", "value": 3}

Rules, for all three:
* `invoke` calls; `ok` returns, and the value of a read or get counts there; `fail` did not happen; `info` may have
  happened, or may yet. A cas that fails compared and saw another value; if a reason is given (`:timed-out`, or `error`
  in JSON) it did not happen.
* A line that is no operation is noise in the formats of others, whose logs hold much else, and an error in ours. A line
  that is one and is malformed is an error, with file, line and mend.
* Files and lines have limits.
"""

import json
import re
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from itertools import chain
from typing import Any, Final, Literal, TypeAlias

from coordination.history import UNKNOWN, History, HistoryRecorder, Operation, Value, shown
from coordination.object_model import KEY_VALUE, MODELS, REGISTER, Model, model_for

Format: TypeAlias = Literal["auto", "porcupine", "jepsen", "jsonl"]
FORMATS: Final[tuple[Format, ...]] = ("porcupine", "jepsen", "jsonl")

LONGEST_LINE: Final = 1_000_000
"""Characters in a line."""
MOST_LINES: Final = 4_000_000
"""Lines in a file, noise included."""
VERSION: Final = 1
"""Of our own format."""

_Numbered: TypeAlias = Iterator[tuple[int, str]]
_Taker: TypeAlias = Callable[[HistoryRecorder, int, str], bool]
_LINES_TO_TELL_BY: Final = 1_000
_PORCUPINE_FUNCTIONS: Final = ("get", "put", "append")
_TYPES: Final = ("invoke", "ok", "fail", "info")
_INTEGER = re.compile(r"-?[0-9]{1,18}")

_LOG_LINE = re.compile(r"\s*(?:TRACE|DEBUG|INFO|WARN|ERROR)\b")
_JEPSEN = re.compile(r"\s*INFO\b.*?\s-\s+(\S+)\s+:(\S+)(?:\s+:(\S+))?\s*(.*)$")
_JEPSEN_PAIR = re.compile(r"\[\s*(\S+?)[\s,]+(\S+?)\s*\]")
_JEPSEN_MORE = re.compile(r"(?:\s*:[^\s:]+\s+[^\s:]\S*)*\s*$")
"""Further keys with their values, such as `:hint 0`."""

_EDN_ENTRY = re.compile(r'\s*:([^\s,"{}]+)\s+("(?:[^"\\]|\\.)*"|\[[^\]"]*\]|[^\s,{}"]+)\s*,?')
_EDN_ESCAPE = re.compile(r'\\([nrt"\\])')
_EDN_ESCAPED: Final = {"n": "\n", "r": "\r", "t": "\t", '"': '"', "\\": "\\"}

_JSON_KEYS: Final = frozenset(("process", "type", "f", "key", "value", "error"))


def read_history(lines: Iterable[str], source: str = "history", form: Format = "auto") -> History:
    """Reads a history from the lines of a file, which errors call `source`.

    With `auto` the first line that is of a format tells it. No lines at all are a history of nothing. Raises
    `ConfigurationError`.
    """
    recorder = HistoryRecorder(source)
    numbered = _bounded(lines, recorder)
    if form == "auto":
        form, numbered = _told(recorder, numbered)
    if form == "jepsen":
        return recorder.finish(form, REGISTER.name, _read_all(recorder, numbered, _take_jepsen))
    if form == "porcupine":
        return recorder.finish(form, KEY_VALUE.name, _read_all(recorder, numbered, _take_porcupine))
    if form == "jsonl":
        model = _header(recorder, numbered)
        _read_all(recorder, numbered, partial(_take_json, model))
        return recorder.finish(form, model.name)
    return recorder.finish()


def history_lines(history: History) -> Iterator[str]:
    """The history in our own format, a line an event. Reading it gives the same operations in the same order."""
    header = {"history": "rayswarm", "version": VERSION, "model": model_for(history).name}
    yield json.dumps(header) + "\n"
    events: list[tuple[float, Operation, bool]] = []
    for operation in history.operations:
        events.append((operation.called, operation, True))
        # What never returned ends behind all: the process may not be seen again before.
        events.append(
            (history.events if operation.returned is None else operation.returned, operation, False)
        )
    for _place, operation, calls in sorted(events, key=lambda event: event[0]):
        line: dict[str, Any] = {"process": operation.process, "type": "invoke", "f": operation.function}
        if operation.key:
            line["key"] = operation.key
        if not calls and operation.result is UNKNOWN:
            line["type"] = "info"
        elif not calls:
            line["type"] = "fail" if operation.result is False else "ok"
        if operation.argument is not None:
            line["value"] = operation.argument
        elif line["type"] == "ok":
            line["value"] = operation.result
        yield json.dumps(line) + "\n"


def _bounded(lines: Iterable[str], recorder: HistoryRecorder) -> _Numbered:
    """The lines that are not empty, numbered from 1."""
    for number, line in enumerate(lines, start=1):
        if number > MOST_LINES:
            raise recorder.error(number, f"there are over {MOST_LINES:,} lines. Check a part of the file")
        if len(line) > LONGEST_LINE:
            raise recorder.error(
                number, f"the line has over {LONGEST_LINE:,} characters: no operation is as long. Cut it"
            )
        if not line.isspace() and line:
            yield number, line


def _told(recorder: HistoryRecorder, numbered: _Numbered) -> tuple[Format, _Numbered]:
    """The format, and all lines. `auto` if there are none."""
    seen: list[tuple[int, str]] = []
    for number, line in numbered:
        seen.append((number, line))
        form = _format_of(line)
        if form != "auto":
            return form, chain(seen, numbered)
        if len(seen) >= _LINES_TO_TELL_BY:
            break
    if seen:
        raise recorder.error(
            seen[0][0],
            "this is neither Porcupine's key-value format, nor a log of Jepsen's, nor our JSON lines. If one of them "
            "begins further down, name it with --format porcupine, jepsen or jsonl",
        )
    return "auto", iter(seen)


def _format_of(line: str) -> Format:
    if re.match(r'\s*\{\s*"', line):
        return "jsonl"
    if re.match(r"\s*\{\s*:\w", line):
        return "porcupine"
    return "jepsen" if _LOG_LINE.match(line) else "auto"


def _read_all(recorder: HistoryRecorder, numbered: _Numbered, take: _Taker) -> int:
    """Takes every line. Returns how many were noise."""
    return sum(not take(recorder, number, line) for number, line in numbered)


# --- Jepsen ---------------------------------------------------------------------------------------------------


def _take_jepsen(recorder: HistoryRecorder, number: int, line: str) -> bool:
    """Takes a line of a log. Returns whether it was an operation."""
    found = _JEPSEN.match(line)
    if found is None:
        return False
    who, kind, function, rest = found[1], found[2], found[3] or "", found[4].strip()
    known = function in REGISTER.functions
    if not (kind in _TYPES and known) and not (who.isdigit() and (kind in _TYPES or known)):
        return False
    process = _process(recorder, number, who)
    _check_words(recorder, number, kind, function, REGISTER.functions)
    if kind == "invoke":
        argument: Value | tuple[Value, Value] = None
        if function == "cas":
            argument = _jepsen_pair(recorder, number, rest)
        elif function == "write":
            argument = _jepsen_number(recorder, number, rest)
        recorder.call(process, function, argument, line=number)
        return True
    _check_return(recorder, number, process, function, "")
    if kind == "ok" and function == "read":
        recorder.ok(process, _jepsen_number(recorder, number, rest, nil=True), line=number)
    elif kind == "ok":
        compares = function == "cas"
        given = _jepsen_pair(recorder, number, rest) if compares else _jepsen_number(recorder, number, rest)
        _check_argument(recorder, number, process, given)
        recorder.ok(process, True if compares else None, line=number)
    elif kind == "info":
        recorder.info(process, line=number)
    elif function == "cas" and rest.startswith("["):
        pair = _JEPSEN_PAIR.match(rest)
        _check_argument(recorder, number, process, _jepsen_pair(recorder, number, rest, reason=True))
        compared = pair is not None and _JEPSEN_MORE.match(rest, pair.end())
        _end_failed(recorder, number, process, compared=bool(compared))
    else:
        recorder.fail(process, line=number)
    return True


def _jepsen_number(recorder: HistoryRecorder, number: int, rest: str, *, nil: bool = False) -> Value:
    word = rest.split(maxsplit=1)[0] if rest else ""
    if nil and word == "nil":
        return None
    if not _INTEGER.fullmatch(word) or not _JEPSEN_MORE.match(rest, len(word)):
        what = "a number or nil" if nil else "a number"
        raise recorder.error(number, f"the value is {shown(rest)}. Give {what}")
    return int(word)


def _jepsen_pair(
    recorder: HistoryRecorder, number: int, rest: str, *, reason: bool = False
) -> tuple[Value, Value]:
    found = _JEPSEN_PAIR.match(rest)
    words = found.groups() if found else ()
    well = all(word == "nil" or _INTEGER.fullmatch(word) for word in words)
    if found is None or not well or not (reason or _JEPSEN_MORE.match(rest, found.end())):
        raise recorder.error(number, f"the value is {shown(rest)}. Give [old new], two numbers")
    old, new = (None if word == "nil" else int(word) for word in words)
    return old, new


# --- Porcupine ------------------------------------------------------------------------------------------------


def _take_porcupine(recorder: HistoryRecorder, number: int, line: str) -> bool:
    """Takes a line of Porcupine's format. Returns whether it was an operation."""
    text = line.strip()
    if not text.startswith("{") or ":process" not in text:
        return False
    entries = _edn_map(recorder, number, text)
    if entries["process"].startswith(":"):
        return False  # Jepsen's nemesis, which breaks things and calls nothing
    process = _process(recorder, number, entries["process"])
    missing = [name for name in ("type", "f", "key") if name not in entries]
    if missing:
        raise recorder.error(number, f"there is no :{missing[0]}. Give :process, :type, :f, :key and :value")
    kind, function = entries["type"].removeprefix(":"), entries["f"].removeprefix(":")
    _check_words(recorder, number, kind, function, _PORCUPINE_FUNCTIONS)
    key, value = _edn_string(recorder, number, "key", entries), None
    if (kind == "invoke" and function != "get") or kind == "ok":
        value = _edn_string(recorder, number, "value", entries, nil=function == "get")
    if kind == "invoke":
        recorder.call(process, function, value, key=key, line=number)
        return True
    _check_return(recorder, number, process, function, key)
    if kind == "ok":
        if function != "get":
            _check_argument(recorder, number, process, value)
        recorder.ok(process, value if function == "get" else None, line=number)
    elif kind == "info":
        recorder.info(process, line=number)
    else:
        recorder.fail(process, line=number)
    return True


def _edn_map(recorder: HistoryRecorder, number: int, text: str) -> dict[str, str]:
    entries: dict[str, str] = {}
    place, end = 1, len(text) - 1
    while text.endswith("}") and place < end:
        found = _EDN_ENTRY.match(text, place, end)
        if found is None:
            break
        if found[1] in entries:
            raise recorder.error(number, f"there are two of :{found[1]}. Give one")
        entries[found[1]] = found[2]
        place = found.end()
    if not text.endswith("}") or text[place:end].strip() or "process" not in entries:
        raise recorder.error(
            number,
            f"the operation breaks off or is malformed at {shown(text[place : place + 40])}. Write it as "
            '{:process 0, :type :invoke, :f :put, :key "k", :value "v"}',
        )
    return entries


def _edn_string(
    recorder: HistoryRecorder, number: int, name: str, entries: dict[str, str], *, nil: bool = False
) -> str:
    """A text in quotes. A nil that is allowed is the empty text: what a key holds at first."""
    word = entries.get(name, "nil")
    if nil and word == "nil":
        return ""
    if not word.startswith('"'):
        raise recorder.error(number, f":{name} is {word}. Give a text in quotes")
    # Other escapes stay as they are written: Porcupine's own reader takes none.
    return _EDN_ESCAPE.sub(lambda found: _EDN_ESCAPED[found[1]], word[1:-1])


# --- Ours -----------------------------------------------------------------------------------------------------


def _header(recorder: HistoryRecorder, numbered: _Numbered) -> Model:
    """Reads the header. Returns the model that it names."""
    number, line = next(numbered, (1, "{}"))
    header = _json_object(recorder, number, line)
    known = {model.name: model for model in MODELS}
    example = json.dumps({"history": "rayswarm", "version": VERSION, "model": REGISTER.name})
    if header.get("history") != "rayswarm":
        raise recorder.error(number, f"there is no header. Begin the file with {example}")
    if header.get("version") != VERSION:
        raise recorder.error(number, f"the version is {header.get('version')}. This program reads {VERSION}")
    model = header.get("model")
    if not isinstance(model, str) or model not in known:
        raise recorder.error(number, f"the model is {shown(model)}. Give one of: {', '.join(known)}")
    return known[model]


def _take_json(model: Model, recorder: HistoryRecorder, number: int, line: str) -> bool:
    """Takes a line of our own format. Returns True: all are operations."""
    event = _json_object(recorder, number, line)
    strange = sorted(set(event) - _JSON_KEYS)
    if strange:
        raise recorder.error(
            number, f"there is no key {shown(strange[0])}. The keys are {', '.join(sorted(_JSON_KEYS))}"
        )
    process = _process(recorder, number, str(event.get("process")))
    kind, function, key = str(event.get("type")), str(event.get("f")), event.get("key", "")
    if not isinstance(key, str):
        raise recorder.error(number, f"key is {shown(key)}. Give a text")
    _check_words(recorder, number, kind, function, model.functions)
    if kind == "invoke":
        recorder.call(process, function, _json_argument(model, recorder, number, event), key=key, line=number)
        return True
    _check_return(recorder, number, process, function, key)
    looks = function in ("read", "get")
    if "value" in event and kind in ("ok", "fail") and not looks:
        _check_argument(recorder, number, process, _json_argument(model, recorder, number, event))
    if kind == "info":
        recorder.info(process, line=number)
    elif kind == "fail":
        _end_failed(recorder, number, process, compared=function == "cas" and "error" not in event)
    elif function == "cas":
        recorder.ok(process, True, line=number)
    else:
        value = event.get("value") if function == "read" else event.get("value", "")
        recorder.ok(process, _json_value(model, recorder, number, value) if looks else None, line=number)
    return True


def _json_object(recorder: HistoryRecorder, number: int, line: str) -> dict[str, Any]:
    try:
        value = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise recorder.error(number, f"this is no JSON: {error}. Write one object a line") from None
    if not isinstance(value, dict):
        raise recorder.error(number, f"this is {shown(value)}. Write one object a line")
    return value


def _json_argument(
    model: Model, recorder: HistoryRecorder, number: int, event: dict[str, Any]
) -> "Value | tuple[Value, Value]":
    function, value = event["f"], event.get("value")
    if function in ("read", "get"):
        return None
    if function == "cas":
        if not isinstance(value, list) or len(value) != 2:
            raise recorder.error(number, f"value is {shown(value)}. Give [old, new]")
        old, new = (_json_value(model, recorder, number, each) for each in value)
        return old, new
    return _json_value(model, recorder, number, value)


def _json_value(model: Model, recorder: HistoryRecorder, number: int, value: Any) -> Value:
    text_only = model is KEY_VALUE
    if isinstance(value, str) or (
        not text_only and (value is None or (isinstance(value, int) and not isinstance(value, bool)))
    ):
        return value
    kinds = "a text" if text_only else "a text, an integer or null"
    raise recorder.error(number, f"value is {shown(value)}. Give {kinds}")


# --- All ------------------------------------------------------------------------------------------------------


def _process(recorder: HistoryRecorder, number: int, word: str) -> int:
    if not _INTEGER.fullmatch(word):
        raise recorder.error(number, f"the process is {shown(word)}. Give its number")
    return int(word)


def _check_words(
    recorder: HistoryRecorder, number: int, kind: str, function: str, functions: tuple[str, ...]
) -> None:
    if kind not in _TYPES:
        raise recorder.error(number, f"the type is {shown(kind)}. Give {', '.join(_TYPES)}")
    if function not in functions:
        raise recorder.error(number, f"the function is {shown(function)}. Give {', '.join(functions)}")


def _check_return(recorder: HistoryRecorder, number: int, process: int, function: str, key: str) -> None:
    called, its_key, _argument = recorder.open_call(process, number)
    if (called, its_key) != (function, key):
        was = called + (f" of {shown(its_key)}" if its_key else "")
        now = function + (f" of {shown(key)}" if key else "")
        raise recorder.error(
            number, f"process {process} called {was} but returns {now}. Make them one operation"
        )


def _check_argument(
    recorder: HistoryRecorder, number: int, process: int, given: "Value | tuple[Value, Value]"
) -> None:
    function, _key, argument = recorder.open_call(process, number)
    if given != argument:
        raise recorder.error(
            number,
            f"process {process} called {function} with {shown(argument)} but returns {shown(given)}. "
            "Make them one operation",
        )


def _end_failed(recorder: HistoryRecorder, number: int, process: int, *, compared: bool) -> None:
    """A cas that compared returned, and says that the value was another; any other failure did not happen."""
    if compared:
        recorder.ok(process, False, line=number)
    else:
        recorder.fail(process, line=number)
