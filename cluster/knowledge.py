"""What a swarm knows as a graph: read from the `knowledge.json` that a trial left, drawn for the report.

Rules: the file is untrusted, as all of a run is: what is no edge is left out, numbers are bounded, names are escaped
where they are drawn; of several trials the first that left a graph stands for the others, and the caption says so.
"""

import json
from dataclasses import dataclass
from pathlib import Path

from cluster.figures import EDGES, NODES, knowledge_figure
from cluster.record import listed, mapping, number

FILE_BYTES_MAX = 16_000_000
_EDGE = 3


@dataclass(frozen=True)
class Knowledge:
    """A graph of facts, drawn."""

    svg: str
    caption: str


def knowledge_of(run: Path) -> Knowledge | None:
    """The graph that a trial of a run left; None if none did, or none that can be read."""
    files = sorted(run.glob("trials/*/knowledge.json"))
    for file in files:
        try:
            if file.stat().st_size > FILE_BYTES_MAX:
                continue
            told = mapping(json.loads(file.read_text(encoding="utf-8")))
        except (OSError, ValueError, RecursionError):
            continue
        edges = _edges(told.get("edges"))
        if edges:
            facts, entities = int(number(told.get("facts"))), int(number(told.get("entities")))
            drawn = len({end for subject, _, target in edges for end in (subject, target)})
            caption = f"{facts:,} facts of {entities:,} entities, as all of the swarm sees them"
            caption += f"; drawn: the {drawn:,} best connected" if drawn < entities else ""
            caption += f"; trial {file.parent.name} of {len(files):,} that left one" if len(files) > 1 else ""
            return Knowledge(knowledge_figure(edges, facts), caption + ".")
    return None


def _edges(value: object) -> list[tuple[str, str, str]]:
    """Well-formed edges, at most `EDGES` among the first `NODES` entities."""
    edges: list[tuple[str, str, str]] = []
    known: set[str] = set()
    for row in listed(value):
        edge = listed(row)
        if len(edge) != _EDGE or not all(isinstance(part, str) and part for part in edge):
            continue
        ends = {edge[0], edge[2]}
        if len(known | ends) <= NODES and len(edges) < EDGES:
            known |= ends
            edges.append((edge[0], edge[1], edge[2]))
    return edges
