"""The rules of `actors/journal.py`: what was acknowledged is kept, what was torn is cut, what is damaged is refused."""

import os
import shutil
import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from actors.errors import InvalidContent
from actors.journal import (
    JournalDamaged,
    JournalFailed,
    JournalWriter,
    Position,
    TornTail,
    read_journal,
)
from actors.segment import HEADER_BYTES, RECORD, RECORD_LIMIT_BYTES
from tests.actors.journals import read, read_with_tail

ROOT = Path(__file__).parents[2]
PAYLOADS = [b"first", b"", b"third" * 10]


def write(
    directory: Path, payloads: list[bytes], segment_bytes: int = 2**20, compress: bool = False
) -> list[Position]:
    with JournalWriter(directory, segment_bytes=segment_bytes, compress=compress) as journal:
        return [journal.append(payload) for payload in payloads]


def segment(directory: Path, number: int = 1) -> Path:
    return directory / f"{number:08d}.log"


# Writing and reading


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.binary(max_size=60) | st.binary(max_size=1).map(lambda byte: byte * 300), max_size=12),
    st.integers(1, 400),
    st.booleans(),
    st.lists(st.integers(0, 12), max_size=3),
)
def test_any_payloads_come_back_in_order_over_rotations_and_openings(
    payloads: list[bytes], segment_bytes: int, compress: bool, openings: list[int]
) -> None:
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name) / "journal"
        positions = []
        for begin, end in zip([0, *sorted(openings)], [*sorted(openings), None], strict=True):
            positions += write(directory, payloads[begin:end], segment_bytes, compress)
        assert list(read_journal(directory)) == list(zip(positions, payloads, strict=True))
        assert positions == sorted(positions)
        for index, position in enumerate(positions):
            assert read(directory, position) == payloads[index:]


def test_a_segment_is_rotated_before_it_grows_beyond_its_size(tmp_path: Path) -> None:
    write(tmp_path, [b"x" * 40] * 9, segment_bytes=150)
    sizes = [path.stat().st_size for path in sorted(tmp_path.glob("*.log"))]
    assert len(sizes) > 2
    assert max(sizes) <= 150


def test_a_commit_larger_than_a_segment_gets_one_of_its_own(tmp_path: Path) -> None:
    assert [p.segment for p in write(tmp_path, [b"a", b"b" * 500, b"c"], segment_bytes=100)] == [1, 2, 3]
    assert read(tmp_path) == [b"a", b"b" * 500, b"c"]


def test_reading_from_the_writers_position_gives_what_comes_after(tmp_path: Path) -> None:
    with JournalWriter(tmp_path, segment_bytes=100) as journal:
        for number in range(20):
            at = journal.position
            journal.append(b"%d" % number)
            assert read(tmp_path, at) == [b"%d" % number]
        assert read(tmp_path, journal.position) == []


def test_compression_is_used_where_it_helps(tmp_path: Path) -> None:
    random = os.urandom(5_000)
    write(tmp_path, [b"a" * 100_000, random, b"x"], compress=True)
    assert segment(tmp_path).stat().st_size < 6_000
    assert read(tmp_path) == [b"a" * 100_000, random, b"x"]


def test_a_journal_synchronised_to_disk_reads_the_same(tmp_path: Path) -> None:
    with JournalWriter(tmp_path / "new" / "journal", segment_bytes=60, sync="disk") as journal:
        for payload in PAYLOADS:
            journal.append(payload)
        journal.sync()
    assert read(tmp_path / "new" / "journal") == PAYLOADS


def test_a_reader_follows_a_journal_that_is_being_written(tmp_path: Path) -> None:
    with JournalWriter(tmp_path, segment_bytes=100) as journal:
        journal.append(b"0")
        reader = read_journal(tmp_path)
        for number in range(30):
            assert next(reader)[1] == b"%d" % number
            journal.append(b"%d" % (number + 1))


def test_reading_where_nothing_was_ever_written_is_an_error_but_an_empty_journal_is_empty(
    tmp_path: Path,
) -> None:
    write(tmp_path / "empty", [])
    assert read(tmp_path / "empty") == []
    with pytest.raises(JournalDamaged, match="there is no journal"):
        read(tmp_path / "nowhere")


def test_a_commit_over_the_limit_is_refused_and_writing_goes_on(tmp_path: Path) -> None:
    class Huge(bytes):
        def __len__(self) -> int:
            return RECORD_LIMIT_BYTES + 1

    with JournalWriter(tmp_path) as journal:
        with pytest.raises(InvalidContent, match="over the limit"):
            journal.append(Huge())
        journal.append(b"small")
    assert read(tmp_path) == [b"small"]


def test_a_closed_journal_refuses_more(tmp_path: Path) -> None:
    journal = JournalWriter(tmp_path)
    journal.close()
    journal.close()
    with pytest.raises(JournalFailed, match="is closed"):
        journal.append(b"late")


# A torn tail


