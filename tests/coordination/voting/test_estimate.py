"""Rules for numbers and vectors: against scipy, against their definitions, and with liars."""

import statistics
from collections.abc import Sequence
from random import Random

import numpy as np
import pytest
from scipy.optimize import minimize

from actors import ConfigurationError
from coordination.voting import (
    Abstention,
    Ballot,
    Choice,
    Estimate,
    Estimator,
    Number,
    Vector,
    ballots_of,
    estimate_of,
    geometric_median,
    krum,
    mean,
    median,
    multi_krum,
    trimmed_mean,
)
from coordination.voting.estimate import Points

ALL: list[Estimator] = [mean, median, trimmed_mean(1), geometric_median, krum(1), multi_krum(1, 2)]
LIES = (0.0, 1e6, -1e6, 1e150, -1e150, 3.5)


def numbers(*values: float) -> tuple[Ballot, ...]:
    return ballots_of([Number(value) for value in values])


def vectors(points: Points) -> tuple[Ballot, ...]:
    return ballots_of([Vector(tuple(map(float, point))) for point in points])


def named(rule: Estimator) -> str:
    return getattr(rule, "__name__", repr(rule))


# --- Numbers ----------------------------------------------------------------------------------------------------


def test_the_median_is_that_of_the_standard_library() -> None:
    rng = Random(1)
    for size in range(1, 60):
        values = [rng.choice((rng.gauss(0, 1), float(rng.randint(-3, 3)))) for _ in range(size)]
        assert median(numbers(*values)).value == pytest.approx(statistics.median(values))
        assert mean(numbers(*values)).value == pytest.approx(statistics.fmean(values))


def test_a_weight_of_three_is_three_ballots() -> None:
    rng = Random(2)
    for _ in range(100):
        pairs = [(rng.gauss(0, 1), rng.randint(1, 3)) for _ in range(rng.randint(1, 8))]
        weighted = [Ballot(str(i), Number(value), weight) for i, (value, weight) in enumerate(pairs)]
        repeated = numbers(*(value for value, weight in pairs for _ in range(weight)))
        for rule in (mean, median, geometric_median):
            assert rule(weighted).value == pytest.approx(rule(repeated).value), pairs


def test_the_trimmed_mean_leaves_out_the_ends() -> None:
    assert trimmed_mean(1)(numbers(9, 1, 5, 3, 1000)).value == pytest.approx(17 / 3)
    assert trimmed_mean(0)(numbers(1, 2, 6)).value == 3
    assert trimmed_mean(2)(numbers(1, 2, 3, 4, 5)).value == 3
    with pytest.raises(ConfigurationError, match="Give at least 5"):
        trimmed_mean(2)(numbers(1, 2, 3, 4))


@pytest.mark.parametrize("rule", [median, trimmed_mean(3), geometric_median], ids=named)
def test_numbers_stay_among_the_honest_while_liars_are_few(rule: Estimator) -> None:
    rng = Random(3)
    for seed in range(200):
        honest = [rng.gauss(0, 1) for _ in range(4 + seed % 5)]
        lies = [rng.choice(LIES) for _ in range(3)]
        value = rule(numbers(*honest, *lies)).value
        assert isinstance(value, float)
        assert min(honest) <= value <= max(honest), f"seed {seed}"


def test_one_liar_moves_the_mean_anywhere() -> None:
    assert mean(numbers(1, 1, 1, 1e9)).value > 1e8  # type: ignore[operator]  # a float, as ballots are numbers


# --- Always -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("rule", ALL, ids=named)
def test_the_order_of_ballots_changes_no_bit(rule: Estimator) -> None:
    rng = Random(4)
    for seed in range(20):
        generator = np.random.default_rng(seed)
        ballots = list(vectors(generator.normal(size=(9, 3)).round(seed % 2)))
        before = rule(ballots)
        rng.shuffle(ballots)
        after = rule(ballots)
        assert (after.value, after.kept) == (before.value, before.kept), f"seed {seed}"


