"""Agents for the tests of experiments: a rumour that walks from node to node."""

import os
import signal
from pathlib import Path
from typing import Any

from actors.agent import Agent
from actors.context import Context
from actors.message import Message
from cluster.experiment import Experiment

FATAL_HOP = 30


class Node(Agent):
    """Tells whom it hears to somebody else, chosen at random."""

    def __init__(self, nodes: int = 10, fails_at: int = -1) -> None:
        self.nodes = nodes
        self.fails_at = fails_at
        self.heard = 0

    async def on_message(self, message: Message, context: Context) -> None:
        hops: int = message.data["hops"]
        if hops == FATAL_HOP:
            end_process_once()
        if hops == self.fails_at:
            raise ValueError("lost the thread")
        self.heard += 1
        context.record("hops", hops)
        context.record("heard", self.heard)
        context.result("hops", hops)
        context.send(f"node/{context.rng.randrange(self.nodes)}", {"hops": hops + 1})


def end_process_once() -> None:
    """Sends this process the signal in RUMOUR_SIGNAL, once: the file RUMOUR_MARK says that it was done."""
    mark = os.environ.get("RUMOUR_MARK")
    if mark is not None and not Path(mark).exists():
        Path(mark).touch()
        os.kill(os.getpid(), signal.Signals[os.environ["RUMOUR_SIGNAL"]])


def as_many_as_input(experiment: Experiment) -> dict[str, Any]:
    """As many nodes as the input says."""
    nodes = experiment.input["nodes"]
    return {"node": {"count": nodes, "parameters": {"nodes": nodes}}}


def misspelt_role(_experiment: Experiment) -> dict[str, Any]:
    """Names a role that there is not."""
    return {"nod": {"count": 1}}


def broken(_experiment: Experiment) -> dict[str, Any]:
    """Fails."""
    raise FileNotFoundError("no such library")


NOT_AN_AGENT = 5
