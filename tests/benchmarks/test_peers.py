"""The peers that messaging is compared with, where they are installed."""

from importlib.util import find_spec

from benchmarks.peers import peer_messages_per_second


def test_each_peer_is_measured_or_named_as_left_out() -> None:
    rates, left_out = peer_messages_per_second(0.1)
    for module in ("pykka", "xoscar", "autogen_core"):
        measured = any(name.startswith(module) for name in rates)
        named = any(module in sentence for sentence in left_out)
        assert measured != named
        assert measured == (find_spec(module) is not None)