@pytest.mark.parametrize("rule", ALL, ids=named)
def test_where_all_agree_that_is_the_result(rule: Estimator) -> None:
    assert rule(vectors(np.full((7, 2), 0.1))).value == pytest.approx((0.1, 0.1), rel=1e-15)


@pytest.mark.parametrize("rule", ALL, ids=named)
def test_abstentions_and_weightless_ballots_have_no_say(rule: Estimator) -> None:
    honest = numbers(1, 2, 3, 4, 5)
    rest = [Ballot("x", Abstention()), Ballot("y", Number(1e9), 0.0)]
    estimate = rule([*honest, *rest])
    assert estimate.value == rule(honest).value
    assert (estimate.turnout.voted, estimate.turnout.abstained) == (6, 1)
    assert rule(rest).value is None
    assert rule(rest).reason == "nobody voted"


def test_mixed_ballots_are_refused() -> None:
    with pytest.raises(ConfigurationError, match="needs a Number or a Vector"):
        median(ballots_of([Choice("a")]))
    for votes in ([Number(1), Vector((1.0,))], [Vector((1.0,)), Vector((1.0, 2.0))]):
        with pytest.raises(ConfigurationError, match="another dimension"):
            median(ballots_of(votes))


def test_ones_own_estimator_is_one_function() -> None:
    def midrange(ballots: Sequence[Ballot]) -> Estimate:
        return estimate_of("midrange", ballots, lambda points, weights: (points.min(0) + points.max(0)) / 2)

    assert midrange(numbers(1, 2, 9)).value == 5


# --- Geometric median -------------------------------------------------------------------------------------------


def distances(points: Points, weights: Points, at: Points) -> float:
    return float(weights @ np.linalg.norm(points - at, axis=1))


def test_the_geometric_median_is_as_good_as_what_scipy_finds() -> None:
    for seed in range(60):
        generator = np.random.default_rng(seed)
        n, d = int(generator.integers(2, 12)), int(generator.integers(2, 5))
        points = generator.normal(size=(n, d))
        weights = generator.integers(1, 4, size=n).astype(float)
        ballots = [
            Ballot(str(i), Vector(tuple(map(float, p))), float(w))
            for i, (p, w) in enumerate(zip(points, weights, strict=True))
        ]
        found = np.array(geometric_median(ballots).value)
        ours = distances(points, weights, found)
        theirs = min(
            minimize(
                lambda x, p=points, w=weights: distances(p, w, x),
                start,
                method="Nelder-Mead",
                options={"xatol": 1e-10, "fatol": 1e-12, "maxiter": 4000},
            ).fun
            for start in (points.mean(axis=0), points[0])
        )
        assert ours <= min([theirs, *(distances(points, weights, p) for p in points)]) * (1 + 1e-9), (
            f"seed {seed}"
        )


@pytest.mark.parametrize(
    ("points", "answer"),
    [
        ([(0, 0), (1, 0), (0, 1), (1, 1)], (0.5, 0.5)),
        ([(0, 0), (4, 0), (1, 2), (1, -2), (1, 0)], (1, 0)),  # a ballot is the answer
        ([(0, 0), (2, 0), (1, 0.1)], (1, 0.1)),  # an angle over 120 degrees: the middle ballot (Fermat)
        ([(3, 4), (3, 4), (0, 0)], (3, 4)),  # two of three agree
        ([(0, 0), (1, 1), (2, 2), (3, 3)], (1.5, 1.5)),  # on a line, between the middle ones
        ([(0, 0), (6, 0)], (3, 0)),
    ],
)
def test_the_geometric_median_of_known_figures(
    points: list[tuple[float, float]], answer: tuple[float, float]
) -> None:
    assert geometric_median(vectors(np.array(points, float))).value == pytest.approx(answer, abs=1e-9)


