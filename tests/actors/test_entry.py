"""Every entry of a journal is the same after it was written and read."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors import entry
from actors.entry import decode_entries, encode_entries
from tests.actors.test_message import MESSAGES, TEXT

COUNTS = st.integers(0, 2**63)
NUMBERS = st.integers(-1, 2**40)
FLOATS = st.floats(0, 1e9)
KINDS: dict[type[entry.Entry], st.SearchStrategy[entry.Entry]] = {
    entry.Took: st.builds(entry.Took, TEXT, MESSAGES),
    entry.Answered: st.builds(entry.Answered, TEXT, MESSAGES),
    entry.Fired: st.builds(entry.Fired, COUNTS, TEXT, COUNTS, TEXT),
    entry.Finished: st.builds(entry.Finished, TEXT, COUNTS, st.binary(), TEXT),
    entry.Woke: st.builds(entry.Woke, TEXT),
    entry.Held: st.builds(entry.Held, TEXT, COUNTS),
    entry.Released: st.builds(entry.Released, TEXT),
    entry.Arrived: st.builds(entry.Arrived, NUMBERS, COUNTS, COUNTS, COUNTS, st.binary()),
    entry.Clock: st.builds(entry.Clock, FLOATS),
    entry.Began: st.builds(entry.Began, COUNTS, st.dictionaries(NUMBERS, COUNTS, max_size=4)),
    entry.Started: st.builds(entry.Started),
    entry.Changed: st.builds(entry.Changed),
    entry.Refused: st.builds(entry.Refused, TEXT, COUNTS),
    entry.Sent: st.builds(entry.Sent, TEXT, COUNTS),
}


def kinds() -> list[type[entry.Entry]]:
    return entry.Entry.__subclasses__()


def test_every_kind_of_entry_is_tested_and_has_a_tag_of_its_own() -> None:
    assert set(kinds()) == set(KINDS)
    tags = [kind.__struct_config__.tag for kind in kinds()]
    assert len(set(tags)) == len(tags)


@given(st.lists(st.one_of(*KINDS.values()), max_size=5))
def test_entries_are_the_same_after_they_were_written(entries: list[entry.Entry]) -> None:
    again = decode_entries(encode_entries(entries))
    assert again == entries
    assert [type(line) for line in again] == [type(line) for line in entries]


@pytest.mark.parametrize(
    "payload", [b"", b"\xc1", b"\x91\x91\x63", encode_entries([[99, 1]]), encode_entries([1]), b"\x91"]
)
def test_what_is_no_entry_is_refused(payload: bytes) -> None:
    with pytest.raises(msgspec.DecodeError):
        decode_entries(payload)
