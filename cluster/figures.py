"""The drawings of a report: SVG that stands inside the page and takes its colours from it.

Rules: the same data gives the same bytes (fixed hash salt, no dates, seeded layouts); no text of the run is
given to matplotlib, which would read "$" as mathematics and warn of letters its font lacks: names stand in
the page around; colours are the page's variables, so one drawing serves light, dark and print; ids are
unlike those of other drawings.

Layouts are networkx's (spring: Fruchterman and Reingold, 1991). A graph too large to draw is cut to the
best connected agent and those nearest to it: a random choice of nodes would show a sparse graph as dust.
"""

import math
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from io import StringIO
from typing import Any
from xml.sax.saxutils import escape

import matplotlib as mpl
import networkx as nx  # type: ignore[import-untyped]  # networkx ships no types
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator

from cluster.number import number_text
from cluster.section import visible_text
from cluster.statistics import Array, Band

SERIES = 8
"""Colours that the page has: more cannot be told apart."""
NODES = 300
EDGES = 3_000
POINTS = 400
NAMED = 24
"""Entities of a knowledge graph whose names are written."""
NAME_CHARACTERS = 24
_SIDE = 400.0
_LETTER = 5.6
"""The width of a letter of a name, about, and the distance of two lines; in the figure's units."""
_LINE = 10.0

_WIDTH_IN, _HEIGHT_IN = 4.2, 2.6
_INK, _FAINT, _PAPER = "#010203", "#010204", "#010205"
_SERIES = tuple(f"#0102{index:02x}" for index in range(16, 16 + SERIES))
_VARIABLES = {_INK: "--ink-2", _FAINT: "--line", _PAPER: "--paper"} | {
    colour: f"--series-{index}" for index, colour in enumerate(_SERIES)
}
_DASHES: tuple[str | tuple[int, tuple[float, ...]], ...] = (
    "-",
    (0, (5, 2)),
    (0, (1.5, 1.5)),
    (0, (7, 2, 1.5, 2)),
)
_STYLE: dict[Any, Any] = {
    "svg.fonttype": "none",
    "svg.hashsalt": "rayswarm",
    "font.family": "sans-serif",
    "font.sans-serif": ["DejaVu Sans"],
    "font.size": 9.0,
    "text.parse_math": False,
    "axes.unicode_minus": True,
    "path.simplify": True,
}


@dataclass(frozen=True)
class Line:
    """One arm of a figure: its times, its band over replicates, and which of the page's colours it has."""

    times: Array
    band: Band
    colour: int


@dataclass(frozen=True)
class Drawing:
    """A graph as drawn: the SVG, and how much of it that is."""

    svg: str
    nodes: int
    edges: int
    drawn_nodes: int
    drawn_edges: int
    layout: str


def line_figure(name: str, lines: Sequence[Line], time_label: str, description: str) -> str:
    """A measure over time: means in their bands. `name` makes its ids; `description` is read aloud."""
    with mpl.rc_context(_STYLE):
        figure = Figure(figsize=(_WIDTH_IN, _HEIGHT_IN), layout="constrained")
        FigureCanvasSVG(figure)
        axes = figure.add_subplot()
        for line in lines:
            _draw_line(axes, line)
        _dress(axes, lines, time_label)
        text = StringIO()
        figure.savefig(
            text, format="svg", metadata={"Date": None, "Creator": None, "Format": None, "Type": None}
        )
    return _inline(text.getvalue(), name, description)


def _draw_line(axes: Axes, line: Line) -> None:
    colour, dash = _SERIES[line.colour % SERIES], _DASHES[line.colour % len(_DASHES)]
    known = np.isfinite(line.band.low)
    if known.any():
        axes.fill_between(
            line.times,
            line.band.low,
            line.band.high,
            where=known.tolist(),
            color=colour,
            alpha=0.16,
            linewidth=0,
        )
    seen = np.isfinite(line.band.mean)
    marker = "o" if int(seen.sum()) <= 12 else ""
    axes.plot(
        line.times[seen], line.band.mean[seen], color=colour, linestyle=dash, linewidth=1.6, marker=marker,
        markersize=3.2,
    )  # fmt: skip


def _dress(axes: Axes, lines: Sequence[Line], time_label: str) -> None:
    axes.set_xlabel(time_label, color=_INK)
    axes.set_facecolor("none")
    axes.figure.patch.set_visible(False)
    for side in ("top", "right", "left"):
        axes.spines[side].set_visible(False)
    axes.spines["bottom"].set_color(_FAINT)
    axes.grid(axis="y", color=_FAINT, linewidth=0.7)
    axes.set_axisbelow(True)
    axes.tick_params(colors=_INK, length=0, pad=5, labelcolor=_INK)
    axes.margins(x=0.015)
    whole = all(float(value).is_integer() for line in lines for value in line.times)
    axes.xaxis.set_major_locator(MaxNLocator(6, integer=whole))
    axes.yaxis.set_major_locator(MaxNLocator(5))
    label = FuncFormatter(lambda value, _position: number_text(float(f"{value:.10g}")))
    axes.xaxis.set_major_formatter(label)
    axes.yaxis.set_major_formatter(label)


