"""How a model is loaded and served by vLLM: one dataclass, the same on CPUs and on GPUs.

Rules:
* The defaults serve any model that fits; what is None is chosen by the platform, and told by `describe`.
* Every queue and wait has a limit, and its name carries the unit.
* A setting that is wrong on its face is refused when it is made; what only the platform or the model can tell, at the
  start.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from inference.errors import ConfigurationError

ADAPTERS = 256


@dataclass(frozen=True)
class VLLMSettings:
    """Settings of one replica."""

    gpus: float | None = None
    """GPUs of the replica. None: one for each part of `tensor_parallel` where there are any, else the CPU; 0: the CPU;
    less than 1: shares a GPU with other replicas."""
    cpus: float = 1.0
    """CPUs that Ray counts for the replica's actor."""
    tensor_parallel: int = 1
    """Parts that each layer is cut into, one a GPU of one node. Ray holds them for the replica as a placement group."""
    revision: str | None = None
    """Of a model on the Hub: a branch, tag or commit. None: the default branch."""
    dtype: str = "auto"
    """`auto`: as the model was saved; or bfloat16, float16, float32."""
    quantization: str | None = None
    """None: as the model was saved; or one of vLLM's methods, such as fp8 or bitsandbytes."""
    context_tokens: int | None = None
    """Prompt and answer together. None: what the model was made for."""
    running_requests: int = 256
    """Sequences computed at once; each of n samples is one."""
    unfinished_requests: int = 10_000
    """Running and waiting; beyond them `QueueFull`."""
    cache_bytes: int | None = None
    """Of keys and values. None: 256 MiB on a CPU, what `gpu_memory` leaves on a GPU."""
    gpu_memory: float = 0.9
    """The share of a GPU's memory that the engine takes."""
    block_tokens: int | None = None
    """Prefixes are cached in blocks of so many tokens. None: 32 on a CPU, vLLM's choice on a GPU."""
    prefix_caching: bool = True
    adapters: Mapping[str, str] = field(default_factory=dict)
    """LoRA adapters: folder by name."""
    adapter_rank: int = 16
    """The greatest rank among the adapters: 8, 16, 32, 64, 128, 256 or 512."""
    tool_parser: str | None = None
    """How the model writes tool calls, by vLLM's name for it. None: told from the chat template."""
    chat_template: str | None = None
    """A template in place of the model's own."""
    structured_backend: str = "xgrammar"
    """What holds answers to their form: `xgrammar` or `guidance`."""
    deterministic: bool = False
    """The same request has the same answer in any batch, where the platform offers it; `describe` says whether."""
    seed: int = 0
    """Of requests that name none."""
    compile: bool | None = None
    """torch.compile: slower to start, faster to run. None: on GPUs only."""
    threads: int = 1
    """OpenMP threads of an engine on a CPU. More than there are free cores is many times slower."""
    offline: bool = True
    """Nothing is looked up or downloaded. False: a model that is not here is fetched from the Hub."""
    start_s: float = 600.0
    """The longest start of the engine."""
    timeout_s: float = 600.0
    """Of a request that names no limit, waiting included."""
    restarts: int = 3
    """How often an engine that died is started again within `restart_window_s`; then the replica is dead."""
    restart_window_s: float = 600.0
    prompt_cache_tokens: int = 1 << 19
    """Rendered prompts that are kept, so that one which is counted and then asked is rendered once."""
    engine_arguments: Mapping[str, Any] = field(default_factory=dict)
    """Any other of vLLM's `AsyncEngineArgs`, by its name there."""

    def __post_init__(self) -> None:
        for name in (
            "cpus",
            "tensor_parallel",
            "running_requests",
            "unfinished_requests",
            "threads",
            "start_s",
            "timeout_s",
            "restart_window_s",
        ):
            self._check(name, getattr(self, name) > 0, "more than 0")
        for name in ("restarts", "prompt_cache_tokens", "seed"):
            self._check(name, getattr(self, name) >= 0, "0 or more")
        for name in ("context_tokens", "cache_bytes", "block_tokens"):
            self._check(name, getattr(self, name) is None or getattr(self, name) > 0, "None or more than 0")
        self._check("gpu_memory", 0 < self.gpu_memory <= 1, "a share of more than 0 and at most 1")
        self._check("adapters", len(self.adapters) <= ADAPTERS, f"at most {ADAPTERS}")
        self._check(
            "structured_backend", self.structured_backend in ("xgrammar", "guidance"), "one of the two"
        )
        parts = self.tensor_parallel
        self._check("gpus", self.gpus is None or self.gpus >= 0, "None, or 0 or more")
        if self.gpus and (parts > 1 or self.gpus > 1) and self.gpus != parts:
            raise ConfigurationError(
                f"gpus is {self.gpus:g} and tensor_parallel {parts}: each part has one GPU, so leave gpus None, or "
                f"give tensor_parallel={max(1, round(self.gpus))}"
            )

    def _check(self, name: str, holds: bool, mend: str) -> None:
        if not holds:
            raise ConfigurationError(f"{name} is {getattr(self, name)!r}: give {mend}")

    def plain(self) -> dict[str, Any]:
        """All settings as plain values, for a manifest."""
        return asdict(self)


def resources(settings: VLLMSettings, cluster: dict[str, float]) -> dict[str, float]:
    """What a replica takes of a cluster's resources. Raises `ConfigurationError` if the cluster has no such."""
    there = cluster.get("GPU", 0.0)
    gpus = settings.gpus
    if gpus is None:
        gpus = float(settings.tensor_parallel) if there else 0.0
    if gpus > there:
        raise ConfigurationError(
            f"a replica takes {gpus:g} GPU(s), and Ray knows of {there:g}: start Ray where there are GPUs, leave gpus "
            f"out, or give a smaller tensor_parallel"
        )
    if settings.cpus > cluster.get("CPU", 0.0):
        raise ConfigurationError(
            f"a replica takes {settings.cpus:g} CPU(s), and Ray has {cluster.get('CPU', 0.0):g}"
        )
    return {"CPU": settings.cpus, **({"GPU": gpus} if gpus else {})}