def test_weiszfelds_trap_is_stepped_over() -> None:
    # The iteration begins at the median by coordinate, (1, 1), which is a ballot and not the answer.
    points = np.array(
        [(1.0, 1.0), (0.0, 1.5), (2.0, 1.0), (1.0, 5.0), (1.2, 0.0), (8.0, 3.0), (0.9, -6.0), (-4.0, 0.5)]
    )
    found = np.array(geometric_median(vectors(points)).value)
    best = min(distances(points, np.ones(8), point) for point in points)
    assert distances(points, np.ones(8), found) <= best
    for step in (1e-4, -1e-4):
        for axis in np.eye(2):
            assert (
                distances(points, np.ones(8), found)
                <= distances(points, np.ones(8), found + step * axis) + 1e-12
            )


def test_the_geometric_median_stays_near_the_honest_as_its_theorem_says() -> None:
    for seed in range(100):
        generator = np.random.default_rng(seed)
        honest = generator.normal(size=(7, 3))
        lies = generator.choice([*LIES], size=(int(generator.integers(0, 7)), 3))
        found = np.array(geometric_median(vectors(np.vstack([honest, lies]))).value)
        centre = honest.mean(axis=0)
        radius = float(np.linalg.norm(honest - centre, axis=1).max())
        share = len(lies) / (7 + len(lies))
        bound = 2 * (1 - share) / (1 - 2 * share) * radius
        assert np.linalg.norm(found - centre) <= bound * (1 + 1e-9), f"seed {seed}"


# --- Krum -------------------------------------------------------------------------------------------------------


def krum_by_definition(points: list[tuple[float, ...]], f: int, m: int) -> tuple[float, ...]:
    def score(i: int) -> float:
        others = sorted(
            sum((a - b) ** 2 for a, b in zip(points[i], point, strict=True))
            for j, point in enumerate(points)
            if j != i
        )
        return sum(others[: len(points) - f - 2])

    best = sorted(range(len(points)), key=lambda i: (score(i), points[i]))[:m]
    return tuple(sum(points[i][c] for i in best) / m for c in range(len(points[0])))


def test_krum_is_its_definition() -> None:
    for seed in range(100):
        rng = Random(seed)
        f = rng.randint(0, 3)
        n = rng.randint(2 * f + 3, 2 * f + 8)
        m = rng.randint(1, n - f - 2)
        points = [tuple(rng.gauss(0, 1) for _ in range(3)) for _ in range(n)]
        found = multi_krum(f, m)(vectors(np.array(points)))
        assert found.value == pytest.approx(krum_by_definition(points, f, m)), f"seed {seed}"
        assert len(found.kept) == m


def test_krum_never_takes_liars_far_away_even_together() -> None:
    for seed in range(50):
        generator = np.random.default_rng(seed)
        honest = generator.normal(size=(7, 4))
        lie = generator.normal(size=4) * 100
        found = krum(3)(vectors(np.vstack([honest, lie, lie, lie]))).value
        assert found in [tuple(map(float, point)) for point in honest], f"seed {seed}"


def test_krum_names_whom_it_took() -> None:
    assert krum(0)(numbers(1, 2, 90)).kept == ("1",)
    assert multi_krum(1, 2)(numbers(1, 2, 2, 2, 90)).kept == ("2", "3")


def test_krum_checks_what_its_theorem_needs() -> None:
    with pytest.raises(ConfigurationError, match=r"4 ballots cannot withstand 1 liars\. Give at least 5"):
        krum(1)(numbers(1, 2, 3, 4))
    with pytest.raises(ConfigurationError, match="Give m of at most 2"):
        multi_krum(1, 3)(numbers(1, 2, 3, 4, 5))
    with pytest.raises(ConfigurationError, match="unequal weights"):
        krum(0)([*numbers(1, 2), Ballot("x", Number(3), 2.0)])
    with pytest.raises(ConfigurationError, match="0 or more"):
        krum(-1)
    with pytest.raises(ConfigurationError, match="1 or more"):
        multi_krum(1, 0)
