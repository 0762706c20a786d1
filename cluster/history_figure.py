"""A picture of a history: operations as bars by process, and the order that could be placed.

Rules:
* Of a refused history it shows the key that was refused, around the place where no operation could follow; of an
  accepted one the beginning of the first key. What is left out is said: pictures have at most `MOST_SHOWN` operations.
* Bars stand in the order of calls and returns, not to scale in time: histories have no times. A bar that is open to the
  right never returned.
* A dot is the moment at which an operation takes effect. The line through the dots is the order.
"""

from dataclasses import dataclass
from html import escape

from cluster.section import visible_text
from coordination.history import History, Operation, shown
from coordination.linearizability import Illegal, Linearizable

MOST_SHOWN = 60
"""Operations in a picture: two thirds of them placed ones."""
_STEP, _ROW, _BAR, _LEFT, _TOP, _RIGHT = 34.0, 34.0, 22.0, 96.0, 56.0, 30.0
_COLOURS = {"placed": "#cfe3f7", "blocked": "#f9cfc4", "later": "#e9e9e9"}
_EDGES = {"placed": "#2f6fae", "blocked": "#c0391b", "later": "#9a9a9a"}
_MEANINGS = {
    "placed": "placed, with its number in the order",
    "blocked": "might come next, and leads no further",
    "later": "comes later",
}


@dataclass(frozen=True)
class _Bar:
    operation: Operation
    kind: str
    number: int
    """Its place in the order from 1; 0 if it is not placed."""


def history_figure(history: History, verdict: Linearizable | Illegal) -> str:
    """The picture as SVG, complete in itself."""
    if isinstance(verdict, Illegal):
        key, order, title = verdict.key, verdict.placed, f"Refused: {verdict}"
        blocked = {each.operation.called for each in verdict.blocked}
    else:
        key = next(iter(verdict.orders), "")
        order, blocked = verdict.orders.get(key, ()), set[int]()
        title = "Accepted: the order found" + (f" for key {shown(key)}" if key else "")
    operations = [each for each in history.operations if each.key == key]
    bars, left_out = _chosen(operations, order, blocked, from_end=isinstance(verdict, Illegal))
    return _drawn(bars, order, title, left_out)


def history_page(history: History, verdict: Linearizable | Illegal) -> str:
    """The picture in an HTML page, complete in itself."""
    return (
        '<!DOCTYPE html><html lang="en"><head><meta charset="utf-8">'
        f"<title>{_text(history.source)}</title></head>"
        f'<body style="margin:2em;background:#fff;overflow-x:auto">{history_figure(history, verdict)}</body></html>\n'
    )


def _chosen(
    operations: list[Operation], order: tuple[Operation, ...], blocked: set[int], *, from_end: bool
) -> tuple[list[_Bar], int]:
    """The bars that are shown, and how many operations are not."""
    numbers = {operation.called: number for number, operation in enumerate(order, start=1)}
    room = MOST_SHOWN * 2 // 3
    shown = set(list(numbers)[-room:] if from_end else list(numbers)[:room])
    stuck = [operation.called for operation in operations if operation.called in blocked]
    # Those that returned block; what never returned is only shown if there is room.
    shown |= set(stuck[: MOST_SHOWN - len(shown)])
    last = max(shown, default=0)
    rest = [each.called for each in operations if each.called not in numbers and each.called not in blocked]
    following = [called for called in rest if called > last]
    shown |= set(following[: min(6, MOST_SHOWN - len(shown))] if from_end else ())
    bars = []
    for operation in operations:
        if operation.called in shown:
            number = numbers.get(operation.called, 0)
            kind = "placed" if number else "blocked" if operation.called in blocked else "later"
            bars.append(_Bar(operation, kind, number))
    return bars, len(operations) - len(bars)


