"""A served model, described: which one, how much of it, at what rate, for how much, live or from a recording.

Rules:
* A plan is plain data: frozen, checked when it is made, and picklable, so that the process that opens the model need
  not be the one that described it. Each fault is told with its mend.
* It holds no key, only where one is kept, and reads none: whoever opens the model does.
* A ceiling in money needs a price. One that is not given is looked up (`inference/price_list.py`); where it stays
  unknown the plan is refused, before a run begins.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, Literal

import msgspec

from inference.errors import ConfigurationError
from inference.limits import BudgetLimits, Ceiling, Rate, ServingLimits
from inference.pool import PoolSettings
from inference.price import FREE, Price
from inference.price_list import listed_price
from inference.provider import ModelSpec, parse_model
from inference.router import RoutingLimits
from inference.vllm_settings import VLLMSettings

ServingMode = Literal["live", "record", "replay", "fill"]
MODES: tuple[ServingMode, ...] = ("live", "record", "replay", "fill")
REPLICAS = 1_000
_KEY = re.compile(r"(env|file):\S.*")
_WITH_KEY = ("openai", "ollama")
_WITH_REPLICAS = ("vllm", "scripted")


@dataclass(frozen=True)
class ModelPlan:
    """What `open_service` and `RayService.start` open."""

    model: str
    """One line, as `inference/provider.py` reads it."""
    key: str | None = None
    """Where an endpoint's key is kept, `env:NAME` or `file:PATH`; never the key."""
    limits: ServingLimits = field(default_factory=ServingLimits)
    rate: Rate = field(default_factory=Rate)
    budget: BudgetLimits = field(default_factory=BudgetLimits)
    price: Price | None = None
    """None: the published one, if there is one. `FREE` for a model that costs nothing."""
    mode: ServingMode = "live"
    """`record` keeps all answers, `replay` gives only what was kept, `fill` asks for what is missing."""
    recording: Path | None = None
    """The file of answers, in all modes but `live`."""
    ledger: Path | None = None
    """Where what is spent is kept, so that a service that starts again goes on from there."""
    replicas: int = 1
    routing: RoutingLimits = field(default_factory=RoutingLimits)
    """How requests are spread over replicas."""
    seed: int = 0
    """Of the run: seeds of requests are derived from it (`inference/seed.py`)."""
    deterministic: bool = False
    """True asks the engine for answers that do not depend on what it computes beside."""
    timeout_s: float = 300.0
    """Of a call to an endpoint that names none."""
    idle_s: float = 60.0
    """The longest silence of an endpoint."""
    vllm: Mapping[str, Any] = field(default_factory=dict)
    """Fields of `VLLMSettings` by name, as plain values."""

    def __post_init__(self) -> None:
        spec = parse_model(self.model)
        _check_kinds(self)
        self._check_key(spec)
        self._check_recording(spec)
        if isinstance(self.replicas, bool) or not 1 <= self.replicas <= REPLICAS:
            raise ConfigurationError(f"replicas is {self.replicas!r}: give 1 to {REPLICAS:,}")
        if self.replicas > 1 and spec.provider not in _WITH_REPLICAS:
            raise ConfigurationError(
                f"replicas is {self.replicas}, and {self.model} is not started here: whoever serves it has the "
                f"replicas. Leave replicas at 1"
            )
        if isinstance(self.seed, bool) or not isinstance(self.seed, int) or not 0 <= self.seed < 1 << 63:
            raise ConfigurationError(f"seed is {self.seed!r}: give an integer from 0 to 2**63 - 1")
        for name in ("timeout_s", "idle_s"):
            value = getattr(self, name)
            if not isinstance(value, int | float) or not 0 < value <= 86_400:
                raise ConfigurationError(f"{name} is {value!r}: give seconds above 0, at most a day")
        self._check_vllm(spec)
        if self.has_usd_ceiling and self.known_price is None:
            raise ConfigurationError(
                f"the budget has a ceiling in money, and the price of {self.model} is not known: give its price "
                f"(FREE if it costs nothing), or ceilings in tokens"
            )

    @property
    def spec(self) -> ModelSpec:
        """The model's line, read."""
        return parse_model(self.model)

    @property
    def known_price(self) -> Price | None:
        """The price that was given, or the published one; None if neither is known."""
        return self.price if self.price is not None else listed_price(self.spec)

    @property
    def has_usd_ceiling(self) -> bool:
        """True if some ceiling is in money."""
        return any(ceiling.usd is not None for ceiling in _ceilings(self.budget))

    @property
    def has_ceiling(self) -> bool:
        """True if what is spent is limited at all."""
        return any(ceiling != Ceiling() for ceiling in _ceilings(self.budget))

    def described(self) -> dict[str, Any]:
        """The plan as plain JSON values, for a manifest. It holds no key."""
        plain: dict[str, Any] = msgspec.to_builtins(self, enc_hook=str)
        return {**plain, "price": msgspec.to_builtins(self.known_price)}

    @property
    def pool_settings(self) -> PoolSettings:
        """Of the pool. Engines that cost nothing by the token compute again what was lost with one of them."""
        return PoolSettings(again=self.price is None or self.price == FREE, routing=self.routing)

    @property
    def vllm_settings(self) -> VLLMSettings:
        """Of a replica of vLLM: the plan's own, and what follows from the plan."""
        own = {"deterministic": self.deterministic, "seed": self.seed % (1 << 31)}
        return VLLMSettings(**{**own, **self.vllm})

    def _check_vllm(self, spec: ModelSpec) -> None:
        if self.vllm and spec.provider != "vllm":
            raise ConfigurationError(
                f"vllm holds settings, and the model is {self.model}: leave them out, or write vllm:NAME"
            )
        try:
            plain = msgspec.json.decode(msgspec.json.encode(dict(self.vllm)))
        except (TypeError, ValueError) as error:
            raise ConfigurationError(
                f"vllm holds what is no plain value: {error}. Give text, numbers, lists and mappings"
            ) from None
        object.__setattr__(self, "vllm", plain)
        names = [setting.name for setting in fields(VLLMSettings)]
        unknown = [name for name in plain if name not in names]
        if unknown:
            raise ConfigurationError(
                f"vllm has no setting {unknown[0]!r}: give {', '.join(names)}; vLLM's own arguments go into "
                f"engine_arguments"
            )
        try:
            _ = self.vllm_settings
        except TypeError as error:
            raise ConfigurationError(f"a setting of vllm is of a wrong kind: {error}") from None

    def _check_key(self, spec: ModelSpec) -> None:
        if self.key is None:
            return
        if not isinstance(self.key, str) or not _KEY.fullmatch(self.key):
            # The text is not repeated: people paste the key itself here.
            raise ConfigurationError("a key is named by its source: give env:NAME or file:PATH, not the key")
        if spec.provider not in _WITH_KEY:
            raise ConfigurationError(f"{self.model} takes no key: leave key out")

    def _check_recording(self, spec: ModelSpec) -> None:
        if self.mode not in MODES:
            raise ConfigurationError(f"mode is {self.mode!r}: give {', '.join(MODES)}")
        if self.mode == "live":
            if self.recording is not None:
                raise ConfigurationError(
                    f"mode is live, and {self.recording} would be left alone: give record, replay or fill"
                )
            return
        if self.recording is None:
            raise ConfigurationError(f"mode is {self.mode}: give the recording's path")
        if spec.provider == "replay":
            raise ConfigurationError(
                f"mode is {self.mode}, and {self.model} is a recording already: leave mode at live"
            )


def _check_kinds(plan: ModelPlan) -> None:
    """Raises `ConfigurationError` where a field is of another kind than it should be."""
    for name, kind in (
        ("limits", ServingLimits),
        ("rate", Rate),
        ("budget", BudgetLimits),
        ("price", Price | None),
        ("recording", Path | None),
        ("ledger", Path | None),
        ("replicas", int),
        ("routing", RoutingLimits),
        ("vllm", Mapping),
    ):
        value = getattr(plan, name)
        if not isinstance(value, kind):
            raise ConfigurationError(f"{name} is {value!r:.80}: give {getattr(kind, '__name__', kind)}")


def _ceilings(budget: BudgetLimits) -> list[Ceiling]:
    return [
        budget.run,
        budget.each_role,
        *budget.roles.values(),
        budget.each_agent,
        *budget.agents.values(),
    ]