def test_a_tail_torn_at_any_byte_is_cut_and_reported_and_all_before_it_survives(tmp_path: Path) -> None:
    write(tmp_path, PAYLOADS)
    whole = segment(tmp_path).read_bytes()
    start = len(whole) - RECORD.size - len(PAYLOADS[-1])
    for length in range(start, len(whole)):
        segment(tmp_path).write_bytes(whole[:length])
        expected = [TornTail(1, start, length - start)] if length > start else []
        assert read_with_tail(tmp_path) == (PAYLOADS[:-1], expected)
        with JournalWriter(tmp_path) as journal:
            assert journal.torn == (expected[0] if expected else None)
            assert segment(tmp_path).stat().st_size == start
            journal.append(b"next")
        assert read_with_tail(tmp_path) == ([*PAYLOADS[:-1], b"next"], [])


def test_a_torn_tail_in_a_later_segment_is_cut(tmp_path: Path) -> None:
    positions = write(tmp_path, [b"x" * 40] * 5, segment_bytes=150)
    last = segment(tmp_path, positions[-1].segment)
    os.truncate(last, last.stat().st_size - 1)
    with JournalWriter(tmp_path, segment_bytes=150) as journal:
        assert journal.torn == TornTail(positions[-1].segment, positions[-1].offset, 40 + RECORD.size - 1)
        journal.append(b"next")
    assert read(tmp_path) == [b"x" * 40] * 4 + [b"next"]


@pytest.mark.parametrize("earlier", [0, 4])
def test_a_last_segment_without_its_header_is_removed_and_reported(tmp_path: Path, earlier: int) -> None:
    positions = write(tmp_path, [b"x" * 40] * earlier, segment_bytes=150)
    number = positions[-1].segment + 1 if positions else 1
    segment(tmp_path, number).write_bytes(b"RAYS")
    assert read_with_tail(tmp_path) == (
        [b"x" * 40] * earlier,
        [TornTail(number, 0, 4)] if not earlier else [],
    )
    with JournalWriter(tmp_path, segment_bytes=150) as journal:
        assert journal.torn == TornTail(number, 0, 4)
        journal.append(b"next")
    assert read(tmp_path) == [b"x" * 40] * earlier + [b"next"]


def test_a_torn_commit_that_holds_the_image_of_a_record_is_still_only_torn(tmp_path: Path) -> None:
    write(tmp_path / "other", [b"inner"])
    image = segment(tmp_path / "other").read_bytes()[HEADER_BYTES:]
    write(tmp_path / "journal", [b"a", image * 3])
    path = segment(tmp_path / "journal")
    os.truncate(path, path.stat().st_size - 1)
    payloads, torn = read_with_tail(tmp_path / "journal")
    assert payloads == [b"a"]
    assert len(torn) == 1


# Damage


def outcome(directory: Path) -> tuple[list[bytes], list[TornTail]] | None:
    """What a reader gets, after asserting that a writer judges alike; None if both refuse."""
    try:
        found = read_with_tail(directory)
    except JournalDamaged:
        with pytest.raises(JournalDamaged, match=rf"{directory}.*offset \d+: expected .*\.$"):
            JournalWriter(directory)
        return None
    with JournalWriter(directory) as journal:
        assert journal.torn == (found[1][0] if found[1] else None)
    assert read_with_tail(directory) == (found[0], [])
    return found


