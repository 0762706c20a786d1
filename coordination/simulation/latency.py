"""How long a message is on its way: models of one-way delay, in seconds.

Rules: a model is a frozen value; its randomness is handed in. `from_text` reads what people write on a command line or
in an experiment: a name (`lan`, `wan`), a number with a unit, a family with its parameters, or a file of round trips.
"""

import json
import math
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Protocol

from actors.errors import ConfigurationError

CLOUD_REGIONS = (
    "dallas",
    "toronto",
    "washington",
    "frankfurt",
    "london",
    "madrid",
    "osaka",
    "sydney",
    "tokyo",
    "sao_paulo",
)
# Mean round trips between IBM Cloud's regions in milliseconds, 13 July to 11 August 2024, as published in its
# documentation (ibm-cloud-docs/vpc, network-latency). The diagonal is the mean between zones of Dallas, Washington and
# so on: about 2 ms.
_CLOUD_ROUND_TRIPS_MS = (
    (2, 34, 31, 123, 113, 118, 151, 186, 143, 146),
    (34, 2, 19, 93, 82, 106, 170, 215, 162, 130),
    (31, 19, 2, 91, 75, 88, 175, 214, 166, 119),
    (124, 92, 92, 2, 13, 29, 232, 250, 234, 199),
    (113, 83, 75, 13, 2, 27, 245, 261, 246, 187),
    (120, 106, 87, 29, 27, 2, 257, 275, 260, 209),
    (152, 170, 173, 232, 245, 257, 2, 122, 9, 293),
    (185, 214, 214, 249, 261, 275, 122, 2, 115, 327),
    (144, 163, 168, 236, 246, 259, 9, 115, 2, 286),
    (144, 130, 120, 195, 186, 208, 293, 326, 285, 2),
)
_A_SECOND = {"us": 1_000_000, "ms": 1_000, "s": 1}
_FILE_BYTES = 1_000_000


class Latency(Protocol):
    """One-way delays."""

    def sample(self, source: int, to: int, rng: Random) -> float:
        """A delay in seconds from one place to another; places are numbered from 0."""

    @property
    def typical_s(self) -> float:
        """The delay that most messages stay under when all is well: what time-outs are set by."""


@dataclass(frozen=True)
class Constant:
    """The same for every message."""

    delay_s: float

    def sample(self, source: int, to: int, rng: Random) -> float:
        """See `Latency`."""
        return self.delay_s

    @property
    def typical_s(self) -> float:
        """See `Latency`."""
        return self.delay_s


@dataclass(frozen=True)
class Uniform:
    """Any delay in a range is as likely as any other."""

    low_s: float
    high_s: float

    def sample(self, source: int, to: int, rng: Random) -> float:
        """See `Latency`."""
        return self.low_s + (self.high_s - self.low_s) * rng.random()

    @property
    def typical_s(self) -> float:
        """See `Latency`."""
        return self.high_s


@dataclass(frozen=True)
class LogNormal:
    """A median with a long tail: its logarithm is normal. `sigma` 0.3 puts 1 in 100 over twice the median."""

    median_s: float
    sigma: float

    def sample(self, source: int, to: int, rng: Random) -> float:
        """See `Latency`."""
        return self.median_s * math.exp(self.sigma * rng.gauss(0.0, 1.0))

    @property
    def typical_s(self) -> float:
        """See `Latency`: the 99th percentile."""
        return self.median_s * math.exp(2.326 * self.sigma)


@dataclass(frozen=True)
class Table:
    """Measured round trips between regions: place i is in region i modulo their number. One way is half of it."""

    regions: tuple[str, ...]
    round_trips_s: tuple[tuple[float, ...], ...]
    sigma: float = 0.05
    """Spread around the measured mean, as in `LogNormal`."""

    def sample(self, source: int, to: int, rng: Random) -> float:
        """See `Latency`."""
        count = len(self.regions)
        mean_s = self.round_trips_s[source % count][to % count] / 2
        return mean_s * math.exp(self.sigma * rng.gauss(0.0, 1.0)) if self.sigma else mean_s

    @property
    def typical_s(self) -> float:
        """See `Latency`: the slowest pair."""
        return max(map(max, self.round_trips_s)) / 2 * math.exp(2.326 * self.sigma)


