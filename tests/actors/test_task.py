"""Tasks: what may follow what, and that nothing is lost on the way."""

from datetime import UTC, datetime, timedelta, timezone
from functools import reduce

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors.errors import InvalidContent, SwarmError
from actors.message import Message, Part
from actors.task import (
    TRANSITIONS,
    Artifact,
    IllegalTransition,
    Task,
    TaskState,
    TaskStatus,
    decode,
    encode,
    rfc3339,
)

ENDS = {TaskState.COMPLETED, TaskState.FAILED, TaskState.CANCELED, TaskState.REJECTED}


def said(text: str, sequence: int = 1) -> Message:
    return Message("worker/1", "auctioneer", sequence, (Part("text", text),))


def in_state(state: TaskState) -> Task:
    return Task("t-1", "c-1", TaskStatus(state))


def test_a_new_task_is_submitted() -> None:
    assert Task("t-1", "c-1").state is TaskState.SUBMITTED


def test_a_task_runs_from_submission_through_a_question_to_its_end() -> None:
    states = (TaskState.WORKING, TaskState.INPUT_REQUIRED, TaskState.WORKING, TaskState.COMPLETED)
    task = reduce(lambda task, state: task.advanced(state), states, Task("t-1", "c-1"))
    assert task.state is TaskState.COMPLETED


def test_advancing_leaves_the_old_task_as_it_was() -> None:
    task = Task("t-1", "c-1")
    task.advanced(TaskState.WORKING, said("begun"))
    assert task == Task("t-1", "c-1")


def test_the_message_of_a_status_moves_to_the_history_when_the_next_status_comes() -> None:
    begun, asked = said("begun", 1), said("which one?", 2)
    task = Task("t-1", "c-1").advanced(TaskState.WORKING, begun).advanced(TaskState.INPUT_REQUIRED, asked)
    assert task.history == (begun,)
    assert task.status.message == asked


def test_the_status_holds_the_time_that_was_given() -> None:
    stamp = rfc3339(datetime(2026, 1, 31, 9, 30, tzinfo=UTC))
    assert (
        Task("t-1", "c-1").advanced(TaskState.WORKING, None, stamp).status.timestamp == "2026-01-31T09:30:00Z"
    )


@pytest.mark.parametrize("end", sorted(ENDS))
def test_nothing_follows_a_terminal_state(end: TaskState) -> None:
    task = in_state(end)
    assert end.is_terminal
    for state in TaskState:
        with pytest.raises(IllegalTransition, match=r"'t-1'.*final.*new task of context 'c-1'"):
            task.advanced(state)
    with pytest.raises(IllegalTransition, match="no artifact"):
        task.with_artifact(Artifact("a", ()))
    with pytest.raises(IllegalTransition, match="no message"):
        task.with_message(said("too late"))


@pytest.mark.parametrize("state", sorted(set(TaskState) - ENDS))
def test_every_state_but_the_terminal_ones_can_reach_every_end(state: TaskState) -> None:
    assert not state.is_terminal
    assert TRANSITIONS[state] >= ENDS


@pytest.mark.parametrize("state", sorted(set(TaskState) - {TaskState.UNSPECIFIED} - ENDS))
def test_no_state_leads_back_to_submission(state: TaskState) -> None:
    with pytest.raises(
        IllegalTransition, match=f"TASK_STATE_SUBMITTED cannot follow {state}. These can: .*WORKING"
    ):
        in_state(state).advanced(TaskState.SUBMITTED)


def test_only_waiting_for_input_or_authority_interrupts() -> None:
    assert {s for s in TaskState if s.is_interrupted} == {TaskState.INPUT_REQUIRED, TaskState.AUTH_REQUIRED}


def test_an_illegal_transition_is_definite_nothing_happened() -> None:
    assert issubclass(IllegalTransition, SwarmError)
    assert IllegalTransition.definite


@given(st.lists(st.sampled_from(TaskState), max_size=12))
def test_every_message_of_a_task_is_in_it_once_and_in_order(states: list[TaskState]) -> None:
    task, spoken = Task("t-1", "c-1"), []
    for number, state in enumerate(states):
        message = said(str(state), number)
        if state in TRANSITIONS[task.state]:
            task = task.advanced(state, message)
            spoken.append(message)
        else:
            with pytest.raises(IllegalTransition):
                task.advanced(state, message)
    last = () if task.status.message is None else (task.status.message,)
    assert [*task.history, *last] == spoken


def test_an_artifact_with_a_known_id_takes_the_place_of_the_old_one() -> None:
    task = in_state(TaskState.WORKING)
    for text in ("draft", "final"):
        task = task.with_artifact(Artifact("report", (Part("text", text),)))
    assert task.artifacts == (Artifact("report", (Part("text", "final"),)),)


def test_an_appended_artifact_adds_its_parts() -> None:
    task = in_state(TaskState.WORKING).with_artifact(
        Artifact("report", (Part("text", "one"),), name="Report")
    )
    task = task.with_artifact(Artifact("report", (Part("text", "two"),)), append=True)
    assert task.artifacts == (Artifact("report", (Part("text", "one"), Part("text", "two")), name="Report"),)


def test_appending_to_an_unknown_artifact_names_those_that_are_there() -> None:
    task = in_state(TaskState.WORKING).with_artifact(Artifact("report", ()))
    with pytest.raises(InvalidContent, match="no artifact 'figure' to append to, only 'report'"):
        task.with_artifact(Artifact("figure", ()), append=True)


def test_a_message_can_be_added_to_the_history() -> None:
    answer = said("the second one")
    assert in_state(TaskState.INPUT_REQUIRED).with_message(answer).history == (answer,)


def test_a_task_survives_its_codec() -> None:
    task = Task("t-1", "c-1", metadata={"price": 3}).advanced(TaskState.WORKING, said("begun"))
    task = task.with_artifact(Artifact("raw", (Part("raw", b"\x00\xff"),)))
    assert decode(encode(task)) == task


@pytest.mark.parametrize(
    "data", [b"", b"\x00", encode(["t-1", "c-1", ["TASK_STATE_DONE"]]), encode(Task("t", "c"))[:-1]]
)
def test_what_is_not_a_task_does_not_decode(data: bytes) -> None:
    with pytest.raises(msgspec.DecodeError):
        decode(data)


def test_a_time_is_written_in_utc() -> None:
    moment = datetime(2026, 1, 31, 9, 30, 0, 250_000, tzinfo=timezone(timedelta(hours=2)))
    assert rfc3339(moment) == "2026-01-31T07:30:00.250000Z"


def test_a_time_without_a_zone_is_refused() -> None:
    with pytest.raises(InvalidContent, match="no time zone"):
        rfc3339(datetime(2026, 1, 31))
