"""Cost against size: curves on log axes, where a power law is a line and its exponent the slope."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

SMALLEST = 100
"""Smaller sizes are left out of slopes: what is fixed would flatten them."""


@dataclass(frozen=True)
class Point:
    """What one run cost."""

    size: int
    seconds: float
    messages: float


@dataclass(frozen=True)
class Curve:
    """The runs of one mechanism."""

    name: str
    points: tuple[Point, ...]


def slope(curve: Curve) -> float:
    """The exponent of seconds over size, by least squares on the logarithms; 0 with fewer than two sizes."""
    points = [point for point in curve.points if point.size >= SMALLEST and point.seconds > 0]
    if len(points) < 2:
        return 0.0
    sizes = np.log([point.size for point in points])
    return float(np.polyfit(sizes, np.log([point.seconds for point in points]), 1)[0])


def draw(curves: Sequence[Curve], path: Path) -> None:
    """Draws seconds and messages over size; the file's ending names the format."""
    figure = Figure(figsize=(9, 4), layout="constrained")
    for axes, quantity in zip(figure.subplots(1, 2), ("seconds", "messages"), strict=True):
        for curve in curves:
            sizes = [point.size for point in curve.points]
            axes.loglog(
                sizes, [getattr(point, quantity) for point in curve.points], marker="o", label=curve.name
            )
        axes.set_xlabel("bidders and tasks")
        axes.set_ylabel(quantity)
        axes.grid(visible=True, which="major", alpha=0.3)
    figure.axes[0].legend()
    figure.savefig(path)
