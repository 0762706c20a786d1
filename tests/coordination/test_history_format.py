import re
from contextlib import suppress
from random import Random

import pytest

from actors.errors import ConfigurationError
from coordination import history_format
from coordination.history import History
from coordination.history_format import Format, history_lines, read_history
from coordination.linearizability import Illegal, Linearizable, check_linearizable
from coordination.object_model import KEY_VALUE, REGISTER, Model
from tests.coordination.histories import atomic_history

LOG = """\
INFO  jepsen.core - Test version 4d15c4a0 (plus uncommitted changes)
WARN  jepsen.os.debian - something - else

INFO  jepsen.util - :nemesis\t:info\t:start\tnil
INFO  jepsen.util - 0\t:invoke\t:read\tnil
INFO  jepsen.util - 0\t:ok\t:read\tnil
INFO  jepsen.util - 1 \t:invoke :write \t3 \t:hint 0
INFO  jepsen.util - 2\t:invoke\t:cas\t[3 4]
INFO  jepsen.util - 1 \t:ok :write \t3 \t:hint 2
INFO  jepsen.util - 2\t:ok\t:cas\t[3 4]
INFO  jepsen.util - 2\t:invoke\t:cas\t[9 1]
INFO  jepsen.util - 2\t:fail\t:cas\t[9 1]
INFO  jepsen.util - 1\t:invoke\t:write\t7
INFO  jepsen.util - 1\t:info\t:write\t:timed-out
INFO  jepsen.util - 0\t:invoke\t:read\tnil
INFO  jepsen.util - 0\t:fail\t:read\t:timed-out
INFO  jepsen.util - 0\t:invoke\t:read\tnil
INFO  jepsen.util - 0\t:ok\t:read\t4
"""
PORCUPINE = """\
{:process 0, :type :invoke, :f :append, :key "7", :value "x 0 3 y"}
{:process 1, :type :invoke, :f :get, :key "7", :value nil}
{:process 0, :type :ok, :f :append, :key "7", :value "x 0 3 y"}
{:process 1, :type :ok, :f :get, :key "7", :value "x 0 3 y"}
; what some other program says
{:index 9, :type :invoke, :process 0, :f :put, :key "a \\"b\\"", :value "", :time 123}
{:process :nemesis, :type :info, :f :start, :value nil}
"""


def read(text: str, form: Format = "auto") -> History:
    return read_history(text.splitlines(keepends=True), "FILE", form)


def test_a_log_of_jepsens_is_read_and_its_noise_passed_over() -> None:
    history = read(LOG)
    assert (history.format, history.model, history.noise_lines) == ("jepsen", "register", 3)
    assert [str(operation) for operation in history.operations] == [
        "read gives nil",
        "write 3",
        "cas 3 to 4 succeeds",
        "cas 9 to 1 fails",
        "write 7 (never returned)",
        "read gives 4",
    ]
    assert (history.operations[1].call_line, history.operations[1].return_line) == (7, 9)
    assert isinstance(check_linearizable(history), Linearizable)


def test_a_log_without_operations_is_a_history_of_nothing() -> None:
    assert read("").operations == ()
    assert read("\n\n").operations == ()
    assert read("INFO  jepsen.core - etcd did not start\n").operations == ()
    assert isinstance(check_linearizable(read("")), Linearizable)


def test_a_cas_that_failed_for_another_reason_did_not_happen() -> None:
    lines = "INFO j - 0 :invoke :cas [1 2]\nINFO j - 0 :fail :cas {}\n"
    assert len(read(lines.replace("{}", "[1 2]")).operations) == 1
    assert len(read(lines.replace("{}", "[1 2] :hint 3")).operations) == 1
    assert read(lines.replace("{}", "[1 2] :timed-out")).operations == ()
    assert read(lines.replace("{}", ":timed-out")).operations == ()


