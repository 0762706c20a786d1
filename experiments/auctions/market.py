"""The setups of the experiments on markets: what `allocation` and the input say, as parameters of roles.

Rules: a role that an experiment does not have is left alone, and a wrong allocation is an error before anything runs.
"""

from typing import Any

from actors.errors import ConfigurationError
from cluster.experiment import Experiment
from coordination.auctions.lot import ALLOCATIONS
from coordination.auctions.mechanism import named


def with_allocation(experiment: Experiment) -> dict[str, Any]:
    """The allocation as the auctioneer's, and the seed as the bidders', so that replicates have gains of their own.

    Raises `ConfigurationError` for an allocation that there is not.
    """
    bidders = experiment.swarm.roles["auctioneer"].parameters.get("bidders", ["bidder"])
    roles: dict[str, Any] = {
        role: {"parameters": {"seed": experiment.seed}} for role in bidders if role in experiment.swarm.roles
    }
    if experiment.allocation is not None:
        name = named(experiment.allocation, dict.fromkeys(ALLOCATIONS), "allocation")
        roles["auctioneer"] = {"parameters": {"allocation": name}}
    return roles


def without_coordinator(experiment: Experiment) -> dict[str, Any]:
    """The numbers of bidders, tasks and seats in the input, for bidders and referee alike."""
    given = experiment.input
    keys = ("bidders", "tasks", "seats")
    if not isinstance(given, dict) or not all(isinstance(given.get(key), int) for key in keys):
        raise ConfigurationError(
            f"input: {given!r} does not say how many. Give {{bidders: 24, tasks: 40, seats: 2}}."
        )
    market = {key: given[key] for key in keys} | {"seed": experiment.seed}
    return {"bidder": {"count": given["bidders"], "parameters": market}, "referee": {"parameters": market}}
