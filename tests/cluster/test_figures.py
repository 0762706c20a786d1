"""Drawings that stand inside a page."""

import re
from xml.etree import ElementTree

import numpy as np

from cluster.figures import EDGES, NODES, Line, line_figure, topology_figure
from cluster.statistics import band


def lines(rounds: int = 30) -> list[Line]:
    times = np.arange(float(rounds))
    return [Line(times, band(np.outer([1.0, 2.0, 4.0], times + 1) + shift), shift) for shift in (0, 1)]


def test_a_line_figure_is_well_formed_themed_and_without_dates_or_links() -> None:
    svg = line_figure("m0", lines(), "round", 'a "load" <of> & more')
    ElementTree.fromstring(svg)  # noqa: S314 - our own drawing
    assert 'aria-label="a &quot;load&quot; &lt;of&gt; &amp; more"' in svg
    assert "var(--series-0)" in svg
    assert "var(--series-1)" in svg
    assert not re.search(r"#[0-9a-f]{6}\b|<metadata|<style|DOCTYPE|20\d\d-", svg)


def test_the_same_data_gives_the_same_bytes_and_other_names_other_ids() -> None:
    first = line_figure("m0", lines(), "round", "x")
    assert line_figure("m0", lines(), "round", "x") == first
    ids = set(re.findall(r'id="([^"]*)"', first))
    assert ids
    assert not ids & set(re.findall(r'id="([^"]*)"', line_figure("m1", lines(), "round", "x")))


def test_a_topology_draws_each_agent_in_the_colour_of_its_role() -> None:
    drawing = topology_figure("T", [("hub", "leaf/0"), ("hub", "leaf/1")], "star", {"hub": 2, "leaf": 5})
    ElementTree.fromstring(drawing.svg)  # noqa: S314 - our own drawing
    assert (drawing.nodes, drawing.edges, drawing.drawn_nodes, drawing.layout) == (3, 2, 3, "spring")
    assert drawing.svg.count("var(--series-2)") == 1
    assert drawing.svg.count("var(--series-5)") == 2
    assert drawing == topology_figure(
        "T", [("leaf/1", "hub"), ("leaf/0", "hub")], "star", {"hub": 2, "leaf": 5}
    )


def test_a_grid_is_drawn_in_rows_and_columns() -> None:
    across = [(f"w/{5 * y + x}", f"w/{5 * y + x + 1}") for y in range(4) for x in range(4)]
    down = [(f"w/{5 * y + x}", f"w/{5 * y + x + 5}") for y in range(3) for x in range(5)]
    drawing = topology_figure("T", across + down, "grid 4 x 5", {"w": 0})
    assert drawing.layout == "grid"
    assert len(set(re.findall(r'cx="([\d.]+)"', drawing.svg))) == 5
    assert len(set(re.findall(r'cy="([\d.]+)"', drawing.svg))) == 4


def test_a_grid_that_its_addresses_do_not_tell_is_drawn_by_springs() -> None:
    assert topology_figure("T", [("a", "b"), ("b", "c")], "grid", {}).layout == "spring"


def test_a_large_graph_is_cut_to_what_is_near_its_centre() -> None:
    star = [("hub", f"leaf/{i}") for i in range(2000)]
    drawing = topology_figure("T", star, "star", {"hub": 0, "leaf": 1})
    assert (drawing.nodes, drawing.drawn_nodes, drawing.drawn_edges) == (2001, NODES, NODES - 1)


def test_a_dense_graph_has_not_all_its_connections_drawn() -> None:
    dense = [(f"w/{i}", f"w/{j}") for i in range(150) for j in range(i)]
    drawing = topology_figure("T", dense, "complete", {"w": 0})
    assert drawing.layout == "circular"
    assert drawing.drawn_edges <= EDGES < drawing.edges


def test_two_agents_and_a_loop_can_be_drawn() -> None:
    assert topology_figure("T", [("a", "b")], "ring", {}).drawn_edges == 1
    assert topology_figure("T", [("a", "a")], "ring", {}).drawn_nodes == 1
