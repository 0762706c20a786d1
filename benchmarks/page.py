"""A page for a benchmark's figures: one HTML file, no network, its drawings as SVG in it.

Rules: text is escaped; a figure has a caption that says what to see; curves have markers and dashes beside colours; a
theory's line is thin and grey, and beneath the measured ones.
"""

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from io import StringIO
from pathlib import Path
from typing import Any, Literal

import matplotlib as mpl
from matplotlib.axis import Axis
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

_MARKERS = "osD^vPX*"
_DASHES = ("-", "--", ":", "-.")
_STYLE: dict[Any, Any] = {
    "svg.hashsalt": "rayswarm",
    "font.size": 9.5,
    "axes.spines.top": False,
    "axes.spines.right": False,
}
_CSS = """
:root{color-scheme:light}body{margin:0 auto;max-width:76rem;padding:2.5rem 1.25rem;font:16px/1.5 system-ui,sans-serif;
color:#171a1f;background:#fff}h1{font-size:1.9rem;margin:0 0 .4rem}p{max-width:44rem}figure{margin:2rem 0}
figcaption{color:#59616c;max-width:44rem}figure svg{max-width:100%;height:auto}.scroll{overflow-x:auto}
table{border-collapse:collapse;font-size:.85rem;font-variant-numeric:tabular-nums}td,th{padding:.3rem .6rem;
text-align:right;border-bottom:1px solid #dfe2e6;white-space:nowrap}td:first-child,th:first-child{text-align:left}
pre{background:#f6f7f8;padding:.7rem;overflow-x:auto;font-size:.85rem}
"""


@dataclass(frozen=True)
class Curve:
    """Points (x, y) under a name; a theory is drawn without markers."""

    name: str
    points: Sequence[tuple[float, float]]
    theory: bool = False
    colour: int = 0
    """Curves of one colour belong together: a measurement and its theory."""


@dataclass(frozen=True)
class Plot:
    """One figure."""

    title: str
    caption: str
    x_label: str
    y_label: str
    curves: Sequence[Curve]
    scale: Literal["linear", "log", "semilog"] = "linear"
    """`log`: both axes; `semilog`: the y axis."""

    def _values(self, coordinate: int) -> list[float]:
        values = [point[coordinate] for curve in self.curves for point in curve.points]
        return [value for value in values if math.isfinite(value) and value > 0]

    def svg(self) -> str:
        """The drawing."""
        with mpl.rc_context(_STYLE):
            figure = Figure(figsize=(9.0, 4.2), layout="constrained")
            FigureCanvasSVG(figure)
            axes = figure.add_subplot()
            for index, curve in enumerate(self.curves):
                points = sorted(point for point in curve.points if all(map(math.isfinite, point)))
                if not points:
                    continue
                x, y = zip(*points, strict=True)
                colour = f"C{curve.colour % 10}"
                if curve.theory:
                    axes.plot(
                        x,
                        y,
                        color=colour,
                        linewidth=0.9,
                        linestyle=":",
                        alpha=0.9,
                        zorder=1,
                        label=curve.name,
                    )
                else:
                    marker = _MARKERS[index % len(_MARKERS)] if len(points) <= 20 else ""
                    dash = _DASHES[curve.colour % len(_DASHES)]
                    axes.plot(
                        x, y, color=colour, marker=marker, markersize=4, linestyle=dash, label=curve.name
                    )
            if self.scale == "log":
                axes.set_xscale("log")
                _plain_ticks(axes.xaxis, self._values(0))
            if self.scale != "linear":
                axes.set_yscale("log")
                _plain_ticks(axes.yaxis, self._values(1))
            axes.set_xlabel(self.x_label)
            axes.set_ylabel(self.y_label)
            axes.grid(alpha=0.25)
            if len(self.curves) > 1:
                axes.legend(frameon=False, fontsize=8, loc="center left", bbox_to_anchor=(1.0, 0.5))
            text = StringIO()
            figure.savefig(text, format="svg", metadata={"Date": None})
        svg = re.sub(r"<metadata>.*?</metadata>", "", text.getvalue(), flags=re.DOTALL)
        return svg[svg.index("<svg") :]


def _plain_ticks(axis: Axis, values: Sequence[float]) -> None:
    """Numbers as people write them; between powers of ten too, where the values span less than two of them."""
    if not values:
        return
    wide = max(values) >= 100 * min(values)
    axis.set_major_locator(LogLocator(subs=(1.0,) if wide else (1.0, 2.0, 5.0)))
    axis.set_major_formatter(FuncFormatter(lambda value, _position: f"{value:,.12g}"))
    axis.set_minor_formatter(NullFormatter())


def write_page(
    path: Path,
    title: str,
    lead: str,
    plots: Sequence[Plot],
    *,
    head: Sequence[str] = (),
    rows: Sequence[Sequence[str]] = (),
    command: str = "",
) -> None:
    """Writes the page: a lead, the figures, a table, and the command that repeats it."""
    figures = "\n".join(
        f"<figure><h2>{escape(plot.title)}</h2>{plot.svg()}<figcaption>{escape(plot.caption)}</figcaption></figure>"
        for plot in plots
    )
    table = ""
    if rows:
        cells = "".join(f"<th>{escape(name)}</th>" for name in head)
        body = "".join("<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in row) + "</tr>" for row in rows)
        table = (
            f'<div class="scroll"><table><thead><tr>{cells}</tr></thead><tbody>{body}</tbody></table></div>'
        )
    repeat = f"<h2>Again</h2><pre>{escape(command)}</pre>" if command else ""
    path.write_text(
        f'<!DOCTYPE html><html lang="en"><head><meta charset="utf-8">'
        f'<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{escape(title)}</title><style>{_CSS}</style></head><body><h1>{escape(title)}</h1>"
        f"<p>{escape(lead)}</p>{figures}{table}{repeat}</body></html>\n",
        encoding="utf-8",
    )