@pytest.mark.parametrize("compress", [False, True])
def test_every_flipped_bit_is_detected_or_cuts_the_tail_and_never_gives_a_wrong_payload(
    tmp_path: Path, compress: bool
) -> None:
    positions = write(tmp_path, PAYLOADS, compress=compress)
    whole = segment(tmp_path).read_bytes()
    for bit in range(8 * len(whole)):
        flipped = bytearray(whole)
        flipped[bit // 8] ^= 1 << bit % 8
        segment(tmp_path).write_bytes(flipped)
        found = outcome(tmp_path)
        if bit // 8 < positions[-1].offset:
            assert found is None
        else:
            assert found == (
                PAYLOADS[:-1],
                [TornTail(1, positions[-1].offset, len(whole) - positions[-1].offset)],
            )


def test_every_flipped_bit_in_an_earlier_segment_is_detected(tmp_path: Path) -> None:
    write(tmp_path, [b"one", b"two", b"three"], segment_bytes=1)
    whole = segment(tmp_path, 2).read_bytes()
    for bit in range(8 * len(whole)):
        flipped = bytearray(whole)
        flipped[bit // 8] ^= 1 << bit % 8
        segment(tmp_path, 2).write_bytes(flipped)
        got: list[bytes] = []
        with pytest.raises(JournalDamaged, match=r"00000002\.log: offset"):
            got.extend(payload for _, payload in read_journal(tmp_path))
        assert got in ([], [b"one"])


@pytest.mark.parametrize("missing", [1, 2])
def test_a_missing_segment_is_damage(tmp_path: Path, missing: int) -> None:
    write(tmp_path, [b"x"] * 4, segment_bytes=1)
    segment(tmp_path, missing).unlink()
    with pytest.raises(JournalDamaged, match=rf"0000000{missing}\.log: offset 0: expected a segment"):
        read(tmp_path)
    with pytest.raises(JournalDamaged, match="Restore this file from a copy"):
        JournalWriter(tmp_path)


@pytest.mark.parametrize("change", [-1, -12, 1])
def test_an_earlier_segment_of_another_length_is_damage(tmp_path: Path, change: int) -> None:
    write(tmp_path, [b"abc"] * 3, segment_bytes=1)
    path = segment(tmp_path, 2)
    path.write_bytes((path.read_bytes() + b"!" * max(change, 0))[: path.stat().st_size + change])
    with pytest.raises(JournalDamaged, match=r"00000002\.log"):
        read(tmp_path)
    with pytest.raises(JournalDamaged, match=r"00000002\.log"):
        JournalWriter(tmp_path)


def test_a_segment_under_the_name_of_another_is_damage(tmp_path: Path) -> None:
    write(tmp_path, [b"abc"] * 3, segment_bytes=1)
    shutil.copy(segment(tmp_path, 2), segment(tmp_path, 3))
    with pytest.raises(JournalDamaged, match="expected the header of segment 3, found that of segment 2"):
        read(tmp_path)


def test_a_file_that_is_no_journal_is_refused(tmp_path: Path) -> None:
    segment(tmp_path).write_bytes(b"a letter to a friend, longer than a header")
    with pytest.raises(JournalDamaged, match="this is no journal"):
        JournalWriter(tmp_path)


def test_a_journal_of_a_future_version_is_refused_with_the_mend(tmp_path: Path) -> None:
    write(tmp_path, PAYLOADS)
    whole = bytearray(segment(tmp_path).read_bytes())
    whole[8] = 9
    segment(tmp_path).write_bytes(whole)
    with pytest.raises(JournalDamaged, match=r"version 1 or lower, found 9.*Upgrade rayswarm"):
        read(tmp_path)


def test_a_refused_journal_is_left_as_it_is_and_unlocked(tmp_path: Path) -> None:
    write(tmp_path, PAYLOADS)
    damaged = bytearray(segment(tmp_path).read_bytes())
    damaged[HEADER_BYTES + RECORD.size] ^= 1
    segment(tmp_path).write_bytes(damaged)
    for _ in range(2):
        with pytest.raises(JournalDamaged, match="found none, but one follows"):
            JournalWriter(tmp_path)
    assert segment(tmp_path).read_bytes() == damaged


def test_a_position_beyond_the_end_tells_that_the_end_is_gone(tmp_path: Path) -> None:
    positions = write(tmp_path, [b"abc"] * 3)
    os.truncate(segment(tmp_path), positions[1].offset)
    with pytest.raises(JournalDamaged, match="expected records up to offset"):
        read(tmp_path, positions[2])
    with pytest.raises(JournalDamaged, match="segments 1 to 1 are kept"):
        read(tmp_path, Position(2, HEADER_BYTES))


# Dropping


def test_dropping_removes_whole_segments_before_a_position(tmp_path: Path) -> None:
    with JournalWriter(tmp_path, segment_bytes=1) as journal:
        positions = [journal.append(b"%d" % number) for number in range(5)]
        journal.drop_before(positions[2])
        journal.drop_before(positions[1])
        assert read(tmp_path) == [b"2", b"3", b"4"]
        journal.drop_before(Position(99, 0))
        assert read(tmp_path) == [b"4"]
        journal.append(b"5")
    assert read(tmp_path) == [b"4", b"5"]
    assert write(tmp_path, [b"6"])[0].segment == 6
    with pytest.raises(JournalDamaged, match="Use a later checkpoint"):
        read(tmp_path, positions[0])


def test_an_interrupted_dropping_is_finished_by_the_next_writer(tmp_path: Path) -> None:
    write(tmp_path, [b"1", b"2", b"3"], segment_bytes=1)
    kept = segment(tmp_path, 1).read_bytes()
    with JournalWriter(tmp_path) as journal:
        journal.drop_before(Position(3, 0))
    segment(tmp_path, 1).write_bytes(kept)
    assert read(tmp_path) == [b"3"]
    write(tmp_path, [])
    assert not segment(tmp_path, 1).exists()


def test_a_segment_missing_after_dropping_is_damage(tmp_path: Path) -> None:
    write(tmp_path, [b"1", b"2", b"3"], segment_bytes=1)
    with JournalWriter(tmp_path) as journal:
        journal.drop_before(Position(2, 0))
    segment(tmp_path, 2).unlink()
    with pytest.raises(JournalDamaged, match=r"00000002\.log"):
        read(tmp_path)


def test_a_damaged_mark_of_the_first_segment_is_refused(tmp_path: Path) -> None:
    write(tmp_path, [b"1", b"2", b"3"], segment_bytes=1)
    with JournalWriter(tmp_path) as journal:
        journal.drop_before(Position(2, 0))
    mark = bytearray((tmp_path / "first").read_bytes())
    mark[12] ^= 1
    (tmp_path / "first").write_bytes(mark)
    with pytest.raises(JournalDamaged, match="first: offset 0"):
        read(tmp_path)