def _inline(svg: str, name: str, description: str) -> str:
    """What matplotlib wrote, made part of a page: themed, rounded, with ids of its own."""
    svg = svg[svg.index("<svg") :]
    # Its style sheet would hold for the whole page; nothing refers to the ids of its groups.
    svg = re.sub(r"<metadata>.*?</metadata>|<style.*?</style>", "", svg, flags=re.DOTALL)
    svg = re.sub(r'<g id="[^"]*"', "<g", svg)
    svg = re.sub(r'\b(id="|url\(#|href="#)', rf"\g<1>{name}-", svg)
    for colour, variable in _VARIABLES.items():
        svg = svg.replace(colour, f"var({variable})")
    svg = re.sub(r"font-family: [^;\"]*", "font-family: inherit", svg)
    svg = re.sub(r"-?\d+\.\d{3,}", lambda found: f"{float(found[0]):.2f}", svg)
    svg = re.sub(r"\s+", " ", svg).replace("> <", "><")
    view = re.search(r'viewBox="[^"]*"', svg)
    body = svg[svg.index(">") + 1 :]
    opening = f'<svg class="figure" role="img" aria-label="{_text(description)}"'
    return f'{opening} {view[0] if view else ""} xmlns:xlink="http://www.w3.org/1999/xlink">{body.strip()}'


def topology_figure(
    name: str, edges: Sequence[tuple[str, str]], describe: str, colours: Mapping[str, int]
) -> Drawing:
    """Draws a graph of agents, coloured by role; `colours` gives each role its colour, by number.

    At most `NODES` agents and `EDGES` connections are drawn. `name` begins the description for the blind.
    """
    graph = nx.Graph()
    graph.add_edges_from(edges)
    nodes, total_edges = graph.number_of_nodes(), graph.number_of_edges()
    if nodes > NODES:
        graph = graph.subgraph(_nearest(graph)).copy()
    layout, places = _layout(graph, describe)
    drawn = sorted(tuple(sorted(edge)) for edge in graph.edges)
    step = max(1, math.ceil(len(drawn) / EDGES))
    drawn = drawn[::step]
    shown = graph.number_of_nodes()
    radius = 7.0 if shown <= 24 else max(1.8, 60 / math.sqrt(shown))
    path = "".join(f"M{_at(places[a])}L{_at(places[b])}" for a, b in drawn)
    width = 1.2 if len(drawn) < NODES else 0.6
    dots = "".join(
        f'<circle cx="{x:.1f}" cy="{y:.1f}" r="{radius:.1f}" '
        f'style="fill:var(--series-{colours.get(role_of(node), 0)})">'
        f"<title>{_text(node)}</title></circle>"
        for node, (x, y) in sorted(places.items())
    )
    text = _text(f"{name}: {shown} agents and {len(drawn)} connections, {layout} layout")
    svg = (
        f'<svg class="figure topology" role="img" aria-label="{text}" viewBox="0 0 400 400">'
        f'<path d="{path}" style="fill:none;stroke:var(--edge);stroke-width:{width}"/>'
        f'<g style="stroke:var(--paper);stroke-width:{radius / 5:.2f}">{dots}</g></svg>'
    )
    return Drawing(svg, nodes, total_edges, shown, len(drawn), layout)


def knowledge_figure(edges: Sequence[tuple[str, str, str]], facts: int) -> str:
    """Draws facts as a graph of entities, the best connected ones larger and with their names; as SVG.

    `edges` are (subject, relation, object), at most `EDGES` of at most `NODES` entities; `facts` is how many there are.
    """
    graph = nx.Graph()
    graph.add_edges_from((subject, target) for subject, _, target in edges)
    places = _spread(_layout(graph, "facts")[1])
    degree = dict(graph.degree)
    most = max(degree.values(), default=1)
    path = "".join(
        f"M{_at(places[a])}L{_at(places[b])}" for a, b in sorted(map(sorted, graph.edges)) if a != b
    )
    dots = "".join(
        f'<circle cx="{x:.1f}" cy="{y:.1f}" r="{1.5 + 6 * math.sqrt(degree[node] / most):.1f}">'
        f"<title>{_text(node)}: {degree[node]}</title></circle>"
        for node, (x, y) in sorted(places.items())
    )
    ranked = sorted(places, key=lambda node: (-degree[node], node))
    names = "".join(
        f'<text x="{x:.1f}" y="{y:.1f}">{_text(_short(node))}</text>'
        for node, (x, y) in _labels(ranked, places).items()
    )
    text = _text(f"The knowledge graph: {len(places)} entities of {facts} facts, spring layout")
    return (
        f'<svg class="figure topology" role="img" aria-label="{text}" viewBox="-10 -10 420 420">'
        f'<path d="{path}" style="fill:none;stroke:var(--edge);stroke-width:0.5"/>'
        f'<g style="fill:var(--series-0);stroke:var(--paper);stroke-width:0.5">{dots}</g>'
        f'<g style="fill:var(--ink);font-size:9px;text-anchor:middle;paint-order:stroke;stroke:var(--paper);'
        f'stroke-width:2px">{names}</g></svg>'
    )