LAN = LogNormal(0.00025, 0.2)
"""A quarter of a millisecond one way, as between machines of one rack over TCP."""
WAN = Table(CLOUD_REGIONS, tuple(tuple(ms / 1000 for ms in row) for row in _CLOUD_ROUND_TRIPS_MS))
"""Ten regions of a public cloud on five continents."""


def latency_from(text: str) -> Latency:
    """`lan`, `wan`, `5ms`, `uniform:1ms,9ms`, `lognormal:2ms,0.3`, or a JSON file of round trips between regions.

    The file: {"regions": [names], "round_trips_ms": [[...], ...]}, optionally "sigma". Raises `ConfigurationError`.
    """
    if text in ("lan", "wan"):
        return LAN if text == "lan" else WAN
    family, _, parameters = text.partition(":")
    if family == "uniform":
        low, high = _two(text, parameters)
        return Uniform(seconds_from(low), seconds_from(high))
    if family == "lognormal":
        median, sigma = _two(text, parameters)
        return LogNormal(seconds_from(median), _number(text, sigma))
    if text[:1].isdigit():
        return Constant(seconds_from(text))
    return _table_from(Path(text))


def _two(text: str, parameters: str) -> tuple[str, str]:
    first, comma, second = parameters.partition(",")
    if not comma or "," in second:
        raise ConfigurationError(
            f"latency: {text!r} needs two parameters. Write uniform:1ms,9ms or lognormal:2ms,0.3."
        )
    return first.strip(), second.strip()


def _number(text: str, digits: str) -> float:
    try:
        number = float(digits)
    except ValueError:
        number = math.nan
    if not (math.isfinite(number) and number >= 0):
        raise ConfigurationError(
            f"latency: {digits!r} in {text!r} is not a number of 0 or more. Write for example 5ms."
        )
    return number


def seconds_from(text: str) -> float:
    """A duration with its unit, `250us`, `5ms` or `1.5s`, in seconds. Raises `ConfigurationError`."""
    digits = text.rstrip("usm")
    unit = text[len(digits) :]
    if unit not in _A_SECOND:
        raise ConfigurationError(f"latency: {text!r} has no unit. Write for example 250us, 5ms or 1.5s.")
    return _number(text, digits) / _A_SECOND[unit]


def _table_from(path: Path) -> Table:
    mend = "Name lan, wan, 5ms, uniform:1ms,9ms, lognormal:2ms,0.3, or a JSON file."
    try:
        if path.stat().st_size > _FILE_BYTES:
            raise ConfigurationError(f"latency: {path} is over {_FILE_BYTES:,} bytes. Give fewer regions.")
        content = json.loads(path.read_text())
    except OSError as error:
        raise ConfigurationError(
            f"latency: {str(path)!r} cannot be read ({error.strerror}). {mend}"
        ) from error
    except ValueError as error:
        raise ConfigurationError(f"latency: {path} is not JSON ({error}). {mend}") from error
    try:
        regions = tuple(str(name) for name in content["regions"])
        rows = tuple(
            tuple(_number(str(path), str(ms)) / 1000 for ms in row) for row in content["round_trips_ms"]
        )
        sigma = _number(str(path), str(content.get("sigma", 0.05)))
    except (KeyError, TypeError) as error:
        raise ConfigurationError(
            f'latency: {path} lacks something ({error!r}). It is {{"regions": [...], "round_trips_ms": [[...]]}}.'
        ) from error
    if not regions or len(rows) != len(regions) or any(len(row) != len(regions) for row in rows):
        raise ConfigurationError(
            f"latency: {path} names {len(regions)} regions but its table is another size. Make it square."
        )
    return Table(regions, rows, sigma)
