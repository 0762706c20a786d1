"""Numbers as people read them."""

import pytest

from cluster.number import bytes_text, interval_text, number_text, p_text, seconds_text, share_text


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0, "0"),
        (0.0, "0"),
        (1234567, "1,234,567"),
        (-1234.0, "\u22121,234"),
        (12345.678, "12,346"),
        (1234.56, "1,235"),
        (99.995, "100"),
        (0.123456, "0.1235"),
        (0.5, "0.5"),
        (1.5e-7, "1.5e\u22127"),
        (2.5e20, "2.5e20"),
        (10**20, "100,000,000,000,000,000,000"),
        (float("inf"), "\u221e"),
        (float("nan"), "\u2013"),
        (None, "\u2013"),
        (True, "yes"),
        (False, "no"),
    ],
)
def test_a_number_keeps_four_significant_digits_and_whole_numbers_all(value: float | None, text: str) -> None:
    assert number_text(value) == text


@pytest.mark.parametrize(
    ("seconds", "text"), [(0.0123, "12.3 ms"), (1.25, "1.2 s"), (75, "1 min 15 s"), (7300, "2 h 1 min")]
)
def test_seconds_have_the_unit_that_suits_them(seconds: float, text: str) -> None:
    assert seconds_text(seconds) == text


def test_bytes_shares_intervals_and_p_values() -> None:
    assert [bytes_text(size) for size in (512, 2048, 25_769_803_776, 2**41)] == [
        "512 B",
        "2 KiB",
        "24 GiB",
        "2 TiB",
    ]
    assert [share_text(share) for share in (0.0, 0.0001, 0.125, 1.0)] == [
        "0.0%",
        "under 0.1%",
        "12.5%",
        "100.0%",
    ]
    assert interval_text(1.0, 2.5) == "1 to 2.5"
    assert interval_text(None, 2.5) == "\u2013"
    assert [p_text(p) for p in (None, 0.0004, 0.0312)] == ["\u2013", "<0.001", "0.031"]
