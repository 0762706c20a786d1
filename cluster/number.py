"""Numbers as people read them: thousands separated, four significant digits, units named.

Rules: nothing is rounded to a false zero, a whole number keeps all its digits, and a minus is a minus, not
a hyphen.
"""

import math

MINUS = "\u2212"
NOTHING = "\u2013"
"""What stands for a value that is not there."""

_SMALL = 1e-4
_LARGE = 1e15
_SIGNIFICANT = 4
_LEAST_SHARE = 0.0005
_LEAST_P = 0.001
_KIBI = 1024
_MINUTE_S = 60
_HOUR_S = 3600


def number_text(value: float | None) -> str:
    """1234567 as "1,234,567", 0.12345 as "0.1235", tiny and huge with an exponent; None as a dash."""
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return NOTHING
    if isinstance(value, bool):
        return "yes" if value else "no"
    sign, size = (MINUS if value < 0 else ""), abs(value)
    if math.isinf(size):
        return f"{sign}\u221e"
    if isinstance(size, int) or (size.is_integer() and size < _LARGE):
        return f"{sign}{int(size):,}"
    if size < _SMALL or size >= _LARGE:
        digits, exponent = f"{size:.{_SIGNIFICANT - 1}e}".split("e")
        return f"{sign}{digits.rstrip('0').rstrip('.')}e{str(int(exponent)).replace('-', MINUS)}"
    decimals = max(0, _SIGNIFICANT - 1 - math.floor(math.log10(size)))
    text = f"{size:,.{decimals}f}"
    return sign + (text.rstrip("0").rstrip(".") if "." in text else text)


def share_text(share: float) -> str:
    """0.1234 as "12.3%"; what is not nothing is never shown as 0.0%."""
    return "under 0.1%" if 0 < share < _LEAST_SHARE else f"{100 * share:.1f}%"


def seconds_text(seconds: float) -> str:
    """0.0123 as "12.3 ms", 75 as "1 min 15 s", 7300 as "2 h 1 min"."""
    if seconds < 1:
        return f"{number_text(round(seconds * 1000, 1))} ms"
    if seconds < _MINUTE_S:
        return f"{number_text(round(seconds, 1))} s"
    whole = round(seconds)
    if whole < _HOUR_S:
        return f"{whole // _MINUTE_S} min {whole % _MINUTE_S} s"
    return f"{whole // _HOUR_S:,} h {whole % _HOUR_S // _MINUTE_S} min"


def bytes_text(size: float) -> str:
    """25769803776 as "24 GiB"; under one KiB in bytes."""
    for unit in ("B", "KiB", "MiB", "GiB"):
        if abs(size) < _KIBI:
            return f"{number_text(round(size, 1))} {unit}"
        size /= _KIBI
    return f"{number_text(round(size, 1))} TiB"


def interval_text(low: float | None, high: float | None) -> str:
    """The two ends, or a dash where there is no interval."""
    return NOTHING if low is None or high is None else f"{number_text(low)} to {number_text(high)}"


def p_text(p: float | None) -> str:
    """A p value to three decimals, or as under 0.001."""
    if p is None:
        return NOTHING
    return "<0.001" if p < _LEAST_P else f"{p:.3f}"
