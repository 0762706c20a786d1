"""The effects of one event, and what waits for the disk."""

from random import Random

from coordination.outbox import Outbox
from coordination.protocol import Setting


def test_what_is_held_comes_when_its_token_is_durable_and_in_order() -> None:
    out = Outbox(Setting(1, (1, 2, 3), Random(0)))
    heard: list[str] = []
    tokens = []
    for name in ("a", "b"):
        out.open()
        tokens.append(out.persist(name))
        assert out.persist(name + "2") == tokens[-1]
        out.hold(tokens[-1], heard.append, name)
    assert tokens == [1, 2]
    out.persisted(1)
    assert heard == ["a"]
    out.persisted(2)
    assert heard == ["a", "b"]
    out.hold(2, heard.append, "at once")
    assert heard[-1] == "at once"


def test_a_checkpoint_stands_for_the_records_of_its_event_too() -> None:
    out = Outbox(Setting(1, (1, 2, 3), Random(0)))
    out.open()
    out.persist("a")
    out.checkpoint("all")
    out.broadcast("m", out.token)
    effects = out.close(3.0)
    assert (effects.records, effects.checkpoint, effects.token, effects.wake_at) == (["all"], True, 1, 3.0)
    assert effects.sends == [(2, "m", 1), (3, "m", 1)]


def test_traces_are_kept_only_if_somebody_looks() -> None:
    for trace in (False, True):
        out = Outbox(Setting(1, (1, 2), Random(0), trace=trace))
        out.open()
        out.trace("name", fact=1)
        assert len(out.close().trace) == trace
