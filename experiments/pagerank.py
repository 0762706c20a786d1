"""PageRank by messages: one agent for each module, which gives its rank away to the modules that it imports.

    rank(m) = (1 - d + d * rank of all modules without imports) / n + d * sum of rank(k) / imports(k) over k importing m

Brin and Page, "The anatomy of a large-scale hypertextual web search engine" (1998), as Pregel computes it (Malewicz et
al., SIGMOD 2010): in supersteps, with a vertex an agent and a barrier that is a message. A module that imports nothing
gives its rank to all alike, which makes the chain of a random reader irreducible; `networkx.pagerank` does the same.

Rules:
* The cartographer begins each step when all modules have told their rank in the one before, and ends when the ranks
  changed, all together, by less than the tolerance.
* A module takes a step when it has the shares of all that import it: its in-degree is told when it is made. So the
  outcome does not depend on which message came first or twice, in either schedule. A lost one is not made up for.
* Sums are exact until rounded (`math.fsum`), so the ranks are the same bits in any order of arrival.
"""

from math import fsum
from typing import Any

from actors.a2a import from_json
from actors.agent import Agent
from actors.context import Context
from actors.errors import ConfigurationError
from actors.message import Message
from actors.task import Artifact
from experiments.python_source import dependencies


class Module(Agent):
    """A module: holds its rank, and gives it away in equal shares."""

    def __init__(self, imports: list[str], importers: int, damping: float) -> None:
        self.imports = imports
        """Addresses of the modules that it imports."""
        self.importers = importers
        """How many import it."""
        self.damping = damping
        self.rank = 0.0
        self.step = 0
        """The step to be taken next."""
        self.bases: dict[int, float] = {}
        """For each step that has begun and is not taken, what every module has in it before any share."""
        self.shares: dict[int, dict[str, float]] = {}
        """For each step not taken, what came for it so far, by sender."""

    async def on_message(self, message: Message, context: Context) -> None:
        """A step begins, or another module gives a share."""
        step: int = message.data["step"]
        if step < self.step:
            return  # came twice
        if "share" in message.data:
            self.shares.setdefault(step, {})[message.sender] = message.data["share"]
        else:
            self.bases[step] = message.data["base"]
        if step in self.bases and len(self.shares.get(step, ())) == (self.importers if step else 0):
            self._take(step, context)

    def _take(self, step: int, context: Context) -> None:
        before = self.rank
        self.step = step + 1
        self.rank = self.bases.pop(step) + self.damping * fsum(self.shares.pop(step, {}).values())
        for module in self.imports:
            context.send(module, {"step": step + 1, "share": self.rank / len(self.imports)})
        context.send("cartographer", {"step": step, "rank": self.rank, "change": abs(self.rank - before)})


class Cartographer(Agent):
    """Joins the surveyors' reports into the graph of imports, and has the modules rank themselves."""

    def __init__(
        self, damping: float = 0.85, tolerance: float = 1e-8, steps: int = 200, listed: int = 20
    ) -> None:
        if not 0.0 <= damping < 1.0:
            raise ConfigurationError(
                f"cartographer: damping {damping} is not in [0, 1). The usual one is 0.85."
            )
        self.damping = damping
        self.tolerance = tolerance
        """The ranks sum to 1; the steps end when they change, all together, by less."""
        self.steps = steps
        """The most steps that are taken."""
        self.listed = listed
        """How many modules the report lists."""
        self.found: dict[str, list[list[str]]] = {}
        """What each module imports, as reported."""
        self.graph: dict[str, list[str]] = {}
        """For each module the surveyed modules that it imports."""
        self.step = 0
        self.ranks: dict[str, float] = {}
        """By address, those told in the present step."""
        self.changes: list[float] = []

    async def on_message(self, message: Message, context: Context) -> None:
        """A report, the end of the survey, or a module's rank."""
        data: dict[str, Any] = message.data
        if "artifact" in data:
            artifact = from_json(Artifact, data["artifact"])
            self.found[message.task_id] = artifact.parts[0].value["imports"]
        elif "modules" in data:
            if not self.graph:
                self._draw(data["modules"], context)
        elif data["step"] == self.step and message.sender not in self.ranks:
            self.ranks[message.sender] = data["rank"]
            self.changes.append(data["change"])
            if len(self.ranks) == len(self.graph):
                self._end_step(context)

    def _draw(self, modules: list[str], context: Context) -> None:
        """Makes an agent for each module, failed ones too: others may import them."""
        known = frozenset(modules)
        self.graph = {module: dependencies(self.found.get(module, []), known, module) for module in modules}
        importers = dict.fromkeys(modules, 0)
        for imported in self.graph.values():
            for module in imported:
                importers[module] += 1
        for module, imported in self.graph.items():
            addresses = [f"module/{name}" for name in imported]
            context.spawn(
                "module", module, imports=addresses, importers=importers[module], damping=self.damping
            )
        context.result("import_edges", sum(importers.values()))
        context.result("modules_imported_by_none", sum(1 for count in importers.values() if not count))
        self._begin_step(1.0 / len(modules), context)

    def _end_step(self, context: Context) -> None:
        change = fsum(self.changes)
        context.record("rank_change", change)
        if self.step and (change < self.tolerance or self.step >= self.steps):
            self._report(change, context)
            return
        idle = fsum(self.ranks[f"module/{name}"] for name, imported in self.graph.items() if not imported)
        base = (1.0 - self.damping + self.damping * idle) / len(self.graph)
        self.step += 1
        self.ranks, self.changes = {}, []
        self._begin_step(base, context)

    def _begin_step(self, base: float, context: Context) -> None:
        for module in self.graph:
            context.send(f"module/{module}", {"step": self.step, "base": base})

    def _report(self, change: float, context: Context) -> None:
        ranked = sorted(self.graph, key=lambda name: (-self.ranks[f"module/{name}"], name))
        context.result(
            "most_depended_upon", [[name, self.ranks[f"module/{name}"]] for name in ranked[: self.listed]]
        )
        context.result("pagerank_steps", self.step)
        context.result("pagerank_converged", change < self.tolerance)