def test_porcupines_format_is_read_with_keys_in_any_order() -> None:
    history = read(PORCUPINE)
    assert (history.format, history.model, history.noise_lines) == ("porcupine", "key-value", 2)
    assert [str(operation) for operation in history.operations] == [
        'append of "7" "x 0 3 y"',
        'get of "7" gives "x 0 3 y"',
        'put of "a \\"b\\"" "" (never returned)',
    ]
    assert history.keys == ("7", 'a "b"')


@pytest.mark.parametrize("model", [REGISTER, KEY_VALUE], ids=lambda model: model.name)
def test_what_is_written_in_our_format_reads_as_it_was(model: Model) -> None:
    for seed in range(10):
        history = atomic_history(Random(seed), model, clients=5, operations=60, keys=3, lost=0.1)
        again = read("".join(history_lines(history)))
        assert (again.format, again.model) == ("jsonl", model.name)
        assert [str(each) for each in again.operations] == [str(each) for each in history.operations]
        assert [each.process for each in again.operations] == [each.process for each in history.operations]
        kept = [(each.called, each.returned) for each in history.operations if each.returned is not None]
        back = [(each.called, each.returned) for each in again.operations if each.returned is not None]
        for first in range(len(kept)):
            for second in range(len(kept)):
                assert (kept[first][1] < kept[second][0]) == (back[first][1] < back[second][0])


def test_the_same_history_gets_the_same_verdict_in_every_format() -> None:
    jepsen = CALL + CALL.replace("invoke", "ok") + "INFO j - 1 :invoke :read nil\nINFO j - 1 :ok :read {}\n"
    for value, kind in (("1", Linearizable), ("nil", Illegal)):
        history = read(jepsen.format(value))
        assert isinstance(check_linearizable(history), kind)
        assert isinstance(check_linearizable(read("".join(history_lines(history)))), kind)


