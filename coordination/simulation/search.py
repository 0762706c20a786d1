"""All protocols that a campaign can search for a bad seed, by name: those of a log, and those without one.

Rules: what replicates a log is listed in `coordination.catalogue`, and is searched by `campaign.Case`; what spreads,
averages or elects is listed here, each with its own course. `rayswarm simulate` takes all of these names.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from difflib import get_close_matches

from actors.errors import ConfigurationError
from coordination.catalogue import CATALOGUE, Entry
from coordination.protocol import ProtocolKind
from coordination.simulation.campaign import Case, CaseResult
from coordination.simulation.spreading.averages import (
    METROPOLIS_AVERAGING,
    PUSH_SUM_AVERAGING,
    RESILIENT_AVERAGING,
)
from coordination.simulation.spreading.case import Spreading
from coordination.simulation.spreading.convergence import CONVERGENCE
from coordination.simulation.spreading.election import (
    BULLYING,
    HIRSCHBERG_SINCLAIR_ELECTION,
    LCR_ELECTION,
)
from coordination.simulation.spreading.membership import MEMBERSHIP
from coordination.simulation.spreading.rumour import RUMOURS

SPREADING: Mapping[str, Spreading] = {
    spreading.kind.name: spreading
    for spreading in (
        RUMOURS,
        MEMBERSHIP,
        METROPOLIS_AVERAGING,
        PUSH_SUM_AVERAGING,
        RESILIENT_AVERAGING,
        BULLYING,
        LCR_ELECTION,
        HIRSCHBERG_SINCLAIR_ELECTION,
        CONVERGENCE,
    )
}
"""The protocols that replicate no log."""


@dataclass(frozen=True)
class Searched:
    """A protocol and how one of its cases is run."""

    kind: ProtocolKind
    unit: str
    """What `CaseResult.commands` counts."""
    run: Callable[[int, int], CaseResult]
    """Given a seed and a number of events. Raises as `Case.run`."""


def _of_log(entry: Entry) -> Searched:
    def run(seed: int, events: int) -> CaseResult:
        return Case.drawn(entry.kind, seed).run(entry.checkers, events)

    return Searched(entry.kind, "commands decided", run)


SEARCHED: Mapping[str, Searched] = {
    **{name: _of_log(entry) for name, entry in CATALOGUE.items()},
    **{name: Searched(one.kind, one.unit, one.run) for name, one in SPREADING.items()},
}


def searched_named(name: str) -> Searched:
    """The protocol with a name. Raises `ConfigurationError` that lists all."""
    found = SEARCHED.get(name)
    if found is None:
        close = get_close_matches(name, SEARCHED, 1)
        hint = f" Did you mean {close[0]!r}?" if close else ""
        raise ConfigurationError(f"protocol: there is no {name!r}.{hint} There are: {', '.join(SEARCHED)}.")
    return found
