"""Settings as vLLM's arguments and environment, for the platform that is there.

Rules:
* On a CPU and on a GPU it is the same code: the platform is what vLLM says it is, and decides defaults only.
* What cannot work is told before an engine is started, since an engine that fails tells why only in its log: GPUs that
  are not there, a cache that does not fit the memory, a cache that is too small for one context.
* A variable that is set already is left as it is: who sets one means it.
"""

import os
from dataclasses import fields
from pathlib import Path
from typing import Any

from inference.errors import ConfigurationError
from inference.extra import optional
from inference.vllm_model import ModelFiles
from inference.vllm_settings import VLLMSettings

_CPU_CACHE_BYTES = 256 << 20
_CPU_BLOCK_TOKENS = 32
_MEMORY_SHARE = 0.9
"""Of what is free, that a cache on a CPU may take: the weights and the process need the rest."""


def set_environment(settings: VLLMSettings) -> None:
    """Sets what vLLM and torch read when they are imported, and what the engine's process inherits."""
    variables = {
        "VLLM_NO_USAGE_STATS": "1",
        "DO_NOT_TRACK": "1",
        "VLLM_LOGGING_LEVEL": "WARNING",
        "VLLM_ENGINE_READY_TIMEOUT_S": str(int(settings.start_s)),
        # So a CPU's engine is two processes and not three; the engine's core is one of its own either way.
        "VLLM_ENABLE_V1_MULTIPROCESSING": "0" if settings.tensor_parallel == 1 else "1",
        # Unset, an engine of one core was 16 times slower: threads wait for one another.
        "OMP_NUM_THREADS": str(settings.threads),
    }
    if settings.offline:
        variables |= {"HF_HUB_OFFLINE": "1", "TRANSFORMERS_OFFLINE": "1"}
    for name, value in variables.items():
        os.environ.setdefault(name, value)


class Platform:
    """What vLLM runs on. Made after `set_environment`; imports vLLM."""

    def __init__(self, settings: VLLMSettings) -> None:
        """Raises `ConfigurationError` if it is not what the settings ask for, `ExtraMissing` if there is no vLLM."""
        self.version: str = optional(
            "vllm", "vllm", "a model in this process (on a CPU: make vllm)"
        ).__version__
        platform = optional("vllm.platforms", "vllm", "a model in this process").current_platform
        self.is_cpu: bool = platform.is_cpu()
        if not self.is_cpu and platform.device_type in (None, ""):
            raise ConfigurationError(
                "vLLM finds no device here: it is the build for GPUs. Use a machine with one, or install the build for "
                "CPUs (make vllm)"
            )
        if self.is_cpu and settings.gpus:
            raise ConfigurationError(
                f"the settings ask for {settings.gpus:g} GPU(s), and this vLLM ({self.version}) runs on the CPU: leave "
                f"gpus out, or run where there is a GPU with the build for it (pip install 'rayswarm[vllm]')"
            )
        self.device: str = "cpu" if self.is_cpu else str(platform.get_device_name())
        self.batch_invariant = settings.deterministic and _offers_invariance(platform)
        if self.batch_invariant:
            os.environ["VLLM_BATCH_INVARIANT"] = "1"

    def determinism(self, settings: VLLMSettings) -> str:
        """What may be said of it, in words."""
        if self.batch_invariant:
            return "batch-invariant: the same request has the same answer in any batch"
        asked = "asked for and not offered here" if settings.deterministic else "not asked for"
        return f"batch invariance {asked}: the same seeded request may have another answer in another batch"


def _offers_invariance(platform: Any) -> bool:
    # Its kernels are written for NVIDIA's GPUs of compute capability 8.0 and more (vLLM's documentation).
    return bool(platform.is_cuda() and platform.has_device_capability(80))


