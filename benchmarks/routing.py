"""Routing by prefix against round robin, random and least loaded: hits of the cache, throughput and p99, simulated.

Each of 1,000 agents has a persona of its own, and asks again and again in random order; four replicas each hold all
personas in their cache, or three tenths of them. Costs are stated in `benchmarks/replica_simulation.py`; figures are
in virtual time and say how policies compare, not how fast a machine is. Where all personas fit everywhere, little is
to be gained.
"""

from random import Random
from typing import Annotated

import typer
from rich.table import Table

from benchmarks.outcome import AsJson, Outcome, in_words, rounded, tell
from benchmarks.replica_simulation import POLICIES, Costs, Result, Simulation, policy_named

app = typer.Typer(add_completion=False)


def simulate(policy: str, trace: list[int], *, replicas: int, clients: int, held: int, seed: int) -> Result:
    """A policy on a trace, with caches that each hold so many personas."""
    costs = Costs()
    names = [f"replica/{number}" for number in range(replicas)]
    chosen = policy_named(policy, names, costs, seed)
    return Simulation(names, chosen, costs, held * costs.persona_tokens).run(trace, clients)


def measure(*, personas: int, requests: int, replicas: int, clients: int, held: int, seed: int) -> Outcome:
    """All policies, with caches that hold all personas and with caches that hold `held`."""
    rng = Random(seed)
    trace = [rng.randrange(personas) for _ in range(requests)]
    figures: dict[str, float] = {"personas": personas, "requests": requests, "replicas": replicas}
    table = Table(
        "caches", "policy", "hit rate", "requests/s", "p99 s", title="simulated", title_justify="left"
    )
    results: dict[tuple[str, str], Result] = {}
    for caches, size in (("tight", held), ("ample", personas)):
        for policy in POLICIES:
            result = simulate(policy, trace, replicas=replicas, clients=clients, held=size, seed=seed)
            results[caches, policy] = result
            values = (result.hit_rate, result.requests_per_second, result.p99_s)
            for name, value in zip(("hit_rate", "requests_per_second", "p99_s"), values, strict=True):
                figures[f"{caches}_{policy}_{name}"] = rounded(value)
            table.add_row(f"{caches} ({size})", policy, *map(in_words, values))
    for caches in ("tight", "ample"):
        sticky = results[caches, "sticky"]
        for other in POLICIES[1:]:
            against = results[caches, other]
            figures[f"{caches}_hit_ratio_to_{other}"] = rounded(sticky.hit_rate / against.hit_rate)
            figures[f"{caches}_throughput_ratio_to_{other}"] = rounded(
                sticky.requests_per_second / against.requests_per_second
            )
    notes = [
        f"{clients} requests at once, {Costs().prompt_tokens:,} tokens a prompt, seed {seed}. Virtual time: compare, "
        f"do not predict."
    ]
    return Outcome("routing", figures, notes, [table])


@app.command()
def routing(
    *,
    personas: Annotated[
        int, typer.Option(min=1, max=100_000, help="Agents, each with a prompt of its own.")
    ] = 1_000,
    requests: Annotated[int, typer.Option(min=1, max=1_000_000, help="Of all agents.")] = 10_000,
    replicas: Annotated[int, typer.Option(min=1, max=1_000, help="Of the model.")] = 4,
    clients: Annotated[int, typer.Option(min=1, max=100_000, help="Requests at once.")] = 64,
    held: Annotated[int, typer.Option(min=1, help="Personas in a cache that does not hold all.")] = 300,
    seed: Annotated[int, typer.Option(min=0, help="Of the trace.")] = 0,
    as_json: AsJson = False,
) -> None:
    """A prefix-aware router against round robin, random and least loaded, on simulated replicas.

    Examples:

        rayswarm bench routing

        rayswarm bench routing --replicas 8 --held 100 --json
    """
    outcome = measure(
        personas=personas, requests=requests, replicas=replicas, clients=clients, held=held, seed=seed
    )
    tell(outcome, as_json=as_json)


if __name__ == "__main__":
    app()