def _spread(places: dict[str, tuple[float, float]]) -> dict[str, tuple[float, float]]:
    """The same directions from the middle, and distances by which the disc is filled evenly: names find room there."""
    middle = _SIDE / 2
    polar = {
        node: (math.hypot(x - middle, y - middle), math.atan2(y - middle, x - middle))
        for node, (x, y) in places.items()
    }
    spread = {}
    for rank, node in enumerate(sorted(polar, key=lambda node: (polar[node][0], node))):
        radius = middle * math.sqrt((rank + 0.5) / len(polar))
        spread[node] = (
            middle + radius * math.cos(polar[node][1]),
            middle + radius * math.sin(polar[node][1]),
        )
    return spread


def _labels(ranked: Sequence[str], places: dict[str, tuple[float, float]]) -> dict[str, tuple[float, float]]:
    """Where names stand: over or under their dots, as many of the first as lie free of one another."""
    taken: list[tuple[float, float, float]] = []
    labels: dict[str, tuple[float, float]] = {}
    for node in ranked[: 2 * NAMED]:
        half = _LETTER * len(_short(node)) / 2
        for shift in (-8.0, 15.0):
            x, y = min(max(places[node][0], half), _SIDE - half), places[node][1] + shift
            if len(labels) < NAMED and all(
                abs(x - other) >= half + width + 2 or abs(y - line) >= _LINE for other, line, width in taken
            ):
                taken.append((x, y, half))
                labels[node] = (x, y)
                break
    return labels


def role_of(address: str) -> str:
    """The role in an address: `bidder/17` gives `bidder`."""
    return address.split("/", 1)[0]


def _text(text: str) -> str:
    return escape(visible_text(text), {'"': "&quot;"})


def _short(name: str) -> str:
    return name if len(name) <= NAME_CHARACTERS else name[: NAME_CHARACTERS - 1] + "\u2026"


def _at(place: tuple[float, float]) -> str:
    return f"{place[0]:.1f} {place[1]:.1f}"


def _nearest(graph: "nx.Graph") -> list[str]:
    """The best connected node and the nearest to it, then those of other parts while there is room."""
    chosen: dict[str, None] = {}
    for node in sorted(graph, key=lambda node: (-graph.degree(node), node)):
        if node in chosen:
            continue
        chosen[node] = None
        queue = [node]
        while queue and len(chosen) < NODES:
            for neighbour in sorted(graph[queue.pop(0)]):
                if neighbour not in chosen and len(chosen) < NODES:
                    chosen[neighbour] = None
                    queue.append(neighbour)
        if len(chosen) >= NODES:
            break
    return list(chosen)


def _layout(graph: "nx.Graph", describe: str) -> tuple[str, dict[str, tuple[float, float]]]:
    """Name of the layout and the place of each node in a square of 400."""
    words = describe.lower()
    grid = _grid(graph) if "grid" in words else None
    if grid is not None:
        return "grid", _fitted(grid)
    if any(word in words for word in ("ring", "complete", "small")):
        circle = nx.circular_layout(sorted(graph, key=_natural))
        return "circular", _fitted({node: (float(x), float(y)) for node, (x, y) in circle.items()})
    ordered = nx.Graph()
    ordered.add_nodes_from(sorted(graph, key=_natural))
    ordered.add_edges_from(sorted(tuple(sorted(edge)) for edge in graph.edges))
    spring = nx.spring_layout(ordered, seed=1, iterations=100)
    return "spring", _fitted({node: (float(x), float(y)) for node, (x, y) in spring.items()})


def _natural(address: str) -> list[tuple[int, int, str]]:
    """Orders worker/2 before worker/10."""
    parts = re.split(r"(\d+)", address)
    return [(1, int(part), "") if part.isdecimal() else (0, 0, part) for part in parts]


def _grid(graph: "nx.Graph") -> dict[str, tuple[float, float]] | None:
    """Rows and columns, if the addresses' numbers tell them: a step in a row is 1, in a column the width."""
    numbers = {node: int(found[0]) for node in graph if (found := re.search(r"\d+$", node))}
    if len(numbers) < graph.number_of_nodes() or len(set(numbers.values())) < len(numbers):
        return None
    steps = Counter(abs(numbers[a] - numbers[b]) for a, b in graph.edges)
    wide = [(count, step) for step, count in steps.items() if step > 1]
    if not wide:
        return None
    width = max(wide, key=lambda pair: (pair[0], -pair[1]))[1]
    return {node: (float(at % width), float(at // width)) for node, at in numbers.items()}


def _fitted(places: Mapping[str, tuple[float, float]]) -> dict[str, tuple[float, float]]:
    points = np.array(list(places.values()), dtype=float)
    low, high = points.min(axis=0), points.max(axis=0)
    scale = 372.0 / max(float((high - low).max()), 1e-9)
    middle = (low + high) / 2
    fitted = (points - middle) * scale + 200.0
    return {node: (float(x), float(y)) for node, (x, y) in zip(places, fitted, strict=True)}