def engine_arguments(model: ModelFiles, settings: VLLMSettings, platform: Platform) -> Any:
    """vLLM's `AsyncEngineArgs`. Raises `ConfigurationError`."""
    kind = optional("vllm", "vllm", "a model in this process").AsyncEngineArgs
    known = {field.name for field in fields(kind)}
    parallel = settings.tensor_parallel
    arguments: dict[str, Any] = {
        "model": str(model.folder),
        "served_model_name": model.name,
        "dtype": settings.dtype,
        "quantization": settings.quantization,
        "max_model_len": settings.context_tokens,
        "max_num_seqs": settings.running_requests,
        "max_num_queued_reqs": settings.unfinished_requests,
        "tensor_parallel_size": parallel,
        "distributed_executor_backend": "uni" if parallel == 1 else "mp",
        "enable_prefix_caching": settings.prefix_caching,
        "seed": settings.seed,
        "enforce_eager": platform.is_cpu if settings.compile is None else not settings.compile,
        "structured_outputs_config": _structured(settings),
        "enable_log_requests": False,
    }
    if settings.adapters:
        number = len(settings.adapters)
        arguments |= {"enable_lora": True, "max_loras": number, "max_lora_rank": settings.adapter_rank}
    block = settings.block_tokens or (_CPU_BLOCK_TOKENS if platform.is_cpu else None)
    if block is not None:
        arguments["block_size"] = block
    if platform.is_cpu or settings.cache_bytes is not None:
        arguments["kv_cache_memory_bytes"] = settings.cache_bytes or _CPU_CACHE_BYTES
    if platform.is_cpu:
        # A prompt that is read in several steps kills a CPU's engine if its request is seeded (vLLM 0.32: torch's
        # generators for CPUs have no offset to set back). So each is read whole.
        arguments["enable_chunked_prefill"] = False
    else:
        arguments["gpu_memory_utilization"] = settings.gpu_memory
    for name, value in settings.engine_arguments.items():
        if name not in known:
            raise ConfigurationError(
                f"engine_arguments names {name!r}, which vLLM {platform.version} does not take"
            )
        if name in arguments:
            raise ConfigurationError(f"engine_arguments names {name!r}: a setting stands for it already")
        arguments[name] = value
    return kind(**arguments)


def _structured(settings: VLLMSettings) -> dict[str, Any]:
    config: dict[str, Any] = {"backend": settings.structured_backend}
    if settings.structured_backend == "xgrammar":
        # A model that is free to write spaces may write nothing else.
        config["disable_any_whitespace"] = True
    return config


def check_memory(config: Any, platform: Platform) -> None:
    """Looks whether the cache fits, by vLLM's configuration. Raises `ConfigurationError`."""
    cache_bytes = config.cache_config.kv_cache_memory_bytes
    if cache_bytes is None:
        return  # the engine measures what a GPU has left
    if platform.is_cpu:
        free = _free_bytes()
        if free is not None and cache_bytes > _MEMORY_SHARE * free:
            raise ConfigurationError(
                f"cache_bytes is {cache_bytes:,}, and {free:,} bytes of memory are free: give at most "
                f"{int(_MEMORY_SHARE * free):,}"
            )
    model = config.model_config
    if model.use_mla or model.is_hybrid or model.get_sliding_window() is not None:
        return  # these keep less of a token than all layers' keys and values: the engine reckons it
    context = model.max_model_len
    needed = context * _bytes_per_token(config)
    if needed > cache_bytes:
        raise ConfigurationError(
            f"cache_bytes is {cache_bytes:,}, and one context of {context:,} tokens takes {needed:,}: give more, or "
            f"context_tokens of at most {cache_bytes // _bytes_per_token(config):,}"
        )


def _free_bytes() -> int | None:
    """Memory that a process may take without swapping. None where the system does not say so."""
    meminfo = Path("/proc/meminfo")
    if not meminfo.exists():
        return None
    lines = dict(line.split(":", 1) for line in meminfo.read_text().splitlines())
    return int(lines["MemAvailable"].split()[0]) * 1024 if "MemAvailable" in lines else None


def _bytes_per_token(config: Any) -> int:
    """Keys and values of one token, by all layers."""
    model, parallel = config.model_config, config.parallel_config
    heads = model.get_num_kv_heads(parallel)
    layers = model.get_num_layers(parallel)
    return int(2 * layers * heads * model.get_head_size() * model.dtype.itemsize)