HEADER = '{"history": "rayswarm", "version": 1, "model": "register"}\n'
TEXTS = HEADER.replace("register", "key-value")
CALL = "INFO j - 0 :invoke :write 1\n"
PUT = '{:process 0, :type :invoke, :f :put, :key "k", :value "v"}\n'


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("hello\n", "FILE, line 1: this is neither Porcupine's"),
        ("INFO j - 0 :invoke :write\n", "FILE, line 1: the value is \"\". Give a number"),
        ("INFO j - 0 :invoke :write x\n", 'the value is "x". Give a number'),
        ("INFO j - 0 :invoke :write 1 2\n", 'the value is "1 2". Give a number'),
        ("INFO j - 0 :invoke :cas 3\n", 'the value is "3". Give [old new]'),
        ("INFO j - 0 :invoke :cas [3 x]\n", "Give [old new], two numbers"),
        ("INFO j - 0 :invoke :cas [3\n", "Give [old new], two numbers"),
        ("INFO j - 0 :invoke\n", 'the function is "". Give read, write, cas'),
        ("INFO j - 0 :invoke :enqueue 3\n", 'the function is "enqueue". Give read, write, cas'),
        ("INFO j - 0 :invok :read nil\n", 'the type is "invok". Give invoke, ok, fail, info'),
        ("INFO j - zero :invoke :read nil\n", 'the process is "zero". Give its number'),
        ("INFO j - 0 :ok :read 3\n", "process 0 returns but has not called"),
        (CALL + CALL, "FILE, line 2: process 0 calls write while its write of line 1 is open"),
        (CALL + "INFO j - 0 :ok :read 1\n", "process 0 called write but returns read"),
        (CALL + "INFO j - 0 :ok :write 2\n", "process 0 called write with 1 but returns 2"),
        ("INFO j - 0 :invoke :read nil\nINFO j - 0 :ok :read x\n", 'line 2: the value is "x". Give a number or nil'),
        ('{:process 0, :type :invoke, :f :put, :key "k", :value "v"\n', "the operation breaks off or is malformed"),
        ('{:process 0, :type :invoke, :f :put, :key "k" "v"}\n', "the operation breaks off or is malformed"),
        ('{:process x, :type :invoke, :f :get, :key "k"}\n', 'the process is "x". Give its number'),
        ('{:process 0, :type :invoke, :key "k"}\n', "there is no :f. Give"),
        ('{:process 0, :process 0, :type :invoke}\n', "there are two of :process"),
        ('{:process 0, :type :invoke, :f :cas, :key "k"}\n', 'the function is "cas". Give get, put, append'),
        ('{:process 0, :type :invoke, :f :put, :key "k"}\n', ":value is nil. Give a text in quotes"),
        ("{:process 0, :type :invoke, :f :get, :key 3}\n", ":key is 3. Give a text in quotes"),
        (PUT + PUT.replace("invoke", "ok").replace('"v"', '"w"'), 'called put with "v" but returns "w"'),
        (PUT + PUT.replace("invoke", "ok").replace('"k"', '"l"'), 'called put of "k" but returns put of "l"'),
        ('{"process": 0}\n', "there is no header. Begin the file with"),
        (HEADER.replace("1", "2"), "the version is 2. This program reads 1"),
        (HEADER.replace("register", "queue"), 'the model is "queue". Give one of: register, key-value'),
        (HEADER + "{\n", "FILE, line 2: this is no JSON"),
        (HEADER + "[1]\n", "Write one object a line"),
        (HEADER + '{"process": 0, "type": "invoke", "f": "read", "time": 3}\n', 'there is no key "time"'),
        (HEADER + '{"process": "a", "type": "invoke", "f": "read"}\n', 'the process is "a"'),
        (HEADER + '{"process": 0, "type": "invoke", "f": "read", "key": 1}\n', "key is 1. Give a text"),
        (HEADER + '{"process": 0, "type": "invoke", "f": "write", "value": 1.5}\n', "Give a text, an integer or null"),
        (HEADER + '{"process": 0, "type": "invoke", "f": "write", "value": true}\n', "Give a text, an integer or null"),
        (HEADER + '{"process": 0, "type": "invoke", "f": "put"}\n', 'the function is "put". Give read, write, cas'),
        (TEXTS + '{"process": 0, "type": "invoke", "f": "put", "value": 1}\n', "value is 1. Give a text"),
        (TEXTS + '{"process": 0, "type": "invoke", "f": "cas", "value": ["a", null]}\n', "value is nil. Give a text"),
        (HEADER + '{"process": 0, "type": "invoke", "f": "cas", "value": [1]}\n', "Give [old, new]"),
    ],
)  # fmt: skip
def test_a_malformed_line_is_an_error_that_names_the_mend(text: str, error: str) -> None:
    with pytest.raises(ConfigurationError, match=re.escape(error)):
        read(text)


def test_a_format_that_is_named_is_believed_and_all_else_is_noise() -> None:
    assert read("hello\n", "jepsen").noise_lines == 1
    assert read(PORCUPINE, "jepsen").operations == ()


def test_files_and_lines_have_limits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(history_format, "MOST_LINES", 3)
    with pytest.raises(ConfigurationError, match="FILE, line 4: there are over 3 lines"):
        read("INFO nothing\n" * 4)
    monkeypatch.setattr(history_format, "LONGEST_LINE", 20)
    with pytest.raises(ConfigurationError, match="FILE, line 1: the line has over 20 characters"):
        read("INFO " + "x" * 20)


def test_a_line_of_any_shape_is_read_or_refused_and_never_raises_otherwise() -> None:
    rng = Random(7)
    alphabet = ' \t:"\\{}[],-0123 INFO jepsen.util - :invoke :ok :read :cas nil :process :f :key x'
    for _ in range(3_000):
        source = rng.choice(
            [LOG, PORCUPINE, HEADER + '{"process": 0, "type": "invoke", "f": "cas", "value": [1, 2]}\n']
        )
        text = list(source)
        for _ in range(rng.randint(1, 6)):
            place = rng.randrange(len(text))
            text[place] = rng.choice(alphabet) if rng.random() < 0.7 else ""
        with suppress(ConfigurationError):
            read("".join(text))