def _drawn(bars: list[_Bar], order: tuple[Operation, ...], title: str, left_out: int) -> str:
    rows = {process: row for row, process in enumerate(sorted({bar.operation.process for bar in bars}))}
    events = sorted(
        {bar.operation.called for bar in bars}
        | {bar.operation.returned for bar in bars if bar.operation.returned is not None}
    )
    places = {event: _LEFT + _STEP * column for column, event in enumerate(events)}
    right = _LEFT + _STEP * len(events)
    width, height = max(right + _RIGHT, 760.0), _TOP + _ROW * len(rows) + 60.0
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:.0f} {height:.0f}" width="{width:.0f}" '
        f'height="{height:.0f}" font-family="system-ui, sans-serif" font-size="12" role="img" '
        f'aria-label="{_text(title)}"><rect width="100%" height="100%" fill="#fff"/>',
        f'<text x="12" y="22" font-size="14" fill="#222">{_text(title)}<title>{_text(title)}</title></text>',
    ]
    for process, row in rows.items():
        y = _TOP + _ROW * row
        parts.append(
            f'<text x="12" y="{y + 15:.0f}" fill="#444">process {process}</text>'
            f'<line x1="{_LEFT:.0f}" x2="{right:.0f}" y1="{y + _BAR / 2:.0f}" y2="{y + _BAR / 2:.0f}" stroke="#eee"/>'
        )
    tops = {process: _TOP + _ROW * row for process, row in rows.items()}
    line, dots = _effects(bars, order, places, tops)
    parts += [line, *(_bar(bar, places, tops[bar.operation.process], right) for bar in bars), dots]
    parts.append(_legend(bars, left_out, height))
    return "".join(parts) + "</svg>"


def _bar(bar: _Bar, places: dict[int, float], y: float, right: float) -> str:
    operation = bar.operation
    start = places[operation.called]
    end = right if operation.returned is None else places[operation.returned]
    lines = f" (lines {operation.call_line} to {operation.return_line})" if operation.call_line else ""
    number = f"{bar.number}. " if bar.number else ""
    dash = ' stroke-dasharray="4 3"' if operation.returned is None else ""
    label = number + str(operation).replace(f" of {shown(operation.key)}", "", 1)  # the title has the key
    room = max(3, int((end - start) / 6.2))
    if len(label) > room:
        label = label[: room - 1] + "…"
    return (
        f"<g><title>{_text(f'process {operation.process}: {number}{operation}{lines}')}</title>"
        f'<rect x="{start:.1f}" y="{y:.1f}" width="{end - start:.1f}" height="{_BAR:.0f}" rx="4" '
        f'fill="{_COLOURS[bar.kind]}" stroke="{_EDGES[bar.kind]}"{dash}/>'
        f'<text x="{start + 5:.1f}" y="{y + 15:.1f}" fill="#111">{_text(label)}</text></g>'
    )


def _effects(
    bars: list[_Bar], order: tuple[Operation, ...], places: dict[int, float], tops: dict[int, float]
) -> tuple[str, str]:
    """The line, and the dots that it goes through: each as early as the call and the dot before allow."""
    numbers = {bar.number for bar in bars if bar.number}
    points, x = [], 0.0
    for number in sorted(numbers):
        operation = order[number - 1]
        x = max(x + 0.8, places[operation.called] + 3)
        points.append((x, tops[operation.process] + _BAR))
    path = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
    dots = "".join(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="2.6" fill="#2f6fae"/>' for x, y in points)
    return f'<polyline points="{path}" fill="none" stroke="#2f6fae" stroke-width="0.8" opacity="0.6"/>', dots


def _legend(bars: list[_Bar], left_out: int, height: float) -> str:
    parts, x = [], 12.0
    for kind, meaning in _MEANINGS.items():
        if any(bar.kind == kind for bar in bars):
            parts.append(
                f'<rect x="{x:.0f}" y="{height - 34:.0f}" width="14" height="14" rx="3" fill="{_COLOURS[kind]}" '
                f'stroke="{_EDGES[kind]}"/><text x="{x + 20:.0f}" y="{height - 22:.0f}" fill="#444">{meaning}</text>'
            )
            x += 40 + 6.2 * len(meaning)
    if left_out:
        parts.append(
            f'<text x="{x:.0f}" y="{height - 22:.0f}" fill="#444">{left_out:,} more operations of this key</text>'
        )
    return "".join(parts)


def _text(text: str) -> str:
    return escape(visible_text(text))
