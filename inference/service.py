"""A plan opened: the model behind its queue, its rate, its budget and its recording.

From the outside in, and each is there once: spans and figures (`inference/telemetry.py`), the limits
(`inference/limited.py`), the recording (`inference/recorded.py`), the pool where there are several replicas
(`inference/pool.py`), and the model. So a replay waits its turn and is charged as the run was that it replays, and its
answers need neither a model nor a key.

Rules:
* Whoever serves waits: below the limits an endpoint is asked once (`RetryPolicy(attempts=1)`).
* A replay has no rate: nothing is sent. It answers for the model that the plan names, and for no other.
* A service that starts again goes on: `resumed` asks the recording first, so that what was answered is neither paid
  for twice nor overwritten.
"""

from dataclasses import dataclass
from importlib import import_module
from pathlib import Path

from inference.budget import Budget
from inference.clock import Clock
from inference.endpoint import EndpointSettings
from inference.errors import ConfigurationError
from inference.ledger import Ledger
from inference.limited import LimitedLLM
from inference.limits import Rate
from inference.llm import BaseLLM
from inference.model_plan import ModelPlan
from inference.ollama import DEFAULT_URL
from inference.pool import ReplicaPool
from inference.provider import ModelSpec, open_model
from inference.recorded import RecordedLLM
from inference.recording import Recording
from inference.retry import RetryPolicy
from inference.script_file import load_script
from inference.secret import Secret
from inference.telemetry import ObservedLLM


@dataclass(frozen=True)
class Opened:
    """A plan's model, with the parts that are looked at from outside."""

    observed: ObservedLLM
    limited: LimitedLLM
    budget: Budget


def open_service(plan: ModelPlan, *, clock: Clock | None = None) -> ObservedLLM:
    """The model that a plan describes, for one process and one event loop. Raises `ConfigurationError`."""
    return open_observed(plan, clock=clock).observed


def open_observed(plan: ModelPlan, *, clock: Clock | None = None, resumed: bool = False) -> Opened:
    """The same, with its parts. `resumed` for a service that starts again."""
    ledger = None if plan.ledger is None else Ledger(plan.ledger, must_exist=resumed)
    budget = Budget(plan.budget, ledger)
    try:
        model = open_recorded(plan, resumed=resumed)
    except BaseException:
        budget.close()
        raise
    limited = LimitedLLM(
        model,
        plan.limits,
        rate=Rate() if "replay" in (plan.mode, plan.spec.provider) else plan.rate,
        budget=budget,
        price=plan.known_price,
        clock=clock,
    )
    return Opened(ObservedLLM(limited, plan.spec, budget.close), limited, budget)


def open_recorded(plan: ModelPlan, *, resumed: bool = False) -> BaseLLM:
    """The model behind its recording, without limits."""
    if plan.mode == "live":
        return open_source(plan)
    assert plan.recording is not None, "a plan checks this"
    if plan.mode == "replay":
        return RecordedLLM.replay(plan.recording, _recorded_identity(plan.recording, plan.spec))
    mode = "fill" if resumed else plan.mode
    return RecordedLLM(plan.recording, mode, open_source(plan))


def open_source(plan: ModelPlan) -> BaseLLM:
    """What answers: the model itself, or a pool of its replicas. Blocks while engines start."""
    if plan.spec.provider == "vllm":
        # Only here, since it imports Ray.
        source: BaseLLM = import_module("inference.ray_vllm_pool").start_replicas(plan)
        return source
    settings = endpoint_settings(plan)
    if plan.replicas == 1:
        return open_model(plan.spec, settings)
    replicas = {f"replica/{number}": open_model(plan.spec, settings) for number in range(plan.replicas)}
    return ReplicaPool(replicas, plan.pool_settings)


def endpoint_settings(plan: ModelPlan) -> EndpointSettings:
    """Of an endpoint below the limits. Reads the key. Raises `ConfigurationError` where there is none."""
    return EndpointSettings(
        key=None if plan.key is None else Secret(plan.key),
        price=plan.known_price,
        timeout_s=plan.timeout_s,
        idle_s=plan.idle_s,
        retry=RetryPolicy(attempts=1),
    )


def _recorded_identity(path: Path, spec: ModelSpec) -> str:
    """The identity in a recording that a line names. Raises `ConfigurationError` unless there is exactly one."""
    match spec.provider:
        case "scripted":
            names = [load_script(Path(spec.place)).identity]
        case "ollama":
            names = [f"ollama:{spec.place or DEFAULT_URL}#{spec.name}"]
        case "vllm":  # a folder is recorded under its own name
            names = [f"vllm:{spec.name}", f"vllm:{Path(spec.name).name}"]
        case _:
            names = [str(spec)]
    recording = Recording(path)
    recording.close()
    found = [
        model
        for model in recording.models
        if any(model == name or model.startswith(f"{name}@") for name in names)
    ]
    if len(found) != 1:
        told = ", ".join(recording.models) or "no model"
        raise ConfigurationError(
            f"{path} holds answers of {told}, and the plan's model is {names[0]}"
            + (": which revision is not said. Write replay:PATH#IDENTITY" if found else "")
        )
    return found[0]
