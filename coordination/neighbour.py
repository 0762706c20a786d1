"""The graph that replicas average over: who speaks to whom, and the weights of Metropolis.

Rules:
* Edges have no direction, and every replica is told the same ones; without any, all speak to all.
* Metropolis weights: 1 / (1 + the greater of two degrees) for an edge, and what is left for oneself. They are symmetric
  and sum to 1, so that averaging keeps the mean; the 1 leaves weight to oneself, without which a ring of even length
  would swing for ever (Xiao, Boyd, "Fast linear iterations for distributed averaging", Systems and Control Letters 53,
  2004, after Metropolis et al. 1953).
"""

from collections.abc import Iterable, Mapping

from actors.errors import ConfigurationError

Edge = tuple[int, int]


def neighbours(edges: Iterable[Edge], members: tuple[int, ...]) -> dict[int, tuple[int, ...]]:
    """Of each member its neighbours, in rising order. Raises `ConfigurationError` for an edge to nobody or oneself."""
    pairs = list(edges) or [(one, other) for one in members for other in members if one < other]
    found: dict[int, set[int]] = {member: set() for member in members}
    for one, other in pairs:
        if one == other or one not in found or other not in found:
            raise ConfigurationError(
                f"edges: ({one}, {other}) joins no two members. Give pairs of {members[0]} to {members[-1]}."
            )
        found[one].add(other)
        found[other].add(one)
    return {member: tuple(sorted(near)) for member, near in found.items()}


def metropolis_weights(near: Mapping[int, tuple[int, ...]], member: int) -> dict[int, float]:
    """The weight of each neighbour of a member; its own is what is left to 1."""
    degree = len(near[member])
    return {other: 1.0 / (1 + max(degree, len(near[other]))) for other in near[member]}


def checked_values(values: Mapping[int, float], members: tuple[int, ...]) -> dict[int, float]:
    """The value that each member begins with. Raises `ConfigurationError` if one has none."""
    missing = [member for member in members if member not in values]
    if missing:
        raise ConfigurationError(
            f"values: replica {missing[0]} has none. Give a number for each of {members}."
        )
    return {member: float(values[member]) for member in members}
