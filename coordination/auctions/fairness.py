"""How evenly work or gain is shared out.

* Jain's index (Jain, Chiu and Hawe, 1984): (sum x)^2 / (n sum x^2), from 1/n (one has all) to 1 (all have the same).
* Gini's coefficient: from 0 (all have the same) to 1 - 1/n (one has all).
* Load imbalance: the greatest over the mean, from 1 up; what a makespan is above the least that it could be.

Rules: shares are at least 0. Where nothing was shared out, everybody has the same.
"""

from collections.abc import Sequence


def jain(shares: Sequence[float]) -> float:
    """Jain's index."""
    squares = sum(share * share for share in shares)
    return sum(shares) ** 2 / (len(shares) * squares) if squares else 1.0


def gini(shares: Sequence[float]) -> float:
    """Gini's coefficient."""
    total, count = sum(shares), len(shares)
    if not total:
        return 0.0
    ranked = sum(rank * share for rank, share in enumerate(sorted(shares), start=1))
    return 2 * ranked / (count * total) - (count + 1) / count


def imbalance(shares: Sequence[float]) -> float:
    """The greatest over the mean."""
    total = sum(shares)
    return max(shares) * len(shares) / total if total else 1.0
