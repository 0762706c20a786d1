"""Confidence, calibration and reputation: what a ballot should weigh, and that it helps."""

from math import log
from random import Random

import pytest

from actors import ConfigurationError
from coordination.voting import (
    Ballot,
    Choice,
    Election,
    Electorate,
    LogOdds,
    Reputation,
    calibration_error,
    calibration_of,
    log_odds,
    plurality,
)

BOASTER = [(0.95, number % 2 == 0) for number in range(200)]
"""Always 95% sure, right half of the time."""


def test_calibration_turns_a_claim_into_what_it_was_worth() -> None:
    calibrate = calibration_of(BOASTER)
    assert calibrate(0.95) == pytest.approx(0.5, abs=0.02)
    assert calibrate(0.2) == 0.2  # nothing is known of such claims
    assert calibration_of([])(0.7) == 0.7


def test_calibration_lowers_the_calibration_error() -> None:
    rng = Random(1)
    history = [(claim, rng.random() < claim**3) for claim in (rng.random() for _ in range(4000))]
    calibrate = calibration_of(history[:2000])
    after = [(calibrate(claim), right) for claim, right in history[2000:]]
    assert calibration_error(history[2000:]) > 0.2
    assert calibration_error(after) < 0.05


def test_the_weight_of_a_voter_is_the_log_odds_of_being_right() -> None:
    assert log_odds(0.8) == pytest.approx(log(4))
    assert log_odds(0.5) == 0
    assert log_odds(0.3) == 0  # worse than chance: no negative weight
    assert log_odds(0.3, options=4) == pytest.approx(log(0.9 / 0.7))
    assert log_odds(1.0) == log_odds(0.99)


def test_log_odds_weights_beat_one_vote_each() -> None:
    rng = Random(2)
    skill = {"ann": 0.9, "bob": 0.6, "cyd": 0.6, "dan": 0.55, "eve": 0.55}
    right = {"equal": 0, "weighted": 0}
    for _ in range(1500):
        ballots = [
            Ballot(name, Choice("yes" if rng.random() < chance else "no"), 1, chance)
            for name, chance in skill.items()
        ]
        for how, weighting in (("equal", None), ("weighted", LogOdds())):
            tally = Election(plurality, ("no", "yes"), Electorate(weighting=weighting)).count(ballots, rng)
            right[how] += tally.winner == "yes"
    assert right["weighted"] > right["equal"] * 1.05


def test_a_boaster_who_is_calibrated_loses_weight() -> None:
    ballot = Ballot("bob", Choice("x"), 1, 0.95)
    assert LogOdds()(ballot) > 2.9
    assert LogOdds(calibrations={"bob": calibration_of(BOASTER)})(ballot) < 0.1
    assert LogOdds(otherwise=calibration_of(BOASTER))(ballot) < 0.1


def test_reputation_follows_verdicts_and_fades() -> None:
    election = Election(plurality)
    reputation = Reputation(memory=0.5)
    assert reputation.of("ann") == reputation.of("bob") == pytest.approx(4 / 6)
    ballots = [Ballot("ann", Choice("x")), Ballot("bob", Choice("y"))]
    for _ in range(20):
        reputation = reputation.after(election.count(ballots, Random(1)), "x")
    assert reputation.of("ann") == pytest.approx(
        (3 + 2 + 1) / (3 + 2 + 1 + 2), abs=1e-5
    )  # a memory of two verdicts
    assert reputation.of("bob") < 0.51
    assert reputation(ballots[0]) > reputation(ballots[1])


def test_a_reputation_that_is_earned_finds_the_able_judge() -> None:
    rng = Random(3)
    reputation = Reputation(options=3)
    right = []
    for _ in range(300):
        ballots = [
            Ballot(name, Choice("truth" if rng.random() < chance else rng.choice(("lie", "slip"))))
            for name, chance in (("able", 0.95), ("b", 0.4), ("c", 0.4), ("d", 0.4), ("e", 0.4))
        ]
        tally = Election(plurality, electorate=Electorate(weighting=reputation)).count(ballots, rng)
        right.append(tally.winner == "truth")
        reputation = reputation.after(tally, "truth")
    assert reputation.of("able") > 0.9
    assert sum(right[-150:]) > 0.9 * 150


def test_settings_that_make_no_sense_are_refused() -> None:
    with pytest.raises(ConfigurationError, match="Give 1 or more"):
        calibration_of([], bins=0)
    with pytest.raises(ConfigurationError, match=r"a confidence is 1\.5"):
        calibration_of([(1.5, True)])
    with pytest.raises(ConfigurationError, match="leave no choice"):
        LogOdds(options=1)
    with pytest.raises(ConfigurationError, match="memory"):
        Reputation(memory=0)
