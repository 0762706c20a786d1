import re

import pytest

from actors.errors import ConfigurationError
from coordination.history import UNKNOWN, HistoryRecorder, shown


def test_calls_and_returns_have_places_in_the_order_they_were_seen() -> None:
    recorder = HistoryRecorder()
    recorder.call(0, "write", 3)
    recorder.call(1, "read")
    recorder.ok(1, 3)
    recorder.ok(0)
    first, second = recorder.finish().operations
    assert (first.called, first.returned) == (0, 3)
    assert (second.called, second.returned, second.result) == (1, 2, 3)


def test_what_failed_is_left_out_and_what_is_open_at_the_end_never_returned() -> None:
    recorder = HistoryRecorder()
    recorder.call(0, "write", 1)
    recorder.fail(0)
    recorder.call(0, "write", 2)
    recorder.info(0)
    recorder.call(0, "write", 3)
    history = recorder.finish()
    assert [operation.argument for operation in history.operations] == [2, 3]
    assert {operation.result for operation in history.operations} == {UNKNOWN}
    assert history.indefinite == 2


def test_a_recorder_is_empty_after_it_gave_its_history() -> None:
    recorder = HistoryRecorder()
    recorder.call(0, "read")
    assert len(recorder.finish().operations) == 1
    assert recorder.finish().events == 0


def test_a_process_cannot_call_twice() -> None:
    recorder = HistoryRecorder("run.log")
    recorder.call(4, "write", 1, line=7)
    with pytest.raises(
        ConfigurationError, match=re.escape("run.log, line 9: process 4 calls read while its write of line 7")
    ):
        recorder.call(4, "read", line=9)


def test_a_process_cannot_return_before_it_called() -> None:
    with pytest.raises(ConfigurationError, match="process 4 returns but has not called"):
        HistoryRecorder().ok(4)


def test_operations_read_as_sentences() -> None:
    recorder = HistoryRecorder()
    for process, function, argument, result in (
        (0, "write", 3, None),
        (1, "read", None, None),
        (2, "cas", (3, 4), True),
        (3, "cas", (None, 4), False),
        (4, "append", "x", None),
    ):
        recorder.call(process, function, argument, key="k" if function == "append" else "")
        recorder.ok(process, result)
    recorder.call(5, "get", key="k")
    assert [str(operation) for operation in recorder.finish().operations] == [
        "write 3",
        "read gives nil",
        "cas 3 to 4 succeeds",
        "cas nil to 4 fails",
        'append of "k" "x"',
        'get of "k" (never returned)',
    ]


def test_a_long_text_keeps_both_ends() -> None:
    text = shown("a" * 500 + "end")
    assert len(text) < 70
    assert text.endswith('end"')
    assert shown('say "no"') == '"say \\"no\\""'
