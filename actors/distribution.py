"""How long a delay lasts: distributions that are sampled from one uniform number.

Rules:
* A sample is the inverse of the cumulative distribution at u (Devroye, "Non-uniform random variate
  generation", 1986, chapter 2): one number in, one out, so that a delay is a pure function of its message,
  and a longer mean delays the same messages for longer.
* Samples are finite and never negative. Their unit is the schedule's: seconds, or rounds.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from math import exp, log1p
from statistics import NormalDist

from actors.description import Description, nearest, number
from actors.errors import ConfigurationError

LONGEST = 1e9
"""The largest parameter: 30 years in seconds. It keeps every sample finite."""

_STANDARD_NORMAL = NormalDist()
_SMALLEST_U = 2.0**-54
"""Half the step of the uniform numbers: the normal's inverse has no value at 0."""
_WIDEST_SIGMA = 10.0


@dataclass(frozen=True)
class Constant:
    """Always the same."""

    value: float

    def sample(self, u: float) -> float:
        """The value, whatever `u` is."""
        return self.value

    def check(self, where: str) -> None:
        """Raises `ConfigurationError` naming the field, the value and the mend."""
        number(self.value, f"{where}.value", 0, LONGEST)


@dataclass(frozen=True)
class Uniform:
    """Anything from low to high, all alike."""

    low: float
    high: float

    def sample(self, u: float) -> float:
        """The sample at `u` in [0, 1)."""
        return self.low + u * (self.high - self.low)

    def check(self, where: str) -> None:
        """Raises `ConfigurationError` naming the field, the value and the mend."""
        number(self.low, f"{where}.low", 0, LONGEST)
        number(self.high, f"{where}.high", self.low, LONGEST)


@dataclass(frozen=True)
class Exponential:
    """The wait for the next event of a Poisson process."""

    mean: float

    def sample(self, u: float) -> float:
        """The sample at `u` in [0, 1)."""
        return -self.mean * log1p(-u)

    def check(self, where: str) -> None:
        """Raises `ConfigurationError` naming the field, the value and the mend."""
        number(self.mean, f"{where}.mean", 0, LONGEST)


@dataclass(frozen=True)
class LogNormal:
    """The usual model of latency: half are below the median; `sigma` is the deviation of the logarithm."""

    median: float
    sigma: float

    def sample(self, u: float) -> float:
        """The sample at `u` in [0, 1)."""
        return self.median * exp(self.sigma * _STANDARD_NORMAL.inv_cdf(max(u, _SMALLEST_U)))

    def check(self, where: str) -> None:
        """Raises `ConfigurationError` naming the field, the value and the mend."""
        number(self.median, f"{where}.median", 0, LONGEST)
        number(self.sigma, f"{where}.sigma", 0, _WIDEST_SIGMA)


Distribution = Constant | Uniform | Exponential | LogNormal

_KINDS: Mapping[str, tuple[type[Distribution], tuple[str, ...]]] = {
    "constant": (Constant, ("value",)),
    "uniform": (Uniform, ("low", "high")),
    "exponential": (Exponential, ("mean",)),
    "lognormal": (LogNormal, ("median", "sigma")),
}


def distribution_from(entry: object, where: str) -> Distribution:
    """What an entry describes: `2`, `{exponential: 2}` or `{lognormal: {median: 2, sigma: 0.5}}`."""
    if isinstance(entry, Mapping) and len(entry) == 1:
        ((name, parameters),) = entry.items()
        where = f"{where}.{name}"
        if name not in _KINDS:
            raise ConfigurationError(f"{where}: unknown distribution.{nearest(str(name), _KINDS)}")
    elif isinstance(entry, int | float):
        name, parameters = "constant", entry
    else:
        raise ConfigurationError(
            f"{where}: {entry!r} is not a distribution. Give a number, or one of {', '.join(_KINDS)} "
            f"with its parameters, as in {{lognormal: {{median: 2, sigma: 0.5}}}}."
        )
    kind, fields = _KINDS[name]
    if len(fields) == 1 and not isinstance(parameters, Mapping):
        parameters = {fields[0]: parameters}
    reader = Description(parameters, where)
    values = [reader.number(field) for field in fields]
    reader.finish()
    distribution = kind(*values)
    distribution.check(where)
    return distribution
