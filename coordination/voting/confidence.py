"""What a ballot counts by how sure its voter is: calibration, and the weight that follows.

Rules:
* A stated confidence is a claim. `Calibration` turns it into the share of times that voters who claimed as much were
  right, by histogram binning (Zadrozny and Elkan 2001), drawn towards the claim itself while there is little history:
(right + s c) / (n + s), with s = 4 imaginary answers of the claimed confidence c. Without history it is the claim.
* A voter right with probability p among m options, independently of the others, should weigh log(p (m - 1) / (1 -
  p)):
with these weights the plurality is the most probable answer (Nitzan and Paroush 1982; Shapley and Grofman 1984). Who
does worse than chance weighs 0: a negative weight would pay for lying.
* p is held to 1% to 99%, so that no voter, however sure, weighs more than some nine times one of 62%.

Weights by confidence do not make a vote safe against liars, who may claim what they like: give them a `Calibration`
by voter, or a `Reputation`.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from math import log

from actors.errors import ConfigurationError
from coordination.voting.ballot import Ballot, check_number

Weighting = Callable[[Ballot], float]
"""What a ballot counts, 0 or more. A function of the ballot alone."""
_LOWEST, _HIGHEST = 0.01, 0.99


@dataclass(frozen=True)
class Calibration:
    """From stated confidence to the probability of being right. See `calibration_of`."""

    right: tuple[float, ...]
    """By bin of stated confidence, from 0 to 1, answers that were right."""
    count: tuple[float, ...]
    """By bin, answers in all."""
    strength: float = 4.0
    """Imaginary answers at the claimed confidence."""

    def __call__(self, confidence: float) -> float:
        """The probability, 0 to 1, that an answer of this stated confidence is right."""
        check_number(confidence, "a confidence", 1.0)
        index = _bin(confidence, len(self.count))
        return (self.right[index] + self.strength * confidence) / (self.count[index] + self.strength)


def calibration_of(
    history: Iterable[tuple[float, bool]], bins: int = 10, strength: float = 4.0
) -> Calibration:
    """Learnt from past answers: stated confidence, 0 to 1, and whether the answer was right."""
    if bins < 1 or not strength > 0:
        raise ConfigurationError(
            f"calibration: {bins} bins, strength {strength}. Give 1 or more, and above 0."
        )
    right, count = [0.0] * bins, [0.0] * bins
    for confidence, was_right in history:
        check_number(confidence, "a confidence", 1.0)
        index = _bin(confidence, bins)
        count[index] += 1
        right[index] += was_right
    return Calibration(tuple(right), tuple(count), strength)


def calibration_error(history: Iterable[tuple[float, bool]], bins: int = 10) -> float:
    """The expected calibration error: the mean gap between claim and truth over bins, by answers in them."""
    claimed, right, count = [0.0] * bins, [0] * bins, 0
    for confidence, was_right in history:
        index = _bin(confidence, bins)
        claimed[index] += confidence
        right[index] += was_right
        count += 1
    return sum(abs(a - b) for a, b in zip(claimed, right, strict=True)) / count if count else 0.0


def log_odds(probability: float, options: int = 2) -> float:
    """The weight of a voter who is right with this probability among so many options; 0 at chance and below."""
    p = min(max(probability, _LOWEST), _HIGHEST)
    return max(0.0, log(p * (options - 1) / (1 - p)))


def by_confidence(ballot: Ballot) -> float:
    """Its weight times its stated confidence."""
    return ballot.weight * ballot.confidence


@dataclass(frozen=True)
class LogOdds:
    """Its weight times the log odds of its calibrated confidence."""

    options: int = 2
    """Candidates to choose from."""
    calibrations: Mapping[str, Calibration] = field(default_factory=dict)
    """By voter. Who has none is taken at their word, or by `otherwise`."""
    otherwise: Calibration | None = None

    def __post_init__(self) -> None:
        if self.options < 2:
            raise ConfigurationError(f"log odds: {self.options} options leave no choice. Give 2 or more.")

    def __call__(self, ballot: Ballot) -> float:
        """The weight, 0 or more."""
        calibrate = self.calibrations.get(ballot.voter, self.otherwise)
        probability = ballot.confidence if calibrate is None else calibrate(ballot.confidence)
        return ballot.weight * log_odds(probability, self.options)


def _bin(confidence: float, bins: int) -> int:
    return min(max(int(confidence * bins), 0), bins - 1)
